//! Instances as they are served: which ones, where, with which ports and health.

use super::{Hostnames, notes::Notes, ports::Naming, rules::Rules};
use crate::model::{
    Address, DeclaredPort, Endpoint, EndpointPort, Few, Health, Labels, Locality, Port, PublishedEndpoint, Reason,
    Service, Text, Weight,
};
use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

/// What host names resolve to, as far as is known. One that is known to have no addresses has none.
pub(super) type Answers = HashMap<Text, Arc<[IpAddr]>>;

/// An instance that was selected, with its final labels.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) labels: Cow<'a, Labels>,
    pub(super) ports: Cow<'a, [EndpointPort]>,
    pub(super) presence: Presence,
}

/// Whether an instance is served as its registry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// The registry's last report has it, and it is served as it is there.
    Listed,
    /// Its registry has it without traffic; a held one is served in its place. It counts for hosts and ports all the same.
    Replaced,
    /// Its registry no longer has it, or has it without traffic; it is served on until that is certain.
    Held,
}

/// Whether so few of the service's instances are healthy that all enabled ones count as healthy: then the few would be
/// overrun. An instance that drains is neither healthy nor brought back. (Nacos compares with `<=`, so its 0 protects
/// when nothing is healthy at all.)
pub(super) fn is_protected<'a>(service: &Service, endpoints: impl Iterator<Item = &'a Endpoint>) -> bool {
    if service.protected {
        return true;
    }
    let Some(threshold) = service.protect_threshold else { return false };
    let (mut healthy, mut total) = (0, 0);
    for endpoint in endpoints.filter(|endpoint| endpoint.enabled) {
        total += 1;
        healthy += usize::from(endpoint.health.serves());
    }
    healthy < total && threshold.covers(healthy, total)
}

/// The instances of a service that take traffic: not switched off, of weight 0, draining or failing.
pub(super) fn takes_traffic(service: &Service) -> impl Iterator<Item = &Endpoint> {
    let endpoints = &service.endpoints;
    let protected = is_protected(service, endpoints.iter());
    let takes = move |health: Health| health.serves() || (protected && health == Health::Unhealthy);
    endpoints.iter().filter(move |e| e.enabled && e.weight != Weight::ZERO && takes(e.health))
}

/// What all instances of a service and host share on their way out.
#[derive(Debug)]
pub(super) struct Publishing<'a> {
    pub(super) rules: &'a Rules,
    pub(super) service: &'a Service,
    pub(super) answers: &'a Answers,
    pub(super) naming: &'a Naming<'a>,
    pub(super) ports: &'a [DeclaredPort],
    pub(super) protected: bool,
}

impl Publishing<'_> {
    /// The endpoints of these instances, sorted, each place once.
    pub(super) fn publish(&self, instances: &[Instance], notes: &mut Notes) -> Vec<PublishedEndpoint> {
        let mut endpoints = Vec::with_capacity(instances.len());
        for instance in instances.iter().filter(|instance| instance.presence != Presence::Replaced) {
            if instance.presence == Presence::Held {
                notes.instance(
                    Reason::HeldBack,
                    instance.endpoint,
                    "its registry no longer has it, or has it without traffic",
                );
            }
            let addresses = self.addresses(instance.endpoint, notes);
            if addresses.is_empty() {
                continue;
            }
            let ports = self.ports(instance, notes);
            endpoints.extend(addresses.into_iter().map(|address| self.endpoint(address, ports.clone(), instance)));
        }
        endpoints.sort_by(by_place);
        leave_out_doubles(&mut endpoints, notes);
        endpoints
    }

    fn addresses(&self, endpoint: &Endpoint, notes: &mut Notes) -> Vec<Address> {
        let mut none = |reason, detail: &str| {
            notes.instance(reason, endpoint, detail);
            Vec::new()
        };
        if !endpoint.enabled {
            return none(Reason::Disabled, "");
        }
        if endpoint.weight == Weight::ZERO {
            return none(Reason::WeightZero, "");
        }
        let addresses = self.rules.policy.addresses;
        if let Some(why) = addresses.refuses(&endpoint.address) {
            return none(Reason::AddressInvalid, why);
        }
        match (&endpoint.address, self.rules.policy.hostnames) {
            (Address::Host(_), Hostnames::Drop) => none(Reason::HostnameDropped, ""),
            (Address::Host(name), Hostnames::Resolve) => match self.answers.get(name) {
                Some(answer) if !answer.is_empty() => {
                    let usable = answer.iter().filter(|ip| addresses.refuses_ip(**ip).is_none());
                    let usable: Vec<Address> = usable.map(|ip| Address::Ip(*ip)).collect();
                    match addresses.refuses_ip(answer[0]) {
                        Some(why) if usable.is_empty() => {
                            none(Reason::AddressInvalid, &format!("{name} is {}: {why}", answer[0]))
                        }
                        _ => usable,
                    }
                }
                _ => none(Reason::HostnameUnresolved, ""),
            },
            (address, _) => vec![address.clone()],
        }
    }

    /// The instance's ports that the service has, too, by name; of two with one name the first.
    fn ports(&self, instance: &Instance, notes: &mut Notes) -> Few<(Text, Port)> {
        let mut ports: Vec<(Text, Port)> = Vec::with_capacity(instance.ports.len());
        for port in &*instance.ports {
            let name = self.naming.name(port);
            if !self.ports.iter().any(|known| known.name == name) {
                continue;
            }
            if ports.iter().any(|(n, _)| *n == name) {
                let detail = format!("port {} would be its second one of the name {name:?}", port.number);
                notes.instance(Reason::PortContested, instance.endpoint, &detail);
                continue;
            }
            ports.push((name, port.number));
        }
        ports.sort();
        ports.into()
    }

    fn endpoint(&self, address: Address, ports: Few<(Text, Port)>, instance: &Instance) -> PublishedEndpoint {
        let endpoint = instance.endpoint;
        let rule = self.rules.policy.locality.as_ref();
        let ruled = rule.map(|rule| rule.render(&self.service.id, &self.service.labels, &instance.labels));
        let locality = match ruled.filter(|text| !text.is_empty()) {
            None => endpoint.locality.clone(),
            // Istio's label for it has dots, because labels have no slashes.
            Some(text) if !text.contains('/') => Locality::parse(&text.replacen('.', "/", 2)),
            Some(text) => Locality::parse(&text),
        };
        let health = match endpoint.health {
            Health::Unhealthy | Health::Unknown if self.protected => Health::Healthy,
            other => other,
        };
        PublishedEndpoint {
            address,
            ports,
            weight: endpoint.weight,
            health,
            locality,
            labels: instance.labels.clone().into_owned(),
            secure: endpoint.secure,
            priority: self.rules.policy.priority,
            // `merge` sets it: it knows all sources of the service.
            source: 0,
        }
    }
}

/// Takes from later endpoints the ports that an earlier one has at the same place, and leaves out what has none then.
pub(super) fn leave_out_doubles(endpoints: &mut Vec<PublishedEndpoint>, notes: &mut Notes) {
    // Nearly always each has an address of its own.
    if endpoints.is_sorted_by(|a, b| a.address < b.address) {
        return;
    }
    let mut seen: HashSet<(Address, Option<(Text, Port)>)> = HashSet::with_capacity(endpoints.len());
    endpoints.retain_mut(|endpoint| {
        if endpoint.ports.is_empty() {
            return seen.insert((endpoint.address.clone(), None)) || double(endpoint, notes);
        }
        let whole = endpoint.ports.clone();
        endpoint.ports.retain(|port| seen.insert((endpoint.address.clone(), Some(port.clone()))));
        if endpoint.ports.len() < whole.len() {
            let short = PublishedEndpoint { ports: whole, ..endpoint.clone() };
            double(&short, notes);
        }
        !endpoint.ports.is_empty()
    });
}

fn double(endpoint: &PublishedEndpoint, notes: &mut Notes) -> bool {
    notes.add(Reason::Duplicate, published_place(endpoint), "");
    false
}

/// The order of endpoints: by address, then by the numbers of their ports.
pub(super) fn by_place(a: &PublishedEndpoint, b: &PublishedEndpoint) -> Ordering {
    let numbers = |endpoint: &PublishedEndpoint| endpoint.ports.iter().map(|(_, number)| *number).collect::<Vec<_>>();
    a.address.cmp(&b.address).then_with(|| numbers(a).cmp(&numbers(b))).then_with(|| a.ports.cmp(&b.ports))
}

/// How notes name a published endpoint: by its address and first port.
pub(super) fn published_place(endpoint: &PublishedEndpoint) -> String {
    endpoint.address.place(endpoint.ports.first().map(|(_, number)| *number))
}
