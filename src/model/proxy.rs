//! What Istio's rules tell proxies apart by.
//!
//! Proxies that are equal here are one class: all of them are served the same.

use super::{Locality, Port, Text};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// A class of proxies. Its text is `KIND,NAMESPACE[,KEY=VALUE]...[,.FLAG]...`, such as `router,shop,istio=ingressgateway`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proxy {
    /// A gateway, a sidecar, or a gRPC program.
    pub kind: ProxyKind,
    /// Istio's namespace that it runs in.
    pub namespace: Text,
    /// Those of its labels that some selector names.
    pub labels: BTreeMap<Text, Text>,
    /// It has all clusters, whether its routes name them or not: it may have listeners of its own. Flag `all`.
    pub all_clusters: bool,
    /// A sidecar's port to which programs send all their requests, as to an HTTP proxy. Flag `http_proxy=PORT`.
    pub http_proxy: Option<Port>,
    /// A sidecar whose machine redirects no connections: its listeners take their ports themselves. Flag `bound`.
    pub bound: bool,
    /// Where it is, as far as rules ask for that and endpoints tell places apart; `*` for a part that no endpoint has. Flag
    /// `at=REGION/ZONE/SUBZONE`.
    pub locality: Locality,
}

/// The kinds of proxies; gRPC programs count as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyKind {
    /// A gateway: its listeners are those of Istio's `Gateway`s.
    Router,
    /// A proxy beside a program, whose requests it sends to services.
    Sidecar,
    /// No proxy but a gRPC program that takes what proxies take.
    Grpc(GrpcLibrary),
}

/// The library of a gRPC program: each takes another part of Envoy's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrpcLibrary {
    /// gRPC C-core, which C++, Python, Ruby and others use.
    Core,
    /// grpc-go: its `user_agent_name` is `gRPC Go`.
    Go,
    /// grpc-java: its `user_agent_name` is `gRPC Java`.
    Java,
    /// Another one, or none that is known: it is sent what all take.
    Other,
}

impl ProxyKind {
    /// Every kind once, in the order of the variants.
    pub const ALL: [ProxyKind; 6] = [
        ProxyKind::Router,
        ProxyKind::Sidecar,
        ProxyKind::Grpc(GrpcLibrary::Core),
        ProxyKind::Grpc(GrpcLibrary::Go),
        ProxyKind::Grpc(GrpcLibrary::Java),
        ProxyKind::Grpc(GrpcLibrary::Other),
    ];

    /// The first word in the text of a [`Proxy`], such as `router`.
    pub const fn name(self) -> &'static str {
        match self {
            ProxyKind::Router => "router",
            ProxyKind::Sidecar => "sidecar",
            ProxyKind::Grpc(GrpcLibrary::Core) => "grpc-core",
            ProxyKind::Grpc(GrpcLibrary::Go) => "grpc-go",
            ProxyKind::Grpc(GrpcLibrary::Java) => "grpc-java",
            ProxyKind::Grpc(GrpcLibrary::Other) => "grpc",
        }
    }

    /// Whether it is a gRPC program.
    pub const fn is_grpc(self) -> bool {
        matches!(self, ProxyKind::Grpc(_))
    }
}

impl Proxy {
    /// Whether all that it listens on is served to it, as a gateway or a sidecar has it. Then its clusters are as Istio has them.
    pub const fn is_managed(&self) -> bool {
        !self.all_clusters && !self.kind.is_grpc()
    }

    /// A class of which nothing but kind and namespace is known.
    pub fn new(kind: ProxyKind, namespace: Text) -> Self {
        let (labels, locality) = (BTreeMap::new(), Locality::default());
        Proxy { kind, namespace, labels, all_clusters: false, http_proxy: None, bound: false, locality }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Proxy { kind, namespace, labels, all_clusters, http_proxy, bound, locality } = self;
        write!(f, "{},{namespace}", kind.name())?;
        labels.iter().try_for_each(|(key, value)| write!(f, ",{key}={value}"))?;
        if *all_clusters {
            f.write_str(",.all")?;
        }
        if *bound {
            f.write_str(",.bound")?;
        }
        if let Some(port) = http_proxy {
            write!(f, ",.http_proxy={port}")?;
        }
        match locality.is_empty() {
            true => Ok(()),
            false => write!(f, ",.at={}/{}/{}", locality.region(), locality.zone(), locality.sub_zone()),
        }
    }
}

/// A text that names no class of proxies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a class of proxies is written as `KIND,NAMESPACE,KEY=VALUE,...`, such as `router,shop,istio=ingressgateway`")]
pub struct NoProxy;

impl FromStr for Proxy {
    type Err = NoProxy;

    fn from_str(text: &str) -> Result<Self, NoProxy> {
        let mut parts = text.split(',');
        let kind = parts.next().and_then(|word| ProxyKind::ALL.into_iter().find(|kind| kind.name() == word));
        let namespace = parts.next().filter(|namespace| !namespace.is_empty()).ok_or(NoProxy)?;
        let mut proxy = Proxy::new(kind.ok_or(NoProxy)?, namespace.into());
        for part in parts {
            match part.split_once('=') {
                Some((".http_proxy", port)) => {
                    let port = port.parse::<i64>().ok().and_then(|port| Port::new(port).ok());
                    proxy.http_proxy = Some(port.ok_or(NoProxy)?);
                }
                Some((".at", place)) => proxy.locality = Locality::parse(place),
                Some((key, value)) if !key.is_empty() && !key.starts_with('.') => {
                    proxy.labels.insert(key.into(), value.into());
                }
                None if part == ".all" => proxy.all_clusters = true,
                None if part == ".bound" => proxy.bound = true,
                _ => return Err(NoProxy),
            }
        }
        Ok(proxy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_read_as_it_is_written() {
        let labels = BTreeMap::from([("app.kubernetes.io/name".into(), "edge".into()), ("v".into(), "".into())]);
        let router = Proxy { labels, ..Proxy::new(ProxyKind::Router, "shop".into()) };
        let http_proxy = Port::new(15080).ok();
        let sidecar =
            Proxy { all_clusters: true, bound: true, http_proxy, ..Proxy::new(ProxyKind::Sidecar, "portolan".into()) };
        for (proxy, text) in [
            (router, "router,shop,app.kubernetes.io/name=edge,v="),
            (sidecar, "sidecar,portolan,.all,.bound,.http_proxy=15080"),
            (Proxy::new(ProxyKind::Grpc(GrpcLibrary::Go), "a".into()), "grpc-go,a"),
            (
                Proxy { locality: Locality::new("cn", "*", ""), ..Proxy::new(ProxyKind::Router, "a".into()) },
                "router,a,.at=cn/*/",
            ),
        ] {
            assert_eq!((proxy.to_string().as_str(), text.parse()), (text, Ok(proxy)));
        }
        for wrong in ["", "router", "router,", "gateway,a", "router,a,b", "router,a,.b", "router,a,.http_proxy=0"] {
            assert_eq!(wrong.parse::<Proxy>(), Err(NoProxy), "{wrong}");
        }
    }
}
