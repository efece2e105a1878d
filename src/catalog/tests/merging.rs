//! One host of several registries.

use super::*;
use crate::catalog::Merge;

/// Two registries `a` and `b` that share hosts, changed as given.
fn two(change: impl FnOnce(&mut Policy, &mut Policy)) -> World {
    let (mut a, mut b) = (policy("a"), policy("b"));
    (a.merge, b.merge) = (Merge::Host, Merge::Host);
    change(&mut a, &mut b);
    world(vec![a, b])
}

fn list_both(world: &mut World, a: &[&str], b: &[&str]) {
    world.update_of("a", listed(&[Arc::new(service_of("a", "s", a))]));
    world.update_of("b", listed(&[Arc::new(service_of("b", "s", b))]));
}

#[test]
fn endpoints_of_both_carry_their_registry_and_doubles_are_the_smaller_owners() {
    let mut world = two(|_, _| {});
    list_both(&mut world, &["10.0.0.1:80", "10.0.0.2:80 x=a"], &["10.0.0.2:80 x=b", "10.0.0.3:80"]);
    world.check(&["s.example http:80 | 10.0.0.1:80 registry=a, 10.0.0.2:80 registry=a x=a, 10.0.0.3:80 registry=b"]);
    let catalog = world.catalog();
    let notes = &catalog.services.values().next().unwrap().notes;
    assert_eq!(*notes, [Note::new(Reason::Duplicate, "10.0.0.2:80", "")]);
}

#[test]
fn who_does_not_choose_to_share_is_refused() {
    let mut world = two(|_, b| b.merge = Merge::Refuse);
    list_both(&mut world, &["10.0.0.1:80"], &["10.0.0.2:80"]);
    world.check(&["s.example http:80 | 10.0.0.1:80"]);
    world.check_notes(&id("b", "s"), &[(Reason::HostContested, "s.example")]);
}

#[test]
fn priorities_have_no_gaps() {
    let mut world = two(|a, b| (a.priority, b.priority) = (7, 3));
    list_both(&mut world, &["10.0.0.1:80"], &["10.0.0.2:80"]);
    world.check(&["s.example http:80 | 10.0.0.1:80 p1 registry=a, 10.0.0.2:80 registry=b"]);
    list_both(&mut world, &["10.0.0.1:80"], &[]);
    world.check(&["s.example http:80 | 10.0.0.1:80 registry=a"]);
}

#[test]
fn shares_divide_traffic_whatever_the_number_of_instances() {
    let share = |value: f64| Some(Weight::relative(value, 1.0).unwrap());
    let mut world = two(|a, b| (a.share, b.share) = (share(1.0), share(3.0)));
    list_both(&mut world, &["10.0.0.1:80"], &["10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80 w2"]);
    // A quarter and three quarters of 4; the latter divided 1:1:2.
    world.check(&[
        "s.example http:80 | 10.0.0.1:80 registry=a, 10.0.0.2:80 w0.75 registry=b, 10.0.0.3:80 w0.75 registry=b, 10.0.0.4:80 w1.5 registry=b",
    ]);
    let mut world = two(|a, _| a.share = share(0.0));
    list_both(&mut world, &["10.0.0.1:80"], &["10.0.0.2:80"]);
    world.check(&["s.example http:80 | 10.0.0.2:80 registry=b"]);
    // Without a share, the sum of the weights counts.
    let mut world = two(|a, _| a.share = share(2.0));
    list_both(&mut world, &["10.0.0.1:80"], &["10.0.0.2:80", "10.0.0.3:80"]);
    world.check(&[
        "s.example http:80 | 10.0.0.1:80 w1.5 registry=a, 10.0.0.2:80 w0.75 registry=b, 10.0.0.3:80 w0.75 registry=b",
    ]);
}

#[test]
fn the_owners_ports_come_first_and_its_numbers_stay() {
    let mut world = two(|_, b| b.protocol = Protocol::Grpc);
    list_both(&mut world, &["10.0.0.1:80"], &["10.0.0.2:80", "10.0.0.3:80 http2"]);
    world.check(&["s.example http:80 grpc:9090@grpc.s.example | 10.0.0.1:80 registry=a, 10.0.0.2:grpc=80 registry=b"]);
}
