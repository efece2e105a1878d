//! What catalogue files may say, and what is said of their mistakes.

use crate::model::{
    Address, DeclaredPort, Endpoint, EndpointPort, Fraction, Health, Hostname, Locality, Port, Protocol, Service,
    ServiceId, Weight,
};
use crate::registry::catalogue;

fn parse(text: &str) -> Result<catalogue::Catalogue, String> {
    catalogue::parse(&"r".into(), "a.yaml", text.as_bytes(), 1 << 20).map_err(|problems| problems.to_string())
}

fn port(number: i64) -> Port {
    Port::new(number).unwrap()
}

#[test]
fn the_whole_schema_is_read() {
    let text = "
services:
- host: orders.example
  ports:
  - { name: http, port: 80, protocol: http }
  - { name: grpc, port: 9090 }
  labels: { team: shop }
  protect_threshold: 30%
  endpoints:
  - 10.0.0.1:8080
  - '[2001:db8::1]:8080'
  - { address: 10.0.0.2, ports: { http: 8080, grpc: 9000 }, weight: 2, health: unhealthy, enabled: false, locality: cn/hz/a,
      labels: { version: v2 }, secure: true }
  - /run/orders.sock
";
    let declared = |name: &str, number, protocol| DeclaredPort { name: name.into(), number: port(number), protocol };
    let named = |name: &str, number, protocol| EndpointPort {
        number: port(number),
        protocol: Some(protocol),
        name: Some(name.into()),
    };
    let address = |text| Address::parse(text).unwrap();
    let full = Endpoint {
        ports: [named("http", 8080, Protocol::Http), named("grpc", 9000, Protocol::Grpc)].into(),
        weight: Weight::relative(2.0, 1.0).unwrap(),
        health: Health::Unhealthy,
        enabled: false,
        locality: Locality::parse("cn/hz/a"),
        labels: [("version".into(), "v2".into())].into(),
        secure: true,
        ..Endpoint::new(address("10.0.0.2"), port(1))
    };
    let socket = Endpoint { ports: [].into(), ..Endpoint::new(address("/run/orders.sock"), port(1)) };
    let id = ServiceId::new("r", "", "", "orders.example");
    let endpoints = vec![
        Endpoint::new(address("10.0.0.1"), port(8080)),
        Endpoint::new(address("2001:db8::1"), port(8080)),
        full,
        socket,
    ];
    let expected = Service {
        host: Some(Hostname::new("orders.example").unwrap()),
        ports: vec![declared("http", 80, Protocol::Http), declared("grpc", 9090, Protocol::Grpc)],
        labels: [("team".into(), "shop".into())].into(),
        protect_threshold: Some(Fraction::THIRTY_PERCENT),
        ..Service::new(id, endpoints)
    };
    let catalogue = parse(text).unwrap();
    assert_eq!(catalogue.services.into_values().collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_name_with_namespace_and_group_leaves_the_host_to_the_template() {
    let catalogue = parse("services: [{ name: Pay, namespace: shop, group: g, endpoints: [node-1:80] }]").unwrap();
    let service = catalogue.services.into_values().next().unwrap();
    assert_eq!((service.id.to_string().as_str(), service.host), ("r/shop/g/Pay", None));
}

#[test]
fn json_is_read_as_well() {
    let catalogue = parse(r#"{"services": [{"host": "a.example", "endpoints": ["10.0.0.1:80"]}]}"#).unwrap();
    assert_eq!(catalogue.services.len(), 1);
}

#[test]
fn only_an_empty_list_means_none() {
    assert_eq!(parse("services: []"), Ok(catalogue::Catalogue::default()));
    for text in ["", "# nothing\n", "services:\n", "{}", "null", "other: 1"] {
        assert!(parse(text).unwrap_err().contains("`services` is missing"), "{text:?}: {:?}", parse(text));
    }
}

#[test]
fn mistakes_that_concern_all_of_the_file_refuse_it() {
    for (text, expected) in [
        ("services: [{ host: a.example, endp", "a.yaml:1"),
        ("services: []\nservices: []", "is there twice"),
        ("services: {}", "must be a list"),
        ("services: []\nservces: []", "unknown key `servces`"),
        ("services: [{ endpoints: [] }]", "neither `host` nor `name`"),
        ("services: [{ host: 'a b', endpoints: [] }]", "services[0].host"),
    ] {
        let problems = parse(text).unwrap_err();
        assert!(problems.contains(expected), "{text:?}: {problems}");
    }
    let not_utf8 = catalogue::parse(&"r".into(), "a.yaml", b"services: [\xff]", 1 << 20).unwrap_err().to_string();
    assert!(not_utf8.contains("UTF-8"), "{not_utf8}");
    let bomb: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1)).collect();
    let bomb = parse(&format!("a0: &a0 [x]\n{bomb}services: []")).unwrap_err();
    assert!(bomb.len() < 4096, "{bomb}");
}

#[test]
fn a_mistake_in_one_service_costs_that_service_only() {
    for (entry, expected) in [
        ("endpoints: [10.0.0.1]", "services[0].endpoints[0]: must be address:port"),
        ("endpoints: ['::1:80']", "must be address:port"),
        ("endpoints: [10.0.0.256:80]", "must be address:port"),
        ("endpoints: [10.0.0.1:70000]", "port 70000 is not possible"),
        ("endpoints: [{ address: 10.0.0.1, port: 0 }]", "services[0].endpoints[0].port"),
        ("endpoints: [{ address: 10.0.0.1 }]", "neither `port` nor `ports`"),
        ("endpoints: [{ address: 10.0.0.1, port: 1, weight: .nan }]", "endpoints[0].weight"),
        ("endpoints: [{ address: 10.0.0.1, port: 1, weight: -1 }]", "endpoints[0].weight"),
        ("endpoints: [{ address: 10.0.0.1, port: 1, weight: 1e300 }]", "endpoints[0].weight"),
        ("endpoints: [{ address: 10.0.0.1, port: 1, health: ill }]", "healthy, unhealthy"),
        ("endpoints: [{ address: 10.0.0.1, prt: 1 }]", "did you mean `port`?"),
        ("endpoints: [{ address: 10.0.0.1, port: 1, port: 2 }]", "there twice"),
        ("ports: [{ port: 80 }, { port: 80, name: b }]", "name or the number of port http"),
        ("ports: [{ port: 80 }], endpoints: [{ address: '::1', ports: { x: 1 } }]", "no port \"x\""),
        ("protect_threshold: 1.5", "protect_threshold"),
    ] {
        let text = format!("services:\n- {{ host: a.example, {entry} }}\n- host: b.example\n");
        let catalogue = parse(&text).unwrap_or_else(|problems| panic!("{text}: {problems}"));
        let good: Vec<&str> = catalogue.services.keys().map(|id| &*id.name).collect();
        let (bad, why) = catalogue.unreadable.first_key_value().unwrap_or_else(|| panic!("{text} is accepted"));
        assert_eq!((good, &*bad.name), (vec!["b.example"], "a.example"), "{text}");
        assert!(why.contains(expected) && why.contains("a.yaml:2:"), "{text}: {why}");
    }
}

#[test]
fn a_service_that_is_there_twice_says_so() {
    let catalogue = parse("services:\n- host: a.example\n- host: a.example\n  endpoints: [10.0.0.1:80]\n").unwrap();
    let (_, service) = catalogue.services.first_key_value().unwrap();
    assert_eq!(
        (service.endpoints.len(), &*service.notes[0].detail),
        (0, "there once more on line 3; that one is left out")
    );
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let text = format!("services: [] #{}", "x".repeat(100));
    let problems = catalogue::parse(&"r".into(), "a.yaml", text.as_bytes(), 100).unwrap_err().to_string();
    assert!(problems.contains("at most 100"), "{problems}");
}

#[test]
fn mutated_catalogues_are_read_or_refused() {
    let good = "services:\n- host: orders.example\n  ports: [{ name: http, port: 80 }]\n  labels: { team: shop }\n  \
                protect_threshold: 30%\n  endpoints:\n  - 10.0.0.1:8080\n  - { address: '2001:db8::1', ports: { http: 8080 }, \
                weight: 2, health: unhealthy, locality: cn/hz/a }\n";
    let json = "{\"services\": [{\"host\": \"a.example\", \"endpoints\": [\"/run/a.sock\", \"node-1:80\"]}]}";
    crate::util::mutate::mutated(&[good.as_bytes(), json.as_bytes()], |input| {
        drop(catalogue::parse(&"r".into(), "a.yaml", input, 1 << 20));
    });
}
