//! What is near a client comes first: the priorities of a service's endpoints, seen from a place. Pure.

use crate::model::{Locality, Nearness, PublishedService, Text};
use std::collections::{BTreeMap, BTreeSet};

/// How places relate, and what Envoy does with that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zones {
    /// By region: the regions that come next, in this order, before all others.
    pub next: BTreeMap<Text, Vec<Text>>,
    /// Envoy sends a priority more than its healthy share by this many percent before the next one gets any; its own default
    /// is 140. `None`: that.
    pub overprovisioning_factor: Option<u32>,
    /// Fewer healthy endpoints than this switch zone-aware balancing off for a cluster; `None`: Envoy's own 6.
    pub min_cluster_size: Option<u64>,
    /// The name under which an Envoy asks for the endpoints of its own cluster; `None`: no name is reserved for that.
    pub own_cluster: Option<Text>,
}

/// The place of a client, cut to what some endpoint also has: clients that no endpoint tells apart have the same place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    at: Locality,
    /// How many parts of `at` (region, zone, sub-zone) some endpoint also has: 1 to 3.
    depth: usize,
}

impl Place {
    /// The place of a client, given the localities of all endpoints. `None`: no endpoint is nearer to it than another.
    pub fn of<'l>(client: &Locality, known: impl IntoIterator<Item = &'l Locality>, zones: &Zones) -> Option<Place> {
        let shared = known.into_iter().map(|place| depth(client, place)).max().unwrap_or(0);
        // Without endpoints of its own a region may still have one that comes next.
        let depth = shared.max(usize::from(zones.next.contains_key(client.region())));
        let at = match depth {
            0 => return None,
            1 => Locality::new(client.region(), "", ""),
            2 => Locality::new(client.region(), client.zone(), ""),
            _ => client.clone(),
        };
        Some(Place { at, depth })
    }

    /// 0: the same sub-zone; 1: the same zone; 2: the same region; then the regions that come next; then all others.
    fn rank(&self, endpoint: &Locality, zones: &Zones) -> usize {
        let near = depth(&self.at, endpoint).min(self.depth);
        if near > 0 {
            return 3 - near;
        }
        let next = zones.next.get(self.at.region()).map_or(&[][..], Vec::as_slice);
        3 + next.iter().position(|region| **region == *endpoint.region()).unwrap_or(next.len())
    }
}

/// How many parts two places have in common, counted from the region on: 0 to 3.
fn depth(one: &Locality, other: &Locality) -> usize {
    let parts = |at: &Locality| [at.region().to_owned(), at.zone().to_owned(), at.sub_zone().to_owned()];
    parts(one).iter().zip(&parts(other)).take_while(|(one, other)| one == other).count()
}

/// The priority of each endpoint of a service as clients at that place see it, without gaps; `None`: as they are.
pub fn priorities(service: &PublishedService, place: &Place, zones: &Zones) -> Option<Box<[u32]>> {
    if service.nearness != Nearness::Priority || service.dns {
        return None;
    }
    let of = |at: usize| {
        let endpoint = &service.endpoints[at];
        // What registries say of each other counts more.
        (endpoint.priority, place.rank(&endpoint.locality, zones))
    };
    let all: BTreeSet<(u32, usize)> = (0..service.endpoints.len()).map(of).collect();
    let rank = |at: usize| u32::try_from(all.range(..of(at)).count()).unwrap_or(u32::MAX);
    let priorities: Box<[u32]> = (0..service.endpoints.len()).map(rank).collect();
    let same = service.endpoints.iter().zip(&priorities).all(|(endpoint, priority)| endpoint.priority == *priority);
    (!same).then_some(priorities)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Hostname, PublishedEndpoint};
    use proptest::{collection::vec, option, prelude::*, sample::select};

    fn service(endpoints: &[(&str, u32)]) -> PublishedService {
        let endpoint = |(locality, priority): &(&str, u32)| PublishedEndpoint {
            locality: Locality::parse(locality),
            priority: *priority,
            ..PublishedEndpoint::new(Address::parse("10.0.0.1").unwrap(), Vec::new().into())
        };
        let endpoints = endpoints.iter().map(endpoint).collect();
        let plain = PublishedService::new(Hostname::new("a").unwrap(), Vec::new(), endpoints);
        PublishedService { nearness: Nearness::Priority, ..plain }
    }

    fn seen(client: &str, endpoints: &[(&str, u32)], zones: &Zones) -> Vec<u32> {
        let service = service(endpoints);
        let known = service.endpoints.iter().map(|endpoint| &endpoint.locality);
        let place = Place::of(&Locality::parse(client), known, zones);
        let seen = place.and_then(|place| priorities(&service, &place, zones));
        seen.map_or_else(|| endpoints.iter().map(|(_, priority)| *priority).collect(), Vec::from)
    }

    #[test]
    fn the_same_sub_zone_comes_first_then_zone_region_and_the_rest_without_gaps() {
        let none = Zones::default();
        let all = [("cn/hz/a", 0), ("cn/hz/b", 0), ("cn/sh/a", 0), ("us/east/a", 0), ("", 0)];
        assert_eq!(seen("cn/hz/a", &all, &none), [0, 1, 2, 3, 3]);
        assert_eq!(seen("cn/hz/x", &all, &none), [0, 0, 1, 2, 2], "no such sub-zone");
        assert_eq!(seen("cn/hz", &all, &none), [0, 0, 1, 2, 2]);
        assert_eq!(seen("cn", &all, &none), [0, 0, 0, 1, 1]);
        assert_eq!(seen("eu/west/a", &all, &none), [0; 5]);
        assert_eq!(seen("us/west/a", &all, &none), [1, 1, 1, 0, 1]);
        let only_zones = [("/a", 0), ("/b", 0)];
        assert_eq!(seen("/b", &only_zones, &none), [1, 0]);
        assert_eq!(seen("r/b", &only_zones, &none), [0, 0], "the whole place is compared");
    }

    #[test]
    fn regions_may_have_others_that_come_next_and_registries_count_more() {
        let next = [("eu".into(), vec!["us".into(), "cn".into()])].into();
        let zones = Zones { next, ..Zones::default() };
        let all = [("cn/hz/a", 0), ("us/east/a", 0), ("eu/west/b", 0), ("au/x/y", 0)];
        assert_eq!(seen("eu/west/a", &all, &zones), [2, 1, 0, 3]);
        assert_eq!(seen("eu/north/a", &[all[0], all[1], all[3]], &zones), [1, 0, 2], "none in the region itself");
        assert_eq!(seen("cn/hz/a", &all, &zones), [0, 1, 1, 1]);
        assert_eq!(seen("cn/hz/a", &[("cn/hz/a", 5), ("us/east/a", 2), ("cn/hz/a", 2)], &zones), [2, 1, 0]);
    }

    #[test]
    fn who_does_not_ask_for_it_gets_what_there_is() {
        let place = Place::of(&Locality::parse("cn"), [&Locality::parse("cn")], &Zones::default()).unwrap();
        let service = service(&[("us", 3), ("cn", 3)]);
        let plain = PublishedService { nearness: Nearness::Off, ..service.clone() };
        assert_eq!(priorities(&plain, &place, &Zones::default()), None);
        let dns = PublishedService { dns: true, ..service };
        assert_eq!(priorities(&dns, &place, &Zones::default()), None);
    }

    fn any_place() -> impl Strategy<Value = Locality> {
        let part = || select(vec!["", "a", "b"]);
        (part(), part(), part()).prop_map(|(region, zone, sub_zone)| Locality::new(region, zone, sub_zone))
    }

    proptest! {
        /// A client's place is cut to what endpoints tell apart, and that changes nothing.
        #[test]
        fn places_that_no_endpoint_tells_apart_are_one(
            client in any_place(), endpoints in vec(any_place(), 0..6), next in option::of(vec(select(vec!["a", "b", "c"]), 0..3))
        ) {
            let texts: Vec<_> = endpoints.iter().map(|place| (format!("{}/{}/{}", place.region(), place.zone(), place.sub_zone()), 0)).collect();
            let texts: Vec<_> = texts.iter().map(|(text, priority)| (text.as_str(), *priority)).collect();
            let service = service(&texts);
            let next = next.map(|next| (Text::from("a"), next.into_iter().map(Text::from).collect())).into_iter().collect();
            let zones = Zones { next, ..Zones::default() };
            let exact = Place { at: client.clone(), depth: 3 };
            let cut = Place::of(&client, &endpoints, &zones);
            let plain = || Box::from(vec![0; endpoints.len()]);
            let by = |place: Option<&Place>| place.and_then(|place| priorities(&service, place, &zones)).unwrap_or_else(plain);
            prop_assert_eq!(by(cut.as_ref()), by(Some(&exact)));
        }
    }
}
