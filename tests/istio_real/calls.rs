//! `Sidecar`s that follow from Dubbo's consumers: a stock Istiod's store takes them, and its generators narrow a proxy by them.

use crate::{
    LIMIT,
    support::{
        judge::{Judge, report},
        local::Local,
        until,
        zookeeper::{ZooKeeper, encoded},
    },
};
use serde_json::{Value, json};

/// Hosts, and the namespace, are those that the judge gives its first case of `made.yaml`.
fn config(server: &ZooKeeper) -> String {
    format!(
        "registries:\n- name: zk\n  zookeeper: {{ servers: ['{}'], period: 300ms, resync: 1h, dubbo: {{ consumers: true }} }}\n  \
         publish: {{ host: '{{label:interface}}.made-1.example', hold: 0s, linger: 0s }}\n\
         calls: {{ keep: 0s, sidecars: {{ namespaces: made-1, hosts: 'istio-system/*' }} }}\n",
        server.address()
    )
}

/// Waits until Istio's store has these `Sidecar`s: namespace, name and hosts; gives them.
async fn until_sidecars(judge: &Judge, what: &str, expected: Value) -> Vec<Value> {
    until(what, LIMIT, || async {
        let all = judge.configz().await.into_iter().filter(|object| object["kind"] == "Sidecar");
        let mut all: Vec<Value> = all.collect();
        all.sort_by_key(|sidecar| sidecar["metadata"]["name"].to_string());
        let shown = |sidecar: &Value| {
            let labels = &sidecar["spec"]["workloadSelector"]["labels"];
            json!([sidecar["metadata"]["name"], labels, sidecar["spec"]["egress"][0]["hosts"]])
        };
        let found: Vec<Value> = all.iter().map(shown).collect();
        if Value::from(found.clone()) == expected { Ok(all) } else { Err(format!("{found:?}\n{}", judge.log())) }
    })
    .await
}

#[tokio::test]
async fn a_stock_istiod_takes_sidecars_and_narrows_what_a_proxy_gets() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    for interface in ["orders", "users"] {
        let url = format!("dubbo://192.0.2.1:20880/{interface}?application=shop");
        writer.provide(interface, &url).await;
    }
    let consume = async |interface: &str, application: &str| {
        let url = format!("consumer://192.0.2.20/{interface}?application={application}&interface={interface}");
        let path = format!("/dubbo/{interface}/consumers/{}", encoded(&url));
        writer.create(&path, "").await;
        path
    };
    consume("orders", "cart").await;
    let portolan = Local::start(&config(&server)).await;
    portolan.ready().await;
    let Some(judge) = Judge::start(&[portolan.xds]).await else { return };
    judge.in_sync().await;
    let cart = json!(["cart.dubbo", { "app": "cart" }, ["istio-system/*", "*/orders.made-1.example"]]);
    let made = until_sidecars(&judge, "a Sidecar", json!([cart])).await;
    assert_eq!(made[0]["metadata"]["namespace"], "made-1");
    // Another application: the first one stays the same object.
    let path = consume("users", "Web_1").await;
    let hosts = ["istio-system/*", "*/users.made-1.example"];
    let web = until("another", LIMIT, || async {
        let all = judge.configz().await;
        let found = all.iter().find(|o| o["spec"]["workloadSelector"]["labels"]["app"] == "Web_1").cloned();
        found.ok_or_else(|| format!("{all:?}"))
    })
    .await;
    assert_eq!(web["spec"]["egress"][0]["hosts"], json!(hosts));
    let name = web["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-1-") && name.ends_with(".dubbo"), "{name}");
    let again = judge.configz().await.into_iter().find(|o| o["metadata"]["name"] == "cart.dubbo");
    assert_eq!(again.as_ref(), Some(&made[0]), "what did not change is not told again");
    // Without a need, at once as `keep` is none, there is no Sidecar.
    writer.delete(&path).await;
    let made = until_sidecars(&judge, "one that is gone", json!([cart])).await;

    // What Istio's own generators make of that very Sidecar.
    let case = json!([{
        "case": "a Sidecar of the call model",
        "services": { "orders": null, "users": null },
        "istio": { "Sidecar made": made[0]["spec"] },
        "proxies": { "sidecar2": { "labels": { "app": "cart" } }, "sidecar3": { "labels": { "app": "other" } } },
        "calls": {
            "sidecar2 GET orders/": "orders",
            "sidecar2 GET users/": "PassthroughCluster",
            "sidecar3 GET orders/": "orders",
            "sidecar3 GET users/": "users",
        },
    }]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made.yaml");
    std::fs::write(&file, case.to_string()).unwrap();
    let words = ["traffic", "expect", "--cases", file.to_str().unwrap()];
    let Some((good, text)) = report(&words).await else { return };
    assert!(good, "{text}");
}

#[tokio::test]
async fn an_application_that_no_workload_can_be_called_has_none_and_is_told() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    writer.provide("orders", "dubbo://192.0.2.1:20880/orders?application=shop").await;
    for application in ["a b", "fine"] {
        let url = format!("consumer://192.0.2.20/orders?application={application}&interface=orders");
        writer.create(&format!("/dubbo/orders/consumers/{}", encoded(&url)), "").await;
    }
    let portolan = Local::start(&config(&server)).await;
    portolan.ready().await;
    let states = until("both", LIMIT, || async {
        let all = portolan.json("/api/v1/manifests").await;
        let state = |m: &Value| (m["registry"].clone(), m["name"].clone(), m["state"].clone(), m["error"].clone());
        let found: Vec<_> = all.as_array().unwrap().iter().map(state).collect();
        if found.len() == 2 { Ok(found) } else { Err(format!("{all}")) }
    })
    .await;
    let why = "\"a b\" cannot be the value of a label, so no workload has it";
    assert_eq!(
        states,
        [
            (json!("calls"), json!("a b"), json!("wrong"), json!(why)),
            (json!("calls"), json!("fine"), json!("good"), Value::Null)
        ]
    );
}
