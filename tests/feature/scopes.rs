//! Who sees what: clients of different scopes beside each other, and a configuration that moves them.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::{local::Local, until},
};
use portolan::{
    pb::envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    },
    resource::Kind,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

const PUBLIC: &str = "
services:
- host: orders.example
  labels: { short: orders }
  endpoints: [\"10.0.0.1:80\"]
- host: users.example
  endpoints: [\"10.0.0.2:80\"]
";

const SECRET: &str = "
services:
- host: payroll.example
  endpoints: [\"10.0.0.3:80\"]
- host: audit.example
  labels: { portolan-scopes: hr }
  endpoints: [\"10.0.0.4:80\"]
";

/// The registries and scopes; `edge` is what the scope of that name has besides its name and clients.
fn config(folder: &std::path::Path, edge: &str, rest: &str) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    format!(
        "registries:
- {{ name: public, file: {{ path: '{}' }}, publish: {{ aliases: '{{label:short}}' }} }}
- {{ name: secret, file: {{ path: '{}' }}, visible_to: [hr, all] }}
scopes:
- {{ name: edge, match: {{ cluster: edge }}, {edge} }}
- {{ name: hr, match: {{ id: 'hr-*' }}, registries: secret }}
{rest}
",
        path("public.yaml"),
        path("secret.yaml")
    )
}

struct Client {
    stream: Delta,
    clusters: BTreeSet<String>,
}

impl Client {
    async fn connect(channel: Channel, id: &str, cluster: &str) -> Client {
        let stream = Delta::open(channel, ADS_DELTA).await;
        let node = Node { id: id.into(), cluster: cluster.into(), ..Node::default() };
        let first = DeltaDiscoveryRequest { node: Some(node), ..delta_request(Kind::Cluster, &["*"], &[]) };
        stream.request(first).await;
        Client { stream, clusters: BTreeSet::new() }
    }

    fn take(&mut self, answer: &DeltaDiscoveryResponse) {
        self.clusters.extend(answer.resources.iter().map(|resource| resource.name.clone()));
        self.clusters.retain(|name| !answer.removed_resources.contains(name));
    }

    /// Takes answers until it has the clusters of exactly these hosts.
    async fn has(&mut self, hosts: &[&str]) {
        let expected: BTreeSet<String> = hosts.iter().map(|host| format!("outbound|80||{host}")).collect();
        while self.clusters != expected {
            let answer = timeout(Duration::from_secs(60), self.stream.message()).await;
            let answer = answer.unwrap_or_else(|_| panic!("{:?} are there, {expected:?} are not", self.clusters));
            let answer = answer.expect("an answer").expect("a stream that goes on");
            self.take(&answer);
            let acknowledgement =
                DeltaDiscoveryRequest { response_nonce: answer.nonce, ..delta_request(Kind::Cluster, &[], &[]) };
            self.stream.request(acknowledgement).await;
        }
    }
}

async fn start(edge: &str, rest: &str) -> (Local, tempfile::TempDir, Channel) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("public.yaml"), PUBLIC).unwrap();
    std::fs::write(folder.path().join("secret.yaml"), SECRET).unwrap();
    let portolan = Local::start(&config(folder.path(), edge, rest)).await;
    portolan.ready().await;
    let channel = Endpoint::from_shared(format!("http://{}", portolan.xds)).unwrap().connect().await.unwrap();
    (portolan, folder, channel)
}

#[tokio::test]
async fn each_client_sees_its_scope_and_a_reload_moves_open_streams() {
    let (portolan, folder, channel) = start("aliases: false", "").await;
    let mut edge = Client::connect(channel.clone(), "e-1", "edge").await;
    let mut hr = Client::connect(channel.clone(), "hr-1", "").await;
    let mut other = Client::connect(channel.clone(), "x", "").await;
    edge.has(&["orders.example", "users.example"]).await;
    hr.has(&["payroll.example", "audit.example"]).await;
    other.has(&["orders.example", "orders", "users.example", "payroll.example"]).await;

    let clients = portolan.json("/api/v1/clients").await;
    let shown = |id: &str| {
        let found = clients["clients"].as_array().unwrap().iter().find(|client| client["node"]["id"] == id).unwrap();
        (found["view"].as_str().unwrap().to_owned(), found["why"].as_str().unwrap().to_owned())
    };
    assert_eq!(shown("e-1"), ("envoy/edge".into(), "cluster \"edge\"".into()));
    assert_eq!(shown("hr-1"), ("envoy/hr".into(), "id \"hr-*\"".into()));
    assert_eq!(shown("x"), ("envoy/all".into(), "no rule fits".into()));

    // The selection of a scope changes, and whose it is.
    let config = config(folder.path(), "include: [users*]", "- { name: rest, registries: [public], level: clusters }");
    portolan.reconfigure(&config);
    edge.has(&["users.example"]).await;
    other.has(&["orders.example", "orders", "users.example"]).await;
    hr.stream.nothing_more().await;
    until("the view of each client", Duration::from_secs(60), || async {
        let clients = portolan.json("/api/v1/clients").await.to_string();
        if clients.contains("envoy/rest") && !clients.contains("envoy/all") { Ok(()) } else { Err(clients) }
    })
    .await;
}

#[tokio::test]
async fn what_is_hidden_looks_like_what_does_not_exist() {
    let (_portolan, _folder, channel) = start("", "").await;
    let mut answers = Vec::new();
    for name in ["outbound|80||payroll.example", "outbound|80||nothing.example"] {
        let stream = Delta::open(channel.clone(), ADS_DELTA).await;
        let node = Node { cluster: "edge".into(), ..Node::default() };
        let versions = [(name.to_owned(), "0123456789abcdef".to_owned())].into();
        let first = DeltaDiscoveryRequest {
            node: Some(node),
            initial_resource_versions: versions,
            ..delta_request(Kind::Cluster, &[name], &[])
        };
        stream.request(first).await;
        let mut stream = stream;
        let answer = stream.message().await.unwrap().expect("an answer");
        assert_eq!((answer.resources.len(), &answer.removed_resources[..]), (0, &[name.to_owned()][..]));
        answers.push((answer.nonce, answer.type_url, answer.control_plane));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn who_fits_no_scope_is_refused_where_that_is_set_and_ends_when_it_becomes_so() {
    let (portolan, folder, channel) = start("", "").await;
    let mut other = Client::connect(channel.clone(), "x", "").await;
    let mut edge = Client::connect(channel.clone(), "e-1", "edge").await;
    other.has(&["orders.example", "orders", "users.example", "payroll.example"]).await;
    portolan.reconfigure_with("unmatched: refuse", &config(folder.path(), "", ""));
    let status = other.stream.end().await;
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "this client may not subscribe"));
    let mut again = Client::connect(channel, "x", "").await;
    assert_eq!(again.stream.end().await.code(), Code::PermissionDenied);
    edge.has(&["orders.example", "orders", "users.example"]).await;
}
