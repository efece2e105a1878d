//! What a view's services are called and where their endpoints are, for those who have parts of the view.

use super::part::Wanted;
use crate::{
    model::{Hostname, Locality, Nearness, PublishedService, Text},
    util::sorted_vec::SortedSet,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Services by the names under which they can be wanted, and those that want these names, by number.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: HashMap<Hostname, Box<[Text]>>,
    hosts: HashMap<Text, SortedSet<Hostname>>,
    wanted: HashMap<Text, SortedSet<u64>>,
    /// The numbers of those that want every service.
    everywhere: BTreeSet<u64>,
}

impl Directory {
    pub(super) fn names(&self, host: &Hostname) -> &[Text] {
        self.names.get(host).map_or(&[], |names| names)
    }

    /// Gives a service other names; returns those that it had.
    pub(super) fn replace(&mut self, host: &Hostname, names: Box<[Text]>) -> Box<[Text]> {
        let former = self.names.get(host).cloned().unwrap_or_default();
        if former == names {
            return former;
        }
        for name in former.iter().filter(|name| !names.contains(name)) {
            if let Some(hosts) = self.hosts.get_mut(name) {
                hosts.remove(host);
                if hosts.is_empty() {
                    self.hosts.remove(name);
                }
            }
        }
        for name in names.iter().filter(|name| !former.contains(name)) {
            self.hosts.entry(name.clone()).or_default().insert(host.clone());
        }
        match names.is_empty() {
            true => drop(self.names.remove(host)),
            false => drop(self.names.insert(host.clone(), names)),
        }
        former
    }

    /// Notes that the one of that number wants these services; `None`: all.
    pub(super) fn want(&mut self, number: u64, wanted: Option<&Wanted>) {
        for name in wanted.iter().flat_map(|wanted| wanted.names()) {
            self.wanted.entry(name.clone()).or_default().insert(number);
        }
        if wanted.is_none_or(Wanted::has_all) {
            self.everywhere.insert(number);
        }
    }

    pub(super) fn leave(&mut self, number: u64, wanted: Option<&Wanted>) {
        for name in wanted.iter().flat_map(|wanted| wanted.names()) {
            if let Some(numbers) = self.wanted.get_mut(name) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.wanted.remove(name);
                }
            }
        }
        self.everywhere.remove(&number);
    }

    /// The numbers of those that want a service with one of these names.
    pub(super) fn who_want<'n>(&self, names: impl Iterator<Item = &'n Text>) -> BTreeSet<u64> {
        let named = names.filter_map(|name| self.wanted.get(name)).flatten();
        named.chain(&self.everywhere).copied().collect()
    }

    /// The service of that name; of several the first.
    pub(super) fn host_of(&self, name: &Text) -> Option<&Hostname> {
        self.hosts.get(name)?.first()
    }

    /// The hosts of the services that are wanted; `None`: of all that the view has.
    pub(super) fn hosts_of(&self, wanted: Option<&Wanted>) -> BTreeSet<Hostname> {
        match wanted.filter(|wanted| !wanted.has_all()) {
            Some(wanted) => wanted.names().filter_map(|name| self.hosts.get(name)).flatten().cloned().collect(),
            None => self.names.keys().cloned().collect(),
        }
    }
}

/// The places of all endpoints of services of which what is near comes first.
#[derive(Debug, Default)]
pub(super) struct Places {
    of: HashMap<Hostname, SortedSet<Locality>>,
    /// How many services have an endpoint there.
    count: BTreeMap<Locality, usize>,
    changed: bool,
}

impl Places {
    pub(super) fn replace(&mut self, host: &Hostname, service: Option<&PublishedService>) {
        let near = service.filter(|service| service.nearness == Nearness::Priority);
        let now: SortedSet<Locality> =
            near.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.locality.clone()).collect();
        let former = self.of.remove(host).unwrap_or_default();
        for place in now.iter().filter(|place| !former.contains(place)) {
            let count = self.count.entry(place.clone()).or_default();
            *count += 1;
            self.changed |= *count == 1;
        }
        for place in former.iter().filter(|place| !now.contains(place)) {
            if let Some(count) = self.count.get_mut(place) {
                *count -= 1;
                if *count == 0 {
                    self.count.remove(place);
                    self.changed = true;
                }
            }
        }
        if !now.is_empty() {
            self.of.insert(host.clone(), now);
        }
    }

    /// The localities of these endpoints, each once.
    pub(super) fn known(&self) -> impl Iterator<Item = &Locality> {
        self.count.keys()
    }

    /// Whether other localities are known than at the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}
