//! Names of hosts and aliases, and who has them.

use super::*;
use crate::catalog::{Event, HostCase, Merge, Owner};

fn by_label() -> World {
    one(|p| p.host = template("{service}-{label:version|main}.example"))
}

#[test]
fn hosts_are_made_safe_and_what_is_impossible_is_noted() {
    let mut world = one(|_| {});
    world.list(&[service("Or_ders", &["10.0.0.1:80"]), service("__", &["10.0.0.2:80"]), service("fine", &[])]);
    world.check(&["fine.example http:80 | ", "or-ders.example http:80 | 10.0.0.1:80"]);
    world.check_notes(&id("r", "Or_ders"), &[(Reason::HostRenamed, "Or_ders.example")]);
    let mut world = one(|p| p.host = template("{service}"));
    world.list(&[service("__", &["10.0.0.2:80", "10.0.0.3:80"]), service("1", &[]), service("fine", &[])]);
    world.check(&["fine http:80 | "]);
    world.check_notes(&id("r", "__"), &[(Reason::HostInvalid, "__")]);
    world.check_notes(&id("r", "1"), &[(Reason::HostInvalid, "1")]);
}

#[test]
fn the_registrys_own_host_wins_over_the_template() {
    let mut world = one(|_| {});
    let host = Some(Hostname::new("orders.shop").unwrap());
    world.list(&[Arc::new(Service { host, ..service_of("r", "a", &["10.0.0.1:80"]) })]);
    world.check(&["orders.shop http:80 | 10.0.0.1:80"]);
}

#[test]
fn one_service_may_feed_several_hosts() {
    let mut world = by_label();
    world.list(&[service("a", &["10.0.0.1:80 version=v1", "10.0.0.2:80 version=v2", "10.0.0.3:80"])]);
    world.check(&[
        "a-main.example http:80 | 10.0.0.3:80",
        "a-v1.example http:80 | 10.0.0.1:80 version=v1",
        "a-v2.example http:80 | 10.0.0.2:80 version=v2",
    ]);
}

#[test]
fn hosts_from_labels_stay_while_the_service_has_no_instances() {
    let mut world = by_label();
    world.list(&[service("a", &["10.0.0.1:80 version=v1"]), service("b", &[])]);
    world.list(&[service("a", &[]), service("b", &[])]);
    world.check(&["a-v1.example http:80 | ", "b-main.example http:80 | "]);
    world.seconds(100_000);
    world.check(&["a-v1.example http:80 | ", "b-main.example http:80 | "]);
}

#[test]
fn a_host_that_no_instance_names_lingers_and_goes() {
    let mut world = by_label();
    world.list(&[service("a", &["10.0.0.1:80 version=v1", "10.0.0.2:80 version=v2"])]);
    world.list(&[service("a", &["10.0.0.1:80 version=v1"])]);
    world.seconds(599);
    world.list(&[service("a", &["10.0.0.3:80 version=v1"])]);
    world.check(&["a-v1.example http:80 | 10.0.0.3:80 version=v1", "a-v2.example http:80 | "]);
    world.seconds(2);
    world.check(&["a-v1.example http:80 | 10.0.0.3:80 version=v1"]);
}

#[test]
fn the_smaller_owner_has_a_contested_host_and_the_next_follows() {
    let mut world = one(|p| p.host = template("{group}.example"));
    let of = |name: &str, address: &str| Arc::new(grouped(service_of("r", name, &[address]), "g"));
    let (a, b) = (of("a", "10.0.0.1:80"), of("b", "10.0.0.2:80"));
    world.list(std::slice::from_ref(&b));
    world.check(&["g.example http:80 | 10.0.0.2:80"]);
    world.list(&[b.clone(), a.clone()]);
    world.check(&["g.example http:80 | 10.0.0.1:80"]);
    world.check_notes(&b.id, &[(Reason::HostContested, "g.example")]);
    // What is gone and only lingers makes way at once.
    world.update(Update::Removed(all(), a.id.clone()));
    world.check(&["g.example http:80 | 10.0.0.2:80"]);
    world.check_notes(&b.id, &[]);
}

/// Services `a` of these groups, whose host has the group in it.
fn of_groups(groups: &[&str]) -> Vec<Arc<Service>> {
    let of = |(i, group): (usize, &&str)| {
        Arc::new(grouped(service_of("r", "a", &[format!("10.0.0.{}:80", i + 1).as_str()]), group))
    };
    groups.iter().enumerate().map(of).collect()
}

#[test]
fn a_name_that_is_the_host_goes_before_one_that_was_rewritten_to_it() {
    let mut world = one(|p| p.host = template("{service}.{group}.example"));
    // `+` stands before `-` in the order of ids, and upper case is no rewriting.
    world.list(&of_groups(&["X+Y", "X-Y"]));
    world.check(&["a.x-y.example http:80 | 10.0.0.2:80"]);
    world.update(Update::Removed(all(), of_groups(&["X+Y", "X-Y"])[1].id.clone()));
    world.check(&["a.x-y.example http:80 | 10.0.0.1:80"]);
}

#[test]
fn a_name_loses_nothing_that_identifies_it() {
    let mut world = one(|p| {
        p.host = template("{service}.{group}.nacos");
        p.merge = Merge::Host;
    });
    let of = |group: &str, name: &str, address: &str| {
        Arc::new(Service { id: ServiceId::new("r", "", group, name), ..service_of("r", name, &[address]) })
    };
    let names = [("g", "订单"), ("g", "支付"), ("g", ""), ("g", ".."), ("g", "##"), ("$", "a"), ("..", "a"), ("", "a")];
    let services: Vec<Arc<Service>> =
        (1..).zip(names).map(|(i, (group, name))| of(group, name, &format!("10.0.0.{i}:80"))).collect();
    world.list(&services);
    world.check(&[
        "a.nacos http:80 | 10.0.0.8:80",
        "xn--4kr132k.g.nacos http:80 | 10.0.0.1:80",
        "xn--bnq875c.g.nacos http:80 | 10.0.0.2:80",
    ]);
    let catalog = world.catalog();
    for service in &services[2..7] {
        let notes = &catalog.records[&service.id].notes;
        assert_eq!(notes.iter().map(|note| note.reason).collect::<Vec<_>>(), [Reason::HostInvalid], "{notes:?}");
        assert!(notes[0].detail.contains("change the registry's host template"), "{notes:?}");
    }
}

#[test]
fn names_that_only_become_alike_are_not_put_together() {
    let mut world = one(|p| p.merge = Merge::Host);
    let names = ["A-B", "a-b", "a-b-", "a:b", "a@b", "a_b"];
    let services: Vec<Arc<Service>> =
        (1..).zip(names).map(|(i, name)| service(name, &[&format!("10.0.0.{i}:80")])).collect();
    world.list(&services);
    world.check(&["a-b.example http:80 | 10.0.0.1:80, 10.0.0.2:80, 10.0.0.6:80"]);
    let contested = |world: &mut World, name: &str| {
        let notes = world.catalog().records[&id("r", name)].notes.clone();
        notes.into_iter().find(|note| note.reason == Reason::HostContested).map(|note| note.detail)
    };
    for name in ["a-b-", "a:b", "a@b"] {
        let detail = contested(&mut world, name).unwrap();
        assert!(detail.contains("another name"), "{detail}");
    }
    assert_eq!(contested(&mut world, "a_b"), None);
    // Those that are rewritten alike are put together, such as the same interface in two registries.
    let both = ["r", "s"].map(|name| Policy { merge: Merge::Host, ..policy(name) });
    let mut world = super::world(both.to_vec());
    world.update_of("r", listed(&[Arc::new(service_of("r", "a:b", &["10.0.0.1:80"]))]));
    world.update_of("s", listed(&[Arc::new(service_of("s", "a:b", &["10.0.0.2:80"]))]));
    world.check(&["a-b.example http:80 | 10.0.0.1:80 registry=r, 10.0.0.2:80 registry=s"]);
}

#[test]
fn a_host_may_keep_its_owners_case_and_stays_one_host() {
    let policy = |name: &str, keep: HostCase| Policy {
        host_case: keep,
        merge: Merge::Host,
        host: template("{label:host|{service}.nacos}"),
        ..policy(name)
    };
    let mut world = world(vec![policy("a", HostCase::Keep), policy("b", HostCase::Lower)]);
    let spelling = |world: &mut World| -> Vec<Option<Text>> {
        world.catalog().services.values().map(|service| service.spelling.clone()).collect()
    };
    world.update_of("b", listed(&[Arc::new(service_of("b", "Orders", &["10.0.0.2:80"]))]));
    assert_eq!(spelling(&mut world), [None]);
    world.update_of("a", listed(&[Arc::new(service_of("a", "ORDERS", &["10.0.0.1:80"]))]));
    assert_eq!(spelling(&mut world), [Some("ORDERS.nacos".into())], "one host, as its owner has it");
    // The smallest of several, whatever their order; and it stays when the last one goes.
    let both = ["10.0.0.1:80 host=x.Y", "10.0.0.2:80 host=X.y"];
    let mut world = super::world(vec![policy("a", HostCase::Keep)]);
    for instances in [&both[..], &[both[1], both[0]], &[]] {
        world.update_of("a", listed(&[Arc::new(service_of("a", "s", instances))]));
        world.seconds(10_000);
        assert_eq!(spelling(&mut world), [Some("X.y".into())], "{instances:?}");
    }
}

#[test]
fn a_newcomer_takes_a_host_unless_who_has_it_may_keep_it() {
    for (owner, served) in [(Owner::Smallest, "10.0.0.1"), (Owner::First, "10.0.0.2")] {
        let mut world = one(|p| {
            p.host = template("{service}.{group}.example");
            p.owner = owner;
        });
        let both = of_groups(&["X+Y", "X_Y"]);
        world.list(&both[1..]);
        world.list(&both);
        world.check(&[format!("a.x-y.example http:80 | {served}:80").as_str()]);
        let loser = if owner == Owner::First { &both[0] } else { &both[1] };
        let notes = world.catalog().records[&loser.id].notes.clone();
        assert!(
            notes.iter().any(|n| n.reason == Reason::HostContested && n.detail.contains("another name")),
            "{notes:?}"
        );
        // Who is gone keeps nothing.
        world.update(Update::Removed(all(), both[1].id.clone()));
        world.check(&["a.x-y.example http:80 | 10.0.0.1:80"]);
    }
}

#[test]
fn contests_that_take_traffic_away_are_reported_once_and_together() {
    let mut world = world(vec![policy("a"), policy("b")]);
    let services = |registry: &str, names: &[&str]| -> Vec<Arc<Service>> {
        names.iter().map(|name| Arc::new(service_of(registry, name, &["10.0.0.1:80"]))).collect()
    };
    let contests = |world: &mut World| -> Vec<(Text, usize)> {
        let of = |event| match event {
            Event::Contested { registry, number, .. } => Some((registry, number)),
            _ => None,
        };
        world.core.take_events().into_iter().filter_map(of).collect()
    };
    world.update_of("b", listed(&services("b", &["s", "t"])));
    world.update_of("a", listed(&services("a", &["s", "t"])));
    assert_eq!(contests(&mut world), [("b".into(), 2)]);
    world.update_of("b", listed(&services("b", &["s", "t"])));
    world.update_of("a", listed(&services("a", &["s", "t", "u"])));
    world.update_of("b", listed(&services("b", &["s", "t", "u"])));
    assert_eq!(contests(&mut world), [], "a line a minute");
    world.seconds(60);
    assert_eq!(contests(&mut world), [("b".into(), 1)]);
    world.seconds(1000);
    assert_eq!(contests(&mut world), []);
}

#[test]
fn the_registrys_place_in_the_configuration_comes_before_its_name() {
    let mut world = world(vec![policy("z"), policy("a")]);
    world.update_of("a", listed(&[Arc::new(service_of("a", "s", &["10.0.0.1:80"]))]));
    world.update_of("z", listed(&[Arc::new(service_of("z", "s", &["10.0.0.2:80"]))]));
    world.check(&["s.example http:80 | 10.0.0.2:80"]);
    world.check_notes(&id("a", "s"), &[(Reason::HostContested, "s.example")]);
}

#[test]
fn aliases_belong_to_one_host_or_to_nobody() {
    let mut world = one(|p| {
        p.host = template("{service}.{group}.example");
        p.aliases = vec![template("{service}"), template("{service}.{group}.example"), template("-")];
    });
    let of = |group: &str, name: &str| Arc::new(grouped(service_of("r", name, &[]), group));
    world.list(&[of("g", "a"), of("g", "b")]);
    world.check(&["a.g.example +a http:80 | ", "b.g.example +b http:80 | "]);
    world.check_notes(&of("g", "a").id, &[(Reason::AliasInvalid, "-")]);
    world.list(&[of("g", "a"), of("g", "b"), of("h", "a"), of("i", "a")]);
    world.check(&[
        "a.g.example http:80 | ",
        "a.h.example http:80 | ",
        "a.i.example http:80 | ",
        "b.g.example +b http:80 | ",
    ]);
    world.check_notes(&of("h", "a").id, &[(Reason::AliasContested, "a"), (Reason::AliasInvalid, "-")]);
    for group in ["h", "g"] {
        world.update(Update::Removed(all(), of(group, "a").id.clone()));
    }
    world.seconds(601);
    world.check(&["a.i.example +a http:80 | ", "b.g.example +b http:80 | "]);
}

#[test]
fn an_alias_that_is_a_host_is_left_out_while_it_is_one() {
    let mut world = one(|p| p.aliases = vec![template("{label:alias|none}")]);
    let with = |name: &str, alias: &str| {
        let labels = Labels::from([("alias".into(), alias.into())]);
        Arc::new(Service { labels, ..service_of("r", name, &[]) })
    };
    world.list(&[with("a", "b.example"), with("b", "x")]);
    world.check(&["a.example http:80 | ", "b.example +x http:80 | "]);
    world.check_notes(&id("r", "a"), &[(Reason::AliasContested, "b.example")]);
    world.update(Update::Removed(all(), id("r", "b")));
    // What only lingers keeps it from nobody.
    world.check(&["a.example +b.example http:80 | "]);
    world.check_notes(&id("r", "b"), &[(Reason::HostContested, "b.example"), (Reason::Lingering, "")]);
    world.seconds(601);
    world.check(&["a.example +b.example http:80 | "]);
    // A further port's host counts, too.
    let grpc = service("c", &["10.0.0.1:80", "10.0.0.1:81 grpc"]);
    world.list(&[with("a", "grpc.c.example"), service("c", &["10.0.0.1:80"])]);
    world.check(&["a.example +grpc.c.example http:80 | ", "c.example +none http:80 | 10.0.0.1:80"]);
    world.list(&[with("a", "grpc.c.example"), grpc]);
    world.check(&[
        "a.example http:80 | ",
        "c.example +none http:80 grpc:9090@grpc.c.example | 10.0.0.1:80, 10.0.0.1:grpc=81",
    ]);
}

#[test]
fn a_further_ports_host_gives_way_to_a_service() {
    let mut world = one(|_| {});
    let a = service("a", &["10.0.0.1:80", "10.0.0.1:81 grpc"]);
    world.list(std::slice::from_ref(&a));
    let alone = "a.example http:80 grpc:9090@grpc.a.example | 10.0.0.1:80, 10.0.0.1:grpc=81";
    world.check(&[alone]);
    world.list(&[a.clone(), service("grpc.a", &[])]);
    world.check(&["a.example http:80 | 10.0.0.1:80", "grpc.a.example http:80 | "]);
    world.check_notes(&a.id, &[(Reason::PortContested, "10.0.0.1:81"), (Reason::PortContested, "grpc")]);
    world.update(Update::Removed(all(), id("r", "grpc.a")));
    world.check(&[alone]);
    world.list(&[a.clone(), service("grpc.a", &["10.0.0.2:80"])]);
    world.check(&["a.example http:80 | 10.0.0.1:80", "grpc.a.example http:80 | 10.0.0.2:80"]);
    // Both gone: as among services, the host is the service's.
    world.update(Update::Removed(all(), a.id.clone()));
    world.update(Update::Removed(all(), id("r", "grpc.a")));
    world.check(&["a.example http:80 | ", "grpc.a.example http:80 | "]);
}

#[test]
fn several_services_share_a_host_where_all_choose_so() {
    let mut world = one(|p| {
        p.host = template("all.example");
        p.merge = Merge::Host;
    });
    world.list(&[service("a", &["10.0.0.1:80", "10.0.0.3:80"]), service("b", &["10.0.0.2:80", "10.0.0.1:80 grpc"])]);
    world.check(&[
        "all.example http:80 grpc:9090@grpc.all.example | 10.0.0.1:grpc=80, 10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80",
    ]);
    let catalog = world.catalog();
    assert_eq!(catalog.services.values().next().unwrap().sources, [id("r", "a"), id("r", "b")]);
    assert_eq!(catalog.records[&id("r", "b")].hosts, [Hostname::new("all.example").unwrap()]);
}
