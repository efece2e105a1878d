//! What changes cost an Istiod.

use crate::{
    LIMIT, nacos, registry,
    support::{
        fake_nacos::{FakeNacos, instance},
        judge::{Event, Judge, TYPES},
        portolan::Portolan,
    },
};
use std::time::{Duration, Instant};

/// A Portolan on so many services, and a judge that has all.
async fn start(nacos: &FakeNacos, services: usize) -> Option<(Portolan, Judge)> {
    let portolan = Portolan::start(&format!("registries:\n{}", registry("a", nacos))).await;
    let judge = Judge::start(&[portolan.xds]).await?;
    judge.in_sync().await;
    judge.wait_for("all entries", LIMIT, |entries| entries.len() == services).await;
    Some((portolan, judge))
}

#[tokio::test]
async fn one_instance_among_2_000_services_is_one_list_and_one_object_whose_endpoints_change() {
    let a = nacos("a", 2_000).await;
    let Some((_portolan, judge)) = start(&a, 2_000).await else { return };
    let (lists, events) = (judge.lists().await.len(), judge.events().await.len());
    a.model().put("a-77", vec![instance("10.99.0.1", 8080)]);
    let name = judge
        .wait_for("the change", LIMIT, |entries| {
            entries.values().any(|entry| entry["spec"]["endpoints"][0]["address"] == "10.99.0.1")
        })
        .await
        .into_iter()
        .find(|(_, entry)| entry["spec"]["endpoints"][0]["address"] == "10.99.0.1")
        .map(|(name, _)| name)
        .unwrap();
    let new = judge.lists().await.split_off(lists);
    assert_eq!(new.iter().map(|list| list.resources).collect::<Vec<_>>(), [2_000]);
    eprintln!("one change at 2,000 services of 3 instances: one list of {} bytes", new[0].bytes);
    let [Event { event, name: changed, endpoints_only: true, .. }] = &judge.events().await[events..] else {
        panic!("{:?}", &judge.events().await[events..])
    };
    assert_eq!((&**event, changed), ("update", &name));

    // Ten polls without a change: nothing.
    let answers = judge.answers().await.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(judge.answers().await.len(), answers);
}

#[tokio::test]
async fn a_revision_gets_what_is_for_it_and_what_is_for_all() {
    let (a, b) = (nacos("a", 5).await, nacos("b", 5).await);
    let of_blue = registry("b", &b) + "  istio: { labels: { istio.io/rev: blue } }\n";
    let portolan = Portolan::start(&format!("registries:\n{}{of_blue}", registry("a", &a))).await;
    for (revision, expected) in [("blue", 10), ("green", 5), ("", 10)] {
        let Some(judge) = Judge::of_revision(&[portolan.xds], revision).await else { return };
        judge.in_sync().await;
        assert_eq!(judge.entries().await.len(), expected, "{revision:?}");
        let sent: Vec<usize> = judge.lists().await.iter().map(|list| list.resources).collect();
        assert_eq!(sent, [expected], "what another revision sees is not even sent");
    }
}

#[tokio::test]
async fn every_type_is_answered_once_and_at_once() {
    let a = nacos("a", 3).await;
    let Some((_portolan, judge)) = start(&a, 3).await else { return };
    let answers = judge.answers().await;
    let mut types: Vec<&str> = answers.iter().map(|answer| &*answer.r#type).collect();
    types.sort();
    types.dedup();
    assert_eq!((answers.len(), types.len()), (TYPES, TYPES), "{answers:#?}");
}

#[tokio::test]
async fn a_burst_of_200_changes_is_no_more_lists_than_the_pace_allows_and_the_last_state_comes() {
    let a = nacos("a", 300).await;
    let Some((_portolan, judge)) = start(&a, 300).await else { return };
    let (lists, started) = (judge.lists().await.len(), Instant::now());
    for change in 1..=200 {
        a.model().put("a-7", vec![instance("10.99.0.1", 8000 + change)]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    judge
        .wait_for("the last change", LIMIT, |entries| {
            let mut ports = entries.values().map(|entry| entry["spec"]["endpoints"][0]["ports"].clone());
            ports.any(|ports| ports.as_object().is_some_and(|ports| ports.values().any(|port| *port == 8200)))
        })
        .await;
    let (count, allowed) = (judge.lists().await.len() - lists, started.elapsed().as_millis() / 100 + 1);
    eprintln!("200 changes in {:?}: {count} lists", started.elapsed());
    assert!(count as u128 <= allowed, "{count} lists, {allowed} are allowed");
}
