//! A registry, a Portolan or the whole is lost: what an Istiod holds stays.

use crate::{
    LIMIT, nacos, registry,
    support::{judge::Judge, portolan::Portolan, until},
    versions,
};
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_registry_that_is_dead_when_portolan_restarts_costs_an_istiod_nothing() {
    let (a, b) = (nacos("a", 250).await, nacos("b", 250).await);
    let config = format!("catalog: {{ grace: 2s }}\nregistries:\n{}{}", registry("a", &a), registry("b", &b));
    let portolan = Portolan::start(&config).await;
    let Some(judge) = Judge::start(&[portolan.xds]).await else { return };
    judge.in_sync().await;
    let before = judge.wait_for("500 entries", LIMIT, |entries| entries.len() == 500).await;

    drop(b);
    let xds = portolan.xds.to_string();
    portolan.kill().await;
    let portolan = Portolan::start_on(&xds, "127.0.0.1:0", &config).await;
    until("the judge to come back", LIMIT, || async {
        let clients = portolan.json("/api/v1/clients").await["clients"].take();
        if clients[0]["types"][0]["type_url"].is_string() { Ok(()) } else { Err(clients) }
    })
    .await;
    portolan.ready().await;
    tokio::time::sleep(2 * GRACE).await;
    let partial = portolan.get("/metrics").await.1;
    assert!(partial.contains("portolan_catalog_sync{sync=\"partial\"} 1"), "{partial}");
    assert_eq!(versions(&judge.entries().await), versions(&before));

    // An Istiod that starts now waits, because what it does not hear of would be deleted when it does.
    let late = Judge::start(&[portolan.xds]).await.expect("there was one before");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!late.synced().await);
}

#[tokio::test]
async fn with_two_portolans_as_sources_the_death_of_one_changes_nothing() {
    let a = nacos("a", 100).await;
    let config = format!("registries:\n{}", registry("a", &a));
    let (one, two) = (Portolan::start(&config).await, Portolan::start(&config).await);
    let Some(judge) = Judge::start(&[one.xds, two.xds]).await else { return };
    judge.in_sync().await;
    let before = judge.wait_for("100 entries", LIMIT, |entries| entries.len() == 100).await;
    let seen = judge.events().await.len();

    let xds = one.xds.to_string();
    one.kill().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(judge.entries().await, before);

    // The first source's copy stays what is seen, so a change shows when the first is back: with equal versions nothing
    // is written but the change.
    let one = Portolan::start_on(&xds, "127.0.0.1:0", &config).await;
    until("the judge to come back", LIMIT, || async {
        let clients = one.json("/api/v1/clients").await["clients"].take();
        if clients[0]["types"][0]["acknowledged"].is_object() { Ok(()) } else { Err(clients) }
    })
    .await;
    assert_eq!(judge.entries().await, before);
    assert_eq!(judge.events().await[seen..], [], "nothing was written");
}

#[tokio::test]
async fn a_registry_that_fails_while_portolan_runs_costs_an_istiod_nothing() {
    let a = nacos("a", 50).await;
    let portolan = Portolan::start(&format!("registries:\n{}", registry("a", &a))).await;
    let Some(judge) = Judge::start(&[portolan.xds]).await else { return };
    judge.in_sync().await;
    let before = judge.wait_for("50 entries", LIMIT, |entries| entries.len() == 50).await;
    drop(a);
    until("the registry to be stale", LIMIT, || async {
        let registries = portolan.json("/api/v1/registries").await;
        if registries[0]["state"] == "stale" { Ok(()) } else { Err(registries) }
    })
    .await;
    let lists = judge.lists().await.len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((judge.entries().await, judge.lists().await.len()), (before, lists));
}
