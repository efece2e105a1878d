//! Conversion, changes and configuration, value by value.

use super::{
    AddressOf, Config, Consistency, Rules, Serves,
    changes::{OnNodes, Whom},
    client::Place,
    convert, server,
    services::{Found, Services},
    wire::{Check, Checks, Names, Nodes},
};
use crate::{
    model::{Address, Endpoint, Health, Locality, Port, Protocol, Reason, Service, ServiceId, Weight},
    registry::{Adapter, transport::Answer},
    util::{
        secret::Secret,
        yaml::{Document, Limits, Resolver},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};
use std::{collections::BTreeSet, time::Duration};

fn converted(list: &Value, rules: &Rules, last: Option<&Service>) -> convert::Converted {
    let text = list.to_string();
    let raw: Vec<&RawValue> = serde_json::from_str(&text).unwrap();
    convert::service(&ServiceId::new("r", "dc1", "", "web"), &raw, rules, last)
}

/// An instance as Consul 1.14 shows it, with changes by pointers.
fn instance(changes: &[(&str, Value)]) -> Value {
    let mut instance = json!({
        "Node": {"ID": "0a", "Node": "node-1", "Address": "10.0.0.1", "Datacenter": "dc1",
            "TaggedAddresses": {"lan": "10.0.0.1", "wan": "192.0.2.1"}, "Meta": {}, "CreateIndex": 1, "ModifyIndex": 2},
        "Service": {"ID": "web-1", "Service": "web", "Tags": [], "Address": "", "Port": 8080, "Meta": {},
            "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false, "Kind": "", "SocketPath": "",
            "TaggedAddresses": {}},
        "Checks": [{"Node": "node-1", "CheckID": "serfHealth", "Status": "passing", "ServiceID": ""}],
    });
    for (pointer, value) in changes {
        match instance.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                instance.pointer_mut(parent).unwrap()[key] = value.clone();
            }
        }
    }
    instance
}

fn endpoint_by(changes: &[(&str, Value)], rules: &Rules) -> Endpoint {
    let service = converted(&json!([instance(changes)]), rules, None).service.unwrap();
    assert_eq!(service.endpoints.len(), 1, "{service:?}");
    service.endpoints.into_iter().next().unwrap()
}

fn endpoint(changes: &[(&str, Value)]) -> Endpoint {
    endpoint_by(changes, &Rules::default())
}

fn check(id: &str, status: &str) -> Value {
    json!({"CheckID": id, "Status": status})
}

#[test]
fn a_plain_instance_is_at_its_nodes_address() {
    let expected = Endpoint {
        locality: Locality::new("dc1", "", ""),
        ..Endpoint::new(Address::parse("10.0.0.1").unwrap(), Port::new(8080).unwrap())
    };
    assert_eq!(endpoint(&[]), expected);
}

#[test]
fn addresses_are_the_instances_own_or_tagged_or_the_nodes() {
    let place = |changes: &[(&str, Value)], wanted| {
        let endpoint = endpoint_by(changes, &Rules { address: wanted, ..Rules::default() });
        endpoint.address.place(Some(endpoint.ports[0].number))
    };
    let own = ("/Service/Address", json!("10.1.0.1"));
    let tagged = (
        "/Service/TaggedAddresses",
        json!({"wan": {"Address": "192.0.2.9", "Port": 80}, "lan_ipv6": {"Address": "2001:db8::1", "Port": 0}}),
    );
    let wan = AddressOf::Tagged("wan");
    for (changes, wanted, expected) in [
        (vec![own.clone()], AddressOf::Plain, "10.1.0.1:8080"),
        (vec![own.clone(), tagged.clone()], wan, "192.0.2.9:80"),
        (vec![tagged.clone()], AddressOf::Tagged("lan_ipv6"), "[2001:db8::1]:8080"),
        (vec![], wan, "192.0.2.1:8080"),
        (vec![own], wan, "10.1.0.1:8080"),
        (vec![], AddressOf::Tagged("wan_ipv6"), "10.0.0.1:8080"),
        (vec![("/Service/Address", json!("db.example.com"))], AddressOf::Plain, "db.example.com:8080"),
        (vec![("/Service/Port", json!("81"))], AddressOf::Plain, "10.0.0.1:81"),
    ] {
        assert_eq!(place(&changes, wanted), expected, "{changes:?}");
    }
}

#[test]
fn health_is_that_of_the_worst_check() {
    let failing = Rules { warning: Serves::No, ..Rules::default() };
    for (statuses, lenient, strict) in [
        (&["passing", "passing"][..], Health::Healthy, Health::Healthy),
        (&["passing", "warning"], Health::Healthy, Health::Unhealthy),
        (&["critical", "passing", "warning"], Health::Unhealthy, Health::Unhealthy),
        (&["passing", "of another version"], Health::Unhealthy, Health::Unhealthy),
        (&[], Health::Unknown, Health::Unknown),
    ] {
        let checks: Vec<Value> = statuses.iter().map(|status| check("c", status)).collect();
        let changes = [("/Checks", json!(checks))];
        assert_eq!(endpoint(&changes).health, lenient, "{statuses:?}");
        assert_eq!(endpoint_by(&changes, &failing).health, strict, "{statuses:?}");
    }
    assert_eq!(endpoint(&[("/Checks", json!(null))]).health, Health::Unknown);
    for id in ["_node_maintenance", "_service_maintenance:web-1"] {
        let endpoint = endpoint(&[("/Checks", json!([check("c", "passing"), check(id, "critical")]))]);
        assert_eq!((endpoint.enabled, endpoint.health), (false, Health::Healthy), "{id}");
    }
}

#[test]
fn weights_are_those_of_a_tag_or_label_or_of_consul() {
    let warning = ("/Checks", json!([check("c", "warning")]));
    let weights = ("/Service/Weights", json!({"Passing": 10, "Warning": 2}));
    let tags = ("/Service/Tags", json!(["weight:50", "a"]));
    let meta = ("/Service/Meta", json!({"weight": "7"}));
    for (changes, expected) in [
        (vec![weights.clone()], 10.0),
        (vec![weights.clone(), warning.clone()], 2.0),
        (vec![weights.clone(), meta.clone()], 7.0),
        (vec![weights.clone(), meta, tags], 50.0),
        (vec![("/Service/Tags", json!(["weight=3"]))], 3.0),
        (vec![("/Service/Weights", json!({"Passing": 10, "Warning": 0})), warning], 0.0),
        (vec![("/Service/Weights", json!(null))], 1.0),
    ] {
        assert_eq!(endpoint(&changes).weight, Weight::relative(expected, 1.0).unwrap(), "{changes:?}");
    }
    let service = converted(&json!([instance(&[("/Service/Tags", json!(["weight:heavy"]))])]), &Rules::default(), None);
    let service = service.service.unwrap();
    assert_eq!((service.endpoints[0].weight, service.notes[0].reason), (Weight::DEFAULT, Reason::EntryInvalid));
}

#[test]
fn tags_and_metadata_are_labels_and_say_protocol_and_place() {
    let tags = ("/Service/Tags", json!(["zone=b", "env=old", "v1"]));
    let meta = ("/Service/Meta", json!({"env": "prod", "gRPC_port": "9090", "secure": "true"}));
    let found = endpoint(&[tags, meta]);
    let labels: Vec<(&str, &str)> = found.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
    let expected =
        [("env", "prod"), ("gRPC_port", "9090"), ("secure", "true"), ("tags", "env=old,v1,zone=b"), ("zone", "b")];
    assert_eq!(labels, expected);
    assert_eq!((found.locality, found.secure), (Locality::new("dc1", "b", ""), true));
    assert_eq!((found.ports.len(), found.ports[1].protocol), (2, Some(Protocol::Grpc)));
    let spoken =
        |tags: Value, meta: Value| endpoint(&[("/Service/Tags", tags), ("/Service/Meta", meta)]).ports[0].protocol;
    assert_eq!(spoken(json!(["grpc", "v1"]), json!({})), Some(Protocol::Grpc));
    assert_eq!(spoken(json!(["grpc"]), json!({"protocol": "tcp"})), Some(Protocol::Tcp));
    assert_eq!(spoken(json!(["protocol=http2"]), json!({})), Some(Protocol::Http2));
    assert_eq!(spoken(json!(["http", "grpc"]), json!({})), None, "two of them say nothing");
    let place = |changes: &[(&str, Value)]| endpoint(changes).locality.to_string();
    let node = ("/Node/Meta", json!({"region": "eu", "zone": "eu-1"}));
    let declared = ("/Node/Locality", json!({"Region": "us", "Zone": "us-1"}));
    assert_eq!(place(std::slice::from_ref(&node)), "eu/eu-1");
    assert_eq!(place(&[node.clone(), declared.clone()]), "us/us-1");
    assert_eq!(place(&[node, declared, ("/Service/Meta", json!({"zone": "z"}))]), "us/z");
}

#[test]
fn what_is_not_for_us_is_left_out() {
    let taken = |changes: &[(&str, Value)], rules: &Rules| converted(&json!([instance(changes)]), rules, None).service;
    let proxies = Rules { proxies: true, ..Rules::default() };
    for kind in ["connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"] {
        let changes = [("/Service/Kind", json!(kind))];
        assert!(taken(&changes, &Rules::default()).is_none() && taken(&changes, &proxies).is_some(), "{kind}");
    }
    // These are the service's, and nobody can use them.
    for (pointer, value, why) in [
        ("/Service/Port", json!(0), "without a port"),
        ("/Service/Port", json!(null), "without a port"),
        ("/Service/SocketPath", json!("/run/web.sock"), "reached by the socket"),
    ] {
        let service = taken(&[(pointer, value)], &Rules::default()).unwrap();
        assert!(service.endpoints.is_empty() && service.notes[0].detail.contains(why), "{service:?}");
    }
}

#[test]
fn an_instance_that_cannot_be_read_keeps_its_last_value() {
    let other = instance(&[("/Node/Node", json!("node-2")), ("/Service/Address", json!("10.0.0.2"))]);
    let last = converted(&json!([instance(&[]), other]), &Rules::default(), None).service.unwrap();
    for (pointer, value) in [("/Service/Port", json!("http")), ("/Service/Port", json!(70000))] {
        let bad = instance(&[(pointer, value)]);
        let found = converted(&json!([bad, other]), &Rules::default(), Some(&last));
        let service = found.service.unwrap();
        assert_eq!((service.endpoints, service.notes.len()), (last.endpoints.clone(), 1), "{pointer}");
        assert_eq!(found.nodes, BTreeSet::from(["node-1".into(), "node-2".into()]));
        let alone = converted(&json!([bad]), &Rules::default(), Some(&last));
        assert!(alone.service.is_none() && alone.unreadable.unwrap().contains("none of its 1 instances"));
    }
    for bad in
        [json!({}), json!(7), json!({"Node": {}, "Service": []}), instance(&[("/Service/Address", json!("a b"))])]
    {
        let found = converted(&json!([bad, other]), &Rules::default(), None).service.unwrap();
        assert_eq!((found.endpoints.len(), found.notes.len()), (1, 1), "{bad}");
    }
}

/// A small Consul: node and service of each instance, and a number from which its tag and its check follow.
type World = Vec<(u8, u8, u8)>;

fn heads(world: &World) -> (Names, Checks, Nodes) {
    let (mut names, mut checks, mut nodes) = (Names::new(), Checks::new(), Nodes::new());
    for (node, service, state) in world {
        let [node, service] = [format!("n{node}"), format!("s{service}")];
        names.entry((&*service).into()).or_default().insert(format!("t{}", state % 2).into());
        // Some have no check: only the names tell that there is something.
        if state % 3 > 0 {
            let check = Check { service: (&*service).into(), hash: (state / 3).into() };
            checks.insert(((&*node).into(), (&*service).into()), check);
        }
        nodes.insert((&*node).into(), 1);
    }
    (names, checks, nodes)
}

proptest! {
    /// Every service that has changed is named, or all are to be read.
    #[test]
    fn nobody_who_has_changed_is_missed(
        before in prop::collection::vec((0u8..4, 0u8..5, 0u8..12), 0..12),
        after in prop::collection::vec((0u8..4, 0u8..5, 0u8..12), 0..12),
        alike in any::<bool>(),
    ) {
        let after = if alike { before.clone() } else { after };
        let (old, new) = (heads(&before), heads(&after));
        let mut whom = Whom::checks(&old.1, &new.1, &OnNodes::new());
        whom.and(Whom::nodes(&old.2, &new.2, &OnNodes::new()));
        // By what the checks tell alone.
        let of = |world: &World, service: u8| -> BTreeSet<(u8, u8)> {
            let last = |node: u8| world.iter().rev().find(|(n, s, _)| (*n, *s) == (node, service) );
            (0..4).filter_map(|node| last(node).filter(|(.., state)| state % 3 > 0).map(|(n, _, state)| (*n, state / 3))).collect()
        };
        for service in 0..5 {
            let checked = |world: &World| world.iter().all(|(_, s, state)| *s != service || state % 3 > 0);
            if checked(&before) && checked(&after) {
                let differs = of(&before, service) != of(&after, service);
                let name = format!("s{service}");
                prop_assert_eq!(whom.services.contains(&*name), differs, "{}", name);
            }
        }
        prop_assert!(Whom::names(&old.0, &new.0).all, "an index that grows may mean any instance");
    }
}

#[test]
fn a_check_of_a_node_concerns_the_services_that_are_there() {
    let check = |service: &str, hash| Check { service: service.into(), hash };
    let key = |node: &str, id: &str| (node.into(), id.into());
    let before = Checks::from([(key("n1", "serf"), check("", 1)), (key("n1", "c"), check("a", 1))]);
    let place = &read("servers: http://c").unwrap().places()[0];
    let mut services = Services::new("r".into(), place, Rules::default());
    for (service, nodes) in [("b", &["n1", "n2"][..]), ("c", &["n1"]), ("e", &["n2"])] {
        let on = |node: &&str| instance(&[("/Node/Node", json!(node))]);
        let body = Value::from_iter(nodes.iter().map(on)).to_string().into();
        let answer = Answer { origin: Default::default(), body, headers: Default::default(), hash: 1 };
        services.take(&service.into(), &answer, &mut Found::default()).unwrap();
    }
    let on = &services.on_nodes();
    let (b, c, e) = ("b".into(), "c".into(), "e".into());
    assert_eq!(*on, OnNodes::from([(&"n1".into(), vec![&b, &c]), (&"n2".into(), vec![&b, &e])]));
    let after = Checks::from([(key("n1", "serf"), check("", 2)), (key("n1", "c"), check("d", 1))]);
    let names = |whom: Whom| whom.services.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(Whom::checks(&before, &after, on)), ["a", "b", "c", "d"], "a check may move to another service");
    assert_eq!(names(Whom::checks(&before, &before, on)), Vec::<String>::new());
    let nodes = Nodes::from([("n1".into(), 1)]);
    assert_eq!(names(Whom::nodes(&nodes, &Nodes::new(), on)), ["b", "c"]);
}

fn read(text: &str) -> Result<Config, String> {
    let document = Document::parse("c.yaml", text.as_bytes(), &Limits::default()).unwrap();
    document.read(None, |root| root.section(Config::read)).finish().map_err(|problems| problems.to_string())
}

#[test]
fn configuration_has_defaults_and_reads_every_key() {
    assert_eq!(read("servers: http://c:8500"), Ok(Config::new(vec![server("http://c:8500").unwrap()])));
    let full = "{servers: 'http://a:1/consul/,https://b/v1/', datacenters: [dc1, dc2], namespace: n, partition: p, peer: o, \
                token: \"t\\n\", consistency: stale, wait: 10s, resync: 1m, concurrency: 4, address: wan, warning: unhealthy, \
                proxies: true, itself: true, tags: {include: a, exclude: [b, c]}, timeout: 2s}";
    let config = read(full).unwrap();
    assert_eq!(config.address(), "http://a:1/consul https://b/");
    assert_eq!((config.datacenters.len(), config.consistency), (2, Consistency::Stale));
    assert_eq!((config.token, config.concurrency), (Some(Secret::new("t")), 4));
    assert_eq!((config.wait, config.resync), (Duration::from_secs(10), Duration::from_secs(60)));
    let rules = Rules {
        address: AddressOf::Tagged("wan"),
        warning: Serves::No,
        proxies: true,
        itself: true,
        include_tags: vec!["a".into()],
        exclude_tags: vec!["b".into(), "c".into()],
    };
    assert_eq!(config.rules, rules);
}

#[test]
fn what_is_kept_is_of_what_is_read_and_of_nobody_who_reads_it() {
    let identity = |text: &str| read(text).unwrap().identity();
    let plain = identity("servers: [http://a, http://b]");
    assert_eq!(
        plain,
        identity("{servers: [http://b, http://a], token: t, wait: 9s, resync: 9s, concurrency: 1, timeout: 1s}")
    );
    for other in [
        "servers: http://a",
        "{servers: [http://a, http://b], datacenters: dc1}",
        "{servers: [http://a, http://b], tags: {include: x}}",
    ] {
        assert_ne!(plain, identity(other), "{other}");
    }
    let places = read("{servers: http://a, datacenters: [x, y], namespace: n}").unwrap().places();
    let place =
        |dc: &str| Place { datacenter: Some(dc.into()), namespace: Some("n".into()), partition: None, peer: None };
    assert_eq!(places, ["x", "y"].map(place));
}

/// Reads a configuration while these environment variables are set.
fn read_with(variables: &[(&str, &str)], text: &str) -> Result<Config, String> {
    let variables: Vec<(String, String)> = variables.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    let find = move |name: &str| Some(variables.iter().find(|(known, _)| known == name)?.1.clone());
    let resolver = Resolver::with_variables("", find);
    let document = Document::parse("c.yaml", text.as_bytes(), &Limits::default()).unwrap();
    let reading = document.read(Some(&resolver), |root| root.section(Config::read));
    reading.finish().map_err(|problems| problems.to_string())
}

#[test]
fn consuls_own_variables_are_read_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "of-a-file\n").unwrap();
    let ours = "environment: true";
    let address = |variables: &[(&str, &str)]| read_with(variables, ours).map(|config| config.address());
    assert_eq!(address(&[]), Ok("http://127.0.0.1:8500/".into()));
    assert_eq!(address(&[("CONSUL_HTTP_ADDR", "c:1"), ("CONSUL_HTTP_SSL", "true")]), Ok("https://c:1/".into()));
    assert_eq!(address(&[("CONSUL_HTTP_ADDR", "http://c:1"), ("CONSUL_HTTP_SSL", "1")]), Ok("https://c:1/".into()));
    assert_eq!(address(&[("CONSUL_HTTP_ADDR", "unix:///run/c.sock")]), Ok("unix:///run/c.sock".into()));
    let all = [("CONSUL_HTTP_TOKEN", "t"), ("CONSUL_NAMESPACE", "n"), ("CONSUL_PARTITION", "p")];
    let config = read_with(&all, ours).unwrap();
    assert_eq!(
        (config.token, config.namespace, config.partition),
        (Some(Secret::new("t")), Some("n".into()), Some("p".into()))
    );
    let from_file = [("CONSUL_HTTP_TOKEN_FILE", file.to_str().unwrap())];
    assert_eq!(read_with(&from_file, ours).unwrap().token, Some(Secret::new("of-a-file")));
    let written = read_with(&all, "{environment: true, servers: http://a, token: own, namespace: m}").unwrap();
    assert_eq!(
        (written.address(), written.token, written.namespace),
        ("http://a/".into(), Some(Secret::new("own")), Some("m".into()))
    );
    assert_eq!(read_with(&all, "servers: http://a").unwrap().token, None, "nobody has asked for it");
    let login = |text: &str| read_with(&[("CONSUL_HTTP_AUTH", "u:p4ss")], text).unwrap().connection.headers;
    assert_eq!(login(ours), [("authorization".into(), Secret::new("Basic dTpwNHNz"))]);
    let own = [("Authorization".into(), Secret::new("own"))];
    assert_eq!(login("{environment: true, headers: {Authorization: own}}"), own);
    for (variables, expected) in [
        ([("CONSUL_HTTP_ADDR", "a b")], "CONSUL_HTTP_ADDR"),
        ([("CONSUL_HTTP_SSL_VERIFY", "false")], "always verified"),
        ([("CONSUL_CAPATH", "/etc/ssl")], "CONSUL_CAPATH is not read"),
        ([("CONSUL_TLS_SERVER_NAME", "c")], "CONSUL_TLS_SERVER_NAME is not read"),
        ([("CONSUL_HTTP_TOKEN_FILE", "/nowhere/token")], "cannot read /nowhere/token"),
        ([("CONSUL_CACERT", "/nowhere/ca.pem")], "cannot read /nowhere/ca.pem"),
        ([("CONSUL_CLIENT_CERT", "/nowhere/c.pem")], "go together"),
    ] {
        let problems = read_with(&variables, ours).unwrap_err();
        assert!(problems.contains(expected) && !problems.contains("p4ss"), "{variables:?}: {problems}");
    }
}

#[test]
fn mistakes_in_configuration_are_all_named() {
    for (text, expected) in [
        ("{}", "the key `servers` is missing"),
        ("servers: []", "names no server"),
        ("servers: 127.0.0.1:8500", "write http://host:8500"),
        ("servers: unix://run/c.sock", "is no address of a socket"),
        ("servers: 'http://u:p4ss@c:8500'", "a server with a user name is no address"),
        ("servers: 'http://c:8500?token=p4ss'", "is no address"),
        ("{servers: http://c, token: \"p4ss\\u0001\"}", "the token has characters"),
        ("{servers: http://c, token: \"\\n\"}", "must not be empty"),
        ("{servers: http://c, consistency: strong}", "must be one of default, stale, consistent"),
        ("{servers: http://c, wait: 11m}", "wait"),
        ("{servers: http://c, address: vip}", "must be one of service, lan, wan"),
        ("{servers: http://c, tags: [a]}", "tags"),
        ("{servers: http://c, datacenter: dc1}", "did you mean `datacenters`?"),
    ] {
        let problems = read(text).unwrap_err();
        assert!(problems.contains(expected) && !problems.contains("p4ss"), "{text}: {problems}");
    }
}
