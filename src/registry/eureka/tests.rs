//! Conversion, states and configuration, value by value.

use super::{
    AddressOf, Config, Server,
    apps::{Apps, Source},
    convert::Rules,
    wire,
};
use crate::registry::transport::Origin;
use crate::{
    model::{Address, Endpoint, EndpointPort, Health, Locality, Port, Protocol, Service, ServiceId, Weight},
    registry::transport::Login,
    util::{
        secret::Secret,
        yaml::{Document, Limits},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn source() -> Source {
    Source { registry: "r".into(), rules: Rules { address: AddressOf::Ip, region: None } }
}

fn listing(applications: Value) -> String {
    json!({"applications": {"versions__delta": 1, "apps__hashcode": "", "application": applications}}).to_string()
}

fn apps(applications: Value) -> Apps {
    let text = listing(applications);
    Apps::whole(&source(), &wire::listing(&Origin::default(), text.as_bytes()).unwrap(), &Apps::default())
}

fn changed(apps: &Apps, applications: Value) -> Apps {
    let text = listing(applications);
    apps.changed(&source(), &wire::listing(&Origin::default(), text.as_bytes()).unwrap())
}

fn services(apps: &Apps) -> Vec<Service> {
    apps.services().iter().map(|service| (**service).clone()).collect()
}

fn up(id: &str, ip: &str) -> Value {
    json!({"instanceId": id, "ipAddr": ip, "status": "UP", "port": {"$": 8080, "@enabled": "true"}})
}

fn only_endpoint(changes: Value) -> Endpoint {
    let mut instance = up("a", "10.0.0.1");
    instance.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let mut services = services(&apps(json!([{"name": "ORDERS", "instance": [instance]}])));
    assert_eq!((services[0].endpoints.len(), services[0].notes.len()), (1, 0), "{:?}", services[0].notes);
    services[0].endpoints.remove(0)
}

fn port(number: i64, protocol: Option<Protocol>) -> EndpointPort {
    EndpointPort { number: Port::new(number).unwrap(), protocol, name: None }
}

#[test]
fn a_service_keeps_everything_that_the_list_says() {
    let full = json!({"instanceId": "a", "hostName": "node", "ipAddr": "10.0.0.1", "status": "DOWN",
        "port": {"$": 8080, "@enabled": "true"}, "securePort": {"$": 8443, "@enabled": "true"},
        "dataCenterInfo": {"name": "Amazon", "metadata": {"availability-zone": "us-east-1c"}},
        "metadata": {"@class": "java.util.Collections$EmptyMap", "version": "v1", "weight": "2.5", "subzone": "r1",
            "gRPC_port": "9090"},
        "vipAddress": "orders,shop", "secureVipAddress": "orders"});
    let grpc = EndpointPort { name: Some("grpc".into()), ..port(9090, Some(Protocol::Grpc)) };
    let label = |(key, value): (&str, &str)| (key.into(), value.into());
    let endpoint = Endpoint {
        address: Address::parse("10.0.0.1").unwrap(),
        ports: [port(8080, None), port(8443, Some(Protocol::Https)), grpc].into(),
        weight: Weight::relative(2.5, 1.0).unwrap(),
        health: Health::Unhealthy,
        enabled: true,
        locality: Locality::parse("us-east-1/us-east-1c/r1"),
        labels: [("version", "v1"), ("weight", "2.5"), ("subzone", "r1"), ("gRPC_port", "9090")].map(label).into(),
        secure: false,
    };
    let id = ServiceId::new("r", "", "", "ORDERS");
    let mut expected = Service::new(id, vec![endpoint]);
    expected.labels = [("vip", "orders,shop"), ("secure_vip", "orders")].map(label).into();
    assert_eq!(services(&apps(json!([{"name": "ORDERS", "instance": [full]}]))), [expected]);
}

#[test]
fn what_may_be_written_in_several_ways_is_read_in_all_of_them() {
    let plain = up("a", "10.0.0.1");
    let expected = services(&apps(json!([{"name": "ORDERS", "instance": [plain]}])));
    let mut loose = plain.clone();
    loose["port"] = json!({"$": "8080", "@enabled": true});
    loose["metadata"] = json!("");
    loose["overriddenstatus"] = Value::Null;
    let mut bare = plain.clone();
    bare["port"] = json!(8080);
    bare["status"] = json!("up");
    bare["dataCenterInfo"] = json!([]);
    for instances in [json!(plain), json!([loose]), json!(bare), json!([bare])] {
        assert_eq!(services(&apps(json!({"name": "ORDERS", "instance": instances}))), expected, "{instances}");
    }
    assert_eq!(services(&apps(Value::Null)), []);
    assert_eq!(services(&apps(json!([]))), []);
}

#[test]
fn ports_that_are_switched_on_count_and_a_secure_one_alone_is_tls() {
    let ports = |port: Value, secure: Value, protocol: &str| {
        let endpoint = only_endpoint(json!({"port": port, "securePort": secure, "metadata": {"protocol": protocol}}));
        (endpoint.ports.to_vec(), endpoint.secure)
    };
    let on = |number: i64| json!({"$": number, "@enabled": "true"});
    let off = |number: i64| json!({"$": number, "@enabled": false});
    assert_eq!(ports(on(80), off(443), ""), (vec![port(80, None)], false));
    assert_eq!(ports(off(80), on(443), ""), (vec![port(443, Some(Protocol::Https))], true));
    assert_eq!(ports(off(80), on(443), "grpc"), (vec![port(443, Some(Protocol::Tls))], true));
    let both = vec![port(80, Some(Protocol::Grpc)), port(443, Some(Protocol::Tls))];
    assert_eq!(ports(on(80), on(443), "grpc"), (both, false));
    assert_eq!(ports(json!({"$": 80}), json!({"$": 443}), ""), (vec![port(80, None)], false));
    assert_eq!(ports(Value::Null, on(443), ""), (vec![port(443, Some(Protocol::Https))], true));
}

#[test]
fn only_what_is_up_serves_and_what_was_taken_out_of_service_is_switched_off() {
    for (status, overridden, health, enabled) in [
        ("UP", "UNKNOWN", Health::Healthy, true),
        ("DOWN", "UNKNOWN", Health::Unhealthy, true),
        ("STARTING", "UNKNOWN", Health::Unhealthy, true),
        ("UNKNOWN", "UNKNOWN", Health::Unhealthy, true),
        ("ELSE", "ELSE", Health::Unhealthy, true),
        ("OUT_OF_SERVICE", "UNKNOWN", Health::Healthy, false),
        ("OUT_OF_SERVICE", "OUT_OF_SERVICE", Health::Healthy, false),
        ("UP", "OUT_OF_SERVICE", Health::Healthy, false),
        ("UP", "DOWN", Health::Unhealthy, true),
        ("OUT_OF_SERVICE", "UP", Health::Healthy, true),
        ("DOWN", "UP", Health::Unhealthy, true),
        ("STARTING", "UP", Health::Unhealthy, true),
    ] {
        let endpoint = only_endpoint(json!({"status": status, "overriddenStatus": overridden}));
        assert_eq!((endpoint.health, endpoint.enabled), (health, enabled), "{status} {overridden}");
    }
}

#[test]
fn zones_come_from_the_metadata_before_the_cloud() {
    let cloud = json!({"name": "Amazon", "metadata": {"availability-zone": "eu-west-1a"}});
    let locality = |metadata: Value| only_endpoint(json!({"metadata": metadata, "dataCenterInfo": cloud})).locality;
    assert_eq!(locality(json!({})), Locality::parse("eu-west-1/eu-west-1a"));
    assert_eq!(locality(json!({"zone": "z1"})), Locality::parse("eu-west-1/z1"));
    assert_eq!(locality(json!({"zone": "z1", "region": "cn"})), Locality::parse("cn/z1"));
    let own_cloud = json!({"dataCenterInfo": {"name": "MyOwn"}, "metadata": {"zone": "z1"}});
    assert_eq!(only_endpoint(own_cloud).locality, Locality::parse("/z1"));
}

#[test]
fn the_region_of_a_zone_is_what_its_cloud_says() {
    for (zone, region) in [
        ("eu-west-1a", "eu-west-1"),
        ("us-gov-west-1b", "us-gov-west-1"),
        ("us-west-2-lax-1a", "us-west-2"),
        ("us-east-1-wl1-bos-wlz-1", "us-east-1"),
        ("cn-hangzhou-h", "cn-hangzhou"),
        ("us-central1-a", "us-central1"),
        ("rack", ""),
    ] {
        let cloud = json!({"dataCenterInfo": {"name": "Amazon", "metadata": {"availability-zone": zone}}});
        assert_eq!(only_endpoint(cloud).locality, Locality::parse(&format!("{region}/{zone}")), "{zone}");
    }
}

#[test]
fn an_instance_is_known_as_its_server_knows_it() {
    let instance = |changes: Value| {
        let mut instance = up("", "10.0.0.1");
        instance.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        instance
    };
    let machine = |id: &str, ip: &str| {
        let cloud = json!({"name": "Amazon", "metadata": {"instance-id": id}});
        instance(json!({"hostName": "cloud.internal", "ipAddr": ip, "dataCenterInfo": cloud}))
    };
    let found = |instances: Value| {
        let services = services(&apps(json!([{"name": "A", "instance": instances}])));
        let notes: Vec<String> =
            services[0].notes.iter().map(|note| format!("{} {}", note.subject, note.detail)).collect();
        (services[0].endpoints.len(), notes)
    };
    assert_eq!(found(json!([machine("i-1", "10.1.3.1"), machine("i-2", "10.1.3.2")])), (2, vec![]));
    let twice = "two instances have this id; the one that changed last counts";
    assert_eq!(
        found(json!([machine("i-1", "10.1.3.1"), machine("i-1", "10.1.3.2")])),
        (1, vec![format!("i-1 {twice}")])
    );
    assert_eq!(found(json!([machine("", "10.1.3.1"), machine("", "10.1.3.2")])).1, [format!("cloud.internal {twice}")]);
}

#[test]
fn what_cannot_be_read_costs_itself_and_keeps_its_last() {
    let list = |applications: Value, before: &Apps| {
        let text = listing(applications);
        Apps::whole(&source(), &wire::listing(&Origin::default(), text.as_bytes()).unwrap(), before)
    };
    let show = |apps: &Apps| {
        let places = |service: &Service| {
            let of = |e: &Endpoint| e.address.with_port(e.ports[0].number);
            (service.id.name.to_string(), service.endpoints.iter().map(of).collect::<Vec<_>>())
        };
        let unreadable: Vec<String> =
            apps.unreadable(&source()).into_iter().map(|(id, _)| id.name.to_string()).collect();
        (services(apps).iter().map(places).collect::<Vec<_>>(), unreadable)
    };
    let of =
        |name: &str, places: &[&str]| (name.to_owned(), places.iter().map(ToString::to_string).collect::<Vec<_>>());
    let with = |id: &str, port: Value| json!({"instanceId": id, "ipAddr": "10.0.0.2", "status": "UP", "port": port});
    let good = list(json!([{"name": "A", "instance": [up("1", "10.0.0.1"), up("2", "10.0.0.2")]}]), &Apps::default());
    let both = of("A", &["10.0.0.1:8080", "10.0.0.2:8080"]);
    // A number as text is a number; one that is none keeps what the instance was.
    let changed = list(json!([{"name": "A", "instance": [up("1", "10.0.0.1"), with("2", json!("8081"))]}]), &good);
    assert_eq!(show(&changed).0, [of("A", &["10.0.0.1:8080", "10.0.0.2:8081"])]);
    for bad in [json!("http"), json!({"$": [8080], "@enabled": "true"}), json!({"$": 70000}), json!({})] {
        let garbled = list(json!([{"name": "A", "instance": [up("1", "10.0.0.1"), with("2", bad.clone())]}]), &good);
        assert_eq!(show(&garbled), (vec![both.clone()], vec![]), "{bad}");
        assert_eq!(services(&garbled)[0].notes.len(), 1, "{bad}");
    }
    // Of one that is switched off by itself nothing is kept.
    let off = list(
        json!([{"name": "A", "instance": [up("1", "10.0.0.1"), with("2", json!({"$": 1, "@enabled": "false"}))]}]),
        &good,
    );
    assert_eq!(show(&off).0, [of("A", &["10.0.0.1:8080"])]);
    // A service none of whose instances can be read is unreadable.
    for none in [json!([{}]), json!([[]]), json!([{"instanceId": "3", "ipAddr": "x y"}]), json!("?")] {
        let text = json!([{"name": "A", "instance": none}, {"name": "B", "instance": [up("1", "10.0.0.9")]}]);
        assert_eq!(show(&list(text, &good)), (vec![of("B", &["10.0.0.9:8080"])], vec!["A".into()]), "{none}");
    }
    let missing = list(json!([{"name": "A"}, {"name": "B", "instance": []}]), &good);
    assert_eq!(show(&missing), (vec![of("B", &[])], vec!["A".into()]), "no list is not an empty list");
    // A nameless application costs itself, unless its instances say its name.
    let nameless = json!([{"instance": [up("1", "10.0.0.9")]}, {"name": "A", "instance": [up("1", "10.0.0.1")]}, "?"]);
    assert_eq!(show(&list(nameless, &good)), (vec![of("A", &["10.0.0.1:8080"])], vec!["".into()]));
    let mut repeated = up("1", "10.0.0.9");
    repeated["app"] = "C".into();
    assert_eq!(show(&list(json!([{"instance": [repeated]}]), &good)).0, [of("C", &["10.0.0.9:8080"])]);
    let text = listing(json!([{"instance": []}, 7]));
    let error = wire::listing(&Origin::new("url", Arc::default()), text.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("the 2 applications in the answer of url have no name"), "{error}");
}

#[test]
fn names_of_all_instances_are_the_names_of_the_service() {
    let with = |id: &str, vip: &str| {
        let mut instance = up(id, "10.0.0.1");
        instance["vipAddress"] = vip.into();
        instance
    };
    let all = services(&apps(json!([{"name": "A", "instance": [with("1", "b,a"), with("2", " a "), with("3", "")]}])));
    assert_eq!(all[0].labels, [("vip".into(), "a,b".into())].into());
}

#[test]
fn the_hash_counts_statuses_in_order_of_their_names() {
    let with = |id: &str, status: &str| json!({"instanceId": id, "ipAddr": "10.0.0.1", "status": status, "port": 0});
    let statuses = ["UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN", "ELSE", "UP"];
    let instances: Vec<Value> = statuses.iter().enumerate().map(|(n, s)| with(&n.to_string(), s)).collect();
    assert_eq!(
        apps(json!([{"name": "A", "instance": instances}])).hash(),
        "DOWN_1_OUT_OF_SERVICE_1_STARTING_1_UNKNOWN_2_UP_2_"
    );
    assert_eq!(Apps::default().hash(), "");
}

#[test]
fn a_delta_is_applied_as_often_as_it_comes() {
    let before = apps(json!([{"name": "A", "instance": [up("1", "10.0.0.1"), up("2", "10.0.0.2")]},
        {"name": "B", "instance": [up("1", "10.0.1.1")]}, {"name": "C", "instance": [up("1", "10.0.2.1")]}]));
    let with = |id: &str, ip: &str, action: &str| {
        let mut instance = up(id, ip);
        instance["actionType"] = action.into();
        instance
    };
    let delta = json!([
        {"name": "A", "instance": [with("1", "10.0.0.1", "DELETED"), with("2", "10.0.0.9", "MODIFIED")]},
        {"name": "B", "instance": with("1", "10.0.1.1", "DELETED")},
        {"name": "D", "instance": [with("1", "10.0.3.1", "ADDED"), with("7", "10.0.3.7", "DELETED")]},
    ]);
    let once = changed(&before, delta.clone());
    let whole = apps(json!([{"name": "A", "instance": [up("2", "10.0.0.9")]},
        {"name": "C", "instance": [up("1", "10.0.2.1")]}, {"name": "D", "instance": [up("1", "10.0.3.1")]}]));
    assert_eq!((services(&once), once.hash()), (services(&whole), whole.hash()));
    let twice = changed(&once, delta);
    assert!(once.services().iter().zip(twice.services()).all(|(a, b)| Arc::ptr_eq(a, &b)));
    let gone: Vec<String> = before.gone(&once).map(ToString::to_string).collect();
    assert_eq!(gone, ["r/B"]);
}

proptest! {
    /// A broken answer is read or refused, and never makes the process panic.
    #[test]
    fn damaged_answers_are_read_or_refused(at in 0..500_usize, cut in 0..40_usize, instead in ".{0,8}") {
        let mut good = up("1", "10.0.0.1");
        good["metadata"] = json!({"weight": "2", "é": "ü", "gRPC_port": 1});
        good["securePort"] = json!({"$": "443", "@enabled": true});
        let good = listing(json!([{"name": "A", "instance": [good]}])).into_bytes();
        let (start, end) = (at.min(good.len()), (at + cut).min(good.len()));
        let text = [&good[..start], instead.as_bytes(), &good[end..]].concat();
        if let Ok(listing) = wire::listing(&Origin::default(), &text) {
            Apps::whole(&source(), &listing, &Apps::default()).hash();
        }
    }

    #[test]
    fn the_order_of_applications_and_instances_makes_no_difference(
        instances in prop::collection::vec((0u8..3, 0u8..6, 0u8..3), 0..20),
    ) {
        let make = |all: &[(u8, u8, u8)]| {
            let one = |(app, id, ip): &(u8, u8, u8)| {
                let instance = up(&id.to_string(), &format!("10.0.0.{ip}"));
                json!({"name": format!("APP-{app}"), "instance": instance})
            };
            services(&apps(all.iter().map(one).collect()))
        };
        let reversed: Vec<_> = instances.iter().rev().copied().collect();
        prop_assert_eq!(make(&instances), make(&reversed));
    }
}

fn read(text: &str) -> Result<Config, String> {
    let document = Document::parse("c.yaml", text.as_bytes(), &Limits::default()).unwrap();
    document.read(None, |root| root.section(Config::read)).finish().map_err(|problems| problems.to_string())
}

fn urls(config: &Config) -> Vec<&str> {
    config.servers.iter().map(|server| server.url.as_str()).collect()
}

#[test]
fn configuration_has_defaults_and_reads_every_key() {
    let server = Server::parse("http://e:8761").unwrap();
    assert_eq!((server.url.as_str(), &server.login), ("http://e:8761/eureka", &None));
    assert_eq!(read("servers: http://e:8761"), Ok(Config::new(vec![server])));
    let full = "{servers: 'http://a:1/ctx/eureka/,https://u:p%40ss@b/', period: 1s, delta: false, full_period: 1m, \
                address: hostname, region: cn, token: t, timeout: 2s, max_body: 1MiB, headers: {X-A: b}}";
    let config = read(full).unwrap();
    assert_eq!(urls(&config), ["http://a:1/ctx/eureka", "https://b/eureka"]);
    let login = Login { username: "u".into(), password: Secret::new("p@ss") };
    assert_eq!((&config.servers[1].login, &config.login), (&Some(login), &None));
    assert_eq!((config.delta, config.address, config.own_zone), (false, AddressOf::Hostname, 2));
    assert_eq!(config.token, Some(Secret::new("t")));
    assert_eq!(
        read("{servers: http://a, username: u, password: p}").unwrap().login.unwrap().password,
        Secret::new("p")
    );
}

#[test]
fn servers_of_the_own_zone_go_first() {
    let zones = "servers: { a: 'http://a1,http://a2,', b: [http://b1, http://b2], defaultZone: http://d }";
    for (zone, order, own) in [
        ("a", ["a1", "a2", "b1", "b2", "d"], 2),
        ("b", ["b1", "b2", "a1", "a2", "d"], 2),
        ("other", ["d", "a1", "a2", "b1", "b2"], 1),
    ] {
        let config = read(&format!("{zones}\nzone: {zone}")).unwrap();
        let hosts: Vec<&str> = config.servers.iter().map(|server| server.url.host_str().unwrap()).collect();
        assert_eq!((hosts.as_slice(), config.own_zone), (&order[..], own), "{zone}");
    }
    assert_eq!(read(zones).unwrap().own_zone, 1, "the default zone where none is named");
}

#[test]
fn mistakes_in_configuration_are_all_named() {
    for (text, expected) in [
        ("{}", "the key `servers` is missing"),
        ("servers: []", "names no server"),
        ("servers: ','", "names no server"),
        ("servers: {}", "names no server"),
        ("servers: {a: []}", "servers.a: names no server"),
        ("servers: 127.0.0.1:8761", "is no address"),
        ("servers: 'http://e:8761/eureka?token=p4ss'", "\"http://e:8761/eureka\" is no address"),
        ("servers: 'http://u:p4ss@n:87x61'", "with % codes"),
        ("servers: 'http://a,u:p4ss@n:8761'", "with % codes"),
        ("servers: 'http://u:p4ss,x@n:8761'", "with % codes"),
        ("{servers: {a: http://a, b: http://b}, zone: c}", "\"c\" has no servers; there are some for a, b"),
        ("{servers: http://a, zone: c}", "write `servers` as a mapping"),
        ("{servers: http://a, username: u}", "go together"),
        ("{servers: http://a, token: \"p4ss\\n\"}", "the token has characters"),
        ("{servers: http://a, token: p4ss, username: u, password: p4ss}", "`token` and `username` at once"),
        ("{servers: http://a, delta: auto}", "must be true or false"),
        ("{servers: http://a, address: vip}", "must be one of ip, hostname"),
        ("{servers: http://a, full_period: 0s}", "full_period"),
        ("{servers: http://a, perod: 1s}", "did you mean `period`?"),
    ] {
        let problems = read(text).unwrap_err();
        assert!(problems.contains(expected) && !problems.contains("p4ss"), "{text}: {problems}");
        assert!(expected.ends_with("names no server") || !problems.contains("names no server"), "{text}: {problems}");
    }
}

#[test]
fn mutated_answers_are_read_or_refused() {
    let good = listing(json!([{"name": "ORDERS", "instance": [up("a", "10.0.0.1"), up("b", "node-1")]}]));
    let before = apps(json!([{"name": "ORDERS", "instance": [up("a", "10.0.0.1")]}]));
    crate::util::mutate::mutated(&[good.as_bytes()], |input| {
        if let Ok(listing) = wire::listing(&Origin::default(), input) {
            let _ = Apps::whole(&source(), &listing, &before).services();
            let _ = before.changed(&source(), &listing).services();
        }
    });
}
