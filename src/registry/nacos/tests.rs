//! Conversion and configuration, value by value.

use super::{
    AccessKey, Config, Manifests, Mode, Namespaces,
    api::wire,
    identity::{Subject, sign},
    services::convert::{self, Vitality},
    transport::json,
};
use crate::registry::transport::Origin;
use crate::{
    model::{
        Address, Endpoint, EndpointPort, Health, Locality, Note, Port, Protocol, Reason, Service, ServiceId, Weight,
    },
    util::{
        secret::Secret,
        yaml::{Document, Limits},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

fn id() -> ServiceId {
    ServiceId::new("r", "public", "g", "orders")
}

fn service(clusters: Value) -> Service {
    let text = json!({"serviceName": "g@@orders", "clusterMap": clusters, "metadata": {"team": "shop"}}).to_string();
    let named: wire::Named<'_> = serde_json::from_str(&text).unwrap();
    let id = convert::id(&"r".into(), &"public".into(), &named);
    convert::listed(id, serde_json::from_str(&text).unwrap(), None).unwrap()
}

fn only_endpoint(instance: Value) -> Endpoint {
    let mut service = service(json!({"DEFAULT": {"hosts": [instance]}}));
    assert_eq!((service.endpoints.len(), service.notes.len()), (1, 0), "{:?}", service.notes);
    service.endpoints.remove(0)
}

#[test]
fn a_service_keeps_everything_that_the_list_says() {
    let full = json!({"ip": "10.0.0.1", "port": 8080, "weight": 2.5, "healthy": false, "enabled": false,
        "clusterName": "hz", "metadata": {"protocol": "tri", "region": "cn", "subzone": "r1", "secure": "true",
        "gRPC_port": "9090", "version": "v1"}});
    let grpc =
        EndpointPort { number: Port::new(9090).unwrap(), protocol: Some(Protocol::Grpc), name: Some("grpc".into()) };
    let label = |(key, value): (&str, &str)| (key.into(), value.into());
    let endpoint = Endpoint {
        address: Address::parse("10.0.0.1").unwrap(),
        ports: [EndpointPort { number: Port::new(8080).unwrap(), protocol: Some(Protocol::Tri), name: None }, grpc]
            .into(),
        weight: Weight::relative(2.5, 1.0).unwrap(),
        health: Health::Unhealthy,
        enabled: false,
        locality: Locality::parse("cn/hz/r1"),
        labels: [
            ("protocol", "tri"),
            ("region", "cn"),
            ("subzone", "r1"),
            ("secure", "true"),
            ("gRPC_port", "9090"),
            ("version", "v1"),
            ("cluster", "hz"),
        ]
        .map(label)
        .into(),
        secure: true,
    };
    let mut expected = Service::new(id(), vec![endpoint]);
    expected.labels = [label(("team", "shop"))].into();
    assert_eq!(service(json!({"hz": {"hosts": [full]}})), expected);
}

#[test]
fn the_cluster_is_the_zone_only_where_nothing_else_says_it() {
    for (instance, zone, cluster) in [
        (json!({"ip": "::1", "port": 1, "clusterName": "DEFAULT"}), "", "DEFAULT"),
        (json!({"ip": "::1", "port": 1, "clusterName": "hz"}), "hz", "hz"),
        (json!({"ip": "::1", "port": 1, "clusterName": "hz", "metadata": {"zone": "a", "cluster": "own"}}), "a", "own"),
    ] {
        let endpoint = only_endpoint(instance.clone());
        assert_eq!((endpoint.locality.zone(), &*endpoint.labels["cluster"]), (zone, cluster), "{instance}");
    }
}

#[test]
fn addresses_health_and_metadata_are_read_in_every_spelling() {
    let v6 = only_endpoint(json!({"ip": "fe80::1%eth0", "port": 1}));
    assert_eq!((v6.address, v6.health), (Address::parse("fe80::1").unwrap(), Health::Unknown));
    assert_eq!(only_endpoint(json!({"ip": "node-1", "port": 1, "valid": true})).health, Health::Healthy);
    let odd = only_endpoint(json!({"ip": "::1", "port": 1, "metadata": {"n": 1, "none": null}}));
    assert_eq!((&*odd.labels["n"], &*odd.labels["none"]), ("1", ""));
}

#[test]
fn the_threshold_matters_where_not_all_are_healthy() {
    let vitality = |health: &[(bool, bool)]| {
        let host = |(i, (healthy, enabled)): (usize, &(bool, bool))| json!({"ip": "::1", "port": i + 1, "healthy": healthy, "enabled": enabled});
        let hosts = health.iter().enumerate().map(host).collect::<Value>();
        convert::vitality(&service(json!({"C": {"hosts": hosts}})))
    };
    assert_eq!(vitality(&[(true, true), (false, true)]), Vitality::Some);
    assert_eq!(vitality(&[(true, true), (false, false)]), Vitality::All, "a disabled instance does not count");
    assert_eq!(vitality(&[(false, true), (false, true), (true, false)]), Vitality::None);
    assert_eq!(vitality(&[]), Vitality::All);
}

#[test]
fn dubbo_providers_say_what_they_are_in_name_and_parameters() {
    let provider = |metadata: Value| json!({"ip": "10.0.0.1", "port": 20880, "weight": 1.0, "metadata": metadata});
    let named = |name: &str, instances: Value| {
        let text =
            json!({"serviceName": name, "groupName": "g", "clusterMap": {"DEFAULT": {"hosts": instances}}}).to_string();
        let named: wire::Named<'_> = serde_json::from_str(&text).unwrap();
        let id = convert::id(&"r".into(), &"public".into(), &named);
        convert::listed(id, serde_json::from_str(&text).unwrap(), None).unwrap()
    };
    let metadata = json!({"protocol": "dubbo", "weight": "50", "side": "provider"});
    let service = named("providers:com.acme.Shop___Pay:1.0.0:blue", json!([provider(metadata)]));
    let label = |(key, value): (&str, &str)| (key.into(), value.into());
    let expected = [
        ("interface", "com.acme.Shop$Pay"),
        ("group", "blue"),
        ("version", "1.0.0"),
        ("dubbo.service", "com.acme.Shop$Pay:blue:1.0.0"),
    ];
    assert_eq!(service.labels, expected.map(label).into());
    let endpoint = &service.endpoints[0];
    assert_eq!((endpoint.weight.get(), endpoint.ports[0].protocol), (0.5, Some(Protocol::Dubbo)));
    let without = named("providers:a.B::", json!([provider(json!({"disabled": "true"}))]));
    assert_eq!(without.labels, [label(("interface", "a.B")), label(("dubbo.service", "a.B"))].into());
    assert_eq!((without.endpoints[0].enabled, without.endpoints[0].weight.get()), (false, 1.0));
    // The same parameters elsewhere are nobody's but the application's.
    let plain = named("orders", json!([provider(json!({"weight": "50", "disabled": "true"}))]));
    assert_eq!((plain.endpoints[0].enabled, plain.endpoints[0].weight.get()), (true, 1.0));
}

#[test]
fn an_application_of_dubbo_has_a_port_for_each_protocol() {
    let endpoints = r#"[{"port":20880,"protocol":"dubbo"},{"port":50051,"protocol":"tri"},{"port":0,"protocol":"x"}]"#;
    let endpoint = only_endpoint(json!({"ip": "::1", "port": 20880, "metadata": {"dubbo.endpoints": endpoints}}));
    let tri =
        EndpointPort { number: Port::new(50051).unwrap(), protocol: Some(Protocol::Tri), name: Some("tri".into()) };
    let dubbo = EndpointPort { number: Port::new(20880).unwrap(), protocol: Some(Protocol::Dubbo), name: None };
    assert_eq!(*endpoint.ports, [dubbo, tri]);
    let odd = only_endpoint(json!({"ip": "::1", "port": 20880, "metadata": {"dubbo.endpoints": "?"}}));
    assert_eq!((odd.ports.len(), odd.ports[0].protocol), (1, None));
}

#[test]
fn what_a_gateway_has_registered_itself_is_left_out_and_named() {
    let service = service(json!({"C": {"hosts": [
        {"ip": "10.0.0.1", "port": 80, "metadata": {"register-resource": "mcp-bridge"}},
        {"ip": "10.0.0.2", "port": 80, "metadata": {"register-resource": "other"}}]}}));
    let notes = [Note::new(Reason::Excluded, "10.0.0.1:80", "its metadata has register-resource=mcp-bridge")];
    assert_eq!((service.endpoints.len(), &*service.notes), (1, &notes[..]));
}

#[test]
fn signatures_are_those_of_the_java_client() {
    let key = AccessKey { access_key: "my-key".into(), secret_key: Secret::new("s3cr3t") };
    let [ak, data, signature] = sign(&key, Subject::Services(Some(("shop", "orders"))), 1_700_000_000_000);
    assert_eq!((ak, data), (("ak", "my-key".into()), ("data", "1700000000000@@shop@@orders".into())));
    // From tests/servers/nacos-signature.
    assert_eq!(signature, ("signature", "XSSTbqtEqjBqZWoRQvo5nGcB46Q=".into()));
    // From tests/servers/nacos-sign, which signs configuration, too.
    let key =
        |access_key: &str, secret: &str| AccessKey { access_key: access_key.into(), secret_key: Secret::new(secret) };
    for (tenant, group, millis, expected) in [
        ("", "ISTIO", 1_795_263_357_610, "n3BqeP3aLmysDbqq1BeSLdoTKXw="),
        ("ns-1", "ISTIO", 1_795_263_358_236, "xZZF5LMHiKDvn2DKPoUBdOGhFLA="),
        ("ns-1", "", 1_795_263_359_978, "O6gNw27Mgr+hzaSusTxjvQEESCs="),
        ("", "", 1_795_263_358_513, "b/BAmD8WAkPX02MnX0MducGnZFI="),
    ] {
        let [who, when, signature] = sign(&key("ak", "sk"), Subject::Config(tenant, group), millis);
        assert_eq!((who.1, when.1, &*signature.1), ("ak".into(), millis.to_string(), expected));
        assert_eq!([who.0, when.0, signature.0], ["Spas-AccessKey", "Timestamp", "Spas-Signature"]);
    }
    let key = key("my-key", "s3cr3t");
    let [_, data, signature] = sign(&key, Subject::Services(None), 1_700_000_000_000);
    assert_eq!((&*data.1, &*signature.1), ("1700000000000", "+WDB082/7TjOgPQJHycrHCRerlQ="));
}

#[test]
fn a_registered_path_is_no_address() {
    let service = service(json!({"C": {"hosts": [{"ip": "/run/docker.sock", "port": 1}, {"ip": "::1", "port": 1}]}}));
    assert_eq!((service.endpoints.len(), &*service.notes[0].subject), (1, "/run/docker.sock:1"));
}

proptest! {
    /// A broken answer is read or refused, and never makes the process panic.
    #[test]
    fn damaged_answers_are_read_or_refused(at in 0..400_usize, cut in 0..40_usize, instead in ".{0,8}") {
        let good = json!([{"serviceName": "g@@orders", "clusterMap": {"C": {"hosts": [
            {"ip": "10.0.0.1", "port": 8080, "weight": 2.5, "healthy": true, "metadata": {"gRPC_port": "9090", "é": "ü"}}]}}}]);
        let good = good.to_string().into_bytes();
        let (start, end) = (at.min(good.len()), (at + cut).min(good.len()));
        let text = [&good[..start], instead.as_bytes(), &good[end..]].concat();
        for item in json::bare::<Vec<&RawValue>>(&Origin::default(), &text).unwrap_or_default() {
            let Ok(named) = json::bare::<wire::Named<'_>>(&Origin::default(), item.get().as_bytes()) else { continue };
            let id = convert::id(&"r".into(), &"public".into(), &named);
            if let Ok(detail) = serde_json::from_str(item.get()) {
                let _ = convert::listed(id, detail, None).map(|service| convert::vitality(&service));
            }
        }
    }

    #[test]
    fn the_order_of_instances_and_clusters_makes_no_difference(ports in prop::collection::vec((1u16..6, 0u8..3), 0..12)) {
        let make = |ports: &[(u16, u8)]| {
            let mut clusters = serde_json::Map::new();
            for (port, cluster) in ports {
                let hosts = clusters.entry(format!("c{cluster}")).or_insert(json!({"hosts": []}));
                hosts["hosts"].as_array_mut().unwrap().push(json!({"ip": "10.0.0.1", "port": port}));
            }
            service(Value::Object(clusters))
        };
        let reversed: Vec<_> = ports.iter().rev().copied().collect();
        prop_assert_eq!(make(&ports), make(&reversed));
    }
}

fn read(text: &str) -> Result<Config, String> {
    let document = Document::parse("c.yaml", text.as_bytes(), &Limits::default()).unwrap();
    document.read(None, |root| root.section(Config::read)).finish().map_err(|problems| problems.to_string())
}

#[test]
fn configuration_has_defaults_and_reads_every_key() {
    let server = |text: &str| Config::server(text).unwrap();
    assert_eq!(read("servers: http://n:8848"), Ok(Config::new(vec![server("http://n:8848/nacos")])));
    let full = "{servers: ['http://a:1/ctx/', 'https://b'], namespaces: ['*'], groups: g-*, mode: push, resync: 30s, grpc_port: 9999, period: 1s, timeout: 2s, \
                concurrency: 4, page_size: 100, max_body: 1MiB, username: u, password: p, headers: {X-A: b}}";
    let config = read(full).unwrap();
    let servers: Vec<&str> = config.servers.iter().map(|s| s.as_str()).collect();
    assert_eq!(servers, ["http://a:1/ctx", "https://b/nacos"]);
    assert_eq!((config.namespaces, config.concurrency, config.page_size), (Namespaces::All, 4, 100));
    assert_eq!(config.login.unwrap().password, Secret::new("p"));
    assert_eq!((config.mode, config.resync.as_secs(), config.grpc_port), (Mode::Push, 30, Some(9999)));
    let other =
        read("{address_server: 'http://a:8080/nacos/serverlist', context_path: /ctx, access_key: k, secret_key: s}");
    let other = other.unwrap();
    assert_eq!((other.servers.len(), &*other.context_path), (0, "/ctx"));
    assert_eq!(other.address_server.unwrap().as_str(), "http://a:8080/nacos/serverlist");
    assert_eq!(other.access_key, Some(AccessKey { access_key: "k".into(), secret_key: Secret::new("s") }));
    assert_eq!(other.manifests, None);
    let manifests = |text: &str| read(&format!("{{servers: 'http://a', manifests: {{{text}}}}}")).unwrap().manifests;
    let expected = |data_ids: &[&str], namespace: &str| {
        let data_ids = data_ids.iter().map(|id| (*id).into()).collect();
        Some(Manifests { group: "ISTIO".into(), data_ids, namespace: namespace.into() })
    };
    assert_eq!(manifests("group: ISTIO"), expected(&["*"], "portolan"));
    assert_eq!(
        manifests("group: ISTIO, data_ids: ['*.yaml', a], namespace: mesh-1"),
        expected(&["*.yaml", "a"], "mesh-1")
    );
    assert_eq!(read("{servers: 'http://a:1', context_path: /}").unwrap().servers[0].path(), "/");
    assert_eq!(config.connection.headers, [("X-A".into(), Secret::new("b"))]);
}

#[test]
fn mistakes_in_configuration_are_all_named() {
    for (text, expected) in [
        ("{}", "the key `servers` is missing"),
        ("servers: []", "names no server"),
        ("servers: 127.0.0.1:8848", "is no address"),
        ("servers: 'http://u:p4ss@n:8848'", "holds a user name or a password"),
        ("servers: 'http://u:p4ss@n:88x48'", "holds a user name or a password"),
        ("servers: 'u:p4ss@n:8848'", "holds a user name or a password"),
        ("{servers: 'http://n', headers: {'X A': p4ss}}", "headers.X A: \"X A\" is no name"),
        ("{servers: 'http://n', headers: {X-A: \"p4ss\\n\"}}", "headers.X-A: the value has characters"),
        ("{servers: 'http://n', username: u}", "go together"),
        ("{servers: 'http://n', period: 10ms}", "period"),
        ("{servers: 'http://n', mode: pull}", "mode"),
        ("{servers: 'http://n', grpc_port: 0}", "grpc_port"),
        ("{servers: 'http://n', secret_key: p4ss}", "`access_key` and `secret_key` go together"),
        ("{servers: 'http://n', address_server: 'http://a'}", "at once; keep one of them"),
        ("{servers: 'http://n', context_path: nacos}", "is no path"),
        ("{servers: 'http://n', manifests: {}}", "manifests: the key `group` is missing"),
        ("{servers: 'http://n', manifests: {group: 'i*'}}", "manifests stand in one group, name it"),
        ("{servers: 'http://n', manifests: {group: i, namespace: A}}", "\"A\" is no namespace"),
        ("{servers: 'http://n', manifests: {group: i, data_id: a}}", "did you mean `data_ids`?"),
        ("{servers: 'http://n', perod: 1s}", "did you mean `period`?"),
    ] {
        let problems = read(text).unwrap_err();
        assert!(problems.contains(expected) && !problems.contains("p4ss"), "{text}: {problems}");
    }
}

#[test]
fn mutated_answers_are_read_or_refused() {
    let good = json!({"serviceName": "g@@orders", "clusterMap": {"DEFAULT": {"hosts": [
        {"ip": "10.0.0.1", "port": 8080, "weight": 2.5, "healthy": false, "metadata": {"gRPC_port": "9090"}}]}},
        "metadata": {"team": "shop"}})
    .to_string();
    crate::util::mutate::mutated(&[good.as_bytes()], |input| {
        let Ok(named) = serde_json::from_slice::<wire::Named<'_>>(input) else { return };
        let id = convert::id(&"r".into(), &"public".into(), &named);
        if let Ok(detail) = serde_json::from_slice(input) {
            drop(convert::listed(id, detail, None));
        }
    });
    let enveloped = json!({"code": 0, "message": "success", "data": {"pageItems": []}}).to_string();
    crate::util::mutate::mutated(&[enveloped.as_bytes()], |input| {
        drop(json::enveloped::<Value>(&Origin::default(), input));
        drop(json::bare::<Value>(&Origin::default(), input));
    });
}
