//! What one service of one registry contributes to each host. Pure: the same input gives the same output.
//!
//! What a service was before matters in two places only, and is passed in as [`PortHistory`]: a host whose last instance
//! goes keeps the ports that were learned from its instances, and a host that came from an instance's label stays for a
//! while without endpoints. Both keep clusters from coming and going with instances.
//!
//! A host whose instances have names of which none is resolved yet is left out if it was never published: unknown is not
//! empty. One that was goes on, and keeps its ports.

use super::{
    HostCase, Hostnames,
    claim::{Claim, Standing},
    endpoints::{Answers, Instance, Presence, Publishing, is_protected},
    memory::{HostMemory, PortMemory},
    notes::Notes,
    now::Now,
    ports::{LearnedPort, LearnedPorts, Naming, instance_ports},
    removal_guard::place,
    rules::Rules,
    spelling::Spelling,
};
use crate::{
    model::{
        Address, DeclaredPort, Endpoint, Hostname, Note, Port, PublishedEndpoint, Reason, Service, ServiceId, Template,
        Text, Weight,
    },
    util::sorted_vec::{SortedMap, SortedSet},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Instant,
};

/// What to do about a service without a possible host.
const REMEDY: &str = "change the registry's host template, or the service's name";

/// Forgets the ports that were learned from instances, but not the hosts.
pub(super) fn forget_ports(history: &mut PortHistory) {
    for history in history.values_mut() {
        history.learned = LearnedPorts::default();
    }
}

/// What is known of a service now, by its registry and its guard.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) service: &'a Service,
    /// Its registry no longer has it.
    pub(super) gone: bool,
    /// Lost instances that are served on, as they last took traffic; each in the place of the one that is listed there.
    pub(super) held: Vec<Endpoint>,
}

/// What a host keeps when its last instance goes: its ports, and how its name was spelled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostHistory {
    learned: LearnedPorts,
    /// Since when no instance names it, while others of the service name other hosts.
    emptied: Option<Instant>,
    spelling: Spelling,
    /// The host in the case of the registry's name, if the policy keeps it.
    cased: Option<Text>,
    /// Names and numbers of the ports of the instances that it had last.
    ports: SortedSet<(Text, Port)>,
}

impl HostHistory {
    /// What is kept of it over a restart.
    pub(super) fn remember(&self, service: &ServiceId, host: &Hostname, owned: bool, now: Now) -> HostMemory {
        let port = |LearnedPort { held, beside, name, protocol }: &LearnedPort| PortMemory {
            held: *held,
            beside: *beside,
            name: name.clone(),
            protocol: *protocol,
        };
        HostMemory {
            service: service.clone(),
            host: host.clone(),
            learned: self.learned.iter().map(port).collect(),
            emptied: self.emptied.map(|since| now.wall_at(since)),
            rewritten: self.spelling.rewritten,
            spelled: self.spelling.name,
            cased: self.cased.clone(),
            ports: self.ports.iter().cloned().collect(),
            owned,
        }
    }

    /// Reads what [`HostHistory::remember`] gives.
    pub(super) fn recall(memory: &HostMemory, now: Now) -> Self {
        let port = |PortMemory { held, beside, name, protocol }: &PortMemory| LearnedPort {
            held: *held,
            beside: *beside,
            name: name.clone(),
            protocol: *protocol,
        };
        HostHistory {
            learned: memory.learned.iter().map(port).collect(),
            emptied: memory.emptied.map(|since| now.ago(since).instant),
            spelling: Spelling { rewritten: memory.rewritten, name: memory.spelled },
            cased: memory.cased.clone(),
            ports: memory.ports.iter().cloned().collect(),
        }
    }
}

/// The hosts that instances of a service had named, with the ports that were learned from them.
pub(super) type PortHistory = SortedMap<Hostname, HostHistory>;

/// What one service gives to one host.
#[derive(Debug, PartialEq)]
pub(super) struct Contribution {
    /// The service's own port stands first.
    pub(super) ports: Vec<DeclaredPort>,
    pub(super) endpoints: Vec<PublishedEndpoint>,
    /// The ports of all its instances; without any those of the last that there were.
    pub(super) instance_ports: SortedSet<(Text, Port)>,
    pub(super) protected: bool,
    pub(super) claim: Claim,
    /// The host in the case of the registry's name, if the policy keeps it.
    pub(super) cased: Option<Text>,
    pub(super) notes: Vec<Note>,
}

/// What one service gives to all hosts.
#[derive(Debug, Default)]
pub(super) struct Contributions {
    pub(super) hosts: BTreeMap<Hostname, Contribution>,
    /// About the service as a whole.
    pub(super) notes: Vec<Note>,
    pub(super) history: PortHistory,
    /// Hosts all of whose instances have names of which none is resolved.
    pub(super) unresolved: BTreeSet<Hostname>,
    /// When to look again though nothing is reported.
    pub(super) again: Option<Instant>,
}

impl Contributions {
    /// Goes on as `former` where no name is resolved: with what is served of such a host, and if nothing of the service is
    /// resolved, as a whole.
    pub(super) fn going_on_as(mut self, mut former: Contributions) -> Contributions {
        let unresolved = std::mem::take(&mut self.unresolved);
        let mut notes = std::mem::take(&mut self.notes);
        notes.append(&mut former.notes);
        let resolved = |(host, contribution): (&Hostname, &Contribution)| {
            contribution.claim.standing != Standing::Lingering && !unresolved.contains(host)
        };
        let some = self.hosts.iter().any(resolved);
        for host in &unresolved {
            let served = former.hosts.get(host).is_some_and(|contribution| !contribution.endpoints.is_empty());
            if some && !served {
                continue;
            }
            // That its names are not resolved is told all the same.
            notes.extend(self.hosts.remove(host).into_iter().flat_map(|contribution| contribution.notes));
            if some && let Some(contribution) = former.hosts.remove(host) {
                self.hosts.insert(host.clone(), contribution);
            }
        }
        let mut out = if some { self } else { former };
        notes.sort();
        notes.dedup();
        (out.notes, out.unresolved) = (notes, unresolved);
        out
    }
}

/// What the service contributes now.
pub(super) fn contribute(
    rules: &Rules,
    input: &Input,
    history: &PortHistory,
    answers: &Answers,
    now: Instant,
) -> Contributions {
    let mut publisher = Publisher {
        rules,
        input,
        answers,
        notes: Notes::default(),
        out: Contributions::default(),
        spellings: HashMap::new(),
        cased: HashMap::new(),
    };
    if let Some(reason) = rules.select.refuses_service(&input.service.id) {
        publisher.notes.add(reason, "", "");
    } else {
        publisher.run(history, now);
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
    /// The name that became each host; of several the smallest.
    spellings: HashMap<Hostname, Spelling>,
    cased: HashMap<Hostname, Text>,
}

impl<'a> Publisher<'a> {
    fn run(&mut self, history: &PortHistory, now: Instant) {
        let service = self.input.service;
        let protected = is_protected(service, self.served());
        let mut fed = self.split();
        let bare = self.endpoints().next().is_none();
        if bare {
            for host in self.bare_hosts(history) {
                fed.entry(host).or_default();
            }
        }
        for (host, before) in history.iter().filter(|(host, _)| !fed.contains_key(*host)) {
            self.linger(host, before, protected, now);
        }
        for (host, instances) in fed {
            let before = history.get(&host);
            self.contribute(host, &instances, before, protected);
        }
    }

    /// Every instance, listed or held; a listed one in whose place a held one is served is marked.
    fn endpoints(&self) -> impl Iterator<Item = (&'a Endpoint, Presence)> + use<'a> {
        let (held, none) = (&self.input.held, &[][..]);
        let listed = if self.input.gone { none } else { &self.input.service.endpoints[..] };
        let places: HashSet<_> = held.iter().map(place).collect();
        let listed = listed.iter().map(move |endpoint| match !places.is_empty() && places.contains(&place(endpoint)) {
            true => (endpoint, Presence::Replaced),
            false => (endpoint, Presence::Listed),
        });
        listed.chain(held.iter().map(|endpoint| (endpoint, Presence::Held)))
    }

    /// Those of [`Publisher::endpoints`] that are served.
    fn served(&self) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
        self.endpoints().filter(|(_, presence)| *presence != Presence::Replaced).map(|(endpoint, _)| endpoint)
    }

    /// The selected instances by the host that each feeds.
    fn split(&mut self) -> BTreeMap<Hostname, Vec<Instance<'a>>> {
        let service = self.input.service;
        let mut fed: BTreeMap<Hostname, Vec<Instance>> = BTreeMap::new();
        let mut named: HashMap<String, Option<Hostname>> = HashMap::new();
        let mut fixed: Option<Option<Hostname>> = None;
        for (endpoint, presence) in self.endpoints() {
            if let Some(reason) = self.rules.select.refuses_instance(&service.id, &service.labels, endpoint) {
                self.notes.instance(reason, endpoint, "");
                continue;
            }
            let labels = self.rules.relabel.apply(&service.id, &service.labels, &endpoint.labels);
            let host = if service.host.is_some() || !self.rules.policy.host.reads_labels() {
                fixed.get_or_insert_with(|| self.host(&Default::default())).clone()
            } else if self.is_lost(&labels) {
                None
            } else {
                let text = self.rules.policy.host.render(&service.id, &service.labels, &labels);
                named.entry(text).or_insert_with_key(|text| self.sanitize(text)).clone()
            };
            match host {
                Some(host) => {
                    let ports = instance_ports(endpoint, self.rules.policy.ports_from_labels);
                    fed.entry(host).or_default().push(Instance { endpoint, labels, ports, presence });
                }
                None if fixed.is_some() => break,
                None => self.notes.instance(Reason::HostInvalid, endpoint, "left out: its host name is not possible"),
            }
        }
        fed
    }

    /// The hosts of a service without any instance: those it had, if they come from labels; else its one.
    fn bare_hosts(&mut self, history: &PortHistory) -> Vec<Hostname> {
        let service = self.input.service;
        let by_label = service.host.is_none() && self.rules.policy.host.reads_labels();
        if by_label && !history.is_empty() {
            return history.keys().cloned().collect();
        }
        let refused = self.rules.select.refuses_bare(&service.id, &service.labels);
        match refused.filter(|_| history.is_empty()) {
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
            Some(host) => {
                self.spellings.insert(host.clone(), Spelling::default());
                Some(host.clone())
            }
            None if self.is_lost(labels) => None,
            None => {
                let text = self.rules.policy.host.render(&service.id, &service.labels, labels);
                self.sanitize(&text)
            }
        }
    }

    /// Whether the host template would lose something that tells the service from others; then a note says so.
    fn is_lost(&mut self, labels: &crate::model::Labels) -> bool {
        let service = self.input.service;
        let lost = self.rules.policy.host.loses(&service.id, &service.labels, labels);
        if let Some(why) = lost {
            self.notes.add(Reason::HostInvalid, "", format!("{why}; {REMEDY}"));
        }
        lost.is_some()
    }

    fn sanitize(&mut self, text: &str) -> Option<Hostname> {
        match Hostname::sanitized(text) {
            Ok(host) => {
                let spelling = Spelling::of(text, &host);
                self.spellings
                    .entry(host.clone())
                    .and_modify(|known| *known = spelling.min(*known))
                    .or_insert(spelling);
                if self.rules.policy.host_case == HostCase::Keep
                    && let Some(cased) = host.spelled(text)
                {
                    // Of several the smallest, so that the order of instances does not matter.
                    let known = self.cased.entry(host.clone()).or_insert_with(|| cased.clone());
                    *known = cased.min(known.clone());
                }
                if host.as_str() != text {
                    self.notes.add(Reason::HostRenamed, text, format!("published as {host}"));
                }
                Some(host)
            }
            Err(error) => {
                self.notes.add(Reason::HostInvalid, text, format!("{error}; {REMEDY}"));
                None
            }
        }
    }

    /// A host that no instance names any more stays for a while.
    fn linger(&mut self, host: &Hostname, history: &HostHistory, protected: bool, now: Instant) {
        let emptied = history.emptied.unwrap_or(now);
        let until = emptied + self.rules.policy.linger;
        if until <= now {
            return;
        }
        self.out.again = self.out.again.into_iter().chain([until]).min();
        self.contribute(host.clone(), &[], Some(history), protected);
        if let Some(history) = self.out.history.get_mut(host) {
            history.emptied = Some(emptied);
        }
        if let Some(contribution) = self.out.hosts.get_mut(host) {
            contribution.claim.standing = Standing::Lingering;
            contribution.notes.push(Note::new(Reason::Lingering, host.text().clone(), "no instance names it any more"));
        }
    }

    fn contribute(&mut self, host: Hostname, instances: &[Instance], before: Option<&HostHistory>, protected: bool) {
        let (service, policy) = (self.input.service, &self.rules.policy);
        let declared = if service.ports.is_empty() { &policy.ports } else { &service.ports };
        let naming = Naming::new(declared, policy.protocol);
        let learned = match instances {
            [] => before.map(|history| history.learned.clone()).unwrap_or_default(),
            _ => {
                let ports = instances.iter().map(|i| (&*i.ports, i.presence == Presence::Held));
                naming.learn(ports, before.map(|history| &history.learned))
            }
        };
        let mut notes = Notes::default();
        notes.extend(&service.notes);
        let ports = naming.plan(&learned, &mut notes);
        let publishing =
            Publishing { rules: self.rules, service, answers: self.answers, naming: &naming, ports: &ports, protected };
        let endpoints = publishing.publish(instances, &mut notes);
        if endpoints.is_empty() && self.are_waited_for(instances) {
            if self.are_unknown(instances) {
                self.out.unresolved.insert(host.clone());
            }
            if before.is_none() {
                notes.finish().into_iter().for_each(|note| self.notes.extend([&note]));
                return;
            }
        }
        if protected {
            notes.add(Reason::Protected, "", "too few are healthy: all enabled instances count as healthy");
        }
        if self.input.gone {
            notes.add(Reason::Lingering, "", "gone from its registry");
        }
        // What is listed of a service may name other hosts than what is held of it.
        let unlisted = self.input.gone || !service.endpoints.is_empty();
        let standing = match instances {
            [] if self.input.gone => Standing::Lingering,
            [_, ..] if unlisted && instances.iter().all(|i| i.presence == Presence::Held) => Standing::Held,
            _ => Standing::Listed,
        };
        let spelling =
            self.spellings.get(&host).copied().or(before.map(|history| history.spelling)).unwrap_or_default();
        let claim = Claim { standing, spelling };
        let cased = self.cased.get(&host).cloned().or_else(|| before.and_then(|history| history.cased.clone()));
        let instance_ports: SortedSet<(Text, Port)> = match (instances, before) {
            ([], Some(before)) => before.ports.clone(),
            _ => instances.iter().flat_map(|i| i.ports.iter()).map(|port| (naming.name(port), port.number)).collect(),
        };
        if !instances.is_empty() || before.is_some() {
            let (cased, ports) = (cased.clone(), instance_ports.clone());
            let history = HostHistory { learned, emptied: None, spelling, cased, ports };
            self.out.history.insert(host.clone(), history);
        }
        let notes = notes.finish();
        self.out.hosts.insert(host, Contribution { ports, endpoints, instance_ports, protected, claim, cased, notes });
    }

    /// Whether some of these would take traffic if their names were resolved.
    fn are_waited_for(&self, instances: &[Instance]) -> bool {
        let named = |endpoint: &Endpoint| matches!(endpoint.address, Address::Host(_));
        let would = |endpoint: &Endpoint| endpoint.enabled && endpoint.weight > Weight::ZERO && named(endpoint);
        self.rules.policy.hostnames == Hostnames::Resolve && instances.iter().any(|i| would(i.endpoint))
    }

    /// Whether nothing is known of where any of these are. One of which it is known and that is not served is switched
    /// off: then what was served before has no say.
    fn are_unknown(&self, instances: &[Instance]) -> bool {
        let unanswered = |name: &Text| self.answers.get(name).is_none_or(|answer| answer.is_empty());
        instances.iter().all(|i| matches!(&i.endpoint.address, Address::Host(name) if unanswered(name)))
    }
}

/// The further names of a service: those that are possible, each once, and notes on the others.
pub(super) fn aliases(rules: &Rules, service: &Service, notes: &mut Notes) -> Vec<Hostname> {
    let mut aliases = Vec::with_capacity(rules.policy.aliases.len());
    let lost = |template: &&Template| template.loses(&service.id, &service.labels, &Default::default()).is_some();
    let texts = |template: &Template| template.render_each(&service.id, &service.labels);
    for text in rules.policy.aliases.iter().filter(|template| !lost(template)).flat_map(texts) {
        match Hostname::sanitized(&text) {
            Ok(alias) => aliases.push(alias),
            Err(error) => notes.add(Reason::AliasInvalid, text, error.to_string()),
        }
    }
    aliases.sort();
    aliases.dedup();
    aliases
}
