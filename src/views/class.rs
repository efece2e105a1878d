//! What tells proxies apart, and what those are that say nothing.

use crate::{
    model::{GrpcLibrary, Locality, Proxy, ProxyKind, Text},
    resource::Dialect,
};
use std::collections::BTreeSet;

/// What tells proxies apart: what rules ask about them. What none asks about makes no view of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    /// The namespace of proxies that name none.
    pub namespace: Text,
    /// Whether there is any of Istio's rules.
    pub ruled: bool,
    /// Labels that some selector names, with their values.
    pub labels: BTreeSet<(Text, Text)>,
    /// Namespaces that some rule stands in, or names.
    pub namespaces: BTreeSet<Text>,
    /// Services are for some namespaces only, so that each one counts.
    pub all_namespaces: bool,
    /// Where endpoints are, and what rules say of places; nothing where no rule asks where a proxy is.
    pub places: BTreeSet<Locality>,
    /// The keys of labels with which rules compare endpoints' own.
    pub keys: BTreeSet<Text>,
    /// The labels of endpoints under these keys, with their values.
    pub values: BTreeSet<(Text, Text)>,
}

/// Stands in a class for a place or value that no endpoint has.
const NONE: &str = "*";

impl Classes {
    /// Where a proxy is, as far as that tells it from others.
    pub fn place(&self, at: &Locality) -> Locality {
        if self.places.is_empty() || at.is_empty() {
            return Locality::default();
        }
        let parts = [at.region(), at.zone(), at.sub_zone()];
        let of = |place: &Locality| [place.region().to_owned(), place.zone().to_owned(), place.sub_zone().to_owned()];
        let shared = |place| of(place).iter().zip(parts).take_while(|(one, other)| one == other).count();
        let known = self.places.iter().map(shared).max().unwrap_or(0);
        // A key is written with commas between its parts.
        let part = |n: usize| if parts[n].is_empty() || n < known && !parts[n].contains(',') { parts[n] } else { NONE };
        Locality::new(part(0), part(1), part(2))
    }

    /// What a proxy has under one of the keys, as far as that tells it from others.
    pub fn value(&self, key: &Text, own: &str) -> Text {
        let known = self.values.contains(&(key.clone(), own.into()));
        if known && !own.contains(',') { own.into() } else { NONE.into() }
    }
}

/// The class of clients of a dialect that say nothing: an Envoy is a gateway that may have listeners of its own.
pub fn plain(dialect: Dialect, namespace: &Text) -> Proxy {
    match dialect {
        Dialect::Grpc => Proxy::new(ProxyKind::Grpc(GrpcLibrary::Other), namespace.clone()),
        Dialect::Envoy | Dialect::Istio => {
            Proxy { all_clusters: true, ..Proxy::new(ProxyKind::Router, namespace.clone()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_as_far_as_some_endpoint_has_them() {
        let places = ["cn/hz/a", "cn/sh", "us"].map(Locality::parse).into();
        let classes = Classes { places, ..Classes::default() };
        for (at, place) in [
            ("cn/hz/a", "cn/hz/a"),
            ("cn/hz/b", "cn/hz/*"),
            ("cn/sh/b", "cn/sh/*"),
            ("cn/x/a", "cn/*/*"),
            ("us", "us"),
            ("de/x", "*/*"),
            ("", ""),
        ] {
            assert_eq!(classes.place(&Locality::parse(at)), Locality::parse(place), "{at}");
        }
        assert_eq!(Classes::default().place(&Locality::parse("cn")), Locality::default());
    }
}
