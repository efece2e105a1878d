//! The rules that the entries keep, from a catalogue file to what an Istiod holds.

use crate::{
    istiod::*,
    support::{portolan::Portolan, until},
};
use std::{collections::BTreeSet, fs, time::Duration};
use tempfile::TempDir;

/// A Portolan on a catalogue, and an Istiod that is connected to it.
struct Served {
    portolan: Portolan,
    folder: TempDir,
    istiod: Istiod,
}

async fn start(folder: &TempDir) -> Portolan {
    let file = folder.path().join("services.yaml");
    let config = format!("registries:\n- name: files\n  file: {{ path: '{}', poll: 100ms }}\n", file.display());
    Portolan::start(&config).await
}

impl Served {
    async fn start(services: &str) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let mut istiod;
        write(&folder, services);
        let portolan = start(&folder).await;
        istiod = Istiod::connect(portolan.xds).await;
        istiod.synced().await;
        istiod.writes.clear();
        Served { portolan, folder, istiod }
    }

    /// Changes the catalogue and takes the lists that come of it.
    async fn change(&mut self, services: &str) {
        write(&self.folder, services);
        self.istiod.next().await;
    }

    /// Changes the catalogue in a way that must not show. The change of another service tells that it was read.
    async fn change_unseen(&mut self, services: &str) {
        self.change(&format!("{services}- {{ host: fence.example, endpoints: [10.9.9.9:1] }}\n")).await;
        assert_eq!(self.istiod.writes, ["+ portolan/fence.example"]);
    }
}

fn write(folder: &TempDir, services: &str) {
    let new = folder.path().join("new");
    fs::write(&new, format!("services:\n{services}")).unwrap();
    fs::rename(new, folder.path().join("services.yaml")).unwrap();
}

/// Places and weights of an entry's endpoints, in their order. Unset, a weight is 1.
fn endpoints(istiod: &Istiod, name: &str) -> Vec<(String, u32)> {
    let endpoints = &istiod.store[name].entry.endpoints;
    let port = |e: &portolan::pb::istio::networking::v1alpha3::WorkloadEntry| e.ports.values().next().copied();
    endpoints.iter().map(|e| (format!("{}:{}", e.address, port(e).unwrap_or(0)), e.weight.max(1))).collect()
}

const ORDERS: &str = "- { host: orders.example, endpoints: [10.0.0.1:80, 10.0.0.2:80] }\n";

#[tokio::test]
async fn rule_07_versions_are_of_the_content_the_same_on_replicas_and_after_restarts() {
    let other = "- { host: other.example, endpoints: [10.0.0.3:80] }\n";
    let mut served = Served::start(&format!("{ORDERS}{other}")).await;
    let before = served.istiod.versions();
    assert_eq!(before.values().filter(|v| v.is_empty()).count(), 0);
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 2, "{before:?}");

    // Another process on the same input: nothing is written.
    let replica = start(&served.folder).await;
    served.istiod.reconnect(replica.xds).await;
    served.istiod.synced().await;
    assert_eq!((served.istiod.versions(), &served.istiod.writes[..]), (before.clone(), &[][..]));

    // One service changes: one object has another version.
    served.istiod.reconnect(served.portolan.xds).await;
    served.istiod.synced().await;
    served.change(&format!("{}{other}", ORDERS.replace("10.0.0.2:80", "10.0.0.2:81"))).await;
    assert_eq!(served.istiod.writes, ["~ portolan/orders.example"]);
}

#[tokio::test]
async fn rule_09_whatever_a_registry_holds_every_item_can_be_decoded() {
    let long = "x".repeat(64);
    let mut served = Served::start(&format!(
        "- {{ host: orders.example, endpoints: [10.0.0.1:80], labels: {{ '订单': 'x', 'a b': '值', 'k@y': 'v:w' }} }}
- {{ name: 'Orders_订单@@x:1', namespace: 'UPPER_case', endpoints: [10.0.0.2:80] }}
- {{ name: 'a/b/c', endpoints: [10.0.0.3:80] }}
- {{ name: '{long}', endpoints: [10.0.0.4:80] }}
- {{ name: '10.0.0.1', endpoints: [10.0.0.5:80] }}
- {{ host: labels.example, endpoints: [{{ address: 10.0.0.6, port: 80, labels: {{ '标签': '值', ok: yes, long: '{long}' }} }}] }}
- {{ host: named.example, endpoints: [un_derlined.example:80] }}
"
    ))
    .await;
    served.istiod.reconnect(served.portolan.xds).await;
    let list = loop {
        let answer = served.istiod.next().await;
        if answer.type_url == V1 {
            break answer;
        }
    };
    assert_eq!(list.resources.len(), served.istiod.store.len());
    assert!(served.istiod.store.len() >= 5, "{:?}", served.istiod.store.keys());
    assert!(served.istiod.store["portolan/labels.example"].entry.endpoints[0].labels.contains_key("ok"));
}

#[tokio::test]
async fn rule_12_the_order_in_which_endpoints_come_does_not_show() {
    let mut served = Served::start(ORDERS).await;
    served.change_unseen("- { host: orders.example, endpoints: [10.0.0.2:80, 10.0.0.1:80] }\n").await;
}

#[tokio::test]
async fn rule_13_instances_come_and_go_and_nothing_but_endpoints_changes() {
    let labelled = |instances: &str| format!("- {{ host: orders.example, endpoints: [{instances}] }}\n");
    let one = "{ address: 10.0.0.1, port: 8080, labels: { app: a, version: v1 }, locality: cn/hz/a }";
    let two = "{ address: 10.0.0.2, port: 9090, labels: { app: b, lane: x }, weight: 3 }";
    let mut served = Served::start(&labelled(one)).await;
    let mut before = served.istiod.store["portolan/orders.example"].clone();
    for instances in [format!("{one}, {two}"), two.to_owned(), String::new(), one.to_owned()] {
        served.change(&labelled(&instances)).await;
        let after = served.istiod.store["portolan/orders.example"].clone();
        assert_ne!(after.version, before.version);
        before.entry.endpoints = after.entry.endpoints.clone();
        assert_eq!(after.entry, before.entry);
        before = after;
    }
}

#[tokio::test]
async fn rule_14_what_takes_no_traffic_is_left_out() {
    let served = Served::start(
        "- host: orders.example
  endpoints:
  - 10.0.0.1:80
  - { address: 10.0.0.2, port: 80, weight: 0 }
  - { address: 10.0.0.3, port: 80, enabled: false }
  - { address: 10.0.0.4, port: 80, weight: 2 }
",
    )
    .await;
    let expected = [("10.0.0.1:80".to_owned(), 1), ("10.0.0.4:80".to_owned(), 2)];
    assert_eq!(endpoints(&served.istiod, "portolan/orders.example"), expected);
}

#[tokio::test]
async fn rule_15_no_address_and_port_stand_there_twice() {
    let served = Served::start(
        "- host: orders.example
  endpoints: [10.0.0.1:80, 10.0.0.1:81, { address: 10.0.0.1, port: 80, labels: { again: yes } }]
",
    )
    .await;
    let places: Vec<String> =
        endpoints(&served.istiod, "portolan/orders.example").into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, ["10.0.0.1:80", "10.0.0.1:81"]);
}

#[tokio::test]
async fn rule_16_services_that_only_an_address_tells_apart_have_one_each() {
    let tcp = |name: &str| {
        format!(
            "- {{ host: {name}.example, ports: [{{ name: dubbo, port: 20880, protocol: dubbo }}], endpoints: [10.0.0.1:20880] }}\n"
        )
    };
    let all: String = (0..50).map(|i| tcp(&format!("svc-{i}"))).collect();
    let served = Served::start(&format!("{ORDERS}{all}")).await;
    let addresses = |istiod: &Istiod| -> Vec<(String, Vec<String>)> {
        istiod.store.iter().map(|(name, stored)| (name.clone(), stored.entry.addresses.clone())).collect()
    };
    let first = addresses(&served.istiod);
    let of_tcp: BTreeSet<&String> = first.iter().flat_map(|(_, addresses)| addresses).collect();
    assert_eq!(of_tcp.len(), 50, "{first:?}");
    assert!(of_tcp.iter().all(|address| address.starts_with("241.")), "{of_tcp:?}");
    assert!(first.contains(&("portolan/orders.example".into(), vec![])), "HTTP needs none");

    let replica = start(&served.folder).await;
    let mut other = Istiod::connect(replica.xds).await;
    assert_eq!(addresses(other.synced().await), first);
}

#[tokio::test]
async fn an_istiod_that_starts_while_a_registry_is_down_waits_until_it_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let portolan = start(&folder).await;
    let mut istiod = Istiod::connect(portolan.xds).await;
    istiod.listen(Duration::from_millis(500)).await;
    assert_eq!(istiod.waits_for(), [V1]);
    assert!(portolan.log().contains("An Istiod waits"), "{}", portolan.log());
    write(&folder, ORDERS);
    istiod.synced().await;
    assert_eq!(istiod.store.keys().collect::<Vec<_>>(), ["portolan/orders.example"]);
    until("the table of clients to say so", Duration::from_secs(60), || async {
        let clients = portolan.json("/api/v1/clients").await["clients"].take();
        let acknowledged = &clients[0]["types"][0]["acknowledged"]["version"];
        let digest = portolan.json("/api/v1/digests").await["serviceentries"]["digest"].clone();
        if *acknowledged == digest { Ok(()) } else { Err(clients) }
    })
    .await;
}

#[tokio::test]
async fn the_last_endpoint_that_leaves_and_the_first_that_comes_reach_sidecars_of_every_release() {
    for old_release in [true, false] {
        let mut served = Served::start(ORDERS).await;
        served.istiod.old_release = old_release;
        let sidecar = |served: &Served| served.istiod.sidecars["portolan/orders.example"].clone();
        assert_eq!(sidecar(&served).len(), 2);
        for (endpoints, expected) in [("", 0), ("10.0.0.3:80", 1), ("10.0.0.3:80, 10.0.0.4:80", 2), ("10.0.0.4:80", 1)]
        {
            served.change(&format!("- {{ host: orders.example, endpoints: [{endpoints}] }}\n")).await;
            assert_eq!(sidecar(&served).len(), expected, "{endpoints:?} by an old release: {old_release}");
        }
    }
}
