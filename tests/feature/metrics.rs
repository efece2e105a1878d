//! `/metrics` stays small however many services there are.

use crate::support::{local::Local, until};
use std::{fmt::Write, fs, time::Duration};

/// Names and labels of all series, sorted.
async fn series(services: usize) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("services:\n");
    for n in 0..services {
        let address = format!("10.1.{}.{}", n / 250, n % 250);
        // The second instance leaves a note.
        writeln!(
            text,
            "- host: svc-{n}.example\n  endpoints: ['{address}:80', {{ address: {address}, port: 81, enabled: false }}]"
        )
        .unwrap();
    }
    fs::write(folder.path().join("services.yaml"), text).unwrap();
    let portolan =
        Local::start(&format!("registries:\n- name: files\n  file: {{ path: '{}' }}\n", folder.path().display())).await;
    portolan.ready().await;
    assert_eq!(portolan.json("/api/v1/services").await["total"], services);
    // Views are made for that, and counted right after.
    assert!(portolan.json("/api/v1/digests").await["clusters"]["count"].as_u64().unwrap() > 0);
    until("the views' metrics", Duration::from_secs(60), || async {
        let (_, body) = portolan.get("/metrics").await;
        if body.contains("views_resources{") { Ok(()) } else { Err(body) }
    })
    .await;
    let (status, body) = portolan.get("/metrics").await;
    assert_eq!(status, 200);
    // The hash of the configuration is that of a path here.
    let lines = body.lines().filter(|line| !line.starts_with('#') && !line.starts_with("portolan_config_info"));
    let mut series: Vec<String> = lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
    series.sort();
    series
}

#[tokio::test]
async fn ten_thousand_services_have_the_series_of_ten() {
    let (few, many) = (series(10).await, series(10_000).await);
    assert_eq!(few, many, "no label is a service");
    assert!((50..2_000).contains(&many.len()), "{}", many.len());
}
