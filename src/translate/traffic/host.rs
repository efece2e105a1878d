//! Host names with wildcards, as Istio compares them. All are in lower case; [`lower`] makes them so.

use super::Id;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Whether the name begins with `*`.
pub(super) fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// Whether every name that `host` stands for is one that `other` stands for.
pub(super) fn subset_of(host: &str, other: &str) -> bool {
    match (host.strip_prefix('*'), other.strip_prefix('*')) {
        (Some(host), Some(other)) => host.len() >= other.len() && host.ends_with(other),
        (Some(_), None) => false,
        (None, Some(other)) => host.ends_with(other),
        (None, None) => host == other,
    }
}

/// Whether one of the two stands for what the other does.
pub(super) fn matches(host: &str, other: &str) -> bool {
    subset_of(host, other) || subset_of(other, host)
}

/// The hosts that both lists stand for: of two that match the narrower one, each once, in the order of the first list.
pub(super) fn intersection(hosts: &[String], others: &[String]) -> Vec<String> {
    let (mut common, mut seen) = (Vec::new(), BTreeSet::new());
    for host in hosts {
        for other in others {
            let narrower = match (subset_of(host, other), subset_of(other, host)) {
                (true, _) => host,
                (false, true) => other,
                (false, false) => continue,
            };
            if seen.insert(narrower) {
                common.push(narrower.clone());
            }
        }
    }
    common
}

/// The host in lower case and in full: as in Istio a name without a dot is completed with the namespace of its
/// resource.
pub(super) fn qualified(host: &str, id: &Id, domain: Option<&str>) -> String {
    let host = host.to_ascii_lowercase();
    if host.is_empty() || host == "*" || host.contains('.') || host.parse::<IpAddr>().is_ok() {
        return host;
    }
    let suffix = domain.map(|domain| format!(".svc.{domain}")).unwrap_or_default();
    format!("{host}.{}{suffix}", id.namespace)
}

/// Puts a host into lower case; a namespace before it, with a slash, stays as it is.
pub(super) fn lower(host: &mut str) {
    let start = host.find('/').map_or(0, |slash| slash + 1);
    host[start..].make_ascii_lowercase();
}

/// A gateway's name as `namespace/name`; `mesh` stays.
pub(super) fn gateway(name: &str, id: &Id) -> String {
    if name == MESH {
        return name.to_owned();
    }
    match (name.split_once('/'), name.split_once('.')) {
        (Some((".", name)), _) => format!("{}/{name}", id.namespace),
        (Some(_), _) => name.to_owned(),
        (None, None) => format!("{}/{name}", id.namespace),
        // The old form: `name.namespace.svc.cluster.local`.
        (None, Some((name, rest))) => format!("{}/{name}", rest.split('.').next().unwrap_or_default()),
    }
}

/// The name that stands for all sidecars where gateways are named.
pub(super) const MESH: &str = "mesh";

/// Values by host or wildcard.
#[derive(Debug, Clone)]
pub(super) struct HostMap<T> {
    exact: BTreeMap<String, T>,
    wild: BTreeMap<String, T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        HostMap { exact: BTreeMap::new(), wild: BTreeMap::new() }
    }
}

impl<T> HostMap<T> {
    pub(super) fn entry(&mut self, host: &str) -> &mut T
    where
        T: Default,
    {
        let map = if is_wildcard(host) { &mut self.wild } else { &mut self.exact };
        map.entry(host.to_owned()).or_default()
    }

    /// The value of the host itself, else of the longest wildcard that stands for it.
    pub(super) fn best(&self, host: &str) -> Option<(&str, &T)> {
        let map = if is_wildcard(host) { &self.wild } else { &self.exact };
        if let Some((host, value)) = map.get_key_value(host) {
            return Some((host, value));
        }
        // From the longest suffix to the shortest. A wildcard need not stand before a dot.
        let name = host.strip_prefix('*').unwrap_or(host);
        let starts = name.char_indices().map(|(start, _)| start).chain([name.len()]);
        if self.wild.len() < name.len() {
            let fits = self.wild.iter().filter(|(wild, _)| name.ends_with(&wild[1..]));
            return fits.max_by_key(|(wild, _)| wild.len()).map(|(wild, value)| (wild.as_str(), value));
        }
        starts
            .filter_map(|start| self.wild.get_key_value(&format!("*{}", &name[start..])))
            .map(|(wild, value)| (wild.as_str(), value))
            .next()
    }

    /// The longest wildcard that stands for the host, and for more.
    pub(super) fn wider(&self, host: &str) -> Option<&str> {
        let name = match host.strip_prefix('*') {
            None => host,
            Some(name) => {
                let mut rest = name.chars();
                rest.next()?;
                rest.as_str()
            }
        };
        self.best(&format!("*{name}")).map(|(wild, _)| wild)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.wild.values_mut())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.exact.iter().chain(&self.wild).map(|(host, value)| (host.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_wildcards_are_compared_as_istio_does() {
        for (host, other, subset, common) in [
            ("a.com", "a.com", true, true),
            ("a.com", "b.com", false, false),
            ("x.a.com", "*.a.com", true, true),
            ("*.a.com", "x.a.com", false, true),
            ("a.com", "*.a.com", false, false),
            ("*.x.a.com", "*.a.com", true, true),
            ("*.a.com", "*.x.a.com", false, true),
            ("*", "*.a.com", false, true),
            ("a.com", "*", true, true),
        ] {
            assert_eq!((subset_of(host, other), matches(host, other)), (subset, common), "{host} {other}");
        }
        let list = |hosts: &[&str]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (hosts, others, common) in [
            (&["foo.com", "bar.com"][..], &["*.com"][..], &["foo.com", "bar.com"][..]),
            (&["foo.com", "*.net"], &["*.com", "bar.net"], &["foo.com", "bar.net"]),
            (&["foo.com", "*.net"], &["*.bar.net"], &["*.bar.net"]),
            (&["foo.com"], &["bar.com"], &[]),
        ] {
            assert_eq!(intersection(&list(hosts), &list(others)), list(common));
        }
    }

    #[test]
    fn short_names_are_of_the_namespace() {
        let id = Id::new("shop", "x");
        for (host, domain, full) in [
            ("Orders", None, "orders.shop"),
            ("orders", Some("cluster.local"), "orders.shop.svc.cluster.local"),
            ("orders.other", Some("cluster.local"), "orders.other"),
            ("*", None, "*"),
            ("10.0.0.1", None, "10.0.0.1"),
            ("::1", None, "::1"),
        ] {
            assert_eq!(qualified(host, &id, domain), full);
        }
        for (name, full) in [
            ("mesh", "mesh"),
            ("edge", "shop/edge"),
            ("./edge", "shop/edge"),
            ("a/edge", "a/edge"),
            ("edge.b.svc.cluster.local", "b/edge"),
            ("edge.b", "b/edge"),
        ] {
            assert_eq!(gateway(name, &id), full);
        }
    }

    #[test]
    fn a_host_is_in_lower_case_whatever_its_namespace() {
        for (host, lowered) in
            [("Shop.Example", "shop.example"), ("Bank/*.Pay", "Bank/*.pay"), ("*/com.Foo", "*/com.foo")]
        {
            let mut host = host.to_owned();
            lower(&mut host);
            assert_eq!(host, lowered);
        }
    }

    #[test]
    fn the_longest_wildcard_wins() {
        let mut map = HostMap::<&str>::default();
        for host in ["a.b.com", "*.b.com", "*.com", "*"] {
            *map.entry(host) = host;
        }
        for (host, best) in [
            ("a.b.com", "a.b.com"),
            ("x.b.com", "*.b.com"),
            ("b.com", "*.com"),
            ("x.org", "*"),
            ("*.b.com", "*.b.com"),
            ("*.x.b.com", "*.b.com"),
        ] {
            assert_eq!(map.best(host).map(|(host, _)| host), Some(best), "{host}");
        }
        for (host, wider) in [("a.b.com", Some("*.b.com")), ("*.b.com", Some("*.com")), ("x", Some("*")), ("*", None)] {
            assert_eq!(map.wider(host), wider, "{host}");
        }
        for host in 0..300 {
            *map.entry(&format!("*.{host}.org")) = "";
        }
        for (host, best) in [("x.b.com", "*.b.com"), ("x.7.org", "*.7.org"), ("7.org", "*")] {
            assert_eq!(map.best(host).map(|(host, _)| host), Some(best), "{host}");
        }
    }
}
