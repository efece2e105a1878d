//! Which services and instances are taken: `include` and `exclude`, with their patterns compiled once.
//!
//! Parts of a matcher that speak of the service (name, namespace, group) can decide on the service as a whole; labels and
//! networks decide on each instance.

use super::{Matcher, Select};
use crate::model::{Address, Endpoint, Labels, PublishedEndpoint, Reason, ServiceId, Text};
use ipnet::IpNet;
use wildmatch::WildMatch;

/// A compiled [`Select`].
#[derive(Debug)]
pub struct Selector {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    name: Option<WildMatch>,
    namespace: Option<WildMatch>,
    group: Option<WildMatch>,
    labels: Vec<(Text, WildMatch)>,
    networks: Vec<IpNet>,
}

impl Selector {
    /// Compiles the patterns.
    pub fn new(select: &Select) -> Self {
        let rules = |matchers: &[Matcher]| matchers.iter().map(Rule::new).collect();
        Selector { include: rules(&select.include), exclude: rules(&select.exclude) }
    }

    /// Why the service is not taken, whatever its instances are.
    pub(super) fn refuses_service(&self, id: &ServiceId) -> Option<Reason> {
        if self.exclude.iter().any(|rule| rule.is_of_service() && rule.has_service(id)) {
            return Some(Reason::Excluded);
        }
        let included = self.include.is_empty() || self.include.iter().any(|rule| rule.has_service(id));
        (!included).then_some(Reason::NotIncluded)
    }

    /// Why the instance is not taken.
    pub(super) fn refuses_instance(&self, id: &ServiceId, service: &Labels, endpoint: &Endpoint) -> Option<Reason> {
        self.refuses(id, &|key| endpoint.labels.get(key).or_else(|| service.get(key)), Some(&endpoint.address))
    }

    /// Why the service is not taken while it has no instances: only its own labels can speak for it then.
    pub(super) fn refuses_bare(&self, id: &ServiceId, service: &Labels) -> Option<Reason> {
        self.refuses(id, &|key| service.get(key), None)
    }

    /// Whether a published service is taken: with one of its instances, or while it has none, by its own labels.
    pub fn takes(&self, id: &ServiceId, service: &Labels, endpoint: Option<&PublishedEndpoint>) -> bool {
        let label = |key: &str| endpoint.and_then(|endpoint| endpoint.labels.get(key)).or_else(|| service.get(key));
        self.refuses(id, &label, endpoint.map(|endpoint| &endpoint.address)).is_none()
    }

    fn refuses<'a>(
        &self,
        id: &ServiceId,
        label: &dyn Fn(&str) -> Option<&'a Text>,
        address: Option<&Address>,
    ) -> Option<Reason> {
        let matches = |rule: &Rule| rule.has_service(id) && rule.has_instance(label, address);
        if self.exclude.iter().any(matches) {
            return Some(Reason::Excluded);
        }
        (!self.include.is_empty() && !self.include.iter().any(matches)).then_some(Reason::NotIncluded)
    }
}

impl Rule {
    fn new(matcher: &Matcher) -> Self {
        let pattern = |text: &Option<Text>| text.as_deref().map(WildMatch::new);
        Rule {
            name: pattern(&matcher.name),
            namespace: pattern(&matcher.namespace),
            group: pattern(&matcher.group),
            labels: matcher.labels.iter().map(|(key, value)| (key.clone(), WildMatch::new(value))).collect(),
            networks: matcher.networks.clone(),
        }
    }

    fn is_of_service(&self) -> bool {
        self.labels.is_empty() && self.networks.is_empty()
    }

    fn has_service(&self, id: &ServiceId) -> bool {
        let fits = |pattern: &Option<WildMatch>, text: &str| pattern.as_ref().is_none_or(|p| p.matches(text));
        fits(&self.name, &id.name) && fits(&self.namespace, &id.namespace) && fits(&self.group, &id.group)
    }

    fn has_instance<'a>(&self, label: &dyn Fn(&str) -> Option<&'a Text>, address: Option<&Address>) -> bool {
        let inside = |network: &IpNet| matches!(address, Some(Address::Ip(ip)) if network.contains(ip));
        self.labels.iter().all(|(key, pattern)| label(key).is_some_and(|value| pattern.matches(value)))
            && (self.networks.is_empty() || self.networks.iter().any(inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Port;

    fn id(name: &str) -> ServiceId {
        ServiceId::new("r", "ns", "g", name)
    }

    fn instance(address: &str, labels: &[(&str, &str)]) -> Endpoint {
        let labels = labels.iter().map(|(k, v)| (Text::from(*k), Text::from(*v))).collect();
        Endpoint { labels, ..Endpoint::new(Address::parse(address).unwrap(), Port::new(80).unwrap()) }
    }

    fn named(pattern: &str) -> Matcher {
        Matcher { name: Some(pattern.into()), ..Matcher::default() }
    }

    #[test]
    fn services_are_taken_by_name_group_and_namespace() {
        let group = Matcher { group: Some("g?".into()), namespace: Some("ns".into()), ..Matcher::default() };
        for (include, exclude, expected) in [
            (vec![], vec![], None),
            (vec![named("ord*")], vec![], None),
            (vec![named("ord*"), named("x")], vec![named("*ers")], Some(Reason::Excluded)),
            (vec![named("pay")], vec![], Some(Reason::NotIncluded)),
            (vec![group], vec![], Some(Reason::NotIncluded)),
            (vec![Matcher { namespace: Some("n*".into()), ..named("orders") }], vec![], None),
        ] {
            let select = Select { include, exclude };
            assert_eq!(Selector::new(&select).refuses_service(&id("orders")), expected, "{select:?}");
        }
    }

    #[test]
    fn instances_are_taken_by_label_and_network() {
        let label = |key: &str, value: &str| Matcher { labels: vec![(key.into(), value.into())], ..Matcher::default() };
        let network = |text: &str, base: Matcher| Matcher { networks: vec![text.parse().unwrap()], ..base };
        let service = Labels::from([("team".into(), "shop".into())]);
        let ten = instance("10.1.2.3", &[("env", "prod")]);
        let host = instance("node-1", &[("env", "prod"), ("team", "pay")]);
        for (include, exclude, endpoint, expected) in [
            (vec![label("env", "pr*")], vec![], &ten, None),
            (vec![label("env", "test")], vec![], &ten, Some(Reason::NotIncluded)),
            (vec![label("team", "shop")], vec![], &ten, None),
            (vec![label("team", "shop")], vec![], &host, Some(Reason::NotIncluded)),
            (vec![], vec![network("10.0.0.0/8", Matcher::default())], &ten, Some(Reason::Excluded)),
            (vec![], vec![network("10.0.0.0/8", named("other"))], &ten, None),
            (vec![], vec![network("10.0.0.0/8", label("env", "test"))], &ten, None),
            (vec![network("10.0.0.0/8", Matcher::default())], vec![], &host, Some(Reason::NotIncluded)),
        ] {
            let select = Select { include, exclude };
            let selection = Selector::new(&select);
            assert_eq!(selection.refuses_instance(&id("orders"), &service, endpoint), expected, "{select:?}");
            assert_eq!(selection.refuses_service(&id("orders")), None, "{select:?}");
        }
    }

    #[test]
    fn without_instances_the_labels_of_the_service_speak() {
        let include = Matcher { labels: vec![("team".into(), "shop".into())], ..Matcher::default() };
        let selection = Selector::new(&Select { include: vec![include], exclude: vec![] });
        assert_eq!(selection.refuses_bare(&id("a"), &Labels::from([("team".into(), "shop".into())])), None);
        assert_eq!(selection.refuses_bare(&id("a"), &Labels::new()), Some(Reason::NotIncluded));
    }
}
