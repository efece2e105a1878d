//! Failing, absence, lingering; scopes; readiness; what counts as a change.

use super::*;
use crate::{
    catalog::{Stale, State},
    model::Cost,
};

#[test]
fn a_service_without_instances_knows_the_ports_of_its_last_ones() {
    let mut world = one(|_| {});
    let ports = |world: &mut World| -> Vec<String> {
        let catalog = world.catalog();
        let ports = &catalog.services.values().next().unwrap().instance_ports;
        ports.iter().map(|(name, number)| format!("{name}:{number}")).collect()
    };
    world.list(&[service("a", &["10.0.0.1:8080 off", "10.0.0.2:8081", "10.0.0.3:9090 grpc"])]);
    let all_of_them = ["grpc:9090", "http:8080", "http:8081"];
    assert_eq!(ports(&mut world), all_of_them);
    world.list(&[service("a", &[])]);
    assert_eq!(ports(&mut world), all_of_them);
    world.list(&[service("a", &["10.0.0.1:8082"])]);
    assert_eq!(ports(&mut world), ["http:8082"]);
    world.update(Update::Removed(all(), id("r", "a")));
    assert_eq!(ports(&mut world), ["http:8082"]);
}

fn scope(name: &str) -> Scope {
    Scope(name.into())
}

fn listed_in(name: &str, services: &[Arc<Service>]) -> Update {
    Update::Listed { scope: scope(name), services: services.to_vec(), unreadable: Vec::new() }
}

const A: &str = "a.example http:80 | 10.0.0.1:80";

fn a() -> Arc<Service> {
    service("a", &["10.0.0.1:80"])
}

fn b() -> Arc<Service> {
    service("b", &["10.0.0.2:80"])
}

#[test]
fn a_failure_removes_nothing_and_marks_stale() {
    let mut world = one(|_| {});
    world.list(&[a()]);
    world.update(failed("connection refused"));
    world.seconds(100_000);
    world.check(&[A]);
    world.check_notes(&id("r", "a"), &[(Reason::Stale, "all")]);
    let status = world.catalog().registries[0].clone();
    assert_eq!((status.state, status.services, status.endpoints), (State::Stale, 1, 1));
    assert_eq!(status.last_error.as_ref().map(|(_, error)| &**error), Some("connection refused"));
    world.list(&[a()]);
    world.check_notes(&id("r", "a"), &[]);
    let status = world.catalog().registries[0].clone();
    assert_eq!((status.state, status.last_error.is_some()), (State::Synced, true));
}

#[test]
fn a_service_is_gone_when_two_lists_in_a_row_lack_it_and_lingers() {
    let mut world = one(|_| {});
    world.list(&[a(), b()]);
    world.list(&[b()]);
    world.check(&[A, "b.example http:80 | 10.0.0.2:80"]);
    world.check_notes(&id("r", "a"), &[(Reason::AbsentOnce, "")]);
    // A failure in between is no list.
    world.update(failed("timeout"));
    world.check(&[A, "b.example http:80 | 10.0.0.2:80"]);
    world.list(&[b()]);
    world.check(&["a.example http:80 | ", "b.example http:80 | 10.0.0.2:80"]);
    world.check_notes(&id("r", "a"), &[(Reason::Lingering, "")]);
    world.seconds(599);
    assert_eq!(world.count("a.example"), Some(0));
    world.seconds(1);
    world.check(&["b.example http:80 | 10.0.0.2:80"]);
    assert!(!world.catalog().records.contains_key(&id("r", "a")));
}

#[test]
fn a_service_that_comes_back_in_time_was_never_gone() {
    let mut world = one(|_| {});
    world.list(&[a(), b()]);
    let number = world.catalog().number;
    for _ in 0..3 {
        world.list(&[b()]);
        world.list(&[a(), b()]);
    }
    assert_eq!(world.catalog().number, number);
    world.list(&[b()]);
    world.list(&[b()]);
    world.seconds(300);
    world.list(&[a(), b()]);
    world.seconds(1000);
    world.check(&[A, "b.example http:80 | 10.0.0.2:80"]);
}

#[test]
fn the_number_of_lists_is_configured() {
    let mut world = one(|p| p.absent_lists = 1);
    world.list(&[a(), b()]);
    world.list(&[b()]);
    world.check(&["a.example http:80 | ", "b.example http:80 | 10.0.0.2:80"]);
}

#[test]
fn what_is_said_of_instances_is_followed_at_once() {
    let mut world = one(|_| {});
    world.list(&[a(), b()]);
    world.update(Update::Applied(all(), service("a", &["10.0.0.3:80"])));
    world.check(&["a.example http:80 | 10.0.0.3:80", "b.example http:80 | 10.0.0.2:80"]);
    world.list(&[service("a", &[]), service("b", &["10.0.0.2:80 off"])]);
    world.check(&["a.example http:80 | ", "b.example http:80 | "]);
    world.update(Update::Removed(all(), id("r", "b")));
    world.check(&["a.example http:80 | ", "b.example http:80 | "]);
    world.check_notes(&id("r", "b"), &[(Reason::Lingering, "")]);
}

#[test]
fn a_list_after_a_push_is_compared_with_the_push() {
    let mut world = one(|_| {});
    let (a, b) = (a(), b());
    world.list(&[a.clone(), b.clone()]);
    world.update(Update::Applied(all(), service("a", &[])));
    world.update(Update::Applied(all(), service("c", &["10.0.0.9:80"])));
    world.list(&[a, b]);
    world.check(&[A, "b.example http:80 | 10.0.0.2:80", "c.example http:80 | 10.0.0.9:80"]);
    world.check_notes(&id("r", "c"), &[(Reason::AbsentOnce, "")]);
}

#[test]
fn unreadable_services_keep_their_last_good_value() {
    let mut world = one(|_| {});
    world.list(&[a()]);
    for _ in 0..3 {
        let unreadable = vec![(id("r", "a"), "port 70000".into()), (id("r", "x"), "no name".into())];
        world.update(Update::Listed { scope: all(), services: Vec::new(), unreadable });
    }
    world.check(&[A]);
    world.check_notes(&id("r", "a"), &[(Reason::EntryInvalid, "")]);
    world.check_notes(&id("r", "x"), &[(Reason::EntryInvalid, "")]);
    world.list(&[b()]);
    world.list(&[b()]);
    world.check(&["a.example http:80 | ", "b.example http:80 | 10.0.0.2:80"]);
}

#[test]
fn each_scope_is_listed_fails_and_goes_by_itself() {
    let mut world = one(|_| {});
    world.update(Update::Scopes(vec![scope("x"), scope("y")]));
    world.update(listed_in("x", &[a()]));
    let state = |world: &mut World| (world.catalog().sync, world.catalog().registries[0].state);
    assert_eq!(state(&mut world), (Readiness::Waiting, State::Syncing));
    world.update(listed_in("y", &[b()]));
    assert_eq!(state(&mut world), (Readiness::Complete, State::Synced));
    world.update(Update::Failed { scope: Some(scope("x")), error: "forbidden".into() });
    world.update(listed_in("y", &[]));
    world.update(listed_in("y", &[]));
    world.check(&[A, "b.example http:80 | "]);
    world.check_notes(&id("r", "b"), &[(Reason::Lingering, "")]);
    assert_eq!(state(&mut world), (Readiness::Complete, State::Stale));
}

#[test]
fn a_scope_that_is_no_longer_named_counts_as_absent_until_it_is_gone() {
    let mut world = one(|p| p.holding.max_drop = Fraction::new(1.0).unwrap());
    world.update(Update::Scopes(vec![scope("x"), scope("y")]));
    world.update(listed_in("x", &[a()]));
    world.update(listed_in("y", &[b()]));
    world.update(Update::Scopes(vec![scope("y")]));
    world.check(&[A, "b.example http:80 | 10.0.0.2:80"]);
    world.seconds(11);
    world.check(&["a.example http:80 | ", "b.example http:80 | 10.0.0.2:80"]);
    assert_eq!(world.catalog().registries[0].scopes.len(), 1);
    // Named again and listed again, it is back.
    world.update(Update::Scopes(vec![scope("x"), scope("y")]));
    world.update(listed_in("x", &[a()]));
    world.seconds(1000);
    world.check(&[A, "b.example http:80 | 10.0.0.2:80"]);
}

#[test]
fn a_service_in_two_scopes_is_the_first_ones_and_survives_a_move() {
    let mut world = one(|_| {});
    world.update(Update::Scopes(vec![scope("x"), scope("y")]));
    world.update(listed_in("y", &[service("a", &["10.0.0.7:80"])]));
    world.update(listed_in("x", &[a()]));
    world.check(&[A]);
    world.check_notes(&id("r", "a"), &[(Reason::Duplicate, "y")]);
    world.update(Update::Scopes(vec![scope("y")]));
    world.check(&["a.example http:80 | 10.0.0.7:80"]);
    world.seconds(1000);
    world.check(&["a.example http:80 | 10.0.0.7:80"]);
    world.check_notes(&id("r", "a"), &[]);
}

#[test]
fn answers_wait_for_required_registries_at_most_for_the_grace() {
    let mut optional = policy("o");
    optional.required = false;
    let mut world = world(vec![policy("r"), optional]);
    assert_eq!(world.catalog().sync, Readiness::Waiting);
    world.update(Update::Failed { scope: None, error: "refused".into() });
    world.seconds(29);
    assert_eq!(world.catalog().sync, Readiness::Waiting);
    world.seconds(1);
    let partial = world.catalog();
    assert_eq!((partial.sync, partial.registries[0].state), (Readiness::Partial, State::Connecting));
    world.list(&[a()]);
    let complete = world.catalog();
    assert_eq!(complete.sync, Readiness::Complete);
    assert!(complete.number > partial.number);
    world.update(failed("refused"));
    assert_eq!(world.catalog().sync, Readiness::Complete, "once listed, what is known is whole");
}

#[test]
fn no_change_makes_no_number() {
    let mut world = one(|_| {});
    let services = [a(), b()];
    world.list(&services);
    let first = world.catalog();
    world.list(&services);
    world.list(&[a(), b()]);
    world.list(&[services[1].clone(), services[0].clone()]);
    world.update(Update::Cost(Cost { requests: 3, bytes: 7, duration: Duration::from_millis(5) }));
    world.update(failed("timeout"));
    world.list(&services);
    let later = world.catalog();
    assert_eq!(later.number, first.number);
    assert!(later.services.ptr_eq(&first.services));
    assert_eq!(later.registries[0].total_cost.bytes, 7);
    assert!(Arc::ptr_eq(&world.catalog(), &later), "nothing heard, nothing new");
}

#[test]
fn what_could_not_be_read_for_too_long_is_marked_and_drained_if_that_is_wanted() {
    for stale in [Stale::Mark, Stale::Drain] {
        let mut world = one(|policy| (policy.stale_after, policy.stale) = (Some(Duration::from_secs(600)), stale));
        let (a, b) = (service("a", &["10.0.0.1:80"]), service("b", &["10.0.0.2:80"]));
        world.list(&[a.clone(), b.clone()]);
        world.seconds(10_000);
        world.check(&["a.example http:80 | 10.0.0.1:80", "b.example http:80 | 10.0.0.2:80"]);
        world.update(failed("down"));
        world.seconds(599);
        world.check_notes(&id("r", "a"), &[(Reason::Stale, "all")]);
        world.seconds(1);
        world.check_notes(&id("r", "a"), &[(Reason::Stale, "all"), (Reason::TooOld, "all")]);
        let health = if stale == Stale::Drain { " draining" } else { "" };
        let shown = [("a", 1), ("b", 2)].map(|(name, i)| format!("{name}.example http:80 | 10.0.0.{i}:80{health}"));
        world.check(&[&shown[0], &shown[1]]);
        world.list(&[a, b]);
        world.check(&["a.example http:80 | 10.0.0.1:80", "b.example http:80 | 10.0.0.2:80"]);
        world.check_notes(&id("r", "a"), &[]);
    }
}

#[test]
fn what_another_connection_does_not_name_becomes_too_old_while_that_cannot_be_listed() {
    let drained = || {
        let mut policy = policy("r");
        (policy.stale_after, policy.stale) = (Some(Duration::from_secs(600)), Stale::Drain);
        policy
    };
    let mut world = world(vec![drained()]);
    world.update(Update::Scopes(vec![scope("x")]));
    world.update(listed_in("x", &[a()]));
    let _ = world.configure_all(vec![Registry { connection: 1, ..drained().into() }], false);
    world.update(Update::Scopes(vec![scope("y")]));
    world.update(Update::Failed { scope: Some(scope("y")), error: "down".into() });
    world.seconds(599);
    world.check(&[A]);
    world.seconds(1);
    world.check(&[&format!("{A} draining")]);
    world.check_notes(&id("r", "a"), &[(Reason::Stale, "x"), (Reason::TooOld, "x")]);
}
