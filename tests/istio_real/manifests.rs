//! Manifests from Nacos' configuration to Istio's own store.

use crate::{
    LIMIT,
    support::{
        fake_nacos::{FakeNacos, Generation},
        judge::Judge,
        nacos::Nacos,
        portolan::Portolan,
        until,
    },
};
use serde_json::Value;
use std::fs;
use tokio::process::Command;

fn registry(nacos: &FakeNacos) -> String {
    format!(
        "registries:\n- name: n\n  nacos: {{ servers: ['{}'], mode: poll, period: 300ms, timeout: 2s, \
         manifests: {{ group: ISTIO, namespace: mesh }} }}\n",
        nacos.url()
    )
}

fn gateway(name: &str, port: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  selector: {{a: b}}\n  \
         servers: [{{hosts: ['*'], port: {{number: {port}, name: http, protocol: HTTP}}}}]\n"
    )
}

/// A Portolan that reads it, and a judge that has heard of everything.
async fn start(nacos: &FakeNacos) -> Option<(Portolan, Judge)> {
    let portolan = Portolan::start(&registry(nacos)).await;
    let judge = Judge::start(&[portolan.xds]).await?;
    judge.in_sync().await;
    Some((portolan, judge))
}

fn called(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {}/{}",
        text(&object["kind"]),
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"])
    )
}

/// Waits until Istio's store has these and no others; returns it.
async fn holds(judge: &Judge, expected: &[&str]) -> Vec<Value> {
    until(&format!("{expected:?}"), LIMIT, || async {
        let mut store = judge.configz().await;
        store.sort_by_key(called);
        let names: Vec<String> = store.iter().map(called).collect();
        if names == expected { Ok(store) } else { Err(format!("{names:?}")) }
    })
    .await
}

async fn states(portolan: &Portolan, expected: &[(&str, &str)]) -> Vec<Value> {
    until(&format!("{expected:?}"), LIMIT, || async {
        let manifests = portolan.json("/api/v1/manifests").await.as_array().cloned().unwrap();
        let found: Vec<_> =
            manifests.iter().map(|m| (m["name"].as_str().unwrap(), m["state"].as_str().unwrap())).collect();
        if found == expected { Ok(manifests.clone()) } else { Err(format!("{manifests:?}")) }
    })
    .await
}

/// What `portolan get manifests` prints.
async fn get_manifests(portolan: &Portolan) -> String {
    let admin = format!("http://{}", portolan.admin);
    let words = ["get", "manifests", "--admin", &admin];
    let output = Command::new(env!("CARGO_BIN_EXE_portolan")).args(words).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn what_is_changed_wrong_and_deleted_in_nacos_is_that_in_istios_store() {
    let nacos = FakeNacos::start(Generation::V2).await;
    nacos.model().configs.put("a.yaml", &gateway("a", "80"));
    nacos.model().configs.put("b.yaml", &format!("{}---\n{}", gateway("b", "81"), gateway("c", "82")));
    let Some((portolan, judge)) = start(&nacos).await else { return };
    holds(&judge, &["Gateway mesh/a", "Gateway mesh/b", "Gateway mesh/c"]).await;

    nacos.model().configs.put("a.yaml", &gateway("a", "8080"));
    until("the new port", LIMIT, || async {
        let store = judge.configz().await;
        let found = store.iter().any(|object| object["spec"]["servers"][0]["port"]["number"] == 8080);
        if found { Ok(()) } else { Err(format!("{store:?}")) }
    })
    .await;

    // Wrong: what it was stays, and another change goes on its way.
    nacos.model().configs.put("b.yaml", &gateway("b", "eighty"));
    let manifests = states(&portolan, &[("a.yaml", "good"), ("b.yaml", "wrong")]).await;
    let error = manifests[1]["error"].as_str().unwrap();
    assert!(error.contains("b.yaml:6:43: spec.servers[0].port.number: must be a whole number"), "{error}");
    let (_, metrics) = portolan.get("/metrics").await;
    for (state, count) in [("good", 1), ("wrong", 1), ("held", 0)] {
        let series = format!("portolan_manifests{{registry=\"n\",state=\"{state}\"}} {count}\n");
        assert!(metrics.contains(&series), "{series}{metrics}");
    }
    let shown = get_manifests(&portolan).await;
    assert!(shown.lines().any(|line| line.contains("b.yaml") && line.contains("wrong")), "{shown}");

    nacos.model().configs.put("new.yaml", &gateway("new", "83"));
    holds(&judge, &["Gateway mesh/a", "Gateway mesh/b", "Gateway mesh/c", "Gateway mesh/new"]).await;
    nacos.model().configs.put("b.yaml", &gateway("b", "84"));
    holds(&judge, &["Gateway mesh/a", "Gateway mesh/b", "Gateway mesh/new"]).await;

    nacos.model().configs.remove("b.yaml");
    holds(&judge, &["Gateway mesh/a", "Gateway mesh/new"]).await;
    assert_eq!(states(&portolan, &[("a.yaml", "good"), ("new.yaml", "good")]).await.len(), 2);

    // Everything at once: it stays for a minute.
    nacos.model().configs.texts.clear();
    states(&portolan, &[("a.yaml", "held"), ("new.yaml", "held")]).await;
    assert_eq!(judge.configz().await.len(), 2);
}

/// The lists come once an hour: what is told sooner the server has told.
async fn walk(script: &'static str) {
    let Some(nacos) = Nacos::start(script).await else { return };
    let route = |name: &str, to: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  \
             hosts: [orders.example]\n  http:\n  - {to}: [{{destination: {{host: orders.example, subset: v1}}}}]\n"
        )
    };
    nacos.put_config("public", "ISTIO", "orders.yaml", &route("orders", "route")).await;
    nacos.put_config("public", "ISTIO", "notes.txt", "no manifest at all").await;
    let portolan = Portolan::start(&format!(
        "registries:\n- name: n\n  nacos: {{ servers: ['{}'], period: 1h, resync: 1h, \
         manifests: {{ group: ISTIO, data_ids: '*.yaml' }} }}\n",
        nacos.url()
    ))
    .await;
    let Some(judge) = Judge::start(&[portolan.xds]).await else { return };
    judge.in_sync().await;
    holds(&judge, &["VirtualService portolan/orders"]).await;
    nacos.put_config("public", "ISTIO", "orders.yaml", &route("parcels", "route")).await;
    holds(&judge, &["VirtualService portolan/parcels"]).await;
    nacos.put_config("public", "ISTIO", "orders.yaml", &route("orders", "rout")).await;
    let manifests = states(&portolan, &[("orders.yaml", "wrong")]).await;
    let error = manifests[0]["error"].as_str().unwrap();
    assert!(error.contains("orders.yaml:7:5") && error.contains("route"), "{error}");
    holds(&judge, &["VirtualService portolan/parcels"]).await;
    nacos.put_config("public", "ISTIO", "orders.yaml", &route("orders", "route")).await;
    holds(&judge, &["VirtualService portolan/orders"]).await;
    nacos.remove_config("public", "ISTIO", "orders.yaml").await;
    holds(&judge, &[]).await;
}

#[tokio::test]
async fn a_manifest_goes_from_a_real_nacos_2_to_istios_store() {
    walk("nacos2").await;
}

#[tokio::test]
async fn a_manifest_goes_from_a_real_nacos_3_to_istios_store() {
    walk("nacos3").await;
}

#[tokio::test]
async fn istios_store_takes_every_kind() {
    let nacos = FakeNacos::start(Generation::V2).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/manifests");
    let mut expected = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".yaml") {
            nacos.model().configs.put(&name, &fs::read_to_string(&path).unwrap());
        } else {
            let text = fs::read_to_string(&path).unwrap().replace(" portolan/", " mesh/");
            let heads = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
            expected.extend(heads.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()));
        }
    }
    expected.sort();
    let Some((_portolan, judge)) = start(&nacos).await else { return };
    holds(&judge, &expected.iter().map(|name| &**name).collect::<Vec<_>>()).await;
    assert!(!judge.log().contains("Error adding"), "{}", judge.log());
}
