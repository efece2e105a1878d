//! Services that Istio would refuse, and what becomes of them and of their neighbours.

use crate::{
    LIMIT,
    support::{judge::Judge, portolan::Portolan, until},
};
use std::{fs, time::Duration};

#[tokio::test]
async fn whatever_registries_hold_istio_takes_all_that_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    let long = "x".repeat(64);
    fs::write(
        &file,
        format!(
            "services:
- {{ host: good.example, endpoints: [10.0.0.1:80] }}
- {{ name: 'Under_scored', endpoints: [10.0.0.2:80] }}
- {{ name: 'DEFAULT_GROUP@@orders', endpoints: [10.0.0.3:80] }}
- {{ name: 'com.foo.Bar:1.0.0:g', endpoints: [10.0.0.4:80], ports: [{{ name: dubbo, port: 20880, protocol: dubbo }}] }}
- {{ name: '{long}', endpoints: [10.0.0.5:80] }}
- {{ name: 'v1.2', endpoints: [10.0.0.6:80] }}
- {{ name: '订单', endpoints: [10.0.0.7:80] }}
- host: labels.example
  labels: {{ '团队': '商店', 'k@y': 'v:w', fine: yes, interface: 'com.foo.Outer$Inner' }}
  endpoints:
  - {{ address: 10.0.0.8, port: 80, labels: {{ '标签': '值', 'a b': c, url: 'http://x', long: '{long}', ok: yes }} }}
- {{ host: v6.example, endpoints: [{{ address: '2001:db8::1', port: 80 }}] }}
- {{ host: heavy.example, endpoints: [{{ address: 10.0.0.9, port: 80, weight: 0.001 }}, {{ address: 10.0.0.10, port: 80, weight: 100000 }}] }}
- {{ host: ports.example, ports: [{{ name: Web_UI, port: 80, protocol: http }}, {{ name: tri, port: 50051, protocol: tri }}], endpoints: [{{ address: 10.0.0.11, ports: {{ Web_UI: 8080, tri: 50051 }} }}] }}
- {{ host: empty.example, endpoints: [] }}
- {{ host: named.example, endpoints: [un_derlined.example:80] }}
"
        ),
    )
    .unwrap();
    for hostnames in ["drop", "dns"] {
        let config = format!(
            "registries:\n- name: files\n  file: {{ path: '{}' }}\n  publish: {{ hostnames: {hostnames} }}\n  istio: {{ labels: {{ path: '{{label:interface}}' }} }}\n",
            file.display()
        );
        let portolan = Portolan::start(&config).await;
        let Some(judge) = Judge::start(&[portolan.xds]).await else { return };
        judge.in_sync().await;
        let served = portolan.json("/api/v1/digests").await["serviceentries"]["count"].as_u64().unwrap() as usize;
        assert!(served >= 13, "{served}");
        let entries = judge.entries().await;
        let log = judge.log();
        assert_eq!(entries.len(), served, "{:#?}\n{log}", entries.keys());
        for complaint in ["Error adding", "Error updating", "Invalid data", "Error unmarshalling"] {
            assert!(!log.contains(complaint), "{log}");
        }
        let labels = &entries["portolan/labels.example"]["metadata"]["labels"];
        assert_eq!(labels["path"], "com.foo.Outer$Inner", "only the labels of endpoints are checked");
        let endpoint = &entries["portolan/labels.example"]["spec"]["endpoints"][0];
        assert_eq!(endpoint["labels"]["ok"], "yes", "{endpoint}");
        // What was left out is told, with its reason.
        let rejected = portolan.json("/api/v1/rejected").await;
        let of_istio = rejected.as_array().unwrap().iter().filter(|r| r["view"] == "istio");
        let of_labels = of_istio.filter(|r| r["host"] == "labels.example" && r["code"] == "label_refused");
        assert_eq!(of_labels.count(), 3, "{rejected:#}");
    }
}

#[tokio::test]
async fn a_bad_label_that_comes_later_freezes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    let write = |instance: &str| {
        fs::write(&file, format!("services:\n- host: orders.example\n  endpoints: [{instance}]\n")).unwrap();
    };
    write("10.0.0.1:80");
    let config = format!("registries:\n- name: files\n  file: {{ path: '{}', poll: 100ms }}\n", file.display());
    let portolan = Portolan::start(&config).await;
    let Some(judge) = Judge::start(&[portolan.xds]).await else { return };
    judge.in_sync().await;
    write("{ address: 10.0.0.2, port: 80, labels: { '标签': '值', ok: yes } }");
    let entries = judge
        .wait_for("the new instance", LIMIT, |entries| {
            entries["portolan/orders.example"]["spec"]["endpoints"][0]["address"] == "10.0.0.2"
        })
        .await;
    let labels = &entries["portolan/orders.example"]["spec"]["endpoints"][0]["labels"];
    assert_eq!(*labels, serde_json::json!({ "ok": "yes" }));
    until("the refusal to be shown", Duration::from_secs(60), || async {
        let rejected = portolan.json("/api/v1/rejected").await;
        if rejected.to_string().contains("label_refused") { Ok(()) } else { Err(rejected) }
    })
    .await;
}
