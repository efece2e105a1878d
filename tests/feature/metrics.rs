//! `/metrics` stays small and quick however many services there are.

use crate::support::{portolan::Portolan, until};
use std::{
    fmt::Write,
    fs,
    time::{Duration, Instant},
};

/// Names and labels of all series, sorted, and how long the quickest answer took.
async fn series(services: usize) -> (Vec<String>, Duration) {
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
        Portolan::start(&format!("registries:\n- name: files\n  file: {{ path: '{}' }}\n", folder.path().display()))
            .await;
    portolan.ready().await;
    assert_eq!(portolan.json("/api/v1/services").await["total"], services);
    // Counted right after they are served.
    until("the views' metrics", Duration::from_secs(10), || async {
        let (_, body) = portolan.get("/metrics").await;
        if body.contains("views_resources{") { Ok(()) } else { Err(body) }
    })
    .await;
    let (mut fastest, mut series) = (Duration::MAX, Vec::<String>::new());
    for _ in 0..5 {
        let started = Instant::now();
        let (status, body) = portolan.get("/metrics").await;
        fastest = fastest.min(started.elapsed());
        assert_eq!(status, 200);
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        series = lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
    }
    series.sort();
    (series, fastest)
}

#[tokio::test]
async fn ten_thousand_services_have_the_series_of_ten() {
    let (few, _) = series(10).await;
    let (many, time) = series(10_000).await;
    assert_eq!(few, many, "no label is a service");
    assert!((50..2_000).contains(&many.len()), "{}", many.len());
    assert!(time < Duration::from_millis(50), "{time:?}");
}
