//! Clusters that are no services.

use super::mesh::Mesh;
use crate::{
    pb::{
        envoy::config::cluster::v3::{
            Cluster,
            cluster::{DiscoveryType, LbPolicy},
        },
        google::protobuf::Duration,
    },
    resource::{Kind, Resource},
};
use prost::Message;

/// Where a connection was meant to go.
pub(super) const PASSTHROUGH: &str = "PassthroughCluster";

/// Nowhere.
pub(super) const BLACK_HOLE: &str = "BlackHoleCluster";

/// Both clusters.
pub(super) fn clusters(mesh: &Mesh) -> [(Kind, Resource); 2] {
    [
        (PASSTHROUGH, DiscoveryType::OriginalDst, LbPolicy::ClusterProvided),
        (BLACK_HOLE, DiscoveryType::Static, LbPolicy::RoundRobin),
    ]
    .map(|(name, kind, policy)| {
        let cluster = Cluster {
            name: name.to_owned(),
            r#type: kind.into(),
            connect_timeout: Some(time(mesh.connect_timeout)),
            lb_policy: policy.into(),
            ..Cluster::default()
        };
        (Kind::Cluster, Resource::new(Kind::Cluster, name.into(), &cluster.encode_to_vec(), None))
    })
}

pub(super) fn time(time: std::time::Duration) -> Duration {
    Duration { seconds: time.as_secs().cast_signed(), nanos: time.subsec_nanos().cast_signed() }
}
