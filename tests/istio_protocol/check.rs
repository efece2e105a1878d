//! `portolan istio check`, against servers that are well and not.

use crate::{client::World, istiod::entry, support::portolan::Portolan};
use portolan::{
    pb::{
        google::protobuf::Any,
        istio::{
            mcp::v1alpha1::{Metadata, Resource as Envelope},
            networking::v1alpha3::ServiceEntry,
        },
    },
    resource::{Kind, Readiness, Resource},
};
use prost::{Message, Name as _};
use serde_json::json;
use std::{fs, process::Output};
use tokio::process::Command;

async fn check(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    let run = command.args(["istio", "check"]).args(arguments).env_remove("PORTOLAN_CONFIG");
    let Output { status, stdout, stderr } = run.output().await.unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// The line of an entry, without its version.
fn line<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect()
}

#[tokio::test]
async fn what_an_istiod_would_take_have_change_and_delete_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    fs::write(&file, "services:\n- { host: a.example, endpoints: [10.0.0.1:80] }\n- { host: b.example, endpoints: [10.0.0.2:80] }\n- { host: c.example, endpoints: [] }\n").unwrap();
    let portolan =
        Portolan::start(&format!("registries:\n- name: files\n  file: {{ path: '{}' }}\n", file.display())).await;
    let xds = portolan.ready().await.xds.to_string();
    let (code, text) = check(&["--xds", &xds]).await;
    assert_eq!((code, line(&text, "portolan/a.example")[2]), (Some(0), "takes it"), "{text}");
    let version = line(&text, "portolan/a.example")[1].to_owned();

    let held = |name: &str, version: &str| json!({ "kind": "ServiceEntry", "metadata": { "namespace": "portolan", "name": name, "resourceVersion": version } });
    let configz = folder.path().join("configz.json");
    let all = json!([held("a.example", &version), held("b.example", "old"), held("gone.example", "old"), { "kind": "Sidecar" }]);
    fs::write(&configz, all.to_string()).unwrap();
    let (code, text) = check(&["--xds", &xds, "--configz", configz.to_str().unwrap()]).await;
    let does = |name: &str| line(&text, &format!("portolan/{name}.example"))[2];
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(["a", "b", "c", "gone"].map(does), ["has it", "changes it", "takes it", "deletes it"]);
    fs::write(&configz, "{}").unwrap();
    let (code, text) = check(&["--xds", &xds, "--configz", configz.to_str().unwrap()]).await;
    assert_eq!((code, text.contains("/debug/configz")), (Some(1), true), "{text}");
}

#[tokio::test]
async fn a_server_that_waits_is_told_from_one_that_is_not_there() {
    let world = World::with(|_| {}, Readiness::Waiting, vec![entry("ns/a", "1")]).await;
    let (code, text) = check(&["--xds", &world.address.to_string(), "--wait", "1"]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("1 of 16 types were not answered within 1 s"), "{text}");
    assert!(
        text.lines().any(|l| l.starts_with("networking.istio.io/v1/ServiceEntry") && l.contains("not at all")),
        "{text}"
    );

    let (code, text) = check(&["--xds", "127.0.0.1:9"]).await;
    assert_eq!((code, text.contains("cannot connect to 127.0.0.1:9")), (Some(1), true), "{text}");
}

#[tokio::test]
async fn what_an_istiod_would_refuse_fails_the_check() {
    let spec = ServiceEntry { hosts: vec!["under_scored".into()], resolution: 1, ..Default::default() };
    let body = Any { type_url: ServiceEntry::type_url(), value: spec.encode_to_vec().into() };
    let metadata = Metadata { name: "ns/bad".into(), version: "v".into(), ..Default::default() };
    let bytes = Envelope { metadata: Some(metadata), body: Some(body) }.encode_to_vec();
    let bad = Resource::new(Kind::ServiceEntry, "ns/bad".into(), &bytes, None);
    let world = World::of(vec![(Kind::ServiceEntry, "ns/bad".into(), Some(bad))]).await;
    let (code, text) = check(&["--xds", &world.address.to_string()]).await;
    assert_eq!(code, Some(1));
    assert!(line(&text, "ns/bad").concat().contains("does not take it") && text.contains("under_scored"), "{text}");
}
