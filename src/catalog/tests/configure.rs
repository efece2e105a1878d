//! Another configuration while the catalog runs.

use super::*;
use crate::catalog::{Event, HeldChange, HoldCause, HoldEvent, Holding, Matcher, Merge, Owner, State};

fn of(registry: &str, name: &str, endpoints: &[&str]) -> Arc<Service> {
    Arc::new(service_of(registry, name, endpoints))
}

/// `number` services of one instance each.
fn singles(registry: &str, number: usize) -> Vec<Arc<Service>> {
    let address = |i: usize| format!("10.0.{}.{}:80", i / 250, i % 250 + 1);
    (0..number).map(|i| of(registry, &format!("s{i:02}"), &[address(i).as_str()])).collect()
}

fn excluding(registry: &str, name: &str) -> Policy {
    let mut policy = policy(registry);
    policy.select.exclude = vec![Matcher { name: Some(name.into()), ..Matcher::default() }];
    policy
}

fn connected(policy: Policy, connection: u64) -> Registry {
    Registry { connection, ..policy.into() }
}

fn hosts(world: &mut World) -> Vec<String> {
    world.catalog().services.keys().map(Hostname::to_string).collect()
}

fn states(world: &mut World) -> Vec<(String, State)> {
    world.catalog().registries.iter().map(|status| (status.name.to_string(), status.state)).collect()
}

#[test]
fn the_same_configuration_changes_nothing() {
    let mut world = world(vec![policy("a"), policy("b")]);
    world.update_of("a", listed(&[of("a", "s", &["10.0.0.1:80"])]));
    let before = world.catalog();
    let known = |world: &World| std::ptr::from_ref(&world.core.publishing.known[&id("a", "s")]);
    let place = known(&world);
    assert_eq!(world.configure(vec![policy("a"), policy("b")]), Outcome::default());
    assert!(Arc::ptr_eq(&world.catalog(), &before));
    assert_eq!(known(&world), place, "nothing was copied");
    // Another connection is no reason for a copy either; another order is.
    let _ = world.configure_all(vec![connected(policy("a"), 1), policy("b").into()], false);
    assert_eq!(known(&world), place);
    assert!(world.configure_all(vec![policy("b").into(), connected(policy("a"), 1)], false).reordered);
    assert_ne!(known(&world), place);
}

#[test]
fn a_registry_comes_and_its_services_with_its_first_list() {
    let mut world = world(vec![policy("a")]);
    world.update_of("a", listed(&[of("a", "s", &["10.0.0.1:80"])]));
    let outcome = world.configure(vec![policy("a"), policy("b")]);
    assert_eq!(outcome.begun, [world.core.reading("b").unwrap()]);
    assert_eq!((outcome.ended.len(), outcome.held.len()), (0, 0));
    assert_eq!(states(&mut world), [("a".into(), State::Synced), ("b".into(), State::Connecting)]);
    world.update_of("b", listed(&[of("b", "t", &["10.0.0.2:80"])]));
    world.check(&["s.example http:80 | 10.0.0.1:80", "t.example http:80 | 10.0.0.2:80"]);
}

#[test]
fn a_new_registry_makes_absence_prove_nothing_and_never_stops_what_is_served() {
    let mut world = world(vec![policy("a")]);
    let _ = world.configure(vec![policy("a"), policy("b")]);
    assert_eq!(world.catalog().sync, Readiness::Waiting, "nothing was complete yet");
    world.update_of("a", listed(&[]));
    world.update_of("b", listed(&[]));
    assert_eq!(world.catalog().sync, Readiness::Complete);
    let _ = world.configure(vec![policy("a"), policy("b"), policy("c")]);
    assert_eq!(world.catalog().sync, Readiness::Partial, "even within the grace of the start");
    world.update_of("c", listed(&[]));
    assert_eq!(world.catalog().sync, Readiness::Complete);
    let mut optional = policy("o");
    optional.required = false;
    let _ = world.configure(vec![policy("a"), policy("b"), policy("c"), optional]);
    assert_eq!(world.catalog().sync, Readiness::Complete);
    // What leaves is not waited for.
    let _ = world.configure(vec![policy("a"), policy("new")]);
    assert_eq!(world.catalog().sync, Readiness::Partial);
    let _ = world.configure(vec![policy("a")]);
    assert_eq!(world.catalog().sync, Readiness::Complete);
}

#[test]
fn a_registry_with_endpoints_leaves_when_its_hold_is_over() {
    let mut world = world(vec![policy("a"), policy("b")]);
    world.update_of("a", listed(&[of("a", "s", &["10.0.0.1:80"])]));
    let old = world.core.reading("a").unwrap();
    let outcome = world.configure(vec![policy("b")]);
    assert_eq!(outcome.ended, ["a".into()]);
    let held = &outcome.held[0];
    assert_eq!((&*held.registry, held.change, held.endpoints, held.of), ("a", HeldChange::Removal, 1, 1));
    assert_eq!(held.until.duration_since(world.now.wall).unwrap(), Duration::from_secs(300));
    world.check(&["s.example http:80 | 10.0.0.1:80"]);
    assert_eq!(states(&mut world), [("b".into(), State::Connecting), ("a".into(), State::Removed)]);
    let status = world.catalog().registries[1].clone();
    assert_eq!(status.hold.as_ref().map(|hold| (hold.cause, hold.endpoints)), Some((HoldCause::Removal, 1)));
    // Its former reading has no say any more.
    world.core.apply(&old, listed(&[]), world.now);
    world.seconds(100);
    // The same configuration does not begin the hold anew.
    assert_eq!(world.configure(vec![policy("b")]).held[0].until, held.until);
    world.seconds(199);
    world.check(&["s.example http:80 | 10.0.0.1:80"]);
    world.seconds(1);
    world.check(&[]);
    assert_eq!(states(&mut world), [("b".into(), State::Connecting)]);
    let events = world.core.take_events();
    assert!(events.contains(&Event::Forgotten { registry: "a".into() }), "{events:?}");
    assert_eq!(world.catalog().records.len(), 0);
}

#[test]
fn a_removal_is_released_forced_and_taken_back() {
    let start = || {
        let mut world = world(vec![policy("a"), policy("b")]);
        world.update_of("a", listed(&[of("a", "s", &["10.0.0.1:80"])]));
        world
    };
    let mut released = start();
    let _ = released.configure(vec![policy("b")]);
    assert!(released.core.release("a", released.now));
    released.check(&[]);
    let mut forced = start();
    assert_eq!(forced.configure_all(vec![policy("b").into()], true).held, []);
    forced.check(&[]);
    let mut back = start();
    let _ = back.configure(vec![policy("b")]);
    let outcome = back.configure(vec![policy("a"), policy("b")]);
    assert_eq!(outcome.begun, [back.core.reading("a").unwrap()], "its reading had ended");
    assert_eq!(states(&mut back)[0], ("a".into(), State::Stale));
    back.seconds(1000);
    back.check(&["s.example http:80 | 10.0.0.1:80"]);
    back.update_of("a", listed(&[of("a", "s", &["10.0.0.2:80"])]));
    back.check(&["s.example http:80 | 10.0.0.2:80"]);
    assert!(!back.core.release("a", back.now), "nothing is held any more");
}

#[test]
fn a_registry_without_endpoints_or_holding_leaves_at_once() {
    let no_time = Policy { holding: Holding { hold: Duration::ZERO, ..Holding::default() }, ..policy("a") };
    let no_drop =
        Policy { holding: Holding { max_drop: Fraction::new(1.0).unwrap(), ..Holding::default() }, ..policy("a") };
    for unheld in [no_time, no_drop] {
        let mut world = world(vec![unheld, policy("b")]);
        world.update_of("a", listed(&[of("a", "s", &["10.0.0.1:80"])]));
        world.update_of("b", listed(&[of("b", "t", &[])]));
        assert_eq!(world.configure(Vec::new()).held, []);
        world.check(&[]);
        assert_eq!(states(&mut world), []);
    }
}

#[test]
fn a_renamed_registry_is_replaced_host_by_host_and_forgotten() {
    let mut world = world(vec![policy("old")]);
    world.update_of("old", listed(&[of("old", "s", &["10.0.0.1:80"]), of("old", "t", &["10.0.0.2:80"])]));
    assert_eq!(world.configure(vec![policy("new")]).held.len(), 1);
    world.update_of("new", Update::Applied(all(), of("new", "s", &["10.0.0.9:80"])));
    world.check(&["s.example http:80 | 10.0.0.9:80", "t.example http:80 | 10.0.0.2:80"]);
    world.update_of("new", listed(&[of("new", "s", &["10.0.0.9:80"]), of("new", "t", &["10.0.0.2:80"])]));
    world.check(&["s.example http:80 | 10.0.0.9:80", "t.example http:80 | 10.0.0.2:80"]);
    assert_eq!(states(&mut world), [("new".into(), State::Synced)], "nothing is lost with the old one");
}

#[test]
fn who_left_keeps_no_name_from_who_is_there() {
    let mut old = policy("old");
    old.owner = Owner::First;
    let a = || of("new", "a", &["10.0.1.1:80", "10.0.1.1:81 grpc"]);
    let theirs = [of("old", "grpc.a", &["10.0.0.1:80"]), of("old", "z", &["10.0.0.2:80"])];
    let mut world = world(vec![old, policy("new")]);
    world.update_of("old", listed(&theirs));
    world.update_of("new", listed(&[a()]));
    world.check(&[
        "a.example http:80 | 10.0.1.1:80",
        "grpc.a.example http:80 | 10.0.0.1:80",
        "z.example http:80 | 10.0.0.2:80",
    ]);
    let held = world.configure(vec![policy("new")]).held;
    assert_eq!((held[0].endpoints, held[0].of), (1, 2), "the host of the port is served as well");
    let port = "a.example http:80 grpc:9090@grpc.a.example | 10.0.1.1:80, 10.0.1.1:grpc=81";
    world.check(&[port, "z.example http:80 | 10.0.0.2:80"]);
    world.check_notes(&id("old", "grpc.a"), &[(Reason::HostContested, "grpc.a.example")]);
    // Nor does it keep what it has, though it was first.
    world.update_of("new", listed(&[a(), of("new", "z", &["10.0.1.2:80"])]));
    world.check(&[port, "z.example http:80 | 10.0.1.2:80"]);
}

#[test]
fn aliases_go_over_to_who_is_there() {
    let named = |registry: &str, host: &str, aliases: &[&str]| Policy {
        host: template(host),
        aliases: aliases.iter().map(|text| template(text)).collect(),
        ..policy(registry)
    };
    let new = || vec![named("new", "{service}.new", &["{service}", "{service}.old"])];
    let mut world = world(vec![named("old", "{service}.old", &["{service}"])]);
    world.update_of("old", listed(&[of("old", "s", &["10.0.0.1:80"]), of("old", "t", &["10.0.0.2:80"])]));
    assert_eq!(world.configure(new()).held[0].endpoints, 2);
    world.update_of("new", Update::Applied(all(), of("new", "s", &["10.0.0.1:80"])));
    world.check(&["s.new +s +s.old http:80 | 10.0.0.1:80", "t.old +t http:80 | 10.0.0.2:80"]);
    world.update_of("new", listed(&[of("new", "s", &["10.0.0.1:80"]), of("new", "t", &["10.0.0.2:80"])]));
    world.check(&["s.new +s +s.old http:80 | 10.0.0.1:80", "t.new +t +t.old http:80 | 10.0.0.2:80"]);
    assert_eq!(states(&mut world), [("new".into(), State::Synced)], "nothing is lost with the old one");
}

#[test]
fn another_order_decides_contested_hosts_anew_and_nothing_else() {
    let mut world = world(vec![policy("a"), policy("b")]);
    world.update_of("a", listed(&[of("a", "s", &["10.0.0.1:80"]), of("a", "own", &["10.0.0.3:80"])]));
    world.update_of("b", listed(&[of("b", "s", &["10.0.0.2:80"])]));
    let own = |world: &mut World| world.catalog().services[&Hostname::new("own.example").unwrap()].clone();
    let before = own(&mut world);
    let outcome = world.configure(vec![policy("b"), policy("a")]);
    assert_eq!(outcome, Outcome { reordered: true, ..Outcome::default() });
    world.check(&["own.example http:80 | 10.0.0.3:80", "s.example http:80 | 10.0.0.2:80"]);
    assert!(Arc::ptr_eq(&own(&mut world), &before));
    assert_eq!(states(&mut world).iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["b", "a"]);
    world.check_notes(&id("a", "s"), &[(Reason::HostContested, "s.example")]);
    world.check_notes(&id("b", "s"), &[]);
    // Claims bear the new order: they are found again when they go.
    world.update_of("b", Update::Removed(all(), id("b", "s")));
    world.check(&["own.example http:80 | 10.0.0.3:80", "s.example http:80 | 10.0.0.1:80"]);
}

#[test]
fn another_policy_re_evaluates_what_is_known() {
    let mut world = world(vec![policy("a")]);
    world.update_of("a", listed(&[of("a", "s", &["10.0.0.1:80"]), of("a", "t", &[])]));
    let number = world.catalog().number;
    let mut aliased = policy("a");
    aliased.aliases = vec![template("{service}")];
    aliased.protocol = Protocol::Grpc;
    let outcome = world.configure(vec![aliased]);
    assert_eq!(outcome, Outcome { republished: vec!["a".into()], ..Outcome::default() });
    world.check(&["s.example +s grpc:9090 | 10.0.0.1:grpc=80", "t.example +t grpc:9090 | "]);
    assert_eq!(world.catalog().number, number + 1, "one step");
    // The numbers of absence and lingering hold for what is absent already.
    let mut brief = policy("a");
    (brief.absent_lists, brief.linger) = (1, Duration::from_secs(5));
    let _ = world.configure(vec![brief]);
    world.update_of("a", listed(&[of("a", "s", &["10.0.0.1:80"])]));
    world.seconds(5);
    assert_eq!(hosts(&mut world), ["s.example"]);
}

#[test]
fn a_policy_that_takes_much_away_waits_for_its_hold() {
    let mut world = world(vec![policy("a"), policy("b")]);
    world.update_of("a", listed(&singles("a", 30)));
    world.update_of("b", listed(&[of("b", "t", &["10.0.9.9:80"])]));
    let before = hosts(&mut world);
    // A third of them: not more than may go. All: held.
    assert_eq!(world.configure(vec![excluding("a", "s0*"), policy("b")]).held, []);
    assert_eq!(hosts(&mut world).len(), 21);
    assert_eq!(world.configure(vec![policy("a"), policy("b")]).republished, ["a".into()]);
    assert_eq!(hosts(&mut world), before);
    let outcome = world.configure(vec![excluding("a", "*"), excluding("b", "nothing")]);
    assert_eq!((outcome.held[0].change, outcome.held[0].endpoints, outcome.held[0].of), (HeldChange::Policy, 30, 30));
    assert!(outcome.republished.is_empty(), "all of it or nothing");
    assert_eq!(hosts(&mut world), before);
    assert_eq!(world.catalog().registries[0].hold.as_ref().map(|hold| hold.cause), Some(HoldCause::Policy));
    // Updates go on by the former policy.
    world.update_of("a", Update::Applied(all(), of("a", "s99", &["10.0.8.8:80"])));
    assert_eq!(hosts(&mut world).len(), before.len() + 1);
    let back = world.configure(vec![policy("a"), excluding("b", "nothing")]);
    assert_eq!(back, Outcome { republished: vec!["b".into()], ..Outcome::default() }, "as if it had never been");
    assert_eq!(world.catalog().registries[0].hold, None);
    assert_eq!(world.configure(vec![excluding("a", "*"), policy("b")]).held.len(), 1);
    world.seconds(300);
    assert_eq!(hosts(&mut world), ["t.example"]);
    let events = world.core.take_events();
    assert!(events.contains(&Event::Hold { registry: "a".into(), event: HoldEvent::Expired }), "{events:?}");
}

#[test]
fn an_order_waits_with_the_policies_that_came_with_it() {
    let mut world = world(vec![policy("b"), policy("a")]);
    world.update_of("a", listed(&singles("a", 30)));
    world.update_of("b", listed(&[of("b", "s00", &["10.0.9.9:80"])]));
    let s00 = |world: &mut World| show(&world.catalog().services[&Hostname::new("s00.example").unwrap()]);
    let before = s00(&mut world);
    // `a` is to go first, and to leave this host: neither gives it to `a`.
    let outcome = world.configure(vec![excluding("a", "s*"), policy("b"), policy("c")]);
    assert_eq!((outcome.held.len(), outcome.reordered, outcome.begun.len()), (1, false, 1));
    assert_eq!(s00(&mut world), before);
    assert!(world.core.release("a", world.now));
    assert_eq!(s00(&mut world), before);
    assert_eq!(states(&mut world).iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_removal_waits_with_the_plan_by_which_another_would_take_its_hosts() {
    let mut elsewhere = policy("a");
    elsewhere.host = template("{service}.elsewhere");
    let mut world = world(vec![elsewhere, policy("b")]);
    world.update_of("a", listed(&singles("a", 30)));
    world.update_of("b", listed(&singles("b", 30)));
    let before = hosts(&mut world);
    // `a` would have the hosts of `b`, but leaves its own: that waits, and so must the end of `b`.
    let held = world.configure(vec![policy("a")]).held;
    assert_eq!(held.iter().map(|held| &*held.registry).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(hosts(&mut world), before);
}

#[test]
fn names_that_go_take_their_endpoints_away() {
    let mut world = world(vec![policy("a")]);
    world.update_of("a", listed(&singles("a", 30)));
    let mut renamed = policy("a");
    renamed.host = template("{service}.other");
    assert_eq!(world.configure(vec![renamed.clone()]).held[0].endpoints, 30);
    assert_eq!(world.configure_all(vec![renamed.into()], true).held, []);
    world.seconds(601);
    assert_eq!(hosts(&mut world)[0], "s00.other");
}

#[test]
fn what_another_registry_serves_under_the_host_is_not_lost() {
    let (mut a, mut b) = (policy("a"), policy("b"));
    (a.merge, b.merge) = (Merge::Host, Merge::Host);
    let mut world = world(vec![a.clone(), b.clone()]);
    world.update_of("a", listed(&singles("a", 30)));
    world.update_of("b", listed(&singles("b", 30)));
    assert_eq!(world.configure(vec![b]).held, [], "the other one has the same");
    world.check(
        &singles("b", 30)
            .iter()
            .map(|s| format!("{}.example http:80 | {}:80", s.id.name, s.endpoints[0].address))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn another_connection_keeps_everything_until_the_new_reading_has_listed_it() {
    let scope = |name: &str| Scope(name.into());
    let in_scope = |name: &str, services: &[Arc<Service>]| Update::Listed {
        scope: scope(name),
        services: services.to_vec(),
        unreadable: Vec::new(),
    };
    let (a, b, c) = (of("r", "a", &["10.0.0.1:80"]), of("r", "b", &["10.0.0.2:80"]), of("r", "c", &["10.0.0.3:80"]));
    let mut policy = policy("r");
    policy.holding.max_drop = Fraction::new(1.0).unwrap();
    let mut world = world(vec![policy.clone()]);
    world.update(Update::Scopes(vec![scope("x"), scope("y")]));
    world.update(in_scope("x", std::slice::from_ref(&a)));
    world.update(in_scope("y", &[b.clone(), c.clone()]));
    let number = world.catalog().number;
    let old = world.core.reading("r").unwrap();
    let outcome = world.configure_all(vec![connected(policy.clone(), 7)], false);
    let new = world.core.reading("r").unwrap();
    assert_eq!((outcome.begun, outcome.ended), (vec![new.clone()], vec!["r".into()]));
    assert!(new.epoch > old.epoch);
    assert_eq!((world.catalog().sync, states(&mut world)[0].1), (Readiness::Complete, State::Stale));
    world.check_notes(&a.id, &[(Reason::Stale, "x")]);
    world.core.apply(&old, in_scope("x", &[]), world.now);
    world.core.apply(&old, Update::Removed(scope("y"), b.id.clone()), world.now);
    // The new reading has `b` in another scope, and neither `a` nor the scope `x`.
    world.update(Update::Scopes(vec![scope("y"), scope("z")]));
    world.update(in_scope("y", std::slice::from_ref(&c)));
    world.seconds(1000);
    assert_eq!(hosts(&mut world), ["a.example", "b.example", "c.example"]);
    assert_eq!(world.catalog().number, number, "nothing that is served has changed");
    world.update(Update::Failed { scope: Some(scope("z")), error: "refused".into() });
    world.seconds(1000);
    assert_eq!(world.catalog().number, number);
    world.update(in_scope("z", std::slice::from_ref(&b)));
    world.check_notes(&a.id, &[(Reason::AbsentOnce, "")]);
    assert_eq!((world.catalog().number, states(&mut world)[0].1), (number, State::Synced));
    world.seconds(11);
    let empty = "a.example http:80 | ";
    world.check(&[empty, "b.example http:80 | 10.0.0.2:80", "c.example http:80 | 10.0.0.3:80"]);
    world.update(in_scope("y", std::slice::from_ref(&c)));
    world.check_notes(&b.id, &[]);
}

#[test]
fn what_a_new_reading_lacks_is_a_drop_like_another() {
    let mut world = world(vec![policy("r")]);
    world.list(&singles("r", 30));
    let _ = world.configure_all(vec![connected(policy("r"), 7)], false);
    world.list(&singles("r", 1));
    assert_eq!(world.catalog().services.values().map(|service| service.endpoints.len()).sum::<usize>(), 30);
    assert_eq!(world.catalog().registries[0].hold.as_ref().map(|hold| hold.cause), Some(HoldCause::Drop));
    world.list(&singles("r", 1));
    world.seconds(300);
    assert_eq!(world.catalog().services.values().map(|service| service.endpoints.len()).sum::<usize>(), 1);
}

#[test]
fn everything_in_one_configuration_is_one_catalog() {
    let mut world = world(vec![policy("a"), policy("b")]);
    world.update_of("a", listed(&[of("a", "s", &["10.0.0.1:80"])]));
    world.update_of("b", listed(&[of("b", "s", &["10.0.0.2:80"]), of("b", "t", &["10.0.0.3:80"])]));
    let number = world.catalog().number;
    let mut aliased = policy("b");
    aliased.aliases = vec![template("{service}")];
    let _ = world.configure_all(vec![aliased.into(), policy("c").into()], true);
    assert_eq!(world.catalog().number, number + 1);
    world.check(&["s.example +s http:80 | 10.0.0.2:80", "t.example +t http:80 | 10.0.0.3:80"]);
}

#[test]
fn what_is_kept_says_where_it_was_read_last() {
    let at = |connection, identity: &str| Registry { identity: identity.into(), ..connected(policy("r"), connection) };
    let kept = |world: &World, after| {
        let memories = world.core.remember(after, world.now).memories;
        memories
            .into_iter()
            .map(|(_, identity, memory)| (identity.to_string(), memory.services.len()))
            .collect::<Vec<_>>()
    };
    let mut world = world(Vec::new());
    let _ = world.configure_all(vec![at(1, "here")], false);
    world.list(&singles("r", 3));
    let number = world.core.touches();
    assert_eq!(kept(&world, 0), [("here".into(), 3)]);
    assert_eq!(kept(&world, number), []);
    let _ = world.configure_all(vec![at(2, "there")], false);
    assert_eq!(kept(&world, 0), [], "what it has was read elsewhere");
    world.list(&singles("r", 3));
    assert_eq!(kept(&world, number), [("there".into(), 3)], "the same services, of another place");
    // Another way to the same place makes it nobody else's.
    let number = world.core.touches();
    let _ = world.configure_all(vec![at(3, "there")], false);
    assert_eq!(kept(&world, 0), [("there".into(), 3)]);
    world.list(&singles("r", 3));
    assert_eq!(kept(&world, number), [("there".into(), 3)]);
    // Nor does another place, where there was nothing before.
    let mut world = super::world(Vec::new());
    let _ = world.configure_all(vec![at(1, "here")], false);
    let _ = world.configure_all(vec![at(2, "there")], false);
    world.list(&singles("r", 3));
    let _ = world.configure_all(vec![at(3, "there")], false);
    assert_eq!(kept(&world, 0), [("there".into(), 3)]);
}

#[test]
fn what_leaves_is_kept_until_it_is_forgotten() {
    let mut world = world(vec![policy("a"), policy("b")]);
    world.update_of("a", listed(&singles("a", 3)));
    let kept = |world: &World| {
        let kept = world.core.remember(0, world.now);
        let of_a = kept.memories.iter().find(|(name, ..)| &**name == "a").map(|(.., memory)| memory.services.len());
        (kept.registries.iter().any(|name| &**name == "a"), of_a)
    };
    let _ = world.configure(vec![policy("b")]);
    assert_eq!(kept(&world), (true, Some(3)), "it may be taken back");
    world.seconds(299);
    assert_eq!(kept(&world), (true, Some(3)));
    let touches = world.core.touches();
    world.seconds(1);
    assert_eq!(kept(&world), (false, None));
    assert!(world.core.touches() > touches, "its file is to go");
}
