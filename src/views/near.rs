//! Where endpoints are, and what they have under labels that rules compare with a proxy's own: kept up with each change, and only
//! while some rule asks.

use super::translations::host_of;
use crate::{
    model::{Hostname, Locality, PublishedService, Text},
    translate::traffic::Asked,
};
use imbl::OrdMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

type Services = OrdMap<Hostname, Arc<PublishedService>>;

/// How many endpoints are in each place, and how many have each value of the labels that rules ask for.
#[derive(Debug, Default)]
pub(super) struct Near {
    /// What rules ask for; `None`: nothing, so nothing is counted.
    pub(super) asked: Option<Asked>,
    places: BTreeMap<Locality, usize>,
    pub(super) values: BTreeMap<(Text, Text), usize>,
}

impl Near {
    /// Goes on from these services to those.
    pub(super) fn advance(&mut self, asked: Option<&Asked>, before: &Services, now: &Services) {
        let Some(asked) = asked else {
            *self = Near::default();
            return;
        };
        if self.asked.as_ref().is_some_and(|known| known.keys == asked.keys) {
            for host in before.diff(now).map(host_of) {
                before.get(&host).iter().for_each(|service| self.count(service, usize::wrapping_sub));
                now.get(&host).iter().for_each(|service| self.count(service, usize::wrapping_add));
            }
            self.asked = Some(asked.clone());
            self.places.retain(|_, count| *count > 0);
            self.values.retain(|_, count| *count > 0);
        } else {
            *self = Near { asked: Some(asked.clone()), ..Near::default() };
            now.values().for_each(|service| self.count(service, usize::wrapping_add));
        }
    }

    fn count(&mut self, service: &PublishedService, by: fn(usize, usize) -> usize) {
        let Near { asked: Some(asked), places, values } = self else { return };
        for endpoint in &service.endpoints {
            let count = places.entry(endpoint.locality.clone()).or_default();
            *count = by(*count, 1);
            for key in &asked.keys {
                if let Some(value) = endpoint.labels.get(&**key) {
                    let count = values.entry((key.clone(), value.clone())).or_default();
                    *count = by(*count, 1);
                }
            }
        }
    }

    /// The places of endpoints, and those that rules name.
    pub(super) fn places(&self) -> BTreeSet<Locality> {
        let named = self.asked.iter().flat_map(|asked| &asked.places);
        self.places.keys().chain(named).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, PublishedEndpoint};

    fn services(all: &[(&str, &[&str])]) -> Services {
        let endpoint = |locality: &&str| PublishedEndpoint {
            locality: Locality::parse(locality),
            labels: [("rack".into(), Text::from(*locality))].into(),
            ..PublishedEndpoint::new(Address::parse("10.0.0.1").unwrap(), Vec::new().into())
        };
        let service = |(host, places): &(&str, &[&str])| {
            let host = Hostname::new(host).unwrap();
            let endpoints = places.iter().map(endpoint).collect();
            (host.clone(), Arc::new(PublishedService::new(host, Vec::new(), endpoints)))
        };
        all.iter().map(service).collect()
    }

    #[test]
    fn what_is_counted_step_by_step_is_what_counting_once_gives() {
        let asked = |key: &str| Asked { places: [Locality::parse("us")].into(), keys: [key.into()].into() };
        let (mut near, mut before) = (Near::default(), Services::new());
        for (asked, all) in [
            (Some(asked("rack")), &[("a", &["cn/hz", "cn/hz"][..]), ("b", &["de"])][..]),
            (Some(asked("rack")), &[("a", &["cn/sh"]), ("b", &["de"])]),
            (Some(asked("zone")), &[("a", &["cn/sh"]), ("b", &["de"])]),
            (None, &[("b", &["de"])]),
            (Some(asked("rack")), &[("b", &["de", "fr"])]),
            (Some(asked("rack")), &[]),
        ] {
            let now = services(all);
            near.advance(asked.as_ref(), &before, &now);
            let mut fresh = Near::default();
            fresh.advance(asked.as_ref(), &Services::new(), &now);
            assert_eq!((near.places(), &near.values), (fresh.places(), &fresh.values), "{all:?}");
            before = now;
        }
        assert_eq!(near.places(), [Locality::parse("us")].into());
    }
}
