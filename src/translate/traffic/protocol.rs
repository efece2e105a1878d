//! Protocols as Istio names them, in Gateways, Sidecars and ServiceEntries.

use crate::model;

/// The protocol of a port in Istio's resources; [`model::Protocol`] is that of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Protocol {
    Http,
    /// HTTP on a port of a `Sidecar` that takes requests for any host, as a proxy.
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

    /// Whether proxies read requests of this protocol; not of HTTPS, which they may end or pass on.
    pub(super) const fn is_http(self) -> bool {
        matches!(self, Protocol::Http | Protocol::HttpProxy | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }

    /// The protocol of services that is handled the same. `None`: UDP, which proxies do not handle.
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
