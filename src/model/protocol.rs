//! The protocols that are told apart at ports.

use super::Port;
use std::fmt;

/// What is spoken at a port; proxies treat it by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    Http,
    /// HTTP/2 without TLS (h2c).
    Http2,
    /// gRPC, which is HTTP/2 to a proxy.
    Grpc,
    /// HTTP/1.1 over TLS.
    Https,
    /// TLS around a protocol that is not known.
    Tls,
    /// Bytes of a protocol that nobody looks into.
    Tcp,
    /// Dubbo 2's own protocol: bytes to a proxy.
    Dubbo,
    /// Dubbo 3's Triple: HTTP/2, gRPC on the wire.
    Tri,
}

impl Protocol {
    /// Each once, in the order of their declaration.
    pub const ALL: [Protocol; 8] = [
        Protocol::Http,
        Protocol::Http2,
        Protocol::Grpc,
        Protocol::Https,
        Protocol::Tls,
        Protocol::Tcp,
        Protocol::Dubbo,
        Protocol::Tri,
    ];

    /// The word for configuration and port names.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Http2 => "http2",
            Protocol::Grpc => "grpc",
            Protocol::Https => "https",
            Protocol::Tls => "tls",
            Protocol::Tcp => "tcp",
            Protocol::Dubbo => "dubbo",
            Protocol::Tri => "tri",
        }
    }

    /// Reads what [`Protocol::name`] writes, in any case, and other usual words such as `triple` and `h2c`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        Some(match text.as_str() {
            "triple" => Protocol::Tri,
            "h2" | "h2c" => Protocol::Http2,
            "grpcs" => Protocol::Tls,
            "rest" => Protocol::Http,
            _ => return Protocol::ALL.into_iter().find(|p| p.name() == text),
        })
    }

    /// The service port where none is configured: the same whatever the instances listen on, so that routes stay.
    pub const fn default_port(self) -> Port {
        Port::known(match self {
            Protocol::Http | Protocol::Http2 => 80,
            Protocol::Grpc => 9090,
            Protocol::Https | Protocol::Tls => 443,
            Protocol::Tcp => 9000,
            Protocol::Dubbo => 20880,
            Protocol::Tri => 50051,
        })
    }

    /// Whether a proxy must speak HTTP/2 to it.
    pub const fn is_http2(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Grpc | Protocol::Tri)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_read_what_they_write_and_what_people_write() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::parse(protocol.name()), Some(protocol));
        }
        assert_eq!(Protocol::parse("Triple"), Some(Protocol::Tri));
        assert_eq!(Protocol::parse("GRPC"), Some(Protocol::Grpc));
        assert_eq!(Protocol::parse("smtp"), None);
    }
}
