//! Applies overrides to what is published: a pure function.

use super::laid::{Deed, Override, Services, Target, is_at};
use crate::{
    catalog::{endpoints::by_place, merge::close_ranks},
    model::{Health, Hostname, Port, PublishedEndpoint, PublishedService, Weight},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is published instead of `services`. `all`: the overrides, in the order in which they were laid.
pub(super) fn over(services: &Services, all: &[&Override]) -> Services {
    let frozen = all.iter().rev().find_map(|known| match &known.deed {
        Deed::PinAll(services) => Some(services),
        _ => None,
    });
    let base = frozen.unwrap_or(services);
    let mut by_host: BTreeMap<&Hostname, Vec<&Override>> = BTreeMap::new();
    for known in all {
        if let Some(host) = known.of.host() {
            by_host.entry(host).or_default().push(known);
        }
    }
    let (mut shown, mut doubtful) = (base.clone(), BTreeSet::new());
    for (host, overrides) in by_host {
        let below = base.get(host);
        let Some(service) = one(below, &overrides) else {
            shown.remove(host);
            continue;
        };
        if below.is_none() {
            doubtful.insert(host.clone());
        }
        let known = below.map(|below| further_names(below)).unwrap_or_default();
        doubtful.extend(further_names(&service).difference(&known).cloned());
        if below != Some(&service) {
            shown.insert(host.clone(), service);
        }
    }
    if !doubtful.is_empty() {
        settle(&mut shown, &doubtful);
    }
    shown
}

/// One service with its overrides: the last pin, then what is kept, then edits. `None`: it is not published.
fn one(below: Option<&Arc<PublishedService>>, overrides: &[&Override]) -> Option<Arc<PublishedService>> {
    let pin = overrides.iter().rev().find_map(|known| match &known.deed {
        Deed::Pin(service) => Some(service.as_ref()),
        _ => None,
    });
    let mut service = pin.unwrap_or(below).cloned();
    for known in overrides {
        if let Deed::Keep(then) = &known.deed {
            service = Some(kept(service.as_ref(), then, &known.of));
        }
    }
    let service = service?;
    let edits = overrides.iter().filter(|known| !matches!(known.deed, Deed::Pin(_) | Deed::PinAll(_) | Deed::Keep(_)));
    let edits: Vec<&&Override> = edits.collect();
    if edits.is_empty() {
        return Some(service);
    }
    let mut edited = PublishedService::clone(&service);
    for known in edits {
        let concerns = |endpoint: &PublishedEndpoint| match &known.of {
            Target::Instance(_, place) => is_at(endpoint, place),
            _ => true,
        };
        match &known.deed {
            Deed::Disable | Deed::Weight(Weight::ZERO) => edited.endpoints.retain(|endpoint| !concerns(endpoint)),
            Deed::Drain => {
                edited.endpoints.iter_mut().filter(|e| concerns(e)).for_each(|e| e.health = Health::Draining)
            }
            Deed::Weight(weight) => {
                edited.endpoints.iter_mut().filter(|e| concerns(e)).for_each(|e| e.weight = *weight);
            }
            Deed::Pin(_) | Deed::PinAll(_) | Deed::Keep(_) => {}
        }
    }
    close_ranks(&mut edited.endpoints);
    Some(if edited == *service { service } else { Arc::new(edited) })
}

/// The service, with those endpoints of `then` that it no longer has; without a service, these alone.
fn kept(service: Option<&Arc<PublishedService>>, then: &Arc<PublishedService>, of: &Target) -> Arc<PublishedService> {
    let meant = |endpoint: &&PublishedEndpoint| match of {
        Target::Instance(_, place) => is_at(endpoint, place),
        _ => true,
    };
    let Some(service) = service else {
        let endpoints = then.endpoints.iter().filter(meant).cloned().collect();
        let mut alone = then.part(endpoints);
        close_ranks(&mut alone.endpoints);
        return Arc::new(alone);
    };
    let is_there = |endpoint: &PublishedEndpoint| {
        let same = |other: &PublishedEndpoint| {
            let has = |port: &Port| other.ports.iter().any(|(_, theirs)| theirs == port);
            other.address == endpoint.address
                && (endpoint.ports.is_empty() || endpoint.ports.iter().any(|(_, port)| has(port)))
        };
        service.endpoints.iter().any(same)
    };
    let mut now = PublishedService::clone(service);
    for endpoint in then.endpoints.iter().filter(meant).filter(|endpoint| !is_there(endpoint)) {
        let mut endpoint = endpoint.clone();
        endpoint.ports.retain(|(name, _)| service.ports.iter().any(|port| port.name == *name));
        if endpoint.ports.is_empty() {
            continue;
        }
        let source = then.sources.get(endpoint.source as usize);
        let known = source.and_then(|source| now.sources.iter().position(|other| other == source));
        endpoint.source = match (known, source) {
            (Some(place), _) => u32::try_from(place).unwrap_or(0),
            (None, Some(source)) => {
                now.sources.push(source.clone());
                u32::try_from(now.sources.len() - 1).unwrap_or(0)
            }
            (None, None) => 0,
        };
        now.endpoints.push(endpoint);
    }
    now.endpoints.sort_by(by_place);
    close_ranks(&mut now.endpoints);
    Arc::new(now)
}

/// The names of a service beside its host.
fn further_names(service: &PublishedService) -> BTreeSet<Hostname> {
    let ports = service.ports.iter().skip(1).map(|port| port.host.clone());
    ports.chain(service.aliases.iter().cloned()).collect()
}

/// Leaves each of these names to one service: to the one whose host it is, or else to the first that has it as a
/// further name.
fn settle(shown: &mut Services, names: &BTreeSet<Hostname>) {
    let (mut taken, mut yields): (BTreeSet<Hostname>, Vec<(Hostname, BTreeSet<Hostname>)>) = Default::default();
    for (host, service) in shown.iter() {
        let mut lost = BTreeSet::new();
        for name in further_names(service).intersection(names) {
            if shown.contains_key(name) || !taken.insert(name.clone()) {
                lost.insert(name.clone());
            }
        }
        if !lost.is_empty() {
            yields.push((host.clone(), lost));
        }
    }
    for (host, lost) in yields {
        let Some(service) = shown.get(&host) else { continue };
        let mut service = PublishedService::clone(service);
        service.aliases.retain(|alias| !lost.contains(alias));
        let first = service.ports.first().map(|port| port.host.clone());
        service.ports.retain(|port| Some(&port.host) == first.as_ref() || !lost.contains(&port.host));
        let known: BTreeSet<_> = service.ports.iter().map(|port| port.name.clone()).collect();
        service.endpoints.retain_mut(|endpoint| {
            let had = !endpoint.ports.is_empty();
            endpoint.ports.retain(|(name, _)| known.contains(name));
            !had || !endpoint.ports.is_empty()
        });
        close_ranks(&mut service.endpoints);
        shown.insert(host, Arc::new(service));
    }
}
