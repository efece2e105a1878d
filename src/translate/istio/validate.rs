//! What Istiod checks when configuration arrives, checked before it leaves.
//!
//! Istiod acknowledges everything. What it cannot use it freezes at its former state or never makes, and says so in its
//! own log only; so nothing may leave that it would refuse. The rules are those of Istio 1.31 (`ValidateServiceEntry`,
//! and the reading of names before it) for entries with inline endpoints. Translation keeps them by the way it makes
//! entries; [`refusal`] is the last look, and the judge of what others send.

use super::label::{is_dns_label, is_key, is_value};
use crate::{
    model::Address,
    pb::istio::networking::v1alpha3::{ServiceEntry, ServicePort, WorkloadEntry, service_entry::Resolution},
    translate::{MAX_UNIX_PATH, Why, refusal::Refusal},
};
use std::{collections::BTreeSet, net::IpAddr};

/// A name longer than that is none.
const MAX_DOMAIN: usize = 255;

/// A label has no more.
const MAX_LABEL: usize = 63;

/// What Istio knows, in lower case.
const PROTOCOLS: [&str; 12] =
    ["tcp", "udp", "grpc", "grpc-web", "http", "http_proxy", "http2", "https", "tls", "mongo", "redis", "mysql"];

/// Those that tell hosts apart, by the request or by the handshake.
const TELLING_HOSTS: [&str; 7] = ["http", "http_proxy", "http2", "grpc", "grpc-web", "https", "tls"];

/// Why Istiod would refuse the entry of that name, if it would.
pub fn refusal(name: &str, entry: &ServiceEntry) -> Option<Refusal> {
    check(name, entry).err()
}

/// Why Istio, or the Envoys behind it, would refuse an entry for this endpoint. `dns`: names are resolved.
pub(super) fn address(address: &Address, dns: bool) -> Option<Why> {
    match address {
        Address::Host(_) if !dns => Some(Why::HostName),
        Address::Host(name) if !is_domain(name) => Some(Why::AddressRefused),
        Address::Unix(_) if dns => Some(Why::UnixAmongNames),
        Address::Unix(path) if path.len() > MAX_UNIX_PATH => Some(Why::UnixPathLong),
        Address::Unix(path) if path.ends_with('/') => Some(Why::AddressRefused),
        _ => None,
    }
}

fn check(name: &str, entry: &ServiceEntry) -> Result<(), Refusal> {
    let namespace = match name.split_once('/') {
        Some((namespace, rest)) if !namespace.is_empty() && !rest.is_empty() && !rest.contains('/') => namespace,
        _ => return Err(Refusal::Name(name.to_owned())),
    };
    let resolution = Resolution::try_from(entry.resolution).map_err(|_| Refusal::Resolution(entry.resolution))?;
    check_hosts(entry, resolution)?;
    check_vips(entry, resolution)?;
    check_ports(&entry.ports)?;
    let telling = |port: &ServicePort| TELLING_HOSTS.contains(&&*port.protocol.to_ascii_lowercase());
    if resolution != Resolution::None && entry.hosts.len() > 1 && !entry.ports.iter().all(telling) {
        return Err(Refusal::SeveralHosts);
    }
    if resolution == Resolution::None && !entry.endpoints.is_empty() {
        return Err(Refusal::EndpointsOfNone);
    }
    entry.endpoints.iter().try_for_each(|endpoint| check_endpoint(endpoint, resolution, &entry.ports))?;
    check_export_to(namespace, &entry.export_to)
}

fn check_hosts(entry: &ServiceEntry, resolution: Resolution) -> Result<(), Refusal> {
    if entry.hosts.is_empty() {
        return Err(Refusal::NoHost);
    }
    if let Some(host) = entry.hosts.iter().find(|host| !is_host(host)) {
        return Err(Refusal::Host(host.clone()));
    }
    // Without endpoints the host itself is resolved.
    let resolved = resolution == Resolution::Dns && entry.endpoints.is_empty();
    match entry.hosts.iter().find(|host| resolved && !is_domain(host)) {
        Some(host) => Err(Refusal::Unresolvable(host.clone())),
        None => Ok(()),
    }
}

/// A domain, of which the first label may be, or begin with, `*`; that alone is none.
fn is_host(host: &str) -> bool {
    let (first, rest) = host.split_once('.').map_or((host, None), |(first, rest)| (first, Some(rest)));
    let label = first.strip_prefix("*-").or_else(|| first.strip_prefix('*')).unwrap_or(first);
    let fits = host.len() <= MAX_DOMAIN && first.len() <= MAX_LABEL;
    fits && (first == "*" && rest.is_some() || is_dns_label(label))
        && rest.is_none_or(|rest| rest.is_empty() || is_domain(rest))
}

fn check_vips(entry: &ServiceEntry, resolution: Resolution) -> Result<(), Refusal> {
    for vip in &entry.addresses {
        let network = vip.parse::<ipnet::IpNet>().is_ok();
        if !network && vip.parse::<IpAddr>().is_err() {
            return Err(Refusal::Vip(vip.clone()));
        }
        if network && resolution == Resolution::Dns {
            return Err(Refusal::VipNetwork);
        }
    }
    Ok(())
}

fn check_ports(ports: &[ServicePort]) -> Result<(), Refusal> {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for port in ports {
        if !(1..=65_535).contains(&port.number) {
            return Err(Refusal::PortNumber(port.number));
        }
        if !is_dns_label(&port.name) {
            return Err(Refusal::PortName(port.name.clone()));
        }
        if !port.protocol.is_empty() && !PROTOCOLS.contains(&&*port.protocol.to_ascii_lowercase()) {
            return Err(Refusal::Protocol(port.protocol.clone()));
        }
        if !names.insert(&port.name) || !numbers.insert(port.number) {
            return Err(Refusal::PortTwice(format!("{} {}", port.name, port.number)));
        }
    }
    Ok(())
}

fn check_endpoint(endpoint: &WorkloadEntry, resolution: Resolution, ports: &[ServicePort]) -> Result<(), Refusal> {
    let address = &endpoint.address;
    let literal = address.parse::<IpAddr>().is_ok();
    let socket = address.strip_prefix("unix://").filter(|_| resolution == Resolution::Static);
    let possible = match (socket, resolution) {
        (Some(path), _) => path.starts_with('@') || path.starts_with('/') && !path.ends_with('/'),
        (None, Resolution::Dns) => literal || is_domain(address),
        // A gateway of its network stands for an endpoint without an address.
        (None, _) => literal || address.is_empty() && !endpoint.network.is_empty(),
    };
    if !possible {
        return Err(Refusal::EndpointAddress(address.clone()));
    }
    if socket.is_some() && (!endpoint.ports.is_empty() || ports.len() != 1) {
        return Err(Refusal::SocketPorts);
    }
    for (name, number) in &endpoint.ports {
        if !ports.iter().any(|port| port.name == *name) {
            return Err(Refusal::EndpointPort(name.clone()));
        }
        if !(1..=65_535).contains(number) {
            return Err(Refusal::PortNumber(*number));
        }
    }
    match endpoint.labels.iter().find(|(key, value)| !is_key(key) || !is_value(value)) {
        Some((key, _)) => Err(Refusal::Label(key.clone())),
        None => Ok(()),
    }
}

fn check_export_to(namespace: &str, export_to: &[String]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for who in export_to {
        let meant = if who == "." { namespace } else { who };
        let exclusive = matches!(meant, "*" | "~");
        if !(exclusive || is_dns_label(meant)) || exclusive && export_to.len() > 1 || !seen.insert(meant) {
            return Err(Refusal::ExportTo(who.clone()));
        }
    }
    Ok(())
}

/// Labels of DNS in any case, the last no number; it may be empty, as in `istio.io.`.
fn is_domain(name: &str) -> bool {
    let mut labels: Vec<&str> = name.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    if name.is_empty() || name.len() > MAX_DOMAIN || last.parse::<i64>().is_ok() {
        return false;
    }
    if last.is_empty() {
        labels.pop();
    }
    labels.iter().all(|label| is_dns_label(label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn entry() -> ServiceEntry {
        ServiceEntry {
            hosts: vec!["orders.example".into()],
            ports: vec![port(80, "http", "HTTP")],
            resolution: Resolution::Static.into(),
            endpoints: vec![endpoint("10.0.0.1")],
            ..ServiceEntry::default()
        }
    }

    fn port(number: u32, name: &str, protocol: &str) -> ServicePort {
        ServicePort { number, name: name.into(), protocol: protocol.into(), target_port: 0 }
    }

    fn endpoint(address: &str) -> WorkloadEntry {
        let ports = BTreeMap::from([("http".to_owned(), 8080)]);
        WorkloadEntry { address: address.into(), ports, ..WorkloadEntry::default() }
    }

    fn labelled(key: &str, value: &str) -> ServiceEntry {
        let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        ServiceEntry { endpoints: vec![WorkloadEntry { labels, ..endpoint("10.0.0.1") }], ..entry() }
    }

    fn exported(to: &[&str]) -> ServiceEntry {
        ServiceEntry { export_to: to.iter().map(|who| (*who).into()).collect(), ..entry() }
    }

    fn at(address: &str, resolution: Resolution) -> ServiceEntry {
        ServiceEntry { endpoints: vec![endpoint(address)], resolution: resolution.into(), ..entry() }
    }

    fn on(host: &str) -> ServiceEntry {
        ServiceEntry { hosts: vec![host.into()], ..entry() }
    }

    fn with(ports: Vec<ServicePort>) -> ServiceEntry {
        ServiceEntry { ports, ..entry() }
    }

    #[test]
    fn names_are_a_namespace_and_a_name() {
        assert_eq!(refusal("nacos/Orders_UPPER@DEFAULT_GROUP", &entry()), None);
        for name in ["orders", "/orders", "nacos/", "a/b/c", ""] {
            assert_eq!(refusal(name, &entry()), Some(Refusal::Name(name.into())));
        }
    }

    #[test]
    fn what_istio_takes_passes() {
        let socket = WorkloadEntry { address: "unix:///run/a.sock".into(), ..WorkloadEntry::default() };
        let several = ServiceEntry { hosts: vec!["a".into(), "b".into()], ..entry() };
        for (what, entry) in [
            ("an entry", entry()),
            ("no endpoints", ServiceEntry { endpoints: Vec::new(), ..entry() }),
            ("upper case", on("com.foo.Bar")),
            ("a short name", on("orders")),
            ("a wildcard", on("*.example")),
            ("a wildcard in a label", on("*-orders.example")),
            ("the same without a dash", on("*orders.example")),
            (
                "a wildcard with something to resolve",
                ServiceEntry { hosts: vec!["*.a".into()], ..at("a.b", Resolution::Dns) },
            ),
            ("a dot at the end", on("orders.example.")),
            ("a label of 63", on(&format!("{}.example", "a".repeat(63)))),
            ("a protocol in lower case", with(vec![port(80, "http", "grpc-web")])),
            ("no protocol", with(vec![port(80, "http", "")])),
            ("several hosts for HTTP", several),
            ("IPv6", at("fd00::1", Resolution::Static)),
            ("a name", at("orders.internal", Resolution::Dns)),
            ("a socket", ServiceEntry { endpoints: vec![socket], ..entry() }),
            ("a prefixed label", labelled("example.com/app_name", "v1.2_x-y")),
            ("an empty label", labelled("app", "")),
            ("a long value", labelled("app", &"a".repeat(200))),
            ("a network of addresses", ServiceEntry { addresses: vec!["241.0.0.0/24".into()], ..entry() }),
            ("itself", exported(&["."])),
            ("nobody", exported(&["~"])),
            ("some", exported(&[".", "other"])),
        ] {
            assert_eq!(refusal("n/a", &entry), None, "{what}");
        }
    }

    #[test]
    fn what_istio_refuses_is_refused_by_name() {
        let text = str::to_owned;
        let several = ServiceEntry {
            hosts: vec!["a".into(), "b".into()],
            ports: vec![port(20880, "dubbo", "TCP")],
            endpoints: Vec::new(),
            ..entry()
        };
        let socket = WorkloadEntry { address: "unix:///run/a.sock".into(), ..endpoint("") };
        let unknown = WorkloadEntry { ports: BTreeMap::from([("grpc".to_owned(), 1)]), ..endpoint("10.0.0.1") };
        for (entry, refused) in [
            (ServiceEntry { hosts: Vec::new(), ..entry() }, Refusal::NoHost),
            (on("*"), Refusal::Host(text("*"))),
            (on("**.example"), Refusal::Host(text("**.example"))),
            (on("*.*.example"), Refusal::Host(text("*.*.example"))),
            (on("a.*.example"), Refusal::Host(text("a.*.example"))),
            (
                ServiceEntry { endpoints: Vec::new(), resolution: Resolution::Dns.into(), ..on("*.a") },
                Refusal::Unresolvable(text("*.a")),
            ),
            (on("a_b"), Refusal::Host(text("a_b"))),
            (on("DEFAULT_GROUP@@orders"), Refusal::Host(text("DEFAULT_GROUP@@orders"))),
            (on("com.foo.Demo:g1:1.0.0"), Refusal::Host(text("com.foo.Demo:g1:1.0.0"))),
            (on("10.0.0.1"), Refusal::Host(text("10.0.0.1"))),
            (on(&"a".repeat(64)), Refusal::Host("a".repeat(64))),
            (ServiceEntry { addresses: vec!["x".into()], ..entry() }, Refusal::Vip(text("x"))),
            (ServiceEntry { addresses: vec!["10.0.0.0/8".into()], ..at("a.b", Resolution::Dns) }, Refusal::VipNetwork),
            (with(vec![port(0, "http", "HTTP")]), Refusal::PortNumber(0)),
            (with(vec![port(80, "http_1", "HTTP")]), Refusal::PortName(text("http_1"))),
            (with(vec![port(80, "http", "DUBBO")]), Refusal::Protocol(text("DUBBO"))),
            (with(vec![port(80, "http", "HTTP"), port(80, "b", "HTTP")]), Refusal::PortTwice(text("b 80"))),
            (with(vec![port(80, "http", "HTTP"), port(81, "http", "HTTP")]), Refusal::PortTwice(text("http 81"))),
            (several, Refusal::SeveralHosts),
            (ServiceEntry { resolution: 9, ..entry() }, Refusal::Resolution(9)),
            (at("10.0.0.1", Resolution::None), Refusal::EndpointsOfNone),
            (at("orders.internal", Resolution::Static), Refusal::EndpointAddress(text("orders.internal"))),
            (at("a_b", Resolution::Dns), Refusal::EndpointAddress(text("a_b"))),
            (at("unix:///run/a.sock", Resolution::Dns), Refusal::EndpointAddress(text("unix:///run/a.sock"))),
            (at("", Resolution::Static), Refusal::EndpointAddress(text(""))),
            (ServiceEntry { endpoints: vec![socket], ..entry() }, Refusal::SocketPorts),
            (ServiceEntry { endpoints: vec![unknown], ..entry() }, Refusal::EndpointPort(text("grpc"))),
            (labelled("bad key!", "x"), Refusal::Label(text("bad key!"))),
            (labelled("版本", "x"), Refusal::Label(text("版本"))),
            (labelled("version", "杭州"), Refusal::Label(text("version"))),
            (labelled("url", "http://x"), Refusal::Label(text("url"))),
            (labelled(&"k".repeat(64), "x"), Refusal::Label("k".repeat(64))),
            (exported(&["*", "a"]), Refusal::ExportTo(text("*"))),
            (exported(&["a", "a"]), Refusal::ExportTo(text("a"))),
            (exported(&[".", "n"]), Refusal::ExportTo(text("n"))),
            (exported(&["a_b"]), Refusal::ExportTo(text("a_b"))),
        ] {
            assert_eq!(refusal("n/a", &entry), Some(refused), "{entry:?}");
        }
    }
}
