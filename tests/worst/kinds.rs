//! Clients of all kinds as they are in a mesh: each follows one service, and a gateway one route besides. Now and then each comes
//! anew, with what a new one asks.

use crate::client::{ADS_DELTA, ADS_SOTW, Delta, Sotw};
use portolan::{
    pb::{
        envoy::{
            config::{core::v3::Node, endpoint::v3::ClusterLoadAssignment},
            service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
        },
        google::protobuf::{Struct, Value},
        istio::{mcp::v1alpha1::Resource as Envelope, networking::v1alpha3::ServiceEntry},
    },
    resource::Kind,
};
use prost::Message;
use prost_of_xds_api::Message as _;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tonic::transport::{Channel, Endpoint};
use xds_api::pb::envoy::config::route::v3::{RouteConfiguration, route::Action};

/// The service that they follow.
pub const HOST: &str = "s0.example";
const CLUSTER: &str = "outbound|80||s0.example";
/// Clusters whose endpoints Envoys ask for by name, that of [`HOST`] included.
const OTHERS: usize = 50;
const ENTRY: &str = "portolan/s0.example";

/// The kinds of clients in a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// An Envoy that has all clusters and the endpoints of some, incrementally.
    EnvoyDelta,
    /// An Envoy like that, in state of the world.
    EnvoySotw,
    /// A program without a proxy.
    Grpc,
    /// A gateway with listeners, routes, and what these lead to.
    Gateway,
    /// An Istiod, which has a list of everything.
    Istiod,
}

/// What a client knows by now.
#[derive(Debug, Default)]
pub struct Seen {
    /// Instances of [`HOST`].
    pub instances: AtomicUsize,
    /// Timeout of the gateway's route, in seconds.
    pub timeout: AtomicUsize,
}

impl Sort {
    /// The kind of the client with this number. One of forty is an Istiod.
    pub fn of(number: usize) -> Sort {
        match number % 40 {
            39 => Sort::Istiod,
            n => [Sort::EnvoyDelta, Sort::EnvoySotw, Sort::Grpc, Sort::Gateway][n % 4],
        }
    }

    fn node(self, number: usize) -> Node {
        let text = |text: &str| Value { string_value: Some(text.into()), ..Value::default() };
        let labels = Struct { fields: BTreeMap::from([("istio".to_owned(), text("edge"))]) };
        let (id, agent, fields) = match self {
            Sort::EnvoyDelta | Sort::EnvoySotw => (format!("envoy-{number}"), "envoy", BTreeMap::new()),
            Sort::Grpc => (format!("grpc-{number}"), "gRPC Go", BTreeMap::new()),
            Sort::Gateway => {
                let labels = Value { struct_value: Some(labels), ..Value::default() };
                let id = format!("router~10.1.0.{}~edge-{number}.shop~shop.svc.cluster.local", number % 250);
                (id, "envoy", BTreeMap::from([("LABELS".to_owned(), labels)]))
            }
            Sort::Istiod => {
                let id = format!("sidecar~10.2.0.{}~istiod-{number}.istio-system~istio-system.svc", number % 250);
                (id, "", BTreeMap::from([("GENERATOR".to_owned(), text("api"))]))
            }
        };
        Node { id, user_agent_name: agent.into(), metadata: Some(Struct { fields }), ..Node::default() }
    }

    /// Kinds and names of its first requests. No names ask for everything.
    fn asks(self) -> Vec<(Kind, Vec<String>)> {
        let named = || (0..OTHERS).map(|service| format!("outbound|80||s{service}.example")).collect();
        match self {
            Sort::EnvoyDelta | Sort::EnvoySotw => vec![(Kind::Cluster, Vec::new()), (Kind::Endpoint, named())],
            Sort::Grpc => [Kind::Cluster, Kind::Endpoint].map(|kind| (kind, vec![CLUSTER.to_owned()])).into(),
            Sort::Gateway => vec![
                (Kind::Cluster, Vec::new()),
                (Kind::Endpoint, vec![CLUSTER.to_owned()]),
                (Kind::Listener, Vec::new()),
                (Kind::Route, vec!["http.8080".to_owned()]),
            ],
            Sort::Istiod => vec![(Kind::ServiceEntry, Vec::new())],
        }
    }

    fn is_delta(self, number: usize) -> bool {
        match self {
            Sort::EnvoyDelta => true,
            Sort::Gateway => number % 8 < 4,
            Sort::EnvoySotw | Sort::Grpc | Sort::Istiod => false,
        }
    }
}

impl Seen {
    fn hear(&self, type_url: &str, value: &[u8]) {
        let instances = |number: usize| self.instances.store(number, Ordering::Relaxed);
        match Kind::of(type_url) {
            Some(Kind::Endpoint) => {
                let assignment: ClusterLoadAssignment = Message::decode(value).unwrap();
                if assignment.cluster_name == CLUSTER {
                    instances(assignment.endpoints.iter().map(|locality| locality.lb_endpoints.len()).sum());
                }
            }
            Some(Kind::ServiceEntry) => {
                let envelope: Envelope = Message::decode(value).unwrap();
                if envelope.metadata.is_some_and(|metadata| metadata.name == ENTRY) {
                    let entry: ServiceEntry = Message::decode(&*envelope.body.unwrap().value).unwrap();
                    instances(entry.endpoints.len());
                }
            }
            Some(Kind::Route) => {
                let routes = RouteConfiguration::decode(value).unwrap();
                let mut actions = routes.virtual_hosts.iter().flat_map(|host| &host.routes).filter_map(|route| {
                    let Some(Action::Route(action)) = &route.action else { return None };
                    action.timeout
                });
                if let Some(timeout) = actions.next() {
                    self.timeout.store(usize::try_from(timeout.seconds).unwrap(), Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}

/// Follows until it is aborted, with a new stream after 50 to 99 answers. Panics when the server ends its stream.
pub async fn client(xds: SocketAddr, number: usize, seen: Arc<Seen>) {
    let sort = Sort::of(number);
    for round in 0.. {
        let channel = Endpoint::from_shared(format!("http://{xds}")).unwrap().connect().await.unwrap();
        let most = 50 + (number + round) % 50;
        if sort.is_delta(number) {
            delta(channel, sort, number, most, &seen).await;
        } else {
            sotw(channel, sort, number, most, &seen).await;
        }
    }
}

async fn delta(channel: Channel, sort: Sort, number: usize, most: usize, seen: &Seen) {
    let node = sort.node(number);
    let request = |type_url: &str| DeltaDiscoveryRequest {
        node: Some(node.clone()),
        type_url: type_url.into(),
        ..DeltaDiscoveryRequest::default()
    };
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    for (kind, names) in sort.asks() {
        let names = if names.is_empty() { vec!["*".to_owned()] } else { names };
        stream.request(DeltaDiscoveryRequest { resource_names_subscribe: names, ..request(kind.type_url()) }).await;
    }
    for _ in 0..most {
        let answer = stream.message().await.unwrap().expect("the stream goes on");
        let bodies = answer.resources.iter().filter_map(|item| item.resource.as_ref());
        bodies.for_each(|any| seen.hear(&answer.type_url, &any.value));
        stream.request(DeltaDiscoveryRequest { response_nonce: answer.nonce, ..request(&answer.type_url) }).await;
    }
}

async fn sotw(channel: Channel, sort: Sort, number: usize, most: usize, seen: &Seen) {
    let (node, asks) = (sort.node(number), sort.asks());
    let request = |type_url: &str| DiscoveryRequest {
        node: Some(node.clone()),
        resource_names: asks
            .iter()
            .find(|(kind, _)| Kind::of(type_url) == Some(*kind))
            .map(|(_, names)| names.clone())
            .unwrap_or_default(),
        type_url: type_url.into(),
        ..DiscoveryRequest::default()
    };
    let mut stream = Sotw::open(channel, ADS_SOTW).await;
    for (kind, _) in &asks {
        stream.request(request(kind.type_url())).await;
    }
    for _ in 0..most {
        let answer = stream.message().await.unwrap().expect("the stream goes on");
        answer.resources.iter().for_each(|any| seen.hear(&answer.type_url, &any.value));
        let acknowledged = request(&answer.type_url);
        let (version_info, response_nonce) = (answer.version_info, answer.nonce);
        stream.request(DiscoveryRequest { version_info, response_nonce, ..acknowledged }).await;
    }
}
