//! Makes one published service of what several services give to one host. Pure; the order of the parts is that of
//! ownership.

use super::{
    Hostnames,
    endpoints::{by_place, leave_out_doubles, published_place},
    notes::Notes,
    publish::Contribution,
    rules::Rules,
};
use crate::model::{
    Address, DeclaredPort, Hostname, Labels, PublishedEndpoint, PublishedService, Reason, Service, ServicePort, Text,
    Weight,
};
use std::collections::{BTreeMap, BTreeSet};

/// What one service gives to the host, with what decides on it.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) rules: &'a Rules,
    pub(super) service: &'a Service,
    pub(super) contribution: Contribution,
    /// Its claim of the host is firm: a registry of the configuration lists the service.
    pub(super) firm: bool,
}

/// Whether a host is some other service's own: for a port that a firm part has, and for one that only others have.
type Taken<'a> = dyn Fn(&Hostname, bool) -> bool + 'a;

/// The published service of a host, without aliases.
pub(super) fn merge(host: &Hostname, mut parts: Vec<Part>, taken: &Taken) -> PublishedService {
    let mut notes = Notes::default();
    parts.iter().for_each(|part| notes.extend(&part.contribution.notes));
    let registries: BTreeSet<Text> = parts.iter().map(|part| part.service.id.registry.clone()).collect();
    if registries.len() > 1 {
        label_registries(&mut parts);
        apply_shares(&mut parts, &mut notes);
    }
    let ports = service_ports(host, union_ports(&parts, &mut notes), taken, &mut notes);
    let several = parts.len() > 1;
    let mut published = PublishedService {
        spelling: parts.first().and_then(|owner| owner.contribution.cased.clone()),
        sources: parts.iter().map(|part| part.service.id.clone()).collect(),
        labels: union_labels(&parts),
        protected: parts.iter().any(|part| part.contribution.protected),
        protect_threshold: parts.iter().find_map(|part| part.service.protect_threshold),
        nearness: parts.first().map(|owner| owner.rules.policy.nearness).unwrap_or_default(),
        dns: parts.iter().any(|part| part.rules.policy.hostnames == Hostnames::Dns),
        ..PublishedService::new(host.clone(), ports, Vec::new())
    };
    let listening: BTreeSet<_> = parts.iter().flat_map(|part| &part.contribution.instance_ports).cloned().collect();
    published.instance_ports = listening.into_iter().collect();
    for (source, part) in (0..).zip(parts) {
        let endpoints = part.contribution.endpoints.into_iter();
        published.endpoints.extend(endpoints.map(|endpoint| PublishedEndpoint { source, ..endpoint }));
    }
    if several {
        leave_out_doubles(&mut published.endpoints, &mut notes);
        published.endpoints.sort_by(by_place);
    }
    leave_out_portless(&mut published, &mut notes);
    close_ranks(&mut published.endpoints);
    published.notes = notes.finish();
    published
}

/// The owner's ports, then what others have besides; and whether each comes from a firm part, which go first.
fn union_ports(parts: &[Part], notes: &mut Notes) -> Vec<(DeclaredPort, bool)> {
    let mut ports: Vec<(DeclaredPort, bool)> = Vec::new();
    for (port, firm) in parts.iter().flat_map(|part| part.contribution.ports.iter().map(|port| (port, part.firm))) {
        let same = |(other, _): &&(DeclaredPort, bool)| other.name == port.name || other.number == port.number;
        match ports.iter().find(same) {
            None => ports.push((port.clone(), firm)),
            Some((other, _)) if other == port => {}
            Some((other, _)) => {
                let detail = format!("{}:{} gives way to {}:{}", port.number, port.protocol, other.name, other.number);
                notes.add(Reason::PortContested, port.name.clone(), detail);
            }
        }
    }
    ports
}

/// Gives each port its host; a port whose host is taken is left out.
fn service_ports(
    host: &Hostname,
    ports: Vec<(DeclaredPort, bool)>,
    taken: &Taken,
    notes: &mut Notes,
) -> Vec<ServicePort> {
    let mut placed: Vec<ServicePort> = Vec::with_capacity(ports.len());
    for (DeclaredPort { name, number, protocol }, firm) in ports {
        let own = if placed.is_empty() { Some(host.clone()) } else { port_host(&name, host) };
        let free = |own: &Hostname| placed.is_empty() || !(taken(own, firm) || placed.iter().any(|p| p.host == *own));
        match own {
            Some(own) if free(&own) => placed.push(ServicePort { name, number, protocol, host: own }),
            Some(own) => notes.add(Reason::PortContested, name, format!("its host {own} is another service's")),
            None => notes.add(Reason::PortContested, name, format!("it makes no possible host before {host}")),
        }
    }
    placed
}

/// `<port-name>.<host>`, the name made one label.
fn port_host(name: &str, host: &Hostname) -> Option<Hostname> {
    let label = Hostname::sanitized(&name.replace('.', "-").to_lowercase()).ok();
    // A label of digits alone is no host name, but one within a host name.
    let label = label.as_ref().map_or(name, Hostname::as_str);
    Hostname::new(&format!("{label}.{host}")).ok()
}

/// The service's host, if this is the host of a further port: `a.b` of `grpc.a.b`.
pub(super) fn base(host: &Hostname) -> Option<Hostname> {
    host.as_str().split_once('.').and_then(|(_, base)| Hostname::new(base).ok())
}

fn union_labels(parts: &[Part]) -> Labels {
    let mut labels = Labels::new();
    for (key, value) in parts.iter().flat_map(|part| &part.service.labels) {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    labels
}

fn label_registries(parts: &mut [Part]) {
    let key: Text = "registry".into();
    for part in parts {
        for endpoint in &mut part.contribution.endpoints {
            endpoint.labels.insert(key.clone(), part.service.id.registry.clone());
        }
    }
}

/// Leaves out endpoints none of whose ports is published.
fn leave_out_portless(published: &mut PublishedService, notes: &mut Notes) {
    let ports = &published.ports;
    let known = |name: &str| ports.iter().any(|port| &*port.name == name);
    published.endpoints.retain_mut(|endpoint| {
        if matches!(endpoint.address, Address::Unix(_)) && endpoint.ports.is_empty() {
            return true;
        }
        if endpoint.ports.iter().any(|(name, _)| known(name)) {
            endpoint.ports.retain(|(name, _)| known(name));
            return true;
        }
        notes.add(Reason::PortContested, published_place(endpoint), "none of its ports is published");
        false
    });
}

/// Renumbers priorities from 0 without gaps, as Envoy wants them.
pub(super) fn close_ranks(endpoints: &mut [PublishedEndpoint]) {
    if endpoints.iter().all(|endpoint| endpoint.priority == 0) {
        return;
    }
    let ranks: BTreeSet<u32> = endpoints.iter().map(|endpoint| endpoint.priority).collect();
    let rank: BTreeMap<u32, u32> = ranks.into_iter().zip(0..).collect();
    endpoints.iter_mut().for_each(|endpoint| endpoint.priority = rank[&endpoint.priority]);
}

/// Within each priority, registries take traffic by their shares; one without a share counts with the sum of its
/// weights. Weights are scaled so that their mean is the default weight.
fn apply_shares(parts: &mut [Part], notes: &mut Notes) {
    let levels: BTreeSet<u32> = parts.iter().map(|part| part.rules.policy.priority).collect();
    for level in levels {
        let here = |part: &&mut Part| part.rules.policy.priority == level;
        if parts.iter().any(|part| part.rules.policy.priority == level && part.rules.policy.share.is_some()) {
            share_level(parts.iter_mut().filter(here).collect(), notes);
        }
    }
}

fn share_level(mut parts: Vec<&mut Part>, notes: &mut Notes) {
    let mut sums: BTreeMap<Text, (u128, u128)> = BTreeMap::new();
    for part in &parts {
        let weights = part.contribution.endpoints.iter().map(|e| u128::from(e.weight.millionths()));
        let (sum, count) = sums.entry(part.service.id.registry.clone()).or_default();
        *count += weights.len() as u128;
        *sum += weights.sum::<u128>();
    }
    let share = |part: &Part, sum: u128| part.rules.policy.share.map_or(sum, |s| u128::from(s.millionths()));
    let mut shares: BTreeMap<Text, u128> = BTreeMap::new();
    for part in &parts {
        let (sum, count) = sums[&part.service.id.registry];
        if count > 0 {
            shares.insert(part.service.id.registry.clone(), share(part, sum));
        }
    }
    let total: u128 = shares.values().sum();
    let served = sums.iter().filter(|(registry, _)| shares.get(*registry).is_some_and(|share| *share > 0));
    let mean = served.map(|(_, (_, count))| count).sum::<u128>() * u128::from(Weight::DEFAULT.millionths());
    for part in &mut parts {
        let registry = &part.service.id.registry;
        let (sum, own) = (sums[registry].0, shares.get(registry).copied().unwrap_or(0));
        part.contribution.endpoints.retain_mut(|endpoint| {
            if own == 0 {
                notes.add(Reason::WeightZero, published_place(endpoint), "its registry's share is 0");
                return false;
            }
            let weight = u128::from(endpoint.weight.millionths()) * own;
            let exact = weight.checked_mul(mean).map(|product| product / (total * sum));
            // Only weights near the greatest possible pass 128 bits; rounding early does not hurt those.
            let scaled = exact.unwrap_or_else(|| weight / total * mean / sum);
            endpoint.weight = Weight::of_millionths(u64::try_from(scaled).unwrap_or(u64::MAX).max(1));
            true
        });
    }
}
