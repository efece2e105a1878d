//! How services are translated. The configuration makes these options, the same for all services.

use super::{ClusterName, Zones};
use crate::resource::Variant;
use std::time::Duration;

/// Everything that clusters and assignments depend on besides their service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How clusters are named. `outbound|{port}||{host}` by default, as Istio does it.
    pub cluster_name: ClusterName,
    /// What becomes of endpoints that do not serve. Marked by default.
    pub unhealthy: Unhealthy,
    /// How long Envoy waits for a new connection to an endpoint. 5 s by default.
    pub connect_timeout: Duration,
    /// How Envoy chooses an endpoint. By the least requests by default.
    pub lb_policy: LbPolicy,
    /// Where Envoy asks for the endpoints of a cluster. On the aggregated stream by default, and gRPC programs always.
    pub eds: Eds,
    /// How places relate, where what is near comes first.
    pub zones: Zones,
    /// Whether gRPC programs are the takers. Set by [`Options::for_grpc`].
    pub grpc: bool,
}

impl Options {
    /// The same in the form that every gRPC library takes: `LEAST_REQUEST`, `RANDOM` and `MAGLEV`, a unix socket, and a cluster of
    /// DNS names are each refused by at least one, always with the whole resource.
    pub fn for_grpc(&self) -> Options {
        let lb_policy = match self.lb_policy {
            LbPolicy::RingHash => LbPolicy::RingHash,
            LbPolicy::LeastRequest | LbPolicy::RoundRobin | LbPolicy::Random | LbPolicy::Maglev => LbPolicy::RoundRobin,
        };
        // They know no cluster of their own.
        let zones = Zones { own_cluster: None, ..self.zones.clone() };
        Options { lb_policy, eds: Eds::Ads, zones, grpc: true, ..self.clone() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cluster_name: ClusterName::default(),
            unhealthy: Unhealthy::default(),
            connect_timeout: Duration::from_secs(5),
            lb_policy: LbPolicy::default(),
            eds: Eds::default(),
            zones: Zones::default(),
            grpc: false,
        }
    }
}

/// What becomes of endpoints that are unhealthy or draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unhealthy {
    /// They are sent with their health status: Envoy's admin page shows them, and connections to them end gently.
    #[default]
    Mark,
    /// They are left out.
    Omit,
}

impl Unhealthy {
    /// Each once, in the order of their declaration.
    pub const ALL: [Unhealthy; 2] = [Unhealthy::Mark, Unhealthy::Omit];

    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Unhealthy::Mark => "mark",
            Unhealthy::Omit => "omit",
        }
    }
}

/// Where Envoy asks for the endpoints of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Eds {
    /// On the aggregated stream, which an Envoy without `ads_config` has not: it refuses such clusters.
    #[default]
    Ads,
    /// On a stream of its own, for Envoys whose `cds_config` is no `ads`. (None of them takes `self`.)
    Stream {
        /// The cluster by which Envoys reach Portolan, as their bootstraps call it.
        cluster: String,
        /// The variant of the protocol on that stream.
        variant: Variant,
    },
}

/// How an endpoint is chosen for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LbPolicy {
    /// The one of two with fewer requests in flight; a slow instance gets less.
    #[default]
    LeastRequest,
    /// One after the other, by weight.
    RoundRobin,
    /// Any one, by weight.
    Random,
    /// By the hash of something in the request, on a ring. Routes say of what.
    RingHash,
    /// By such a hash, in a table: faster than a ring, but a change of endpoints moves more requests.
    Maglev,
}

impl LbPolicy {
    /// Each once, in the order of their declaration.
    pub const ALL: [LbPolicy; 5] =
        [LbPolicy::LeastRequest, LbPolicy::RoundRobin, LbPolicy::Random, LbPolicy::RingHash, LbPolicy::Maglev];

    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            LbPolicy::LeastRequest => "least_request",
            LbPolicy::RoundRobin => "round_robin",
            LbPolicy::Random => "random",
            LbPolicy::RingHash => "ring_hash",
            LbPolicy::Maglev => "maglev",
        }
    }
}
