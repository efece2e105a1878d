//! Rules against clients, and scopes against a service seen endpoint by endpoint.

use super::*;
use crate::{
    catalog::{Matcher, Select as Matchers},
    model::{Address, Hostname, Labels, Port, Protocol, PublishedEndpoint, PublishedService, ServiceId, ServicePort},
    resource::{Dialect, Kind},
    views::Select,
    xds::{Metadata, Node},
};
use proptest::{collection::vec, prelude::*, sample::select, sample::subsequence};

fn rule(name: &str) -> Rule {
    Rule {
        name: name.into(),
        clients: Vec::new(),
        registries: None,
        select: Matchers::default(),
        aliases: true,
        level: Level::default(),
        nearness: None,
        declared: None,
        calls: None,
    }
}

fn scopes(rules: Vec<Rule>, unmatched: Unmatched) -> Scopes {
    Scopes::new(
        Rules { rules, unmatched, visible_to: BTreeMap::new(), near: false, own_cluster: false },
        &Scopes::default(),
    )
}

fn granted(scopes: &Scopes, node: &Node, address: &str) -> Option<String> {
    let address = Some(address.parse().unwrap());
    let client = Client { node, address, listener: "default", identity: None, dialect: Dialect::Envoy };
    scopes.grant(&client).ok().map(|grant| grant.scope.map_or("everything".into(), |scope| scope.name.to_string()))
}

#[test]
fn the_first_rule_that_fits_decides() {
    let id = |pattern: &str| Condition { id: Some(pattern.into()), ..Condition::default() };
    let metadata = |way: &[&str], pattern: &str| Condition {
        metadata: vec![(way.iter().map(|key| Text::from(*key)).collect(), pattern.into())],
        ..Condition::default()
    };
    let network = Condition { networks: vec!["10.0.0.0/8".parse().unwrap()], ..Condition::default() };
    let istio = Condition { program: Some(Dialect::Istio), ..Condition::default() };
    let rules = vec![
        Rule { clients: vec![istio], ..rule("istiods") },
        Rule { clients: vec![id("edge-*"), id("gate")], ..rule("edge") },
        Rule { clients: vec![metadata(&["team"], "shop")], ..rule("shop") },
        Rule { clients: vec![network], ..rule("inside") },
    ];
    let (open, closed) = (scopes(rules.clone(), Unmatched::All), scopes(rules, Unmatched::Refuse));
    let node =
        |id: &str, team: &str| Node { id: id.into(), metadata: Metadata::of(&[("team", team)]), ..Node::default() };
    for (client, address, expected) in [
        (node("edge-1", "shop"), "10.0.0.1", Some("edge")),
        (node("gate", ""), "192.0.2.1", Some("edge")),
        (node("x", "shop"), "10.0.0.1", Some("shop")),
        (node("x", "shops"), "10.0.0.1", Some("inside")),
        (node("x", ""), "192.0.2.1", None),
        (Node::default(), "fd00::1", None),
    ] {
        assert_eq!(granted(&closed, &client, address).as_deref(), expected, "{client:?}");
        assert_eq!(granted(&open, &client, address).as_deref(), Some(expected.unwrap_or(ALL)), "{client:?}");
    }
}

#[test]
fn what_was_cut_decides_nothing() {
    let cluster = Condition { cluster: Some("*".into()), ..Condition::default() };
    let team = Condition { metadata: vec![(vec!["team".into()], "*".into())], ..Condition::default() };
    let either = scopes(vec![Rule { clients: vec![cluster, team.clone()], ..rule("a") }], Unmatched::Refuse);
    let cut = Node { cut: true, ..Node::default() };
    assert_eq!(granted(&either, &cut, "10.0.0.1"), None);
    assert_eq!(granted(&either, &Node::default(), "10.0.0.1").as_deref(), Some("a"));
    let long = "x".repeat(crate::xds::LONGEST_METADATA);
    let scopes = scopes(vec![Rule { clients: vec![team], ..rule("a") }], Unmatched::Refuse);
    let node = Node { metadata: Metadata::of(&[("team", "shop"), ("long", &long)]), ..Node::default() };
    assert_eq!(granted(&scopes, &node, "10.0.0.1"), None);
}

#[test]
fn without_rules_everything_is_seen_and_nothing_is_looked_for() {
    assert_eq!(
        granted(&scopes(Vec::new(), Unmatched::All), &Node::default(), "10.0.0.1").as_deref(),
        Some("everything")
    );
    assert_eq!(granted(&scopes(Vec::new(), Unmatched::None), &Node::default(), "10.0.0.1").as_deref(), Some(NONE));
    let hidden = Rules { visible_to: BTreeMap::from([("a".into(), Vec::new())]), ..Rules::default() };
    let scopes = Scopes::new(hidden, &Scopes::default());
    assert_eq!(granted(&scopes, &Node::default(), "10.0.0.1").as_deref(), Some(ALL));
}

#[test]
fn a_scope_that_stays_is_the_same_value() {
    let first = scopes(vec![rule("a"), rule("b")], Unmatched::All);
    let changed = Rules { rules: vec![rule("b"), Rule { aliases: false, ..rule("a") }], ..Rules::default() };
    let second = Scopes::new(changed, &first);
    let find = |scopes: &Scopes, name: &str| scopes.all().find(|scope| *scope.name == *name).unwrap().clone();
    assert!(Arc::ptr_eq(&find(&first, "b"), &find(&second, "b")));
    assert!(!Arc::ptr_eq(&find(&first, "a"), &find(&second, "a")));
}

#[test]
fn a_scope_of_endpoints_has_no_clusters() {
    let scope = Scope::new(&Rule { level: Level::Endpoints, ..rule("a") }, &BTreeMap::new());
    assert!(!scope.has_kind(Kind::Cluster) && scope.has_kind(Kind::Endpoint));
}

const REGISTRIES: [&str; 3] = ["one", "two", "three"];
const NAMES: [&str; 3] = ["orders", "users", "pay"];

fn any_labels() -> impl Strategy<Value = Labels> {
    let scopes = prop_oneof![3 => Just(""), 1 => Just("a"), 1 => Just("b"), 1 => Just("b, a")];
    (scopes, select(vec!["", "shop", "pay"])).prop_map(|(scopes, team)| {
        let pairs = [(LABEL, scopes), ("team", team)].into_iter().filter(|(_, value)| !value.is_empty());
        pairs.map(|(key, value)| (key.into(), value.into())).collect()
    })
}

fn any_service() -> impl Strategy<Value = Arc<PublishedService>> {
    let sources = (subsequence(REGISTRIES.to_vec(), 1..=3), select(NAMES.to_vec()));
    let endpoints = vec((0..3_u32, 0..2_u8, any_labels()), 0..5);
    (sources, endpoints, any_labels(), any::<bool>()).prop_map(|((registries, name), endpoints, labels, alias)| {
        let host = Hostname::new("orders.example").unwrap();
        let port = |number| Port::new(number).unwrap();
        let service_port =
            ServicePort { name: "http".into(), number: port(80), protocol: Protocol::Http, host: host.clone() };
        let count = u32::try_from(registries.len()).unwrap();
        let endpoint = |(last, (source, net, labels)): (u8, (u32, u8, Labels))| {
            let address = Address::Ip([10, net, 0, last].into());
            let plain = PublishedEndpoint::new(address, [("http".into(), port(8080))].into_iter().collect());
            PublishedEndpoint { source: source % count, labels, ..plain }
        };
        let endpoints = (1..).zip(endpoints).map(endpoint).collect();
        let sources = registries.iter().map(|registry| ServiceId::new(*registry, "ns", "g", name)).collect();
        let aliases = if alias { vec![Hostname::new("orders").unwrap()] } else { Vec::new() };
        let plain = PublishedService::new(host, vec![service_port], endpoints);
        Arc::new(PublishedService { sources, labels, aliases, ..plain })
    })
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    prop_oneof![
        select(NAMES.to_vec()).prop_map(|name| Matcher { name: Some(name.into()), ..Matcher::default() }),
        select(vec!["shop", "pay"])
            .prop_map(|team| Matcher { labels: vec![("team".into(), team.into())], ..Matcher::default() }),
        Just(Matcher { networks: vec!["10.1.0.0/16".parse().unwrap()], ..Matcher::default() }),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let registries = proptest::option::of(subsequence(REGISTRIES.to_vec(), 1..=3));
    (registries, vec(any_matcher(), 0..3), vec(any_matcher(), 0..2), any::<bool>()).prop_map(
        |(registries, include, exclude, aliases)| Rule {
            registries: registries.map(|all| all.into_iter().map(Text::from).collect()),
            select: Matchers { include, exclude },
            aliases,
            ..rule("a")
        },
    )
}

/// What the words of the documentation say, without patterns that are compiled or values that are shared.
fn may_see(
    rule: &Rule,
    hidden: &[&str],
    service: &PublishedService,
    id: &ServiceId,
    endpoint: Option<&PublishedEndpoint>,
) -> bool {
    let named = |labels: &Labels| match labels.get(LABEL) {
        None => true,
        Some(names) => names.split(", ").any(|name| name == &*rule.name),
    };
    let team = endpoint.and_then(|e| e.labels.get("team")).or_else(|| service.labels.get("team"));
    let fits = |matcher: &Matcher| {
        matcher.name.as_ref().is_none_or(|name| *name == id.name)
            && matcher.labels.iter().all(|(_, value)| team == Some(value))
            && (matcher.networks.is_empty()
                || matches!(endpoint.map(|e| &e.address), Some(Address::Ip(std::net::IpAddr::V4(ip))) if ip.octets()[1] == 1))
    };
    rule.registries.as_ref().is_none_or(|registries| registries.contains(&id.registry))
        && !hidden.contains(&&*id.registry)
        && named(&service.labels)
        && endpoint.is_none_or(|endpoint| named(&endpoint.labels))
        && !rule.select.exclude.iter().any(fits)
        && (rule.select.include.is_empty() || rule.select.include.iter().any(fits))
}

proptest! {
    #[test]
    fn a_scope_has_what_it_may_see_and_nothing_else(
        service in any_service(),
        rule in any_rule(),
        hidden in subsequence(REGISTRIES.to_vec(), 0..=2),
    ) {
        let visible_to = hidden.iter().map(|registry| (Text::from(*registry), vec!["b".into()])).collect();
        let selected = Scope::new(&rule, &visible_to).select(&service);
        let seen = |e: &&PublishedEndpoint| may_see(&rule, &hidden, &service, &service.sources[e.source as usize], Some(e));
        let endpoints: Vec<PublishedEndpoint> = service.endpoints.iter().filter(seen).cloned().collect();
        let bare = service.endpoints.is_empty() && service.sources.iter().any(|id| may_see(&rule, &hidden, &service, id, None));
        prop_assert_eq!(selected.is_some(), !endpoints.is_empty() || bare);
        let Some(selected) = selected else { return Ok(()) };
        prop_assert_eq!(&selected.endpoints, &endpoints);
        let aliases = if rule.aliases { service.aliases.clone() } else { Vec::new() };
        prop_assert_eq!(&selected.aliases, &aliases);
        prop_assert_eq!(&selected.ports, &service.ports);
        let whole = endpoints == service.endpoints && aliases == service.aliases;
        if whole {
            prop_assert!(*selected == *service);
        }
    }
}
