//! What the configuration asks for a service that Istio has no field for.

use crate::model::{Port, Text};
use std::time::Duration;

/// The keys `rate_limit` and `health_check` that the configuration sets for a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Beyond {
    /// How many requests each proxy lets through to the service. `None`: no limit.
    pub limit: Option<Limit>,
    /// How proxies find out by themselves which of its instances serve. `None`: they do not check.
    pub health_check: Option<HealthCheck>,
}

/// How many requests one proxy lets through. It answers the others itself, with 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit {
    /// How many requests are allowed again each time `per` has passed.
    pub requests: u32,
    /// After how long `requests` more are allowed, in whole seconds.
    pub per: Duration,
    /// How many requests are allowed at once, after a quiet time; not fewer than `requests`.
    pub burst: u32,
}

/// How a proxy finds out by itself whether an instance serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthCheck {
    /// The protocol of the check, and what it asks for.
    pub way: CheckWay,
    /// The port that is checked. `None`: the port that also gets the requests.
    pub port: Option<Port>,
    /// The time between two checks of an instance.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// After so many failures in a row an instance gets no requests.
    pub unhealthy_threshold: u32,
    /// After so many successes in a row it gets requests again.
    pub healthy_threshold: u32,
}

/// The protocol of a health check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckWay {
    /// An HTTP request, which must be answered with 200.
    Http {
        /// The path that is asked for, from `/`.
        path: Text,
        /// The host of the request. `None`: the host of the service's port.
        host: Option<Text>,
    },
    /// A TCP connection, which must be accepted.
    Tcp,
    /// A call of gRPC's health checking protocol (`grpc.health.v1.Health`).
    Grpc {
        /// The name of the gRPC service that is asked for; empty: the whole server.
        service: Text,
        /// The host of the request. `None`: the host of the service's port.
        host: Option<Text>,
    },
}
