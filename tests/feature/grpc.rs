//! gRPC programs get resources in a form of their own, beside Envoys that see the same services.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::local::Local,
};
use portolan::{
    pb::envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    },
    resource::Kind,
};
use prost_of_xds_api::Message;
use tonic::transport::{Channel, Endpoint};
use xds_api::pb::envoy::config::{
    cluster::v3::{Cluster, cluster::LbPolicy},
    endpoint::v3::ClusterLoadAssignment,
};

const CLUSTER: &str = "outbound|9090||orders.example";

const SERVICES: &str = "
services:
- host: orders.example
  ports: [{ name: grpc, port: 9090 }]
  endpoints: [\"10.0.0.1:9090\", \"unix:/run/orders.sock\"]
";

/// The policy of the cluster, and how many endpoints it has, for a client with that `user_agent_name`.
async fn seen_by(agent: &str, channel: Channel) -> (LbPolicy, usize) {
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    let node = Node { id: agent.into(), user_agent_name: agent.into(), ..Node::default() };
    let first = DeltaDiscoveryRequest { node: Some(node), ..delta_request(Kind::Cluster, &[CLUSTER], &[]) };
    stream.request(first).await;
    let clusters = stream.message().await.unwrap().expect("clusters");
    stream.ask(Kind::Endpoint, &[CLUSTER], &[]).await;
    let assignments = stream.message().await.unwrap().expect("assignments");
    let body = |of: &DeltaDiscoveryResponse| of.resources[0].resource.as_ref().expect("a body").value.clone();
    let cluster = Cluster::decode(&*body(&clusters)).unwrap();
    let assignment = ClusterLoadAssignment::decode(&*body(&assignments)).unwrap();
    (cluster.lb_policy(), assignment.endpoints.iter().map(|group| group.lb_endpoints.len()).sum())
}

#[tokio::test]
async fn a_grpc_program_gets_what_every_grpc_library_takes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    std::fs::write(&file, SERVICES).unwrap();
    let portolan =
        Local::start(&format!("registries:\n- name: files\n  file: {{ path: '{}' }}\n", file.display())).await;
    portolan.ready().await;
    let channel = Endpoint::from_shared(format!("http://{}", portolan.xds)).unwrap().connect().await.unwrap();
    for agent in ["gRPC C-core linux", "gRPC Go", "gRPC Java", "gRPC Node Pure JS"] {
        assert_eq!(seen_by(agent, channel.clone()).await, (LbPolicy::RoundRobin, 1), "{agent}");
    }
    assert_eq!(seen_by("envoy", channel).await, (LbPolicy::LeastRequest, 2));
    let told = portolan.json("/api/v1/rejected").await.to_string();
    assert!(told.contains("\"unix_for_grpc\"") && told.contains("\"view\":\"grpc\""), "{told}");
}
