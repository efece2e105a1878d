//! What nodes declare: clients with different lists beside each other, in state of the world and incrementally.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::{local::Local, until},
};
use portolan::{
    pb::{
        envoy::{config::core::v3::Node, service::discovery::v3::DeltaDiscoveryRequest},
        google::protobuf::{ListValue, Struct, Value},
    },
    resource::Kind,
};
use std::{collections::BTreeSet, path::Path, time::Duration};
use tokio::time::timeout;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

fn value(json: &serde_json::Value) -> Value {
    let mut value = Value::default();
    match json {
        serde_json::Value::Null => {}
        serde_json::Value::Bool(yes) => value.bool_value = Some(*yes),
        serde_json::Value::Number(number) => value.number_value = number.as_f64(),
        serde_json::Value::String(text) => value.string_value = Some(text.clone()),
        serde_json::Value::Array(items) => {
            value.list_value = Some(ListValue { values: items.iter().map(self::value).collect() });
        }
        serde_json::Value::Object(fields) => {
            let fields = fields.iter().map(|(key, json)| (key.clone(), self::value(json))).collect();
            value.struct_value = Some(Struct { fields });
        }
    }
    value
}

fn node(id: &str, metadata: serde_json::Value) -> Node {
    Node { id: id.into(), metadata: value(&metadata).struct_value, ..Node::default() }
}

/// A client that follows clusters and the assignments of all of them.
struct Client {
    stream: Delta,
    clusters: BTreeSet<String>,
}

impl Client {
    async fn connect(channel: &Channel, node: Node) -> Client {
        let stream = Delta::open(channel.clone(), ADS_DELTA).await;
        stream.request(DeltaDiscoveryRequest { node: Some(node), ..delta_request(Kind::Cluster, &["*"], &[]) }).await;
        Client { stream, clusters: BTreeSet::new() }
    }

    async fn has(&mut self, hosts: &[&str]) {
        let expected: BTreeSet<String> = hosts.iter().map(|host| format!("outbound|80||{host}")).collect();
        while self.clusters != expected {
            let answer = timeout(Duration::from_secs(60), self.stream.message()).await;
            let answer = answer.unwrap_or_else(|_| panic!("{:?} are there, {expected:?} are not", self.clusters));
            let answer = answer.expect("an answer").expect("a stream that goes on");
            self.clusters.extend(answer.resources.iter().map(|resource| resource.name.clone()));
            self.clusters.retain(|name| !answer.removed_resources.contains(name));
            let acknowledgement =
                DeltaDiscoveryRequest { response_nonce: answer.nonce, ..delta_request(Kind::Cluster, &[], &[]) };
            self.stream.request(acknowledgement).await;
        }
    }
}

fn write(folder: &Path, services: &[&str]) {
    let service = |name: &&str| {
        format!("- {{ host: {name}.example, labels: {{ short: {name} }}, endpoints: [\"10.0.0.1:80\"] }}\n")
    };
    let text: String = services.iter().map(service).collect();
    std::fs::write(folder.join("new"), format!("services:\n{text}")).unwrap();
    std::fs::rename(folder.join("new"), folder.join("services.yaml")).unwrap();
}

fn config(folder: &Path, declared: &str) -> String {
    let path = folder.join("services.yaml");
    format!(
        "registries:
- name: files
  file: {{ path: '{}' }}
  publish: {{ aliases: '{{label:short}}', max_drop: 100%, linger: 0s }}
scopes: [{{ name: sidecars, aliases: false, declared: {declared} }}]",
        path.display()
    )
}

async fn start(declared: &str, services: &[&str]) -> (Local, tempfile::TempDir, Channel) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), services);
    let portolan = Local::start(&config(folder.path(), declared)).await;
    portolan.ready().await;
    let channel = Endpoint::from_shared(format!("http://{}", portolan.xds)).unwrap().connect().await.unwrap();
    (portolan, folder, channel)
}

/// A counter or gauge of the parts of Envoys' views.
async fn metric(portolan: &Local, name: &str) -> u64 {
    let (_, text) = portolan.get("/metrics").await;
    let line = text.lines().find(|line| line.starts_with(&format!("portolan_{name}{{dialect=\"envoy\"")));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |number| number.parse().unwrap())
}

#[tokio::test]
async fn each_client_has_what_it_declares_and_a_change_wakes_those_who_want_it() {
    let (portolan, folder, channel) = start("true", &["a", "b", "c"]).await;
    let own = serde_json::json!({ "portolan": { "services": ["a", "b.example", "later"] } });
    let theirs = serde_json::json!({ "proxy_settings": { "outgoing": { "dependencies": [{ "service": "c" }] } } });
    let mut one = Client::connect(&channel, node("one", own.clone())).await;
    let mut same = Client::connect(&channel, node("same", own)).await;
    let mut two = Client::connect(&channel, node("two", theirs)).await;
    let mut none = Client::connect(&channel, node("none", serde_json::json!({}))).await;
    one.has(&["a.example", "b.example"]).await;
    same.has(&["a.example", "b.example"]).await;
    two.has(&["c.example"]).await;
    none.has(&[]).await;
    assert_eq!(metric(&portolan, "views_parts").await, 3, "equal lists are one part");
    let clients = portolan.json("/api/v1/clients").await.to_string();
    assert!(clients.contains("its rule fits every client; declares 3 services"), "{clients}");

    // A service that was declared before it came; and one that goes.
    let before = metric(&portolan, "views_part_generations_total").await;
    write(folder.path(), &["a", "b", "c", "later", "unwanted"]);
    one.has(&["a.example", "b.example", "later.example"]).await;
    same.has(&["a.example", "b.example", "later.example"]).await;
    two.stream.nothing_more().await;
    assert_eq!(metric(&portolan, "views_part_generations_total").await - before, 1, "for the one part");
    write(folder.path(), &["a", "later"]);
    one.has(&["a.example", "later.example"]).await;
    two.has(&[]).await;

    // A list that is no longer asked for: all of the scope for everybody.
    portolan.reconfigure(&config(folder.path(), "false"));
    for client in [&mut one, &mut same, &mut two, &mut none] {
        client.has(&["a.example", "later.example"]).await;
    }
    let settings = "{ undeclared: refuse, services: later, wildcard: false }";
    portolan.reconfigure(&config(folder.path(), settings));
    one.has(&["a.example", "later.example"]).await;
    two.has(&["later.example"]).await;
    let status = none.stream.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("declares no services"), "{status}");
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_stream_with_the_reason_and_gets_nothing() {
    let (portolan, _folder, channel) = start("{ wildcard: false, undeclared: all }", &["a"]).await;
    let dependencies =
        |list: serde_json::Value| serde_json::json!({ "proxy_settings": { "outgoing": { "dependencies": list } } });
    let many: Vec<_> = (0..10_000).map(|n| serde_json::json!({ "service": format!("s{n}") })).collect();
    let long = "x".repeat(1 << 20);
    for (metadata, why) in [
        (dependencies(serde_json::json!([{ "service": "a", "domain": "http://b" }])), "Define one of: 'service'"),
        (dependencies(serde_json::json!([{ "service": "*" }])), "not allowed in this scope"),
        (serde_json::json!({ "portolan": { "services": { "a": true } } }), "portolan.services must be a list"),
        (serde_json::json!({ "x": long }), "more than 512 KiB"),
    ] {
        let mut client = Client::connect(&channel, node("wrong", metadata)).await;
        let status = client.stream.end().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with("node.metadata: ") && status.message().contains(why), "{status}");
    }
    let mut client = Client::connect(&channel, node("many", dependencies(many.into()))).await;
    client.has(&[]).await;
    until("the part is gone with its client", Duration::from_secs(60), || async {
        let clients = portolan.json("/api/v1/clients").await;
        if clients["total"] == 1 { Ok(()) } else { Err(clients.to_string()) }
    })
    .await;
}
