//! From a few services that changed to the hosts that change with them, and to the records: the incremental part of
//! [`Core`].
//!
//! A changed service is evaluated anew; the hosts that it fed or feeds are put together anew from all who have a part in
//! them. A host that comes or goes also concerns those who use its name for an alias or a further port; an alias
//! concerns the others who claim it. Nothing else is looked at.

use super::{
    Core, Merge, Record,
    claims::Claimant,
    core::Known,
    heard::View,
    merge::{Part, base, merge},
    notes::Notes,
    now::Now,
    publish::{Contribution, Contributions, Input, aliases, contribute},
};
use crate::model::{Address, Endpoint, Hostname, Note, PublishedService, Reason, Service, ServiceId, Text};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

/// Services are settled in runs of so many: what they contribute is in memory twice meanwhile.
const RUN: usize = 1000;

/// What services contribute, computed in this run.
type Fresh = HashMap<ServiceId, Contributions>;

impl Core {
    /// Brings what is published up to date with what is known of these services.
    pub(super) fn settle(&mut self, registry: usize, ids: BTreeSet<ServiceId>, now: Now) {
        let ids: Vec<ServiceId> = ids.into_iter().collect();
        for run in ids.chunks(RUN) {
            let (mut fresh, mut hosts) = (Fresh::with_capacity(run.len()), BTreeSet::new());
            for id in run {
                let contributions = self.evaluate(registry, id, &mut hosts, now.instant);
                fresh.insert(id.clone(), contributions);
            }
            let mut records: BTreeSet<(usize, ServiceId)> = run.iter().map(|id| (registry, id.clone())).collect();
            self.assemble(hosts, fresh, &mut records, now.instant);
            for (registry, id) in records {
                self.record(registry, &id);
            }
        }
    }

    /// Evaluates one service and brings its claims up to date. The hosts concerned are added to `hosts`.
    fn evaluate(
        &mut self,
        registry: usize,
        id: &ServiceId,
        hosts: &mut BTreeSet<Hostname>,
        now: Instant,
    ) -> Contributions {
        let source = &mut self.sources[registry];
        if source.guard.held(id).is_empty()
            && let Some(next) = source.heard.expire(id, now)
        {
            self.timers.insert((next, registry, id.clone()));
        }
        let mut known = self.known.remove(id).unwrap_or_default();
        let contributions = self.contributions(registry, id, &known, now);
        if let Some(again) = contributions.again {
            self.timers.insert((again, registry, id.clone()));
        }
        let claimant = |lingering| Claimant { lingering, registry, id: id.clone() };
        for (host, lingering) in known.claims.iter() {
            if contributions.hosts.get(host).map(|c| c.lingering) != Some(*lingering) {
                self.claims.remove(host, &claimant(*lingering), hosts);
            }
        }
        for (host, contribution) in &contributions.hosts {
            hosts.insert(host.clone());
            if known.claims.get(host) != Some(&contribution.lingering) {
                self.claims.add(host, claimant(contribution.lingering), hosts);
            }
        }
        let names = self.names(registry, id);
        self.want(id, &known.names, &names);
        if self.sources[registry].heard.view(id).is_some() {
            known.claims = contributions.hosts.iter().map(|(host, c)| (host.clone(), c.lingering)).collect();
            known.memory = contributions.memory.clone();
            known.names = names;
            let about = contributions.hosts.values().flat_map(|c| &c.notes);
            known.notes = contributions.notes.iter().chain(about).cloned().collect();
            self.known.insert(id.clone(), known);
        }
        contributions
    }

    /// What a service contributes, with what is known of it.
    fn contributions(&self, registry: usize, id: &ServiceId, known: &Known, now: Instant) -> Contributions {
        let source = &self.sources[registry];
        let Some(View { service, gone, .. }) = source.heard.view(id).filter(|view| view.read) else {
            return Contributions::default();
        };
        let held = self.held(registry, service, gone);
        let input = Input { service, gone, held };
        contribute(&source.rules, &input, &known.memory, &self.answers, now)
    }

    /// The vanished instances of a service that are served on; one that is only absent from a list is there anyway.
    fn held(&self, registry: usize, service: &Service, gone: bool) -> Vec<Endpoint> {
        let mut held = self.sources[registry].guard.held(&service.id);
        if !gone && !held.is_empty() {
            let place = |e: &Endpoint| (e.address.clone(), e.ports.first().map(|port| port.number));
            let there: HashSet<_> = service.endpoints.iter().map(place).collect();
            held.retain(|endpoint| !there.contains(&place(endpoint)));
        }
        held
    }

    fn names(&self, registry: usize, id: &ServiceId) -> BTreeSet<Text> {
        let source = &self.sources[registry];
        if source.rules.policy.hostnames != super::Hostnames::Resolve {
            return BTreeSet::new();
        }
        let Some(view) = source.heard.view(id) else { return BTreeSet::new() };
        let held = source.guard.held(id);
        let heard = if view.gone { &[][..] } else { &view.service.endpoints[..] };
        let name = |endpoint: &Endpoint| match &endpoint.address {
            Address::Host(name) => Some(name.clone()),
            _ => None,
        };
        heard.iter().chain(&held).filter_map(name).collect()
    }

    /// Puts hosts together, and those that are concerned by that. The services whose records may change are added to
    /// `records`.
    fn assemble(
        &mut self,
        hosts: BTreeSet<Hostname>,
        mut fresh: Fresh,
        records: &mut BTreeSet<(usize, ServiceId)>,
        now: Instant,
    ) {
        let mut pending = hosts.clone();
        for host in &hosts {
            let aliases = self.claimed_aliases(host);
            self.claims.set_aliases(host, aliases, &mut pending);
        }
        while let Some(host) = pending.pop_first() {
            records.extend(self.claims.claimants(&host).map(|c| (c.registry, c.id.clone())));
            let published = self.published(&host, &mut fresh, now);
            // Ports' hosts that come or go concern those that claim them as aliases; perhaps this host, once more.
            let before = self.services.get(&host).map(|service| port_hosts(service)).unwrap_or_default();
            let after = published.as_ref().map(port_hosts).unwrap_or_default();
            for port_host in before.symmetric_difference(&after) {
                pending.extend(self.claims.alias_claimants(port_host).cloned());
            }
            match published {
                None => self.changed |= self.services.remove(&host).is_some(),
                Some(published) if self.services.get(&host).is_some_and(|known| **known == published) => {}
                Some(published) => {
                    self.services.insert(host, Arc::new(published));
                    self.changed = true;
                }
            }
        }
    }

    /// Who has a part in a host: its owner, and, where both the owner and they choose so, the others.
    fn participants(&self, host: &Hostname) -> Vec<Claimant> {
        let merges = |claimant: &Claimant| self.sources[claimant.registry].rules.policy.merge == Merge::Host;
        let mut claimants = self.claims.claimants(host);
        let Some(owner) = claimants.next() else { return Vec::new() };
        let others = claimants.filter(|claimant| merges(owner) && merges(claimant));
        std::iter::once(owner).chain(others).cloned().collect()
    }

    fn claimed_aliases(&self, host: &Hostname) -> Vec<Hostname> {
        let mut claimed = BTreeSet::new();
        for Claimant { registry, id, .. } in self.participants(host) {
            let source = &self.sources[registry];
            if let Some(view) = source.heard.view(&id) {
                claimed.extend(aliases(&source.rules, view.service, &mut Notes::default()));
            }
        }
        claimed.remove(host);
        claimed.into_iter().collect()
    }

    fn published(&self, host: &Hostname, fresh: &mut Fresh, now: Instant) -> Option<PublishedService> {
        let mut parts = Vec::new();
        for Claimant { registry, id, .. } in self.participants(host) {
            let source = &self.sources[registry];
            let (Some(view), Some(contribution)) =
                (source.heard.view(&id), self.contribution(host, registry, &id, fresh, now))
            else {
                continue;
            };
            parts.push(Part { rules: &source.rules, service: view.service, contribution });
        }
        if parts.is_empty() {
            return None;
        }
        let mut published = merge(host, parts, &|host| self.claims.has(host));
        for alias in self.claims.aliases(host) {
            match self.contest(alias) {
                None => published.aliases.push(alias.clone()),
                Some(why) => published.notes.push(Note::new(Reason::AliasContested, alias.text().clone(), why)),
            }
        }
        published.notes.sort();
        Some(published)
    }

    fn contribution(
        &self,
        host: &Hostname,
        registry: usize,
        id: &ServiceId,
        fresh: &mut Fresh,
        now: Instant,
    ) -> Option<Contribution> {
        if let Some(contribution) = fresh.get_mut(id).and_then(|contributions| contributions.hosts.remove(host)) {
            return Some(contribution);
        }
        let mut contributions = self.contributions(registry, id, self.known.get(id)?, now);
        let contribution = contributions.hosts.remove(host);
        fresh.insert(id.clone(), contributions);
        contribution
    }

    /// Why nobody can have an alias that somebody claims.
    fn contest(&self, alias: &Hostname) -> Option<&'static str> {
        if self.claims.has(alias) {
            return Some("it is the host of a service");
        }
        let based = base(alias).and_then(|base| self.services.get(&base).cloned());
        if based.is_some_and(|service| service.ports.iter().any(|port| port.host == *alias)) {
            return Some("it is the host of a service's port");
        }
        (self.claims.alias_claimants(alias).count() > 1).then_some("several services claim it: nobody has it")
    }

    /// Brings a service's record up to date.
    pub(super) fn record(&mut self, registry: usize, id: &ServiceId) {
        let made = self.make_record(registry, id);
        if self.records.get(id).map(|record| &**record) == made.as_ref() {
            return;
        }
        self.restated = true;
        let before = match made {
            Some(record) => {
                self.count(&record.notes, 1);
                self.records.insert(id.clone(), Arc::new(record))
            }
            None => self.records.remove(id),
        };
        if let Some(before) = before {
            self.count(&before.notes, -1);
        }
    }

    fn make_record(&self, registry: usize, id: &ServiceId) -> Option<Record> {
        let source = &self.sources[registry];
        let view = source.heard.view(id)?;
        let known = self.known.get(id)?;
        let mut notes = Notes::default();
        notes.extend(&view.notes);
        notes.extend(&known.notes);
        if view.read {
            aliases(&source.rules, view.service, &mut notes);
        }
        let mut hosts = Vec::new();
        for host in known.claims.keys() {
            let owner = self.claims.claimants(host).next()?;
            if self.services.get(host).is_some_and(|service| service.sources.contains(id)) {
                hosts.push(host.clone());
                let published = &self.services[host].notes;
                let contested = |n: &&Note| matches!(n.reason, Reason::AliasContested | Reason::PortContested);
                notes.extend(published.iter().filter(contested));
            } else {
                notes.add(Reason::HostContested, host.text().clone(), format!("it is {}'s", owner.id));
            }
        }
        Some(Record { service: view.service.clone(), hosts, notes: notes.finish() })
    }

    fn count(&mut self, notes: &[Note], by: isize) {
        for note in notes {
            if let Some(count) = Reason::ALL.iter().position(|reason| *reason == note.reason) {
                self.notes[count] = self.notes[count].saturating_add_signed(by);
            }
        }
    }
}

fn port_hosts(service: &PublishedService) -> BTreeSet<Hostname> {
    service.ports.iter().skip(1).map(|port| port.host.clone()).collect()
}
