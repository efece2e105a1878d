//! Clusters that are no services.

use super::{
    cluster::unlimited,
    mesh::Mesh,
    message::{seconds, time},
};
use crate::{
    pb::envoy::{
        config::{
            cluster::v3::{
                CircuitBreakers, Cluster,
                cluster::{DiscoveryType, LbPolicy},
            },
            core::v3::{Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as Common},
        },
        extensions::upstreams::http::v3::{
            HttpProtocolOptions,
            http_protocol_options::{UpstreamProtocolOptions, UseDownstreamHttpConfig},
        },
    },
    resource::{Kind, Resource},
    translate::envoy::with_options,
};
use prost::Message;

/// Where a connection was meant to go.
pub(super) const PASSTHROUGH: &str = "PassthroughCluster";

/// The cluster without endpoints where what is not known goes, as Istio names it.
pub(super) const BLACK_HOLE: &str = "BlackHoleCluster";

/// How long a connection to an address that nobody knows may be idle: Istio's 5 min, not Envoy's hour.
const PASSTHROUGH_IDLE: i64 = 300;

/// `PassthroughCluster` and `BlackHoleCluster`.
pub(super) fn clusters(mesh: &Mesh) -> [(Kind, Resource); 2] {
    let cluster = |name: &str, kind: DiscoveryType, policy: LbPolicy| Cluster {
        name: name.to_owned(),
        r#type: kind.into(),
        connect_timeout: Some(time(mesh.connect_timeout)),
        lb_policy: policy.into(),
        ..Cluster::default()
    };
    let passthrough = Cluster {
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![unlimited()] }),
        typed_extension_protocol_options: with_options(&as_it_comes()),
        ..cluster(PASSTHROUGH, DiscoveryType::OriginalDst, LbPolicy::ClusterProvided)
    };
    [passthrough, cluster(BLACK_HOLE, DiscoveryType::Static, LbPolicy::RoundRobin)].map(|cluster| {
        let resource = Resource::new(Kind::Cluster, cluster.name.as_str().into(), &cluster.encode_to_vec(), None);
        (Kind::Cluster, resource)
    })
}

/// What nobody knows is spoken to as the program speaks.
fn as_it_comes() -> HttpProtocolOptions {
    let downstream = UseDownstreamHttpConfig {
        http_protocol_options: Some(Http1ProtocolOptions::default()),
        http2_protocol_options: Some(Http2ProtocolOptions::default()),
    };
    HttpProtocolOptions {
        common_http_protocol_options: Some(Common { idle_timeout: seconds(PASSTHROUGH_IDLE), ..Common::default() }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(downstream)),
        ..HttpProtocolOptions::default()
    }
}
