//! Protocols as Istio names them, in Gateways, Sidecars and ServiceEntries.

use crate::model;

/// A protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Protocol {
    Http,
    /// Of a sidecar's port that takes requests for any host.
    HttpProxy,
    Http2,
    Grpc,
    GrpcWeb,
    Https,
    Tls,
    Tcp,
    Mongo,
    Redis,
    MySql,
    Udp,
}

impl Protocol {
    /// Reads Istio's word, in any case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "http" => Protocol::Http,
            "http_proxy" => Protocol::HttpProxy,
            "http2" => Protocol::Http2,
            "grpc" => Protocol::Grpc,
            "grpc-web" => Protocol::GrpcWeb,
            "https" => Protocol::Https,
            "tls" => Protocol::Tls,
            "tcp" => Protocol::Tcp,
            "mongo" => Protocol::Mongo,
            "redis" => Protocol::Redis,
            "mysql" => Protocol::MySql,
            "udp" => Protocol::Udp,
            _ => return None,
        })
    }

    /// Whether a proxy reads requests in it.
    pub(super) const fn is_http(self) -> bool {
        matches!(self, Protocol::Http | Protocol::HttpProxy | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }

    /// The nearest one that services have. `None`: proxies have nothing to do with it.
    pub(super) const fn of_service(self) -> Option<model::Protocol> {
        Some(match self {
            Protocol::Http | Protocol::HttpProxy => model::Protocol::Http,
            Protocol::Http2 => model::Protocol::Http2,
            Protocol::Grpc | Protocol::GrpcWeb => model::Protocol::Grpc,
            Protocol::Https => model::Protocol::Https,
            Protocol::Tls => model::Protocol::Tls,
            Protocol::Tcp | Protocol::Mongo | Protocol::Redis | Protocol::MySql => model::Protocol::Tcp,
            Protocol::Udp => return None,
        })
    }
}

/// Whether proxies read requests of a service of this protocol.
pub(super) const fn is_http(protocol: model::Protocol) -> bool {
    use model::Protocol::{Dubbo, Grpc, Http, Http2, Https, Tcp, Tls, Tri};
    match protocol {
        Http | Http2 | Grpc | Tri => true,
        Https | Tls | Tcp | Dubbo => false,
    }
}
