//! What is near a proxy goes first, or has its share, as the `localityLbSetting` of a DestinationRule says. As in Istio, where errors
//! are counted (`outlierDetection`) nearness counts without further words: only then a proxy notices that it has to go on
//! to what is far.

use super::{
    label::{label_of, topology},
    policy::Policy,
};
use crate::{
    model::{Locality, Proxy, PublishedEndpoint, PublishedService},
    pb::{
        envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints},
        google::protobuf::UInt32Value,
        istio::networking::v1alpha3::locality_load_balancer_setting::{Distribute, Failover},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// The label of a network. Where it is the first label, endpoints of another network stand behind all of the proxy's
/// own.
const NETWORK: &str = "topology.istio.io/network";

/// How endpoints are told apart by where they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Plan<'a> {
    /// Each place gets a share of the requests (`distribute`).
    Shares(&'a [Distribute]),
    /// Endpoints near the proxy, or with its labels, go first (`failover` and `failoverPriority`).
    Order { failover: &'a [Failover], labels: &'a [String] },
}

impl<'a> Plan<'a> {
    /// The plan that the settings of a cluster ask for. `None`: places do not matter.
    pub(super) fn of(policy: &Policy<'a>) -> Option<Self> {
        let setting = policy.load_balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref());
        let is_off = setting.and_then(|setting| setting.enabled.as_ref()).is_some_and(|enabled| !enabled.value);
        match setting {
            _ if is_off => None,
            Some(setting) if !setting.distribute.is_empty() => Some(Plan::Shares(&setting.distribute)),
            _ if policy.outlier.is_none() => None,
            Some(setting) => Some(Plan::Order { failover: &setting.failover, labels: &setting.failover_priority }),
            None => Some(Plan::Order { failover: &[], labels: &[] }),
        }
    }

    /// Whether Envoy has to look at the weights of places.
    pub(super) fn weighs(&self) -> bool {
        match self {
            Plan::Shares(_) => true,
            Plan::Order { failover, labels } => !failover.is_empty() || !labels.is_empty(),
        }
    }

    /// The service with the priorities that the proxy sees. `None`: they are those that the service has.
    pub(super) fn ordered(&self, service: &PublishedService, proxy: &Proxy) -> Option<PublishedService> {
        let Plan::Order { failover, labels } = self else { return None };
        let of = |endpoint: &PublishedEndpoint| {
            let by_place = labels.is_empty() || !failover.is_empty();
            let place = if by_place { distance(&proxy.locality, &endpoint.locality, failover) } else { 0 };
            // What registries say of each other counts more.
            (endpoint.priority, unlike(endpoint, proxy, labels), place)
        };
        let all: BTreeSet<_> = service.endpoints.iter().map(of).collect();
        let mut endpoints = service.endpoints.clone();
        for endpoint in &mut endpoints {
            endpoint.priority = u32::try_from(all.range(..of(endpoint)).count()).unwrap_or(u32::MAX);
        }
        let same = endpoints.iter().zip(&service.endpoints).all(|(new, old)| new.priority == old.priority);
        (!same).then(|| service.part(endpoints))
    }

    /// Gives places their shares, and takes away those that have none.
    pub(super) fn share(&self, assignment: &mut ClusterLoadAssignment, at: &Locality) {
        let Plan::Shares(rules) = self else { return };
        let Some(rule) = rules.iter().find(|rule| fits(at, &rule.from)) else { return };
        let groups = &mut assignment.endpoints;
        let mut shares: Vec<Option<u32>> = vec![None; groups.len()];
        for (to, share) in &rule.to {
            let place = |at: usize| {
                let of = groups[at].locality.as_ref();
                of.map(|of| Locality::new(&*of.region, &*of.zone, &*of.sub_zone)).unwrap_or_default()
            };
            let weight =
                |at: usize| groups[at].load_balancing_weight.as_ref().map_or(1, |weight| u64::from(weight.value));
            let own: Vec<usize> =
                (0..groups.len()).filter(|at| shares[*at].is_none() && fits(&place(*at), to)).collect();
            let sum: u64 = own.iter().map(|at| weight(*at)).sum();
            for at in own {
                let share = (weight(at) * u64::from(*share)).div_ceil(sum.max(1));
                shares[at] = Some(u32::try_from(share).unwrap_or(u32::MAX));
            }
        }
        let mut kept = Vec::new();
        for (group, share) in std::mem::take(groups).into_iter().zip(shares) {
            if let Some(value) = share {
                kept.push(LocalityLbEndpoints {
                    load_balancing_weight: Some(UInt32Value { value: value.max(1) }),
                    ..group
                });
            }
        }
        // No client takes a gap between priorities.
        let priorities: BTreeSet<u32> = kept.iter().map(|group| group.priority).collect();
        let ranks: BTreeMap<u32, u32> = priorities.into_iter().zip(0..).collect();
        kept.iter_mut().for_each(|group| group.priority = ranks[&group.priority]);
        *groups = kept;
    }
}

/// 0: the same sub-zone, 1: zone, 2: region; 3: another region; 4: one that another rule leads away from.
fn distance(from: &Locality, to: &Locality, failover: &[Failover]) -> usize {
    let parts = |at: &Locality| [at.region().to_owned(), at.zone().to_owned(), at.sub_zone().to_owned()];
    let same = parts(from).iter().zip(&parts(to)).take_while(|(from, to)| from == to).count();
    let rule = failover.iter().find(|rule| *rule.from == *from.region());
    if same == 0 && rule.is_some_and(|rule| *rule.to != *to.region()) { 4 } else { 3 - same }
}

/// How many labels are left, from the first that differs from the proxy's on; 0: none differs.
fn unlike(endpoint: &PublishedEndpoint, proxy: &Proxy, labels: &[String]) -> usize {
    let mut other_network = 0;
    for (place, label) in labels.iter().enumerate() {
        let (key, value) = match label.split_once('=') {
            Some((key, value)) if !value.contains('=') => (key, Some(value)),
            Some((key, _)) => (key, None),
            None => (label.as_str(), None),
        };
        let own = proxy.labels.get(key).map(|own| &**own).or_else(|| topology(&proxy.locality, key));
        let of_proxy = value.or(own).unwrap_or_default();
        if of_proxy == label_of(&endpoint.labels, &endpoint.locality, key).unwrap_or_default() {
            continue;
        }
        if place == 0 && key == NETWORK {
            other_network = labels.len();
        } else {
            return labels.len() - place + other_network;
        }
    }
    other_network
}

/// Whether a place is one that a rule names: `region/zone/sub-zone`, with `*` or nothing for any.
fn fits(at: &Locality, named: &str) -> bool {
    let mut named = named.splitn(3, '/');
    let region = named.next().unwrap_or_default();
    let is =
        |named: Option<&str>, own: &str| named.is_none_or(|named| named == "*" || named.is_empty() || named == own);
    (region == "*" || region == at.region()) && is(named.next(), at.zone()) && is(named.next(), at.sub_zone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Hostname, Labels, ProxyKind};

    fn service(endpoints: &[(&str, &str)]) -> PublishedService {
        let endpoint = |(locality, version): &(&str, &str)| PublishedEndpoint {
            locality: Locality::parse(locality),
            labels: Labels::from_iter([("version".into(), (*version).into())]),
            ..PublishedEndpoint::new(Address::parse("10.0.0.1").unwrap(), Vec::new().into())
        };
        PublishedService::new(Hostname::new("a").unwrap(), Vec::new(), endpoints.iter().map(endpoint).collect())
    }

    fn seen(at: &str, labels: &[(&str, &str)], plan: &Plan<'_>, endpoints: &[(&str, &str)]) -> Vec<u32> {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let plain = Proxy::new(ProxyKind::Router, "shop".into());
        let proxy = Proxy { locality: Locality::parse(at), labels, ..plain };
        let service = service(endpoints);
        let ordered = plan.ordered(&service, &proxy).unwrap_or(service);
        ordered.endpoints.iter().map(|endpoint| endpoint.priority).collect()
    }

    const ALL: [(&str, &str); 5] =
        [("cn/hz/a", "v1"), ("cn/hz/b", "v2"), ("cn/sh/a", "v1"), ("us/x/a", "v2"), ("", "v1")];

    #[test]
    fn near_places_go_first_and_a_failover_names_the_next_region() {
        let plain = Plan::Order { failover: &[], labels: &[] };
        assert_eq!(seen("cn/hz/a", &[], &plain, &ALL), [0, 1, 2, 3, 3]);
        assert_eq!(seen("us/x/a", &[], &plain, &ALL), [1, 1, 1, 0, 1]);
        assert_eq!(seen("", &[], &plain, &ALL), [1, 1, 1, 1, 0], "nowhere is a place, too");
        let failover = [Failover { from: "cn".into(), to: "us".into() }];
        let plan = Plan::Order { failover: &failover, labels: &[] };
        assert_eq!(seen("cn/hz/a", &[], &plan, &ALL), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn labels_are_compared_one_after_the_other() {
        let labels = ["topology.kubernetes.io/region".to_owned(), "version".to_owned()];
        let plan = Plan::Order { failover: &[], labels: &labels };
        assert_eq!(seen("cn", &[("version", "v1")], &plan, &ALL), [0, 1, 0, 2, 2]);
        let labels = ["version=v2".to_owned()];
        let plan = Plan::Order { failover: &[], labels: &labels };
        assert_eq!(seen("cn", &[], &plan, &ALL), [1, 0, 1, 0, 1]);
    }

    #[test]
    fn shares_go_to_the_places_that_are_named_and_to_no_others() {
        let group = |region: &str, zone: &str, weight| LocalityLbEndpoints {
            locality: Some(crate::pb::envoy::config::core::v3::Locality {
                region: region.into(),
                zone: zone.into(),
                sub_zone: String::new(),
            }),
            load_balancing_weight: Some(UInt32Value { value: weight }),
            ..Default::default()
        };
        let rule = |from: &str, to: &[(&str, u32)]| Distribute {
            from: from.into(),
            to: to.iter().map(|(to, share)| ((*to).to_owned(), *share)).collect(),
        };
        let rules = [rule("cn/hz/*", &[("cn/*", 75), ("us", 25)]), rule("*", &[("us", 100)])];
        let shares = |at: &str| {
            let endpoints =
                vec![group("cn", "hz", 200), group("cn", "sh", 100), group("de", "f", 100), group("us", "x", 100)];
            let mut assignment = ClusterLoadAssignment { endpoints, ..ClusterLoadAssignment::default() };
            Plan::Shares(&rules).share(&mut assignment, &Locality::parse(at));
            let share = |group: &LocalityLbEndpoints| {
                (group.locality.as_ref().unwrap().zone.clone(), group.load_balancing_weight.as_ref().unwrap().value)
            };
            assignment.endpoints.iter().map(share).collect::<Vec<_>>()
        };
        assert_eq!(shares("cn/hz/a"), [("hz".into(), 50), ("sh".into(), 25), ("x".into(), 25)]);
        assert_eq!(shares("cn/sh"), [("x".into(), 100)]);
    }
}
