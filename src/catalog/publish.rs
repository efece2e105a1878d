//! One service of one registry → what it contributes to each host. Pure: the same input gives the same output.
//!
//! What a service was before matters in two places only, and is passed in as [`Memory`]: a host whose last instance
//! goes keeps the ports that its instances had taught, and a host that came from an instance's label stays for a while
//! without endpoints. Both keep clusters from coming and going with instances.

use super::{
    endpoints::{Answers, Instance, Publishing, is_protected},
    notes::Notes,
    ports::{Learned, Naming},
    rules::Rules,
};
use crate::{
    model::{DeclaredPort, Endpoint, Hostname, Note, PublishedEndpoint, Reason, Service, Template},
    util::small::SmallMap,
};
use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

/// What is known of a service now.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) service: &'a Service,
    /// Its registry no longer has it.
    pub(super) gone: bool,
    /// Instances that vanished and are served on.
    pub(super) held: Vec<Endpoint>,
}

/// What a host was before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    learned: Learned,
    /// Since when no instance names it, while others of the service name other hosts.
    emptied: Option<Instant>,
}

/// The hosts that instances of a service had named, with what they taught.
pub(super) type Memory = SmallMap<Hostname, Remembered>;

/// What one service gives to one host.
#[derive(Debug, PartialEq)]
pub(super) struct Contribution {
    /// Its own first.
    pub(super) ports: Vec<DeclaredPort>,
    pub(super) endpoints: Vec<PublishedEndpoint>,
    pub(super) protected: bool,
    /// Only kept up for a while: it has no instances, and makes way for any service that is there.
    pub(super) lingering: bool,
    pub(super) notes: Vec<Note>,
}

/// What one service gives.
#[derive(Debug, Default)]
pub(super) struct Contributions {
    pub(super) hosts: BTreeMap<Hostname, Contribution>,
    /// About the service as a whole.
    pub(super) notes: Vec<Note>,
    pub(super) memory: Memory,
    /// When to look again though nothing is heard.
    pub(super) again: Option<Instant>,
}

/// What the service contributes now.
pub(super) fn contribute(
    rules: &Rules,
    input: &Input,
    memory: &Memory,
    answers: &Answers,
    now: Instant,
) -> Contributions {
    let mut publisher = Publisher { rules, input, answers, notes: Notes::default(), out: Contributions::default() };
    if let Some(reason) = rules.select.refuses_service(&input.service.id) {
        publisher.notes.add(reason, "", "");
    } else {
        publisher.run(memory, now);
    }
    Contributions { notes: publisher.notes.finish(), ..publisher.out }
}

#[derive(Debug)]
struct Publisher<'a> {
    rules: &'a Rules,
    input: &'a Input<'a>,
    answers: &'a Answers,
    notes: Notes,
    out: Contributions,
}

impl<'a> Publisher<'a> {
    fn run(&mut self, memory: &Memory, now: Instant) {
        let service = self.input.service;
        let protected = is_protected(service, self.endpoints().map(|(endpoint, _)| endpoint));
        let mut fed = self.split();
        let bare = self.endpoints().next().is_none();
        if bare {
            for host in self.bare_hosts(memory) {
                fed.entry(host).or_default();
            }
        }
        for (host, remembered) in memory.iter().filter(|(host, _)| !fed.contains_key(*host)) {
            self.linger(host, remembered, protected, now);
        }
        for (host, instances) in fed {
            let before = memory.get(&host);
            self.contribute(host, &instances, before, protected);
        }
    }

    /// Every instance, and whether it is held.
    fn endpoints(&self) -> impl Iterator<Item = (&'a Endpoint, bool)> + use<'a> {
        let heard = if self.input.gone { &[][..] } else { &self.input.service.endpoints[..] };
        heard.iter().map(|endpoint| (endpoint, false)).chain(self.input.held.iter().map(|endpoint| (endpoint, true)))
    }

    /// The selected instances by the host that each feeds.
    fn split(&mut self) -> BTreeMap<Hostname, Vec<Instance<'a>>> {
        let service = self.input.service;
        let mut fed: BTreeMap<Hostname, Vec<Instance>> = BTreeMap::new();
        let mut named: HashMap<String, Option<Hostname>> = HashMap::new();
        let mut fixed: Option<Option<Hostname>> = None;
        for (endpoint, held) in self.endpoints() {
            if let Some(reason) = self.rules.select.refuses_instance(&service.id, &service.labels, endpoint) {
                self.notes.instance(reason, endpoint, "");
                continue;
            }
            let labels = self.rules.relabel.apply(&service.id, &service.labels, &endpoint.labels);
            let host = if service.host.is_some() || !self.rules.policy.host.reads_labels() {
                fixed.get_or_insert_with(|| self.host(&Default::default())).clone()
            } else {
                let text = self.rules.policy.host.render(&service.id, &service.labels, &labels);
                named.entry(text).or_insert_with_key(|text| self.sanitize(text)).clone()
            };
            match host {
                Some(host) => fed.entry(host).or_default().push(Instance { endpoint, labels, held }),
                None if fixed.is_some() => break,
                None => self.notes.instance(Reason::HostInvalid, endpoint, "left out: its host name is not possible"),
            }
        }
        fed
    }

    /// The hosts of a service without any instance: those it had, if they come from labels; else its one.
    fn bare_hosts(&mut self, memory: &Memory) -> Vec<Hostname> {
        let service = self.input.service;
        let by_label = service.host.is_none() && self.rules.policy.host.reads_labels();
        if by_label && !memory.is_empty() {
            return memory.keys().cloned().collect();
        }
        let refused = self.rules.select.refuses_bare(&service.id, &service.labels);
        match refused.filter(|_| memory.is_empty()) {
            None => self.host(&Default::default()).into_iter().collect(),
            Some(reason) => {
                self.notes.add(reason, "", "it has no instances, and its own labels do not tell otherwise");
                Vec::new()
            }
        }
    }

    fn host(&mut self, labels: &crate::model::Labels) -> Option<Hostname> {
        let service = self.input.service;
        match &service.host {
            Some(host) => Some(host.clone()),
            None => {
                let text = self.rules.policy.host.render(&service.id, &service.labels, labels);
                self.sanitize(&text)
            }
        }
    }

    fn sanitize(&mut self, text: &str) -> Option<Hostname> {
        match Hostname::sanitized(text) {
            Ok(host) => {
                if host.as_str() != text {
                    self.notes.add(Reason::HostRenamed, text, format!("published as {host}"));
                }
                Some(host)
            }
            Err(error) => {
                let detail = format!("{error}; change the registry's host template, or the service's name");
                self.notes.add(Reason::HostInvalid, text, detail);
                None
            }
        }
    }

    /// A host that no instance names any more stays for a while.
    fn linger(&mut self, host: &Hostname, remembered: &Remembered, protected: bool, now: Instant) {
        let emptied = remembered.emptied.unwrap_or(now);
        let until = emptied + self.rules.policy.linger;
        if until <= now {
            return;
        }
        self.out.again = self.out.again.into_iter().chain([until]).min();
        self.contribute(host.clone(), &[], Some(remembered), protected);
        if let Some(remembered) = self.out.memory.get_mut(host) {
            remembered.emptied = Some(emptied);
        }
        if let Some(contribution) = self.out.hosts.get_mut(host) {
            contribution.lingering = true;
            contribution.notes.push(Note::new(Reason::Lingering, host.text().clone(), "no instance names it any more"));
        }
    }

    fn contribute(&mut self, host: Hostname, instances: &[Instance], before: Option<&Remembered>, protected: bool) {
        let (service, policy) = (self.input.service, &self.rules.policy);
        let declared = if service.ports.is_empty() { &policy.ports } else { &service.ports };
        let naming = Naming::new(declared, policy.protocol);
        let learned = match instances {
            [] => before.map(|remembered| remembered.learned.clone()).unwrap_or_default(),
            _ => naming.learn(instances.iter().map(|instance| &instance.endpoint.ports[..])),
        };
        let mut notes = Notes::default();
        let ports = naming.plan(&learned, &mut notes);
        let publishing =
            Publishing { rules: self.rules, service, answers: self.answers, naming: &naming, ports: &ports, protected };
        let endpoints = publishing.publish(instances, &mut notes);
        if protected {
            notes.add(Reason::Protected, "", "too few are healthy: all enabled instances count as healthy");
        }
        if self.input.gone {
            notes.add(Reason::Lingering, "", "gone from its registry");
        }
        let lingering = self.input.gone && instances.is_empty();
        if !instances.is_empty() || before.is_some() {
            self.out.memory.insert(host.clone(), Remembered { learned, emptied: None });
        }
        let notes = notes.finish();
        self.out.hosts.insert(host, Contribution { ports, endpoints, protected, lingering, notes });
    }
}

/// The further names of a service: those that are possible, each once, and notes on the others.
pub(super) fn aliases(rules: &Rules, service: &Service, notes: &mut Notes) -> Vec<Hostname> {
    let mut aliases = Vec::with_capacity(rules.policy.aliases.len());
    let texts = |template: &Template| template.render_each(&service.id, &service.labels);
    for text in rules.policy.aliases.iter().flat_map(texts) {
        match Hostname::sanitized(&text) {
            Ok(alias) => aliases.push(alias),
            Err(error) => notes.add(Reason::AliasInvalid, text, error.to_string()),
        }
    }
    aliases.sort();
    aliases.dedup();
    aliases
}
