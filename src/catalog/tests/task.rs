//! The task: when it signals, and that registries do not hinder one another.

use super::*;
use crate::catalog::{Handle, Metrics, Options, Writer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A running writer; ends with the guard.
fn start(policies: Vec<Policy>) -> (Vec<tokio::sync::mpsc::Sender<Update>>, Handle, tokio_util::sync::DropGuard) {
    start_with(policies, Metrics::default())
}

fn start_with(
    policies: Vec<Policy>,
    metrics: Metrics,
) -> (Vec<tokio::sync::mpsc::Sender<Update>>, Handle, tokio_util::sync::DropGuard) {
    let (mut writer, handle) = Writer::new(Options::default(), metrics);
    let feeds = writer.configure(desired(policies), false).feeds.into_iter().map(|feed| feed.updates).collect();
    let shutdown = CancellationToken::new();
    tokio::spawn(writer.run(shutdown.clone()));
    (feeds, handle, shutdown.drop_guard())
}

fn desired(policies: Vec<Policy>) -> Desired {
    Desired { registries: policies.into_iter().map(Registry::from).collect(), ..Desired::default() }
}

async fn eventually(handle: &Handle, what: &str, check: impl Fn(&Catalog) -> bool) -> Arc<Catalog> {
    let wait = async {
        loop {
            let catalog = handle.load();
            if check(&catalog) {
                return catalog;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("{what}: {:?}", handle.load()))
}

#[tokio::test]
async fn changes_are_swapped_in_before_they_are_signalled_and_bursts_go_together() {
    let (feeds, handle, _guard) = start(vec![policy("r")]);
    let mut changed = handle.changed();
    changed.borrow_and_update();
    feeds[0].send(listed(&[service("a", &["10.0.0.1:80"])])).await.unwrap();
    changed.changed().await.unwrap();
    let first = *changed.borrow_and_update();
    assert!(handle.load().number >= first);
    for i in 1..=500 {
        let endpoint = format!("10.0.{}.{}:80", i / 250, i % 250);
        feeds[0].send(Update::Applied(all(), service("a", &[endpoint.as_str()]))).await.unwrap();
    }
    let last = eventually(&handle, "the last change", |catalog| {
        catalog.services.values().any(|service| show(service).contains("10.0.2.0:80"))
    })
    .await;
    assert!(last.number - first < 400, "500 changes made {} catalogs", last.number - first);
}

#[tokio::test(start_paused = true)]
async fn the_first_change_goes_at_once_and_the_next_waits_for_the_window() {
    let (feeds, handle, _guard) = start(vec![policy("r")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut changed = handle.changed();
    let mut waits = Vec::new();
    for address in ["10.0.0.1:80", "10.0.0.2:80"] {
        changed.borrow_and_update();
        let start = tokio::time::Instant::now();
        feeds[0].send(listed(&[service("a", &[address])])).await.unwrap();
        changed.changed().await.unwrap();
        waits.push(start.elapsed());
    }
    assert!(waits[0] < Duration::from_millis(2), "{waits:?}");
    assert!(waits[1] >= Duration::from_millis(9) && waits[1] < Duration::from_millis(103), "{waits:?}");
}

#[tokio::test]
async fn statuses_are_swapped_in_without_a_signal() {
    let (feeds, handle, _guard) = start(vec![policy("r")]);
    feeds[0].send(listed(&[service("a", &[])])).await.unwrap();
    let first = eventually(&handle, "the list", |catalog| catalog.services.len() == 1).await;
    let mut changed = handle.changed();
    changed.borrow_and_update();
    feeds[0].send(failed("refused")).await.unwrap();
    let later = eventually(&handle, "the error", |catalog| catalog.registries[0].last_error.is_some()).await;
    assert_eq!(later.number, first.number);
    assert!(!changed.has_changed().unwrap());
}

#[tokio::test]
async fn a_registry_that_floods_or_dies_delays_no_other() {
    let (mut feeds, handle, _guard) = start(vec![policy("flood"), policy("dead"), policy("r")]);
    drop(feeds.remove(1));
    let flood = feeds[0].clone();
    let flooding = tokio::spawn(async move {
        for i in 0_u64.. {
            let weight = format!("10.0.0.1:80 w{}", i % 1000 + 1);
            let service = Arc::new(service_of("flood", "f", &[weight.as_str()]));
            if flood.send(Update::Applied(all(), service)).await.is_err() {
                return;
            }
        }
    });
    eventually(&handle, "the flood", |catalog| !catalog.services.is_empty()).await;
    feeds[1].send(listed(&[service("a", &["10.0.0.2:80"])])).await.unwrap();
    // The flood never ends: whoever had to wait for it would never be heard.
    eventually(&handle, "the other's list", |catalog| catalog.services.len() == 2).await;
    assert!(!flooding.is_finished());
    flooding.abort();
}

#[tokio::test]
async fn holds_are_released_and_names_resolved_through_the_handle() {
    let (feeds, handle, _guard) = start(vec![policy("r")]);
    let mut wanted = handle.wanted_names();
    assert!(!handle.release("r"), "nothing is held");
    feeds[0].send(listed(&[fleet("a", 0, 50), service("b", &["node-1:80"])])).await.unwrap();
    wanted.wait_for(|names| names.contains_key("node-1")).await.unwrap();
    handle.resolved("node-1".into(), vec!["10.0.0.1".parse().unwrap()]).await;
    feeds[0].send(listed(&[fleet("a", 0, 1), service("b", &["node-1:80"])])).await.unwrap();
    eventually(&handle, "the hold", |catalog| catalog.registries[0].hold.is_some()).await;
    assert!(handle.release("r"));
    let catalog = eventually(&handle, "the release", |catalog| catalog.registries[0].hold.is_none()).await;
    let lines: Vec<String> = catalog.services.values().map(|service| show(service)).collect();
    assert_eq!(lines, ["a.example http:80 | 10.1.0.1:80", "b.example http:80 | 10.0.0.1:80"]);
}

#[tokio::test]
async fn metrics_tell_what_is_known_of_each_registry() {
    let metrics = Metrics::default();
    let (feeds, handle, _guard) = start_with(vec![policy("r")], metrics.clone());
    feeds[0].send(listed(&[service("a", &["10.0.0.1:80", "10.0.0.2:80 off"])])).await.unwrap();
    eventually(&handle, "the list", |catalog| catalog.services.len() == 1).await;
    let mut registry = prometheus_client::registry::Registry::with_prefix("portolan");
    metrics.register(&mut registry);
    let mut text = String::new();
    for line in [
        "portolan_catalog_endpoints{registry=\"r\"} 2",
        "portolan_catalog_notes{reason=\"disabled\"} 1",
        "portolan_catalog_registry_state{registry=\"r\",state=\"synced\"} 1",
        "portolan_catalog_updates_total{registry=\"r\"} 1",
    ] {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !text.contains(line) {
            assert!(std::time::Instant::now() < deadline, "{line} is not in {text}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            text.clear();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        }
    }
}
