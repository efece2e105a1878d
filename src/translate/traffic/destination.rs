//! Which DestinationRule holds for a host, for whom.
//!
//! The client's namespace goes first, then the service's, then the root namespace; in each the rule of the host itself, else of
//! the longest wildcard. Rules for one host in one namespace are joined: subsets of all, and the first policy of the whole.

use super::{
    host::HostMap,
    object::{Id, Object},
};
use crate::{
    model::{Proxy, Text},
    pb::istio::networking::v1alpha3::{DestinationRule, Subset},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A rule, or several of one host that are joined.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Destination {
    /// The DestinationRules that are joined here, at least one. The first one names its namespace.
    pub(super) from: Vec<Id>,
    /// `exportTo` as written; `.` for a rule with a `workloadSelector`.
    export_to: BTreeSet<String>,
    pub(super) rule: DestinationRule,
}

impl Destination {
    fn of(object: &Object<DestinationRule>, export_to: &BTreeSet<String>) -> Self {
        Destination { from: vec![object.id.clone()], export_to: export_to.clone(), rule: object.spec.clone() }
    }

    fn is_selected(&self, proxy: &Proxy) -> bool {
        self.rule.workload_selector.as_ref().is_some_and(|selector| {
            *self.from[0].namespace == *proxy.namespace && selects(&selector.match_labels, proxy)
        })
    }

    pub(super) fn subset(&self, name: &str) -> Option<&Subset> {
        self.rule.subsets.iter().find(|subset| subset.name == name)
    }
}

/// Whether the proxy has all of these labels.
pub(super) fn selects(labels: &BTreeMap<String, String>, proxy: &Proxy) -> bool {
    labels.iter().all(|(key, value)| proxy.labels.get(key.as_str()).is_some_and(|own| **own == **value))
}

/// Rules by host; a host may have several, for different readers.
type ByHost = HostMap<Vec<Arc<Destination>>>;

/// All rules, by where they are looked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Destinations {
    /// The root namespace; `None`: there are no rules.
    root: Option<Text>,
    /// By namespace: the rules there that hold for its own proxies.
    local: BTreeMap<Text, ByHost>,
    /// By namespace: the rules there that also hold for proxies of other namespaces.
    exported: BTreeMap<Text, ByHost>,
    /// The rules of the root namespace that hold for its own proxies only.
    root_local: ByHost,
}

impl Destinations {
    /// `rules` are all good ones. Rules that are equal to one of `before` become the same `Arc`.
    pub(super) fn new(
        mut rules: Vec<Arc<Object<DestinationRule>>>,
        root: &Text,
        default_export_to: &[Text],
        before: &Destinations,
    ) -> Self {
        rules.sort_by_key(|rule| (rule.spec.workload_selector.is_none(), rule.created, rule.id.clone()));
        let mut all = Destinations { root: Some(root.clone()), ..Destinations::default() };
        let default_is_private = default_export_to.iter().any(|to| **to == *".");
        for rule in &rules {
            let own = &rule.id.namespace;
            let export_to: BTreeSet<String> = match rule.spec.workload_selector {
                Some(_) => BTreeSet::from([".".to_owned()]),
                None => rule.spec.export_to.iter().cloned().collect(),
            };
            let has = |to: &str| export_to.contains(to);
            if export_to.is_empty() || has("*") || has(".") || has(own) {
                join(all.local.entry(own.clone()).or_default(), rule, &export_to);
            }
            let is_private =
                if export_to.is_empty() { default_is_private } else { export_to.len() == 1 && (has(".") || has(own)) };
            if !is_private {
                join(all.exported.entry(own.clone()).or_default(), rule, &export_to);
            } else if own == root {
                join(&mut all.root_local, rule, &export_to);
            }
        }
        all.share(before);
        all
    }

    /// Replaces rules by equal ones of `before`, so that pointers can be compared.
    fn share(&mut self, before: &Destinations) {
        fn share(map: &mut ByHost, before: Option<&ByHost>) {
            let Some(before) = before else { return };
            let known: BTreeMap<&Id, Vec<&Arc<Destination>>> =
                before.iter().flat_map(|(_, list)| list).fold(BTreeMap::new(), |mut known, rule| {
                    known.entry(&rule.from[0]).or_insert_with(Vec::new).push(rule);
                    known
                });
            for rule in map.values_mut().flatten() {
                let equal = known.get(&rule.from[0]).into_iter().flatten().find(|old| ***old == *rule);
                if let Some(equal) = equal {
                    *rule = Arc::clone(equal);
                }
            }
        }
        for (namespace, map) in &mut self.local {
            share(map, before.local.get(namespace));
        }
        for (namespace, map) in &mut self.exported {
            share(map, before.exported.get(namespace));
        }
        share(&mut self.root_local, Some(&before.root_local));
    }

    /// The rule that holds for a host of a service in that namespace, for a proxy.
    pub(super) fn find(&self, proxy: &Proxy, service_namespace: &str, host: &str) -> Option<&Arc<Destination>> {
        let root = self.root.as_ref()?;
        let own = match proxy.namespace == *root {
            false => self.local.get(&*proxy.namespace).and_then(|map| map.best(host)),
            true => self.root_local.best(host),
        };
        if let Some((_, rules)) = own {
            return chosen(rules.iter(), proxy);
        }
        for namespace in [service_namespace, root] {
            let found = self.exported.get(namespace).and_then(|map| map.best(host));
            let seen = |rule: &&Arc<Destination>| {
                let to = &rule.export_to;
                to.is_empty() || to.contains("*") || to.contains(&*proxy.namespace)
            };
            let rules: Vec<_> = found.iter().flat_map(|(_, rules)| rules.iter()).filter(seen).collect();
            if !rules.is_empty() {
                return chosen(rules.into_iter(), proxy);
            }
        }
        None
    }

    /// Whether all rules are the same `Arc`s.
    pub(super) fn same(&self, other: &Destinations) -> bool {
        fn same(map: &ByHost, other: &ByHost) -> bool {
            let all = |map: &ByHost| map.iter().map(|(host, list)| (host.to_owned(), list.clone())).collect::<Vec<_>>();
            let (map, other) = (all(map), all(other));
            map.len() == other.len()
                && map.iter().zip(&other).all(|((host, list), (other, others))| {
                    host == other
                        && list.len() == others.len()
                        && list.iter().zip(others).all(|(a, b)| Arc::ptr_eq(a, b))
                })
        }
        let by_namespace = |maps: &BTreeMap<Text, ByHost>, others: &BTreeMap<Text, ByHost>| {
            maps.len() == others.len()
                && maps
                    .iter()
                    .zip(others)
                    .all(|((namespace, map), (other, maps))| namespace == other && same(map, maps))
        };
        self.root == other.root
            && by_namespace(&self.local, &other.local)
            && by_namespace(&self.exported, &other.exported)
            && same(&self.root_local, &other.root_local)
    }
}

/// The first rule whose `workloadSelector` selects the proxy, else the last without one.
fn chosen<'a>(rules: impl Iterator<Item = &'a Arc<Destination>>, proxy: &Proxy) -> Option<&'a Arc<Destination>> {
    let mut for_all = None;
    for rule in rules {
        if rule.rule.workload_selector.is_none() {
            for_all = Some(rule);
        } else if rule.is_selected(proxy) {
            return Some(rule);
        }
    }
    for_all
}

/// Adds a rule to those of its host: joined with an earlier one where Istio would join them, else by itself.
fn join(map: &mut ByHost, object: &Object<DestinationRule>, export_to: &BTreeSet<String>) {
    let known = map.entry(&object.spec.host);
    let mut is_alone = true;
    for joined in known.iter_mut() {
        let equal = *export_to == joined.export_to;
        let wider = !joined.export_to.is_empty() && export_to.is_superset(&joined.export_to);
        is_alone = !equal;
        if !equal && !wider {
            continue;
        }
        let selector =
            |rule: &DestinationRule| rule.workload_selector.as_ref().map(|selector| selector.match_labels.clone());
        let (existing, new) = (selector(&joined.rule), selector(&object.spec));
        if existing.is_some() && new.is_some() && existing != new {
            is_alone = true;
            continue;
        }
        if existing.is_none() && new.is_none() || existing.is_some() && new.is_some() {
            is_alone = false;
        }
        let joined = Arc::make_mut(joined);
        joined.from.push(object.id.clone());
        for subset in &object.spec.subsets {
            if joined.subset(&subset.name).is_none() {
                joined.rule.subsets.push(subset.clone());
            }
        }
        if joined.rule.traffic_policy.is_none() {
            joined.rule.traffic_policy.clone_from(&object.spec.traffic_policy);
        }
    }
    if is_alone || known.is_empty() {
        known.push(Arc::new(Destination::of(object, export_to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProxyKind;

    fn rule(namespace: &str, name: &str, host: &str, subset: &str, export_to: &[&str]) -> Arc<Object<DestinationRule>> {
        let spec = DestinationRule {
            host: host.into(),
            subsets: vec![Subset { name: subset.into(), ..Subset::default() }],
            export_to: export_to.iter().map(ToString::to_string).collect(),
            ..DestinationRule::default()
        };
        Arc::new(Object { id: Id::new(namespace, name), created: 0, spec })
    }

    fn found(rules: &Destinations, client: &str, service: &str, host: &str) -> Option<Vec<String>> {
        let proxy = Proxy::new(ProxyKind::Router, client.into());
        let names = |rule: &Arc<Destination>| rule.rule.subsets.iter().map(|subset| subset.name.clone()).collect();
        rules.find(&proxy, service, host).map(names)
    }

    fn all(rules: Vec<Arc<Object<DestinationRule>>>) -> Destinations {
        Destinations::new(rules, &"root".into(), &["*".into()], &Destinations::default())
    }

    #[test]
    fn the_clients_namespace_goes_before_the_services_and_the_root() {
        let rules = all(vec![
            rule("client", "a", "x.example", "client", &[]),
            rule("service", "a", "x.example", "service", &[]),
            rule("service", "b", "y.example", "hidden", &["."]),
            rule("root", "a", "*.example", "root", &[]),
            rule("third", "a", "z.example", "third", &[]),
        ]);
        for (client, service, host, subset) in [
            ("client", "service", "x.example", Some("client")),
            ("other", "service", "x.example", Some("service")),
            ("other", "service", "y.example", Some("root")),
            ("service", "service", "y.example", Some("hidden")),
            ("other", "service", "z.example", Some("root")),
            ("other", "service", "z.org", None),
            ("root", "service", "x.example", Some("service")),
        ] {
            let expected = subset.map(|subset| vec![subset.to_owned()]);
            assert_eq!(found(&rules, client, service, host), expected, "{client} {host}");
        }
    }

    #[test]
    fn rules_of_one_host_are_joined() {
        let rules = all(vec![
            rule("shop", "b", "x.example", "v2", &[]),
            rule("shop", "a", "x.example", "v1", &[]),
            rule("shop", "c", "*.example", "v3", &[]),
        ]);
        assert_eq!(found(&rules, "shop", "shop", "x.example"), Some(vec!["v1".into(), "v2".into()]));
        assert_eq!(found(&rules, "shop", "shop", "y.example"), Some(vec!["v3".into()]));
    }

    /// Equal rules stay the same `Arc`: views compare pointers to see that nothing has changed.
    #[test]
    fn equal_rules_are_the_same_values() {
        let make =
            |subset| vec![rule("shop", "a", "x.example", "v1", &[]), rule("shop", "b", "y.example", subset, &[])];
        let first = all(make("v1"));
        let second = Destinations::new(make("v1"), &"root".into(), &["*".into()], &first);
        let third = Destinations::new(make("v2"), &"root".into(), &["*".into()], &second);
        assert!(first.same(&second) && !second.same(&third));
        let proxy = Proxy::new(ProxyKind::Router, "shop".into());
        let x = |rules: &Destinations| rules.find(&proxy, "shop", "x.example").unwrap().clone();
        assert!(Arc::ptr_eq(&x(&first), &x(&third)));
    }
}
