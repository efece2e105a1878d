//! The forms and the configuration, value by value.

use super::{Config, Form, Mapping, Path, mapped, prometheus, source};
use crate::{
    model::{Health, Locality, Protocol, Service, ServiceId, Text},
    registry::{Adapter, instances::Instances},
    util::{
        secret::Secret,
        yaml::{Document, Limits},
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// The services of a list, or why one of them cannot be read.
fn finished(read: Result<BTreeMap<Text, Instances>, String>) -> Result<BTreeMap<String, Service>, String> {
    let finish = |(name, instances): (Text, Instances)| {
        let (endpoints, notes) = instances.finish(None).map_err(|why| format!("{name}: {why}"))?;
        Ok((name.to_string(), Service { notes, ..Service::new(ServiceId::new("r", "", "", name), endpoints) }))
    };
    read?.into_iter().map(finish).collect()
}

fn places(services: &BTreeMap<String, Service>) -> Vec<String> {
    let each = |(name, service): (&String, &Service)| {
        let places: Vec<String> =
            service.endpoints.iter().map(|e| e.address.place(e.ports.first().map(|port| port.number))).collect();
        format!("{name}: {}", places.join(" "))
    };
    services.iter().map(each).collect()
}

fn of_prometheus(json: &Value) -> Result<BTreeMap<String, Service>, String> {
    finished(prometheus::read(json, "job"))
}

#[test]
fn groups_of_prometheus_are_services_by_a_label() {
    let groups = json!([
        {"targets": ["10.0.0.1:80", "[::1]:81", "node-1:82"], "labels": {"job": "web", "zone": "b", "__meta_x": "y"}},
        {"targets": ["10.0.0.2:80"], "labels": {"job": "web"}},
        {"targets": ["10.0.0.3", "https://10.0.0.4/path"], "labels": {"job": "users", "__scheme__": "https"}},
        {"targets": [], "labels": {"job": "none"}},
    ]);
    let services = of_prometheus(&groups).unwrap();
    let expected = ["none: ", "users: 10.0.0.3:443 10.0.0.4:443", "web: 10.0.0.1:80 10.0.0.2:80 [::1]:81 node-1:82"];
    assert_eq!(places(&services), expected);
    let first = &services["web"].endpoints[0];
    let labels: Vec<String> = first.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!((labels, first.locality.clone()), (vec!["job=web".into(), "zone=b".into()], Locality::new("", "b", "")));
    let users = &services["users"].endpoints[0];
    assert_eq!((users.secure, users.ports[0].protocol), (true, Some(Protocol::Https)));
}

#[test]
fn what_is_none_of_prometheus_groups_is_refused() {
    for (json, expected) in [
        (json!({"status": "error"}), "a list of groups"),
        (json!(null), "a list of groups"),
        (json!([{"targets": "10.0.0.1:80"}]), "group 0"),
        (json!([{"labels": {"job": "a"}}]), "group 0"),
        (
            json!([{"targets": [], "labels": {"job": "a"}}, {"targets": ["a:1"], "labels": {}}]),
            "group 1 has no label \"job\"",
        ),
        (json!([{"targets": ["a b", 7, "/run/x.sock"], "labels": {"job": "a"}}]), "none of its 3 instances"),
    ] {
        let error = of_prometheus(&json).unwrap_err();
        assert!(error.contains(expected), "{json}: {error}");
    }
    let half = of_prometheus(&json!([{"targets": ["10.0.0.1:80", "10.0.0.1:99999"], "labels": {"job": "a"}}])).unwrap();
    assert_eq!((half["a"].endpoints.len(), half["a"].notes.len()), (1, 1));
}

fn mapping(text: &str) -> Mapping {
    let config = read(&format!("{{url: 'http://a', map: {text}}}")).unwrap();
    match config.form {
        Form::Mapped(mapping) => mapping,
        other => panic!("{other:?}"),
    }
}

#[test]
fn any_json_is_read_by_paths() {
    let of = |text: &str, json: Value| finished(mapped::read(&json, &mapping(text)));
    // As Spring Cloud's clients show what they have found, in one list of instances.
    let spring = json!([
        {"serviceId": "web", "host": "10.0.0.1", "port": 80, "secure": false, "metadata": {"zone": "z"}},
        {"serviceId": "web", "host": "10.0.0.2", "port": "81", "metadata": null},
    ]);
    let services = of("{name: serviceId, address: host, port: port, labels: metadata}", spring).unwrap();
    assert_eq!(places(&services), ["web: 10.0.0.1:80 10.0.0.2:81"]);
    assert_eq!(services["web"].endpoints[0].locality.zone(), "z");
    // Services with instances in them, and what only the service says.
    let nested = json!({"data": {"items": [
        {"meta": {"name": "web"}, "port": 80, "nodes": [{"at": "10.0.0.1", "w": 5, "up": "UP"}, {"at": "10.0.0.2", "port": 9, "up": false}]},
        {"meta": {"name": "idle"}, "nodes": []},
    ]}});
    let text =
        "{services: data.items, instances: nodes, name: meta.name, address: at, port: port, weight: w, healthy: up}";
    let services = of(text, nested).unwrap();
    assert_eq!(places(&services), ["idle: ", "web: 10.0.0.1:80 10.0.0.2:9"]);
    let [first, second] = &services["web"].endpoints[..] else { panic!("{services:?}") };
    assert_eq!((first.weight.get(), first.health, second.health), (5.0, Health::Healthy, Health::Unhealthy));
    // Mappings by name, with addresses that say everything.
    let by_name = json!({"web": ["http://10.0.0.1:8080/x"], "users": ["https://10.0.0.2", "10.0.0.3:1"]});
    let services = of("{instances: ., name: $key, address: .}", by_name).unwrap();
    assert_eq!(places(&services), ["users: 10.0.0.2:443 10.0.0.3:1", "web: 10.0.0.1:8080"]);
}

/// The places of the service `web` after these two lists.
fn after(form: impl Fn(&Value) -> Result<BTreeMap<Text, Instances>, String>, lists: [Value; 2]) -> Vec<String> {
    let mut last = None;
    for list in lists {
        let (endpoints, _) = form(&list).unwrap().remove("web").unwrap().finish(last.as_ref()).unwrap();
        last = Some(Service::new(ServiceId::new("r", "", "", "web"), endpoints));
    }
    places(&BTreeMap::from([("web".into(), last.unwrap())]))
}

#[test]
fn an_instance_whose_port_is_lost_keeps_its_last_good_value() {
    let by_paths = mapping("{name: name, address: at, port: port}");
    let instance = |at: &str, port: Value| json!({"name": "web", "at": at, "port": port});
    let good = || json!([instance("10.0.0.1", json!(80)), instance("10.0.0.2", json!(80))]);
    for second in [
        json!({"name": "web", "at": "10.0.0.2"}),
        instance("10.0.0.2", json!(null)),
        instance("10.0.0.2", json!({})),
        instance("10.0.0.2", json!("80x")),
        instance("10.0.0.2", json!(0)),
        instance("10.0.0.2:99999", json!(null)),
        instance("http://10.0.0.2:8o/x", json!(null)),
    ] {
        let lists = [good(), json!([instance("10.0.0.1", json!(81)), second])];
        assert_eq!(after(|list| mapped::read(list, &by_paths), lists), ["web: 10.0.0.1:81 10.0.0.2:80"], "{second}");
    }
    let group = |targets: &[&str]| json!([{"targets": targets, "labels": {"job": "web"}}]);
    for second in ["[::2]:", "[::2]:99999", "[::2]:x"] {
        let lists = [group(&["10.0.0.1:80", "[::2]:80"]), group(&["10.0.0.1:81", second])];
        assert_eq!(after(|list| prometheus::read(list, "job"), lists), ["web: 10.0.0.1:81 [::2]:80"], "{second}");
    }
}

#[test]
fn a_port_that_a_field_says_goes_before_a_wrong_one_in_the_address() {
    let json = json!([{"name": "web", "at": "10.0.0.1:99999", "port": 80}]);
    let services = finished(mapped::read(&json, &mapping("{name: name, address: at, port: port}"))).unwrap();
    assert_eq!(places(&services), ["web: 10.0.0.1:80"]);
}

#[test]
fn json_that_no_path_fits_is_refused() {
    let text = "{services: data, instances: nodes, name: name, address: at}";
    for (json, expected) in [
        (json!({"error": "no"}), "there is no data"),
        (json!({"data": 7}), "data is neither a list nor a mapping"),
        (json!({"data": [{"nodes": []}]}), "a service has no name for its name"),
        (json!({"data": [{"name": "a"}]}), "service \"a\": there is no nodes"),
        (json!({"data": [{"name": "a", "nodes": [{"at": "10.0.0.1"}, {}]}]}), "nothing says its port"),
        (json!({"data": [{"name": "a", "nodes": [{"at": "unix:/run/x"}]}]}), "neither an address nor a host name"),
    ] {
        let error = finished(mapped::read(&json, &mapping(text))).unwrap_err();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

fn read(text: &str) -> Result<Config, String> {
    let document = Document::parse("c.yaml", text.as_bytes(), &Limits::default()).unwrap();
    document.read(None, |root| root.section(Config::read)).finish().map_err(|problems| problems.to_string())
}

#[test]
fn configuration_has_defaults_and_reads_every_key() {
    assert_eq!(read("url: http://a/x.yaml"), Ok(Config::new(vec![source("http://a/x.yaml").unwrap()])));
    let config =
        read("{url: ['https://a/x?k=v', http://b], period: 1s, token: t, prometheus: {}, max_body: 1MiB}").unwrap();
    assert_eq!((config.period, config.token), (Duration::from_secs(1), Some(Secret::new("t"))));
    assert_eq!((config.form, config.urls[0].query()), (Form::Prometheus { name: "job".into() }, Some("k=v")));
    let config = read("{url: http://a, username: u, password: p, prometheus: {name: app}}").unwrap();
    assert_eq!((config.form, config.login.is_some()), (Form::Prometheus { name: "app".into() }, true));
    let identity = |text: &str| read(text).unwrap().identity();
    let of = identity("{url: [http://a, 'http://b?token=p4ss']}");
    assert!(!of.contains("p4ss"), "{of}");
    assert_eq!(of, identity("{url: ['http://b?token=p4ss', http://a], period: 9s}"));
    assert_ne!(of, identity("{url: [http://a, 'http://b?token=other']}"));
    assert_ne!(identity("url: http://a"), identity("{url: http://a, prometheus: {}}"));
}

#[test]
fn mistakes_in_configuration_are_all_named() {
    for (text, expected) in [
        ("{}", "the key `url` is missing"),
        ("url: []", "names no address"),
        ("url: a.yaml", "does not begin with http://"),
        ("url: 'http://u:p4ss@a'", "`username` and `password` apart from it"),
        ("{url: http://a, period: 1ms}", "period"),
        ("{url: http://a, prometheus: {}, map: {name: n, address: a}}", "`prometheus` and `map` at once"),
        ("{url: http://a, map: {name: n}}", "the key `address` is missing"),
        ("{url: http://a, map: {name: a..b, address: a}}", "is no path"),
        ("{url: http://a, token: t, username: u, password: p4ss}", "`token` and `username` at once"),
        ("{url: http://a, form: yaml}", "unknown key `form`"),
    ] {
        let problems = read(text).unwrap_err();
        assert!(problems.contains(expected) && !problems.contains("p4ss"), "{text}: {problems}");
    }
    assert_eq!(Path::parse("a.0.b").unwrap().of(&json!({"a": [{"b": 7}]})), Some(&json!(7)));
}
