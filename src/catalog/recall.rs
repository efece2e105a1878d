//! What the core gives to be kept over a restart, and what it makes of that after one.

use super::{
    core::Core,
    memory::{Memory, Remembered},
    now::Now,
    publish::HostHistory,
    source::Source,
};
use crate::model::{Hostname, ServiceId, Text};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

impl Core {
    /// What is known of registries that have changed since [`Core::touches`] was `after`. One that left the configuration
    /// is kept for as long as it is served on: that may be taken back.
    pub fn remember(&self, after: u64, now: Now) -> Remembered {
        let sources = || self.intake.sources.values();
        // What another connection has reported is not this one's.
        let own = |source: &&Source| source.ledger.was_listed() && !source.has_others_services();
        let news = sources().filter(own).filter(|source| source.touched > after);
        let memory = |source: &Source| (source.name().clone(), source.identity.clone(), self.memory(source, now));
        Remembered {
            number: self.touches,
            registries: sources().map(|source| source.name().clone()).collect(),
            memories: news.map(memory).collect(),
        }
    }

    /// Rises whenever something changes of what [`Core::remember`] gives.
    pub fn touches(&self) -> u64 {
        self.touches
    }

    fn memory(&self, source: &Source, now: Now) -> Memory {
        let (scopes, services) = source.ledger.remember(now);
        let (mut hosts, mut names) = (Vec::new(), BTreeSet::new());
        for id in services.iter().map(|memory| &memory.service.id) {
            let Some(known) = self.publishing.known.get(id) else { continue };
            let owner =
                |host: &Hostname| self.publishing.services.get(host).and_then(|service| service.sources.first());
            let remember =
                |(host, history): (&Hostname, &HostHistory)| history.remember(id, host, owner(host) == Some(id), now);
            hosts.extend(known.history.iter().map(remember));
            names.extend(known.named.iter().flat_map(|named| &named.names));
        }
        let answer = |name: &Text| Some((name.clone(), self.names.answers().get(name)?.to_vec()));
        let names: Vec<(Text, Vec<IpAddr>)> = names.into_iter().filter_map(answer).collect();
        let (holds, parts) = source.guard.remember(now);
        Memory { scopes, services, hosts, holds, parts, names }
    }

    /// Serves on what is known of a registry from before a restart.
    pub(super) fn recall(&mut self, registry: &Text, memory: &Memory, now: Now) {
        let Some(source) = self.intake.sources.get_mut(registry) else { return };
        let ids = source.recall(memory, now);
        let ledger = &source.ledger;
        self.publishing.known.reserve(memory.hosts.len());
        for memory in memory.hosts.iter().filter(|memory| ledger.knows(&memory.service)) {
            let known = self.publishing.known.entry(memory.service.clone()).or_default();
            known.history.insert(memory.host.clone(), HostHistory::recall(memory, now));
        }
        self.names.recall(&memory.names);
        let holds = memory.parts.iter().map(|(_, holds)| holds).chain([&memory.holds]);
        let held: BTreeSet<ServiceId> = holds.flat_map(|holds| &holds.lost).map(|lost| lost.service.clone()).collect();
        self.recompute(ids.into_iter().chain(held).collect(), now);
        self.restate(registry, now);
        // As long as it is served it is kept, even if the registry is never read again.
        self.touch(registry);
    }

    /// Notes that what is to be kept of this registry has changed.
    pub(super) fn touch(&mut self, registry: &Text) {
        self.touches += 1;
        if let Some(source) = self.intake.sources.get_mut(registry) {
            source.touched = self.touches;
        }
    }
}

impl super::names::Names {
    /// Takes in answers from before a restart; they hold until the resolver gives others.
    fn recall(&mut self, names: &[(Text, Vec<IpAddr>)]) {
        for (name, addresses) in names.iter().filter(|(_, addresses)| !addresses.is_empty()) {
            self.answers.entry(name.clone()).or_insert_with(|| Arc::from(&addresses[..]));
        }
    }
}
