//! A registry that is down for long is logged once, and counted each time.

use crate::support::{portolan::Portolan, until};
use std::{fs, time::Duration};

fn failures(metrics: &str, registry: &str) -> u64 {
    let name = format!("portolan_catalog_failures_total{{registry=\"{registry}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn what_stays_broken_is_one_line_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), "services: [").unwrap();
    let portolan = Portolan::start(&format!(
        "registries:\n- name: lost\n  nacos: {{ servers: ['http://127.0.0.1:9'], period: 200ms }}\n- name: mistaken\n  file: {{ path: '{}', poll: 100ms }}\n",
        folder.path().display()
    ))
    .await;
    until("ten failed rounds", Duration::from_secs(60), || async {
        let (_, metrics) = portolan.get("/metrics").await;
        if failures(&metrics, "lost") >= 10 && failures(&metrics, "mistaken") >= 1 { Ok(()) } else { Err(metrics) }
    })
    .await;
    let log = portolan.log();
    for registry in ["lost", "mistaken"] {
        let loud: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(registry) && (line.contains("WARN") || line.contains("ERROR")))
            .collect();
        assert_eq!(loud.len(), 1, "{loud:#?}");
        assert!(loud[0].contains("Cannot read the registry"), "{loud:#?}");
    }
}
