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

/// The cluster whose connections go to their original destination, as Istio names it.
pub(super) const PASSTHROUGH: &str = "PassthroughCluster";

/// The cluster without endpoints, where connections to unknown addresses end, as Istio names it.
pub(super) const BLACK_HOLE: &str = "BlackHoleCluster";

/// How long a connection to an unknown address may be idle, in seconds: as in Istio, where Envoy has an hour.
const PASSTHROUGH_IDLE: i64 = 300;

/// The clusters [`PASSTHROUGH`] and [`BLACK_HOLE`].
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

/// The HTTP options of [`PASSTHROUGH`]: the version of HTTP that the program speaks.
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
