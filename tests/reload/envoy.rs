//! A client that does what an Envoy does with clusters and assignments, and remembers every endpoint that it ever lost.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::until,
    world::{LIMIT, World},
};
use portolan::{
    pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    resource::Kind,
};
use prost_of_xds_api::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{task::JoinHandle, time::timeout};
use tonic::transport::Endpoint;
use xds_api::pb::envoy::config::{
    cluster::v3::Cluster,
    core::v3::{address::Address, socket_address::PortSpecifier},
    endpoint::v3::{ClusterLoadAssignment, lb_endpoint::HostIdentifier},
};

/// Name of a cluster, and `address:port` of one of its endpoints.
pub type Known = (String, String);

/// What the client has, and what it went through.
#[derive(Debug, Default)]
pub struct Seen {
    /// Clusters, with the names of their assignments.
    clusters: BTreeMap<String, String>,
    assignments: BTreeMap<String, BTreeSet<String>>,
    /// Endpoints of clusters that were there and went, in order.
    pub lost: Vec<Known>,
    /// Number of responses received.
    pub answers: usize,
    /// Why the stream ended, if it did.
    pub ended: Option<String>,
}

/// A connected client. Ends when it is dropped.
pub struct Envoy {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Envoy {
    /// Connects to a running Portolan.
    pub async fn connect(world: &World) -> Envoy {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let endpoint = Endpoint::from_shared(format!("http://{}", world.xds)).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let mut stream = Delta::open(channel, ADS_DELTA).await;
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            stream.ask(Kind::Cluster, &["*"], &[]).await;
            loop {
                // Silence is no failure of this client.
                let Ok(result) = timeout(Duration::from_secs(1), stream.message()).await else { continue };
                let answer = match result {
                    Ok(Some(answer)) => answer,
                    ended => return noted.lock().unwrap().ended = Some(format!("{ended:?}")),
                };
                let requests = noted.lock().unwrap().take(&answer);
                for request in requests {
                    stream.request(request).await;
                }
            }
        });
        Envoy { seen, task }
    }

    /// Looks at what the client has, and what it went through.
    pub fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    /// Waits until it has exactly these clusters and endpoints.
    pub async fn has(&self, expected: &BTreeMap<String, Vec<String>>) {
        until("the client to have what is served", LIMIT, || async {
            let has = self.seen(Seen::endpoints);
            if has == *expected { Ok(()) } else { Err((has, expected.clone())) }
        })
        .await;
    }

    /// The endpoints that it lost since this was last asked.
    pub fn take_lost(&self) -> Vec<Known> {
        std::mem::take(&mut self.seen.lock().unwrap().lost)
    }
}

impl Seen {
    /// The endpoints (`address:port`) of each cluster, by its name.
    pub fn endpoints(&self) -> BTreeMap<String, Vec<String>> {
        let of = |service: &String| self.assignments.get(service).into_iter().flatten().cloned().collect();
        self.clusters.iter().map(|(cluster, service)| (cluster.clone(), of(service))).collect()
    }

    /// Takes an answer in, and says what is asked next: the acknowledgement, and assignments of clusters that are new.
    fn take(&mut self, answer: &DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
        let before = self.endpoints();
        self.answers += 1;
        let kind = Kind::of(&answer.type_url).expect("a known type URL");
        let acknowledgement =
            DeltaDiscoveryRequest { response_nonce: answer.nonce.clone(), ..delta_request(kind, &[], &[]) };
        let mut requests = vec![acknowledgement];
        for resource in &answer.resources {
            let body = &*resource.resource.as_ref().expect("a body").value;
            if kind == Kind::Cluster {
                let cluster = Cluster::decode(body).unwrap();
                let service = service_name(&cluster);
                if !self.clusters.values().any(|known| *known == service) {
                    requests.push(delta_request(Kind::Endpoint, &[&service], &[]));
                }
                self.clusters.insert(cluster.name, service);
            } else {
                let assignment = ClusterLoadAssignment::decode(body).unwrap();
                let endpoints = assignment.endpoints.iter().flat_map(|group| &group.lb_endpoints);
                self.assignments.insert(assignment.cluster_name.clone(), endpoints.filter_map(address).collect());
            }
        }
        for name in &answer.removed_resources {
            if kind != Kind::Cluster {
                self.assignments.remove(name);
            } else if let Some(service) = self.clusters.remove(name)
                && !self.clusters.values().any(|known| *known == service)
            {
                self.assignments.remove(&service);
                requests.push(delta_request(Kind::Endpoint, &[], &[&service]));
            }
        }
        let after = self.endpoints();
        for (cluster, endpoints) in before {
            let left = after.get(&cluster);
            let gone = endpoints.into_iter().filter(|endpoint| !left.is_some_and(|left| left.contains(endpoint)));
            self.lost.extend(gone.map(|endpoint| (cluster.clone(), endpoint)));
        }
        requests
    }
}

fn service_name(cluster: &Cluster) -> String {
    let eds = cluster.eds_cluster_config.as_ref().map(|eds| eds.service_name.clone()).unwrap_or_default();
    if eds.is_empty() { cluster.name.clone() } else { eds }
}

fn address(endpoint: &xds_api::pb::envoy::config::endpoint::v3::LbEndpoint) -> Option<String> {
    let HostIdentifier::Endpoint(endpoint) = endpoint.host_identifier.as_ref()? else { return None };
    let Address::SocketAddress(socket) = endpoint.address.as_ref()?.address.as_ref()? else { return None };
    let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else { return None };
    Some(format!("{}:{port}", socket.address))
}
