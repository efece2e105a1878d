//! Limits of requests that have no effect, as findings: for these proxies or hosts no requests are counted.

use super::{
    finding::{Code, Finding},
    http::Lookup,
    protocol::is_http,
    virtual_host::Reach,
};
use crate::{model::Text, resource::Kind};
use std::collections::BTreeSet;

/// A finding for each limit that has no effect for these proxies.
pub(super) fn findings(lookup: &Lookup<'_>, reach: &Reach) -> Vec<Finding> {
    let (proxy, mut findings) = (lookup.proxy, Vec::new());
    let shapes = lookup.shapes.iter().filter(|shape| shape.limit.is_some() && lookup.service(&shape.host).is_some());
    for (shape, port) in shapes.flat_map(|shape| shape.ports.iter().map(move |port| (shape, port))) {
        let number = u32::from(port.number);
        let is_there = proxy.all_clusters || reach.clusters.contains(&port.cluster);
        let (code, text) = match is_http(port.protocol) {
            true if proxy.kind.is_grpc() => {
                (Code::GrpcUnusable, "gRPC programs count no requests: `rate_limit` does not hold for them".to_owned())
            }
            _ if !is_there || reach.counted.contains(&(shape.service.clone(), number)) => continue,
            true => {
                let text = "no route of Portolan's leads there as HTTP: requests by listeners of the proxy's own are not counted";
                (Code::LimitUnused, text.to_owned())
            }
            false => {
                let text = format!("port {number} speaks {}: only requests of HTTP are counted", port.protocol.name());
                (Code::LimitUnused, text)
            }
        };
        let (kind, name, place) = (Kind::Cluster, port.cluster.clone(), "rate_limit".into());
        findings.push(Finding { kind, name, place, code, text: text.into() });
    }
    findings.extend(unknown_hosts(lookup));
    findings
}

/// A finding for each limit of a host that no gateway has.
fn unknown_hosts(lookup: &Lookup<'_>) -> Vec<Finding> {
    let limits = &lookup.mesh.limits;
    if limits.is_empty() {
        return Vec::new();
    }
    let known: BTreeSet<String> = lookup.rules.hosts_of_gateways().map(str::to_ascii_lowercase).collect();
    let unknown = limits.keys().filter(|host| !known.contains(&***host));
    let finding = |host: &Text| Finding {
        kind: Kind::Route,
        name: host.as_ref().into(),
        place: "rate_limits".into(),
        code: Code::LimitUnused,
        text: "no VirtualService of a gateway has this host: write it as there, wildcards too".into(),
    };
    unknown.map(finding).collect()
}
