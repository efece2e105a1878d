//! What is published with overrides.

use super::*;
use crate::catalog::{Order, Override, Refused, Target, Wish};

fn host(name: &str) -> Hostname {
    Hostname::new(name).unwrap()
}

fn of(text: &str) -> Target {
    match text.split_once(' ') {
        None if text == "*" => Target::Everything,
        None => Target::Service(host(text)),
        Some((name, place)) => Target::Instance(host(name), place.into()),
    }
}

impl World {
    fn lay(&mut self, target: &str, wish: Wish) -> Result<Override, Refused> {
        self.core.snapshot();
        let order = Order { of: of(target), wish, time: Duration::from_secs(60), by: "me".into(), why: "".into() };
        self.core.lay(order, self.now)
    }

    /// Address, port, health and weight of each endpoint of a host; nothing if it is not published.
    fn serves(&mut self, name: &str) -> Option<Vec<String>> {
        let catalog = self.core.snapshot();
        let service = catalog.services.get(&host(name))?;
        let text = |e: &PublishedEndpoint| {
            let port = e.ports.first().map(|(_, port)| *port);
            format!("{} {:?} {}", e.address.place(port), e.health, e.weight.get())
        };
        Some(service.endpoints.iter().map(text).collect())
    }
}

fn two() -> World {
    let mut world = one(|policy| policy.absent_lists = 1);
    world.update(listed(&[service("a", &["10.0.0.1:80", "10.0.0.2:80 w2"]), service("b", &["fd00::1:80"])]));
    world
}

#[test]
fn an_instance_is_drained_disabled_or_weighted_by_hand() {
    let mut world = two();
    world.lay("a.example 10.0.0.1", Wish::Drain).unwrap();
    world.lay("a.example 10.0.0.2:80", Wish::Weight(Weight::relative(0.5, 1.0).unwrap())).unwrap();
    world.lay("b.example [fd00::1]:80", Wish::Disable).unwrap();
    assert_eq!(world.serves("a.example").unwrap(), ["10.0.0.1:80 Draining 1", "10.0.0.2:80 Healthy 0.5"]);
    assert!(world.serves("b.example").unwrap().is_empty(), "it is published, without instances");
    // What the registry says of them is not followed, all else is.
    world.update(listed(&[service("a", &["10.0.0.1:80", "10.0.0.2:80 w9", "10.0.0.3:80"])]));
    let now = world.serves("a.example").unwrap();
    assert_eq!(now, ["10.0.0.1:80 Draining 1", "10.0.0.2:80 Healthy 0.5", "10.0.0.3:80 Healthy 1"]);
    world.core.lift(|over| over.deed.name() == "drain", &"me".into(), world.now);
    assert_eq!(world.serves("a.example").unwrap()[0], "10.0.0.1:80 Healthy 1");
}

#[test]
fn what_is_kept_is_served_whatever_its_registry_says() {
    let mut world = two();
    world.lay("a.example 10.0.0.2", Wish::Keep).unwrap();
    world.lay("b.example", Wish::Keep).unwrap();
    world.update(listed(&[service("a", &["10.0.0.3:80"])]));
    assert_eq!(world.serves("a.example").unwrap(), ["10.0.0.2:80 Healthy 2", "10.0.0.3:80 Healthy 1"]);
    assert_eq!(world.serves("b.example").unwrap(), ["[fd00::1]:80 Healthy 1"]);
    // One that is there again is as the registry has it.
    world.update(listed(&[service("a", &["10.0.0.2:80 w7"])]));
    assert_eq!(world.serves("a.example").unwrap(), ["10.0.0.2:80 Healthy 7"]);
}

#[test]
fn what_is_pinned_stays_and_what_its_registry_says_is_followed_below() {
    let mut world = two();
    world.lay("a.example", Wish::Pin(None)).unwrap();
    let number = world.core.snapshot().number;
    world.update(listed(&[service("a", &["10.0.0.9:80"]), service("b", &["fd00::1:80"])]));
    assert_eq!(world.serves("a.example").unwrap().len(), 2);
    assert_eq!(world.core.snapshot().number, number, "nothing has changed for anybody");
    assert_eq!(world.core.snapshot().records[&id("r", "a")].service.endpoints.len(), 1, "and people see what there is");
    world.update(listed(&[service("c", &["10.0.0.4:80"])]));
    assert_eq!(world.serves("c.example").unwrap().len(), 1);

    let before = world.core.snapshot().services.clone();
    world.lay("*", Wish::Pin(None)).unwrap();
    world.update(listed(&[service("d", &["10.0.0.5:80"])]));
    assert_eq!(world.core.snapshot().services, before);
    world.core.lift(|over| over.of == Target::Everything, &"me".into(), world.now);
    assert_eq!(world.serves("d.example").unwrap().len(), 1);
    assert_eq!(world.serves("a.example").unwrap().len(), 2, "its own pin goes on");
    // One goes back to what was, also to nothing.
    world.lay("d.example", Wish::Pin(Some(before.clone()))).unwrap();
    assert_eq!(world.serves("d.example"), None);
    world.lay("*", Wish::Pin(Some(before.clone()))).unwrap();
    assert_eq!(world.core.snapshot().services, before);
}

#[test]
fn the_time_of_an_override_ends_and_it_can_be_laid_anew() {
    let mut world = two();
    let first = world.lay("a.example 10.0.0.1", Wish::Disable).unwrap();
    assert_eq!(first.until, world.now.wall + Duration::from_secs(60));
    assert_eq!(world.core.due(), Some(world.now.instant + Duration::from_secs(60)));
    world.now = world.now.after(Duration::from_secs(50));
    let again = world.lay("a.example 10.0.0.1", Wish::Disable).unwrap();
    assert!(again.id > first.id);
    assert_eq!(world.core.snapshot().overrides.len(), 1, "it took the place of the first");
    world.now = world.now.after(Duration::from_secs(59));
    world.core.tick(world.now);
    assert_eq!(world.serves("a.example").unwrap().len(), 1);
    world.now = world.now.after(Duration::from_secs(1));
    world.core.tick(world.now);
    assert_eq!(world.serves("a.example").unwrap().len(), 2);
    assert!(world.core.snapshot().overrides.is_empty());
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let mut world = two();
    let weight = || Wish::Weight(Weight::DEFAULT);
    for (target, wish, expected) in [
        ("x.example", Wish::Pin(None), "no service x.example is published"),
        ("x.example", Wish::Pin(Some(Default::default())), "no service x.example"),
        ("x.example", Wish::Keep, "no service x.example"),
        ("x.example", Wish::Drain, "no service x.example"),
        ("a.example 10.0.0.7", Wish::Drain, "a.example has no instance 10.0.0.7"),
        ("a.example 10.0.0.1:81", weight(), "a.example has no instance 10.0.0.1:81"),
        ("a.example 10.0.0.1", Wish::Pin(None), "a pin is of everything or of one service"),
        ("*", Wish::Disable, "disable is of one service, or of one instance"),
    ] {
        let refused = world.lay(target, wish).unwrap_err().to_string();
        assert!(refused.contains(expected), "{target}: {refused}");
    }
    let fleet = fleet("f", 0, 101);
    world.update(listed(std::slice::from_ref(&fleet)));
    for endpoint in &fleet.endpoints[..100] {
        world.lay(&format!("f.example {}", endpoint.address), Wish::Drain).unwrap();
    }
    assert_eq!(world.lay("f.example", Wish::Drain).unwrap_err(), Refused::TooMany);
}

#[test]
fn what_is_recalled_answers_nobody_before_registries_are_known() {
    let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
    let begun = |all: &[Override]| {
        let mut core = Core::new(Options::default().grace, now);
        core.recall_overrides(all, now);
        assert_eq!(core.snapshot().sync, Readiness::Waiting, "nothing is configured yet");
        let mut world = World { core, now };
        let _ = world.configure(vec![policy("r")]);
        world
    };
    assert_eq!(begun(&[]).core.snapshot().sync, Readiness::Waiting);
    let everything = two().lay("*", Wish::Pin(None)).unwrap();
    let mut frozen = begun(&[everything]);
    assert_eq!(frozen.core.snapshot().sync, Readiness::Partial, "what is frozen is known");
    assert_eq!(frozen.serves("a.example").unwrap().len(), 2);
}

#[test]
fn what_is_known_is_judged_anew_when_a_pin_of_everything_is_lifted() {
    let mut world = world(vec![policy("r"), policy("down")]);
    world.update(listed(&[service("a", &["10.0.0.1:80"])]));
    world.seconds(30);
    let known = |world: &mut World| world.core.snapshot().known;
    assert_eq!(known(&mut world), Readiness::Partial);
    world.lay("*", Wish::Pin(None)).unwrap();
    assert_eq!(known(&mut world), Readiness::Complete, "what is frozen is known");
    world.core.lift(|over| over.of == Target::Everything, &"me".into(), world.now);
    assert_eq!(known(&mut world), Readiness::Partial);
}
