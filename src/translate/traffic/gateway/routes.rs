//! Route configurations of gateways.

use super::merge::{Bound, Merged};
use crate::{
    resource::{Kind, Resource},
    translate::traffic::{
        finding::Finding,
        host::intersection,
        http::{Lookup, Place},
        memo::Memo,
        virtual_host::{Hosts, Reach, configuration, reached, with_port},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The route configurations: one for each port of plain HTTP, and one for each server of HTTPS.
pub(super) fn configurations(
    merged: &Merged<'_>,
    bound: &Bound<'_>,
    lookup: &Lookup<'_>,
    memo: &mut Memo,
    reach: &mut Reach,
    findings: &mut Vec<Finding>,
) -> Vec<(Kind, Resource)> {
    let mut resources = Vec::with_capacity(merged.by_routes.len());
    for (name, servers) in &merged.by_routes {
        let hosts = virtual_hosts(merged, servers, bound, lookup, memo);
        reached(&hosts, reach);
        let lists = hosts.iter().flat_map(|hosts| &hosts.routes);
        findings.extend(lists.flat_map(|list| list.findings.iter().cloned()));
        resources.push(configuration(name, hosts, None, !lookup.proxy.kind.is_grpc()));
    }
    resources
}

fn virtual_hosts(
    merged: &Merged<'_>,
    servers: &[usize],
    bound: &Bound<'_>,
    lookup: &Lookup<'_>,
    memo: &mut Memo,
) -> Vec<Hosts> {
    let mut by_host: BTreeMap<String, Hosts> = BTreeMap::new();
    let mut lists = HashMap::new();
    for entry in servers.iter().map(|place| &merged.entries[*place]) {
        let gateway = entry.gateway.to_string();
        for service in bound.get(&gateway).into_iter().flatten() {
            let admitted: Vec<String> =
                entry.hosts.iter().filter_map(|host| name_for(host, &service.id.namespace)).collect();
            let common = intersection(&admitted, &service.spec.hosts);
            if common.is_empty() {
                continue;
            }
            // The first server of the gateway that has the VirtualService decides its port and TLS.
            let list = lists.entry((gateway.clone(), &service.id)).or_insert_with(|| {
                let (port, is_tls) = (entry.port, entry.tls().is_some());
                memo.routes(service, &Place { lookup: *lookup, gateway: &gateway, port, is_tls, own: "" })
            });
            if list.is_empty() {
                continue;
            }
            for host in common {
                let hosts = by_host.entry(host.clone()).or_insert_with(|| new(host, entry.port));
                hosts.routes.push(Arc::clone(list));
                hosts.needs_tls |= entry.redirects();
            }
        }
        for host in entry.hosts.iter().filter(|_| entry.redirects()) {
            let name = host.split_once('/').map_or(host.as_str(), |(_, name)| name).to_owned();
            by_host.entry(name.clone()).or_insert_with(|| new(name, entry.port)).needs_tls = true;
        }
    }
    for (host, hosts) in &mut by_host {
        hosts.limit = lookup.mesh.limits.get(&**host).copied();
    }
    if by_host.is_empty() {
        let port = servers.first().map_or(0, |place| merged.entries[*place].port);
        return vec![Hosts { domains: vec!["*".to_owned()], ..new("blackhole".to_owned(), port) }];
    }
    collapsed(by_host)
}

/// A server's host without its namespace. `None`: it is for VirtualServices of another namespace.
fn name_for(host: &str, namespace: &str) -> Option<String> {
    match host.split_once('/') {
        Some((of, name)) => (of == namespace || of == "*").then(|| name.to_owned()),
        None => Some(host.to_owned()),
    }
}

fn new(host: String, port: u32) -> Hosts {
    Hosts { name: with_port(&host, port), domains: vec![host], routes: Vec::new(), needs_tls: false, limit: None }
}

/// Hosts with the same routes become one, under the name of the first.
fn collapsed(by_host: BTreeMap<String, Hosts>) -> Vec<Hosts> {
    let mut all: Vec<Hosts> = Vec::with_capacity(by_host.len());
    let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
    for (_, mut hosts) in sorted(by_host) {
        let key = hosts.routes.iter().map(|list| Arc::as_ptr(list) as usize).collect();
        match known.get(&key).copied().filter(|place| all[*place].is_like(&hosts)) {
            Some(place) => all[place].domains.append(&mut hosts.domains),
            None => {
                known.insert(key, all.len());
                all.push(hosts);
            }
        }
    }
    all
}

/// Sorts hosts as Istio does: those without a wildcard first, then the longer before the shorter.
fn sorted(by_host: BTreeMap<String, Hosts>) -> Vec<(String, Hosts)> {
    let mut all: Vec<_> = by_host.into_iter().collect();
    all.sort_by(|(a, _), (b, _)| {
        let rank = |host: &str| (host.starts_with('*'), std::cmp::Reverse(host.len()));
        rank(a).cmp(&rank(b)).then_with(|| a.cmp(b))
    });
    all
}
