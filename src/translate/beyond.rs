//! What the configuration asks for a service that Istio has no field for.

use crate::model::{Port, Text};
use std::time::Duration;

/// What is asked for a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Beyond {
    /// How many requests proxies let through to it.
    pub limit: Option<Limit>,
    /// How proxies find out by themselves which of its instances serve.
    pub health_check: Option<HealthCheck>,
}

/// How many requests one proxy lets through. It answers the others itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit {
    /// So many come in again.
    pub requests: u32,
    /// In this time; whole seconds.
    pub per: Duration,
    /// So many at once; not fewer than `requests`.
    pub burst: u32,
}

/// How a proxy finds out by itself whether an instance serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthCheck {
    /// What an instance is asked.
    pub way: CheckWay,
    /// The port that is asked. `None`: that for requests.
    pub port: Option<Port>,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// After so many failures in a row an instance gets no requests.
    pub unhealthy_threshold: u32,
    /// After so many successes in a row it gets them again.
    pub healthy_threshold: u32,
}

/// What an instance is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckWay {
    /// For a page, which is to be answered with 200.
    Http {
        /// Of the page.
        path: Text,
        /// Of the request; `None`: the service's.
        host: Option<Text>,
    },
    /// Whether it takes connections.
    Tcp,
    /// By gRPC's own protocol for it.
    Grpc {
        /// Which of its services is asked for; empty: the whole.
        service: Text,
        /// Of the request; `None`: the service's.
        host: Option<Text>,
    },
}
