//! From a few services that changed to the hosts that change with them, and to the records: the incremental part of
//! the core.
//!
//! A changed service is evaluated anew; the hosts that it fed or feeds are put together anew from all who have a part in
//! them. A host that comes or goes also concerns those who use its name for an alias or a further port; an alias
//! concerns the others who claim it. Nothing else is looked at.

use super::{
    Hostnames, Merge, Owner, Record, Stale,
    claim::Claim,
    claims::Claimant,
    ledger::View,
    merge::{Part, base, merge},
    names::Names,
    notes::Notes,
    publish::{Contribution, Contributions, Input, aliases, contribute},
    publishing::{Known, Named, Publishing},
    removal_guard::place,
    source::{Intake, Source},
};
use crate::{
    model::{Address, Endpoint, Health, Hostname, Note, PublishedService, Reason, Service, ServiceId, Text},
    util::side_by_side::in_parts,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

/// Services are recomputed in runs of so many: what they contribute is in memory twice meanwhile.
const RUN: usize = 4_000;
/// Each thread gets at least so many services; fewer are not worth a thread.
const PART: usize = 500;

/// What services contribute, computed in this run.
type Fresh = HashMap<ServiceId, Contributions>;

/// What is published, with all that it is made of.
#[derive(Debug)]
pub(super) struct Recompute<'a> {
    pub(super) publishing: &'a mut Publishing,
    pub(super) intake: &'a mut Intake,
    pub(super) names: &'a mut Names,
    pub(super) now: Instant,
}

impl Recompute<'_> {
    /// Brings what is published up to date with what is known of these services.
    pub(super) fn services(&mut self, ids: BTreeSet<ServiceId>) {
        let ids: Vec<ServiceId> = ids.into_iter().collect();
        for run in ids.chunks(RUN) {
            let (mut fresh, mut hosts) = (Fresh::with_capacity(run.len()), BTreeSet::new());
            run.iter().for_each(|id| self.expire(id));
            let (this, none) = (&*self, Known::default());
            let known = |id: &ServiceId| this.publishing.known.get(id).unwrap_or(&none);
            // What one contributes has nothing to do with what others do.
            let part = |ids: &[ServiceId]| ids.iter().map(|id| this.contributions(id, known(id))).collect::<Vec<_>>();
            let made = in_parts(run, PART, part);
            for (id, mut contributions) in run.iter().zip(made.into_iter().flatten()) {
                self.take_in(id, &mut contributions, &mut hosts);
                fresh.insert(id.clone(), contributions);
            }
            self.assemble(hosts, fresh, run.iter().cloned().collect());
        }
    }

    /// Puts these hosts together anew, though no service has changed.
    pub(super) fn hosts(&mut self, hosts: BTreeSet<Hostname>) {
        self.assemble(hosts, Fresh::new(), BTreeSet::new());
    }

    /// Brings these services' records up to date.
    pub(super) fn records(&mut self, ids: impl IntoIterator<Item = ServiceId>) {
        for id in ids {
            let record = self.record(&id);
            self.publishing.set_record(&id, record);
        }
    }

    /// Forgets what of a service has lingered long enough, or sets a timer for that.
    fn expire(&mut self, id: &ServiceId) {
        if let Some(source) = self.intake.sources.get_mut(&id.registry)
            && source.guard.held(id).is_empty()
            && let Some(next) = source.ledger.expire(id, self.now)
        {
            self.intake.timers.insert((next, id.clone()));
        }
    }

    /// Brings the claims of a service up to date with what it contributes. The hosts concerned are added to `hosts`.
    fn take_in(&mut self, id: &ServiceId, contributions: &mut Contributions, hosts: &mut BTreeSet<Hostname>) {
        let rank = self.intake.of(id).map(|source| source.rank);
        let mut known = self.publishing.known.remove(id).unwrap_or_default();
        if let Some(again) = contributions.again {
            self.intake.timers.insert((again, id.clone()));
        }
        let claims = &mut self.publishing.claims;
        if let Some(rank) = rank {
            let claimant = |claim: Claim| Claimant::new(claim, rank, id.clone());
            for (host, claim) in known.claims.iter() {
                if contributions.hosts.get(host).map(|contribution| contribution.claim) != Some(*claim) {
                    claims.remove(host, &claimant(*claim), hosts);
                }
            }
            for (host, contribution) in &contributions.hosts {
                match known.claims.get(host) == Some(&contribution.claim) {
                    true => drop(hosts.insert(host.clone())),
                    false => claims.add(host, claimant(contribution.claim), hosts),
                }
            }
        }
        self.name(id, &mut known, contributions);
        if self.intake.of(id).is_some_and(|source| source.ledger.knows(id)) {
            known.claims = contributions.hosts.iter().map(|(host, c)| (host.clone(), c.claim)).collect();
            known.history = std::mem::take(&mut contributions.history);
            let about = contributions.hosts.values().flat_map(|c| &c.notes);
            known.notes = contributions.notes.iter().chain(about).cloned().collect();
            self.publishing.known.insert(id.clone(), known);
        }
    }

    /// What a service contributes, with what is known of it. A host none of whose instances' names is resolved goes on as it
    /// was when some were.
    fn contributions(&self, id: &ServiceId, known: &Known) -> Contributions {
        let Some(source) = self.intake.of(id) else { return Contributions::default() };
        let Some(view) = source.ledger.view(id).filter(|view| view.read) else { return Contributions::default() };
        let contributions = self.contribute(source, &view, view.service, known);
        let resolved = known.named.as_ref().and_then(|named| named.resolved.as_ref());
        let waits = !contributions.unresolved.is_empty();
        match resolved.filter(|resolved| waits && !Arc::ptr_eq(resolved, view.service)) {
            None => contributions,
            Some(resolved) => contributions.going_on_as(self.contribute(source, &view, resolved, known)),
        }
    }

    fn contribute(&self, source: &Source, view: &View, service: &Service, known: &Known) -> Contributions {
        let input = Input { service, gone: view.gone, held: held(source, view) };
        let mut contributions = contribute(&source.rules, &input, &known.history, self.names.answers(), self.now);
        if view.too_old && source.rules.policy.stale == Stale::Drain {
            let endpoints = contributions.hosts.values_mut().flat_map(|contribution| &mut contribution.endpoints);
            endpoints.for_each(|endpoint| endpoint.health = Health::Draining);
        }
        contributions
    }

    /// Follows which names a service needs.
    fn name(&mut self, id: &ServiceId, known: &mut Known, contributions: &Contributions) {
        let before = known.named.take();
        let waits = !contributions.unresolved.is_empty();
        let resolved = before.as_ref().and_then(|named| named.resolved.clone()).filter(|_| waits);
        let mut after = Named { names: BTreeSet::new(), resolved };
        if let Some(source) = self.intake.of(id)
            && source.rules.policy.hostnames == Hostnames::Resolve
            && let Some(view) = source.ledger.view(id)
        {
            let listed = if view.gone { &[][..] } else { &view.service.endpoints[..] };
            let former = after.resolved.iter().flat_map(|service| &service.endpoints);
            after.names = listed.iter().chain(source.guard.held(id)).chain(former).filter_map(host_name).collect();
            if !waits && !after.names.is_empty() {
                after.resolved = Some(view.service.clone());
            }
        }
        let none = BTreeSet::new();
        self.names.want(id, before.as_ref().map_or(&none, |named| &named.names), &after.names);
        known.named = (!after.names.is_empty()).then(|| Box::new(after));
    }

    /// Puts hosts together, and those that are concerned by that; and brings the records of all concerned, and of `ids`, up
    /// to date.
    fn assemble(&mut self, hosts: BTreeSet<Hostname>, mut fresh: Fresh, mut ids: BTreeSet<ServiceId>) {
        let mut pending = hosts.clone();
        for host in &hosts {
            let aliases = self.claimed_aliases(host);
            self.publishing.claims.set_aliases(host, aliases, &mut pending);
        }
        while let Some(host) = pending.pop_first() {
            // Those that contribute in this run are among them.
            let others = self.publishing.claims.claimants(&host).filter(|claimant| !fresh.contains_key(&claimant.id));
            ids.extend(others.map(|claimant| claimant.id.clone()));
            let published = self.published(&host, &mut fresh);
            let publishing = &mut *self.publishing;
            let known = publishing.services.get(&host).cloned();
            if known.as_deref() == published.as_ref() {
                continue;
            }
            publishing.changed = true;
            // Further names that come or go concern those that claim them; perhaps this host, once more.
            let before = known.as_deref().map(further_names).unwrap_or_default();
            let after = published.as_ref().map(further_names).unwrap_or_default();
            for (name, is_port) in before.symmetric_difference(&after) {
                pending.extend(publishing.claims.has(name).then(|| name.clone()));
                if *is_port {
                    pending.extend(publishing.claims.alias_claimants(name).cloned());
                }
            }
            let owner_before = known.as_ref().and_then(|service| service.sources.first());
            let owner_after = published.as_ref().and_then(|service| service.sources.first());
            if owner_before != owner_after {
                publishing
                    .turned
                    .extend([owner_before, owner_after].into_iter().flatten().map(|id| id.registry.clone()));
            }
            match published {
                None => drop(publishing.services.remove(&host)),
                Some(published) => drop(publishing.services.insert(host, Arc::new(published))),
            }
        }
        self.records(ids);
    }

    /// Who has a part in a host: its owner, and, where both the owner and they choose so, the others of that name.
    fn participants(&self, host: &Hostname) -> Vec<&Claimant> {
        let merges = |claimant: &Claimant| {
            self.intake.of(&claimant.id).is_some_and(|source| source.rules.policy.merge == Merge::Host)
        };
        let Some(owner) = self.owner(host) else { return Vec::new() };
        let claimants = self.publishing.claims.claimants(host).filter(|claimant| claimant.id != owner.id);
        std::iter::once(owner)
            .chain(claimants.filter(|other| owner.is_namesake(other) && merges(owner) && merges(other)))
            .collect()
    }

    /// Who owns a host: the smallest claimant, unless who has it now claims it firmly and may keep it.
    fn owner(&self, host: &Hostname) -> Option<&Claimant> {
        let claims = &self.publishing.claims;
        let mut all = claims.claimants(host);
        let smallest = all.next()?;
        let keeps = |claimant: &&Claimant| {
            let policy = self.intake.of(&claimant.id).map(|source| &source.rules.policy);
            claimant.is_firm() && policy.is_some_and(|p| p.owner == Owner::First && p.merge == Merge::Refuse)
        };
        let incumbent = || {
            let before = self.publishing.incumbents.get(host);
            let id = before.or_else(|| self.publishing.services.get(host)?.sources.first())?;
            claims.claimants(host).find(|claimant| claimant.id == *id)
        };
        Some(match all.next() {
            Some(_) => incumbent().filter(keeps).unwrap_or(smallest),
            None => smallest,
        })
    }

    fn claimed_aliases(&self, host: &Hostname) -> Vec<Hostname> {
        let mut claimed = BTreeSet::new();
        for Claimant { id, .. } in self.participants(host) {
            let Some(source) = self.intake.of(id) else { continue };
            let policy = &source.rules.policy;
            if policy.aliases.is_empty() && policy.host_aliases.is_empty() {
                continue;
            }
            if let Some(view) = source.ledger.view(id) {
                claimed.extend(aliases(&source.rules, view.service, &mut Notes::default()));
                claimed.extend(policy.host_aliases.get(host).into_iter().flatten().cloned());
            }
        }
        claimed.remove(host);
        claimed.into_iter().collect()
    }

    fn published(&self, host: &Hostname, fresh: &mut Fresh) -> Option<PublishedService> {
        let claims = &self.publishing.claims;
        if !claims.is_firm(host) && self.publishing.lent(host).is_some() {
            return None;
        }
        let mut parts = Vec::new();
        for claimant in self.participants(host) {
            let (id, firm) = (&claimant.id, claimant.is_firm());
            let Some(source) = self.intake.of(id) else { continue };
            let (Some(view), Some(contribution)) = (source.ledger.view(id), self.contribution(host, id, fresh)) else {
                continue;
            };
            parts.push(Part { rules: &source.rules, service: view.service, contribution, firm });
        }
        if parts.is_empty() {
            return None;
        }
        let taken = |host: &Hostname, firm: bool| claims.has(host) && (!firm || claims.is_firm(host));
        let mut published = merge(host, parts, &taken);
        for alias in claims.aliases(host) {
            match self.contest(alias, host) {
                None => published.aliases.push(alias.clone()),
                Some(why) => published.notes.push(Note::new(Reason::AliasContested, alias.text().clone(), why)),
            }
        }
        published.notes.sort();
        Some(published)
    }

    fn contribution(&self, host: &Hostname, id: &ServiceId, fresh: &mut Fresh) -> Option<Contribution> {
        if let Some(contribution) = fresh.get_mut(id).and_then(|contributions| contributions.hosts.remove(host)) {
            return Some(contribution);
        }
        let mut contributions = self.contributions(id, self.publishing.known.get(id)?);
        let contribution = contributions.hosts.remove(host);
        fresh.insert(id.clone(), contributions);
        contribution
    }

    /// Why a host cannot have an alias that it claims.
    fn contest(&self, alias: &Hostname, host: &Hostname) -> Option<&'static str> {
        let Publishing { claims, services, .. } = &*self.publishing;
        if claims.has(alias) && (claims.is_firm(alias) || !claims.is_firm(host)) {
            return Some("it is the host of a service");
        }
        let based = base(alias).and_then(|base| services.get(&base).cloned());
        if based.is_some_and(|service| service.ports.iter().any(|port| port.host == *alias)) {
            return Some("it is the host of a service's port");
        }
        let alone = claims.alias_owner(alias) == Some(host);
        (!alone).then_some("several services claim it: nobody has it, or the only one that its registry lists")
    }

    fn record(&self, id: &ServiceId) -> Option<Record> {
        let source = self.intake.of(id)?;
        let view = source.ledger.view(id)?;
        let known = self.publishing.known.get(id)?;
        let mut notes = Notes::default();
        notes.extend(&view.notes());
        notes.extend(&known.notes);
        if view.read {
            aliases(&source.rules, view.service, &mut notes);
        }
        let mut hosts = Vec::new();
        for host in known.claims.keys() {
            match self.publishing.services.get(host) {
                Some(service) if service.sources.contains(id) => {
                    hosts.push(host.clone());
                    let contested = |n: &&Note| matches!(n.reason, Reason::AliasContested | Reason::PortContested);
                    notes.extend(service.notes.iter().filter(contested));
                }
                _ => notes.add(Reason::HostContested, host.text().clone(), self.contested(host, id)),
            }
        }
        Some(Record { service: view.service.clone(), hosts, notes: notes.finish() })
    }

    /// Why a service has not the host that it claims, and what helps.
    fn contested(&self, host: &Hostname, id: &ServiceId) -> String {
        if let Some(other) = self.publishing.lent(host) {
            return format!("it is a further port or an alias of {}", other.host);
        }
        let owner = self.owner(host);
        let other_name = self.publishing.claims.claimants(host).find(|claimant| claimant.id == *id);
        if let (Some(owner), Some(own)) = (owner, other_name)
            && !owner.is_namesake(own)
        {
            let owner = &owner.id;
            return format!(
                "it is {owner}'s, which has another name: rename one, or give it a host of its own by a label"
            );
        }
        let owner = owner.map(|claimant| claimant.id.to_string()).unwrap_or_default();
        format!("it is {owner}'s; to serve both there, set `merge: host` under `publish` of each registry")
    }
}

/// The lost instances of a service that are served on. While it is only absent from a list, it has them anyway.
fn held(source: &Source, view: &View) -> Vec<Endpoint> {
    let held = source.guard.held(&view.service.id);
    if !view.absent || held.is_empty() {
        return held.to_vec();
    }
    let there: HashSet<_> = view.service.endpoints.iter().map(place).collect();
    held.iter().filter(|endpoint| !there.contains(&place(endpoint))).cloned().collect()
}

fn host_name(endpoint: &Endpoint) -> Option<Text> {
    match &endpoint.address {
        Address::Host(name) => Some(name.clone()),
        _ => None,
    }
}

/// The names of a service beside its host, and whether each is a port's.
fn further_names(service: &PublishedService) -> BTreeSet<(Hostname, bool)> {
    let ports = service.ports.iter().skip(1).map(|port| (port.host.clone(), true));
    ports.chain(service.aliases.iter().map(|alias| (alias.clone(), false))).collect()
}
