//! Which instances are served, and as what.

use super::*;
use crate::catalog::{Hostnames, Matcher, Relabel};
use crate::model::{DeclaredPort, EndpointPort, Locality};

#[test]
fn disabled_and_weightless_instances_are_left_out_with_notes() {
    let mut world = one(|_| {});
    world.list(&[service("a", &["10.0.0.1:80", "10.0.0.2:80 off", "10.0.0.3:80 w0", "10.0.0.4:80 unhealthy w0.5"])]);
    world.check(&["a.example http:80 | 10.0.0.1:80, 10.0.0.4:80 unhealthy w0.5"]);
    world.check_notes(&id("r", "a"), &[(Reason::Disabled, "10.0.0.2:80"), (Reason::WeightZero, "10.0.0.3:80")]);
}

#[test]
fn one_place_is_served_once_and_places_are_sorted() {
    let mut world = one(|_| {});
    world.list(&[service(
        "a",
        &["10.0.0.9:80", "10.0.0.1:81", "10.0.0.1:80 x=2", "10.0.0.1:80 x=1", "[2001:db8::1]:80"],
    )]);
    world.check(&["a.example http:80 | 10.0.0.1:80 x=1, 10.0.0.1:81, 10.0.0.9:80, 2001:db8::1:80"]);
    world.check_notes(&id("r", "a"), &[(Reason::Duplicate, "10.0.0.1:80")]);
}

#[test]
fn protection_counts_all_enabled_as_healthy_at_the_threshold() {
    let two_of_three = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80 unhealthy", "10.0.0.4:80 off unhealthy"];
    let one_of_two = ["10.0.0.1:80", "10.0.0.2:80 unhealthy"];
    let none = ["10.0.0.1:80 unhealthy", "10.0.0.2:80 draining"];
    for (threshold, endpoints, protected) in [
        (None, &one_of_two[..], false),
        (Some(0.5), &one_of_two[..], true),
        (Some(0.49), &one_of_two[..], false),
        (Some(0.6), &two_of_three[..], false),
        (Some(0.7), &two_of_three[..], true),
        (Some(0.0), &none[..], true),
        (Some(1.0), &["10.0.0.1:80"][..], false),
    ] {
        let mut world = one(|_| {});
        let mut service = service_of("r", "a", endpoints);
        service.protect_threshold = threshold.map(|t| Fraction::new(t).unwrap());
        world.list(&[Arc::new(service)]);
        let catalog = world.catalog();
        let published = catalog.services.values().next().unwrap();
        assert_eq!(published.protected, protected, "{threshold:?} {endpoints:?}");
        assert_eq!(published.notes.iter().any(|n| n.reason == Reason::Protected), protected);
        let unhealthy = published.endpoints.iter().any(|e| e.health == Health::Unhealthy);
        assert_eq!(unhealthy, !protected && endpoints.len() > 1, "{threshold:?} {endpoints:?}");
        let draining = published.endpoints.iter().any(|e| e.health == Health::Draining);
        assert_eq!(draining, endpoints == none, "an instance that drains is not brought back");
    }
}

#[test]
fn protection_that_the_registry_applied_is_passed_on() {
    let mut world = one(|_| {});
    world.list(&[Arc::new(Service { protected: true, ..service_of("r", "a", &["10.0.0.1:80"]) })]);
    assert!(world.catalog().services.values().all(|service| service.protected));
    world.check_notes(&id("r", "a"), &[(Reason::Protected, "")]);
}

#[test]
fn host_names_are_resolved_kept_or_dropped_by_configuration() {
    let instances = ["10.0.0.1:80", "node-1:80"];
    for (hostnames, dns, line) in [
        (Hostnames::Dns, true, "a.example http:80 | 10.0.0.1:80, node-1:80"),
        (Hostnames::Drop, false, "a.example http:80 | 10.0.0.1:80"),
        (Hostnames::Resolve, false, "a.example http:80 | 10.0.0.1:80"),
    ] {
        let mut world = one(|p| p.hostnames = hostnames);
        world.list(&[service("a", &instances)]);
        world.check(&[line]);
        assert!(world.catalog().services.values().all(|service| service.dns == dns));
        world.list(&[service("a", &[])]);
        assert!(world.catalog().services.values().all(|service| service.dns == dns), "never by what is up");
    }
}

#[test]
fn resolved_names_give_an_endpoint_per_address_and_keep_the_last_answer() {
    let mut world = one(|_| {});
    world.list(&[service("a", &["node-1:80 x=1"]), service("b", &["node-1:81"])]);
    assert_eq!(world.core.wanted_names().into_keys().collect::<Vec<_>>(), [Text::from("node-1")]);
    world.check_notes(&id("r", "a"), &[(Reason::HostnameUnresolved, "node-1:80")]);
    let answer = |world: &mut World, addresses: &[&str]| {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        world.core.resolved(&"node-1".into(), addresses, world.now);
    };
    answer(&mut world, &["10.0.0.2", "10.0.0.1", "10.0.0.2"]);
    let both = ["a.example http:80 | 10.0.0.1:80 x=1, 10.0.0.2:80 x=1", "b.example http:80 | 10.0.0.1:81, 10.0.0.2:81"];
    world.check(&both);
    world.check_notes(&id("r", "a"), &[]);
    let number = world.catalog().number;
    answer(&mut world, &[]);
    answer(&mut world, &["10.0.0.1", "10.0.0.2"]);
    world.check(&both);
    assert_eq!(world.catalog().number, number, "the same answer is no change");
    // What another name resolves to is unknown, not empty: the last that was known stays until then.
    world.list(&[service("a", &[]), service("b", &["node-2:81"])]);
    world.check(&["a.example http:80 | ", "b.example http:80 | 10.0.0.1:81, 10.0.0.2:81"]);
    world.check_notes(&id("r", "b"), &[(Reason::HostnameUnresolved, "node-2:81")]);
    assert_eq!(world.core.wanted_names().len(), 2);
    world.core.resolved(&"node-2".into(), vec!["10.0.0.3".parse().unwrap()], world.now);
    world.check(&["a.example http:80 | ", "b.example http:80 | 10.0.0.3:81"]);
    assert_eq!(world.core.wanted_names().into_keys().collect::<Vec<_>>(), [Text::from("node-2")]);
    // Gone from the registry is gone.
    world.list(&[service("a", &[]), service("b", &["node-4:81"])]);
    world.list(&[service("a", &[]), service("b", &[])]);
    world.check(&["a.example http:80 | ", "b.example http:80 | "]);
}

#[test]
fn a_service_whose_names_are_all_unresolved_is_withheld_and_not_emptied() {
    let mut world = one(|_| {});
    world.list(&[
        service("a", &["node-1:80"]),
        service("b", &["node-2:80", "10.0.0.2:80"]),
        service("c", &["node-3:80 off"]),
    ]);
    assert_eq!(world.catalog().sync, Readiness::Waiting, "what is unresolved counts as missing");
    world.check(&["b.example http:80 | 10.0.0.2:80", "c.example http:80 | "]);
    world.core.resolved(&"node-2".into(), vec!["10.0.0.3".parse().unwrap()], world.now);
    world.core.resolved(&"node-3".into(), Vec::new(), world.now);
    assert_eq!(world.catalog().sync, Readiness::Waiting, "for node-1");
    world.core.resolved(&"node-1".into(), Vec::new(), world.now);
    assert_eq!(world.catalog().sync, Readiness::Complete, "that it has no address is known");
    world.check(&["b.example http:80 | 10.0.0.2:80, 10.0.0.3:80", "c.example http:80 | "]);
    world.list(&[service("a", &["node-1:80"]), service("d", &["node-4:80"])]);
    assert_eq!(world.catalog().sync, Readiness::Complete, "nobody waits again");
}

#[test]
fn a_published_service_goes_on_while_its_new_instances_are_unresolved() {
    let mut world = one(|_| {});
    world.list(&[service("a", &["10.0.0.1:80 grpc", "10.0.0.2:80"])]);
    let both = "a.example http:80 grpc:9090@grpc.a.example";
    world.list(&[service("a", &["node-1:80 grpc", "node-2:80"])]);
    world.check(&[&format!("{both} | ")]);
    let unresolved = |node| (Reason::HostnameUnresolved, node);
    world.check_notes(&id("r", "a"), &[unresolved("node-1:80"), unresolved("node-2:80")]);
    world.core.resolved(&"node-2".into(), vec!["10.0.0.3".parse().unwrap()], world.now);
    world.check(&[&format!("{both} | 10.0.0.3:80")]);
}

#[test]
fn an_instance_that_was_switched_off_is_not_served_for_another_that_is_unresolved() {
    for off in ["node-1:80 off", "node-1:80 w0"] {
        let mut world = one(|_| {});
        world.list(&[service("a", &["node-1:80"])]);
        world.core.resolved(&"node-1".into(), vec!["10.0.0.1".parse().unwrap()], world.now);
        world.check(&["a.example http:80 | 10.0.0.1:80"]);
        world.list(&[service("a", &[off, "node-2:80"])]);
        world.check(&["a.example http:80 | "]);
        world.list(&[service("a", &["node-2:80"])]);
        world.check(&["a.example http:80 | "]);
        world.core.resolved(&"node-2".into(), vec!["10.0.0.2".parse().unwrap()], world.now);
        world.check(&["a.example http:80 | 10.0.0.2:80"]);
    }
}

#[test]
fn each_host_of_a_service_goes_on_by_itself_while_it_is_unresolved() {
    let mut world = one(|policy| policy.host = template("{label:of}.example"));
    world.list(&[service("s", &["node-1:80 of=a", "node-2:80 of=b"])]);
    world.core.resolved(&"node-1".into(), vec!["10.0.0.1".parse().unwrap()], world.now);
    world.core.resolved(&"node-2".into(), vec!["10.0.0.2".parse().unwrap()], world.now);
    world.list(&[service("s", &["node-1:80 of=a off", "10.0.0.9:80 of=a", "node-3:80 of=b"])]);
    world.check(&["a.example http:80 | 10.0.0.9:80 of=a", "b.example http:80 | 10.0.0.2:80 of=b"]);
    world.check_notes(&id("r", "s"), &[(Reason::Disabled, "node-1:80"), (Reason::HostnameUnresolved, "node-3:80")]);
    world.core.resolved(&"node-3".into(), vec!["10.0.0.3".parse().unwrap()], world.now);
    world.check(&["a.example http:80 | 10.0.0.9:80 of=a", "b.example http:80 | 10.0.0.3:80 of=b"]);
}

#[test]
fn unresolved_names_are_waited_for_no_longer_than_the_grace() {
    let mut world = one(|_| {});
    world.list(&[service("a", &["node-1:80"])]);
    world.seconds(29);
    assert_eq!(world.catalog().sync, Readiness::Waiting);
    world.seconds(1);
    assert_eq!(world.catalog().sync, Readiness::Complete);
    world.check(&[]);
    world.check_notes(&id("r", "a"), &[(Reason::HostnameUnresolved, "node-1:80")]);
}

#[test]
fn a_host_belongs_to_another_while_its_owners_names_are_unresolved() {
    let mut world = world(vec![policy("a"), policy("b")]);
    world.update_of("a", listed(&[Arc::new(service_of("a", "s", &["node-1:80"]))]));
    world.update_of("b", listed(&[Arc::new(service_of("b", "s", &["10.0.0.2:80"]))]));
    world.check(&["s.example http:80 | 10.0.0.2:80"]);
    world.core.resolved(&"node-1".into(), vec!["10.0.0.1".parse().unwrap()], world.now);
    world.check(&["s.example http:80 | 10.0.0.1:80"]);
}

#[test]
fn an_instance_that_moves_to_another_service_keeps_its_addresses() {
    let mut world = one(|_| {});
    world.list(&[service("a", &["node-1:80"]), service("b", &[])]);
    world.core.resolved(&"node-1".into(), vec!["10.0.0.1".parse().unwrap()], world.now);
    world.list(&[service("a", &[]), service("b", &["node-1:80"])]);
    world.check(&["a.example http:80 | ", "b.example http:80 | 10.0.0.1:80"]);
    // What nobody wants any more is forgotten in the end.
    for i in 0..1000 {
        let name = format!("host-{i}");
        world.list(&[service("a", &[&format!("{name}:80")]), service("b", &["node-1:80"])]);
        world.core.resolved(&name.into(), vec!["10.0.0.2".parse().unwrap()], world.now);
    }
    world.check(&["a.example http:80 | 10.0.0.2:80", "b.example http:80 | 10.0.0.1:80"]);
    assert!(world.core.names.answers().len() < 100, "{} answers", world.core.names.answers().len());
}

#[test]
fn selection_relabelling_and_locality_apply_in_this_order() {
    let mut world = one(|p| {
        let env = Matcher { labels: vec![("env".into(), "prod".into())], ..Matcher::default() };
        p.select.include = vec![env];
        p.relabel = vec![Relabel::Rename("env".into(), "stage".into())];
        p.locality = Some(template("cn/{label:stage}/{label:rack|none}"));
    });
    world.list(&[service("a", &["10.0.0.1:80 env=prod rack=7", "10.0.0.2:80 env=test"])]);
    world.check(&["a.example http:80 | 10.0.0.1:80 rack=7 stage=prod"]);
    let endpoint = world.catalog().services.values().next().unwrap().endpoints[0].clone();
    assert_eq!(endpoint.locality, Locality::parse("cn/prod/7"));
    world.check_notes(&id("r", "a"), &[(Reason::NotIncluded, "10.0.0.2:80")]);
}

#[test]
fn a_service_that_is_not_taken_is_recorded_with_the_reason() {
    let mut world = one(|p| {
        p.select.exclude = vec![Matcher { name: Some("int*".into()), ..Matcher::default() }];
        p.select.include = vec![Matcher { labels: vec![("env".into(), "prod".into())], ..Matcher::default() }];
    });
    world.list(&[
        service("internal", &["10.0.0.1:80 env=prod"]),
        service("test", &["10.0.0.2:80"]),
        service("bare", &[]),
    ]);
    world.check(&[]);
    world.check_notes(&id("r", "internal"), &[(Reason::Excluded, "")]);
    world.check_notes(&id("r", "test"), &[(Reason::NotIncluded, "10.0.0.2:80")]);
    world.check_notes(&id("r", "bare"), &[(Reason::NotIncluded, "")]);
}

#[test]
fn ports_learned_stay_when_the_last_instance_goes() {
    let mut world = one(|_| {});
    world.list(&[service("a", &["10.0.0.1:81 grpc off", "10.0.0.2:82 dubbo unhealthy"])]);
    world.check(&["a.example dubbo:20880 grpc:9090@grpc.a.example | 10.0.0.2:dubbo=82 unhealthy"]);
    world.list(&[service("a", &[])]);
    world.check(&["a.example dubbo:20880 grpc:9090@grpc.a.example | "]);
    world.list(&[service("a", &["10.0.0.1:81"])]);
    world.check(&["a.example http:80 | 10.0.0.1:81"]);
}

#[test]
fn declared_ports_come_before_configured_ones_and_learned_ones_behind() {
    let port = |name: &str, number| DeclaredPort {
        name: name.into(),
        number: Port::new(number).unwrap(),
        protocol: Protocol::Http,
    };
    let mut world = one(|p| p.ports = vec![port("web", 8000)]);
    let declared = Service { ports: vec![port("site", 9000)], ..service_of("r", "b", &["10.0.0.1:80"]) };
    let mut two = service_of("r", "c", &["10.0.0.1:80"]);
    two.endpoints[0].ports.push(EndpointPort {
        number: Port::new(81).unwrap(),
        protocol: Some(Protocol::Grpc),
        name: Some("My.Port_1".into()),
    });
    world.list(&[service("a", &["10.0.0.1:80 grpc", "10.0.0.2:80"]), Arc::new(declared), Arc::new(two)]);
    world.check(&[
        "a.example web:8000 grpc:9090@grpc.a.example | 10.0.0.1:grpc=80, 10.0.0.2:web=80",
        "b.example site:9000 | 10.0.0.1:site=80",
        "c.example web:8000 My.Port_1:9090@my-port-1.c.example | 10.0.0.1:My.Port_1=81/web=80",
    ]);
}

#[test]
fn an_instance_whose_port_is_left_out_is_left_out() {
    let mut world = one(|_| {});
    world.list(&[service("a", &["10.0.0.1:80", "10.0.0.2:80 http2"])]);
    world.check(&["a.example http:80 | 10.0.0.1:80"]);
    let catalog = world.catalog();
    let notes: Vec<&str> = catalog.services.values().next().unwrap().notes.iter().map(|n| &*n.subject).collect();
    assert_eq!(notes, ["10.0.0.2", "http2"]);
}

#[test]
fn unix_sockets_are_published_as_they_are() {
    let mut world = one(|_| {});
    let mut service = service_of("r", "a", &["10.0.0.1:80"]);
    service.endpoints[0].address = Address::Unix("/run/a.sock".into());
    service.endpoints[0].ports = Default::default();
    world.list(&[Arc::new(service)]);
    world.check(&["a.example http:80 | unix:/run/a.sock:"]);
}

#[test]
fn notes_of_the_registry_and_of_the_catalog_are_bounded() {
    let mut world = one(|_| {});
    let off: Vec<String> = (0..500).map(|i| format!("10.0.{}.{}:80 off", i / 250, i % 250)).collect();
    let mut service = service_of("r", "a", &off.iter().map(String::as_str).collect::<Vec<_>>());
    service.notes = vec![Note::new(Reason::EntryInvalid, "x:70000", "port")];
    world.list(&[Arc::new(service)]);
    let notes = &world.catalog().records[&id("r", "a")].notes;
    assert!(notes.len() <= 102, "{}", notes.len());
    assert!(notes.iter().any(|note| note.reason == Reason::EntryInvalid));
    let counted: usize = world.core.notes().map(|(_, number)| number).sum();
    assert_eq!(counted, notes.len());
}
