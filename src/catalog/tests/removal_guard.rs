//! Large drops are held back.

use super::*;
use crate::catalog::{Empty, Event, HoldEvent};

/// Services `s0`, `s1`, ... of one instance each, as a registry lists them after a restart: those that are back.
fn singles(names: std::ops::Range<usize>) -> Vec<Arc<Service>> {
    names.map(|i| service(&format!("s{i}"), &[format!("10.2.0.{}:80", i + 1).as_str()])).collect()
}

impl World {
    /// How many endpoints all hosts have together.
    fn served(&mut self) -> usize {
        self.catalog().services.values().map(|service| service.endpoints.len()).sum()
    }

    fn holds(&mut self) -> Vec<HoldEvent> {
        let hold = |event| match event {
            Event::Hold { event, .. } => Some(event),
            _ => None,
        };
        self.core.take_events().into_iter().filter_map(hold).collect()
    }
}

/// Panics if nothing is published under this host.
fn service_at(world: &mut World, host: &str) -> Arc<PublishedService> {
    world.catalog().services[&Hostname::new(host).unwrap()].clone()
}

#[test]
fn a_small_drop_is_followed_and_a_large_one_held() {
    for (before, after, held) in [(100, 70, false), (100, 69, true), (60, 41, false), (60, 40, true), (19, 1, false)] {
        let mut world = one(|_| {});
        world.list(&[fleet("a", 0, before)]);
        world.list(&[fleet("a", 0, after)]);
        assert_eq!(world.count("a.example"), Some(if held { before } else { after }), "{before} -> {after}");
        assert_eq!(world.catalog().registries[0].hold.is_some(), held);
        assert_eq!(world.catalog().registries[0].endpoints, after);
    }
}

#[test]
fn a_held_drop_is_counted_noted_and_followed_in_the_end() {
    let mut world = one(|_| {});
    world.list(&[fleet("a", 0, 50)]);
    world.list(&[fleet("a", 0, 10)]);
    assert_eq!(world.holds(), [HoldEvent::Began { missing: 40, of: 50 }]);
    let hold = world.catalog().registries[0].hold.clone().unwrap();
    assert_eq!((hold.endpoints, hold.until.duration_since(hold.since).unwrap().as_secs()), (40, 300));
    let catalog = world.catalog();
    let notes = &catalog.services.values().next().unwrap().notes;
    assert_eq!(notes.iter().filter(|note| note.reason == Reason::HeldBack).count(), 40);
    world.seconds(299);
    assert_eq!(world.served(), 50);
    world.seconds(1);
    assert_eq!((world.served(), world.holds()), (10, vec![HoldEvent::Expired]));
    assert_eq!(world.catalog().registries[0].hold, None);
}

#[test]
fn a_held_drop_is_released_by_hand() {
    let mut world = one(|_| {});
    world.list(&[fleet("a", 0, 50)]);
    world.list(&[fleet("a", 0, 10)]);
    assert!(world.core.release("r", world.now));
    assert_eq!(world.served(), 10);
    assert!(!world.core.release("r", world.now), "nothing is held any more");
    world.list(&[fleet("a", 0, 9)]);
    assert_eq!(world.served(), 9, "and what was released does not count again");
}

#[test]
fn while_held_additions_and_changes_go_through() {
    let mut world = one(|_| {});
    world.list(&[fleet("a", 0, 50), service("b", &["10.0.0.1:80"])]);
    world.list(&[fleet("a", 0, 10), service("b", &["10.0.0.1:80 w2", "10.0.0.2:80"])]);
    let line = |world: &mut World| show(world.catalog().services.values().nth(1).unwrap());
    assert_eq!(line(&mut world), "b.example http:80 | 10.0.0.1:80 w2, 10.0.0.2:80");
    assert_eq!(world.count("a.example"), Some(50));
}

#[test]
fn a_hold_ends_when_enough_are_back_and_the_rest_is_followed() {
    let mut world = one(|_| {});
    world.list(&[fleet("a", 0, 50)]);
    world.list(&[fleet("a", 0, 10)]);
    world.list(&[fleet("a", 0, 34)]);
    assert_eq!(world.served(), 50);
    world.list(&[fleet("a", 0, 35)]);
    assert_eq!(world.served(), 35);
    assert_eq!(world.holds().last(), Some(&HoldEvent::Recovered));
}

#[test]
fn drops_add_up_within_a_minute_and_what_was_followed_stays_away() {
    let mut world = one(|_| {});
    world.list(&[fleet("a", 0, 100)]);
    for left in [90, 80, 70] {
        world.seconds(10);
        world.list(&[fleet("a", 0, left)]);
        assert_eq!(world.served(), left);
    }
    world.seconds(10);
    world.list(&[fleet("a", 0, 69)]);
    assert_eq!((world.served(), world.holds()), (70, vec![HoldEvent::Began { missing: 31, of: 100 }]));
    world.list(&[fleet("a", 0, 40)]);
    assert_eq!(world.served(), 70, "never less than is allowed to remain");
    world.list(&[fleet("a", 0, 70)]);
    assert_eq!((world.served(), world.holds()), (70, vec![HoldEvent::Recovered]));
    let mut slow = one(|_| {});
    slow.list(&[fleet("a", 0, 100)]);
    for left in (10..100).rev().step_by(10) {
        slow.seconds(61);
        slow.list(&[fleet("a", 0, left)]);
        assert_eq!(slow.served(), left, "no minute lost too many");
        if left < 40 {
            break;
        }
    }
}

/// A service moves to another group, under the same host. Then the registry lists nothing for a moment.
#[test]
fn what_has_moved_away_before_a_hold_is_not_in_it() {
    for merge in [crate::catalog::Merge::Refuse, crate::catalog::Merge::Host] {
        let mut world = one(|p| {
            p.absent_lists = 1;
            p.merge = merge;
        });
        let of = |group: &str, first: usize| Arc::new(grouped((*fleet("a", first, 30)).clone(), group));
        let others = fleet("b", 400, 60);
        world.list(&[of("g1", 0), others.clone()]);
        world.list(&[of("g1", 0), of("g2", 100), others.clone()]);
        world.list(&[of("g2", 100), others.clone()]);
        let moved = show(&service_at(&mut world, "a.example"));
        assert_eq!((world.served(), world.holds()), (90, vec![]));
        world.seconds(30);
        world.list(&[]);
        assert_eq!((world.served(), show(&service_at(&mut world, "a.example"))), (90, moved.clone()));
        world.seconds(1);
        world.list(&[of("g2", 100), others.clone()]);
        assert_eq!((world.served(), show(&service_at(&mut world, "a.example"))), (90, moved));
        assert_eq!(world.holds().last(), Some(&HoldEvent::Recovered));
        assert_eq!(world.catalog().registries[0].hold, None, "nothing is left that is held");
    }
}

#[test]
fn what_is_gone_and_held_makes_way_for_what_is_listed() {
    let mut world = one(|p| p.absent_lists = 1);
    let of = |group: &str, first: usize| Arc::new(grouped((*fleet("a", first, 30)).clone(), group));
    world.list(&[of("g1", 0)]);
    world.list(&[]);
    world.list(&[of("g2", 100)]);
    let shown = show(&service_at(&mut world, "a.example"));
    assert!(shown.contains("10.1.0.101:80") && !shown.contains("10.1.0.1:80"), "{shown}");
}

#[test]
fn a_rolling_deploy_of_everything_is_no_drop() {
    let mut world = one(|_| {});
    world.list(&[fleet("a", 0, 100)]);
    for step in 1..=10 {
        world.seconds(2);
        // Ten old ones go; a moment later ten new ones are there.
        world.list(&[fleet("a", step * 10, 90)]);
        world.list(&[fleet("a", step * 10, 100)]);
        assert_eq!(world.served(), 100);
    }
    assert_eq!(world.holds(), []);
    // All at once, the new ones late: the old are served until then.
    world.seconds(2);
    world.list(&[fleet("a", 0, 0)]);
    assert_eq!(world.served(), 100);
    world.list(&[fleet("a", 500, 100)]);
    assert_eq!(world.served(), 100);
    assert_eq!(world.holds(), [HoldEvent::Began { missing: 100, of: 100 }, HoldEvent::Recovered]);
    assert!(show(world.catalog().services.values().next().unwrap()).contains("10.1.2.1:80"));
}

/// 50 instances, of which so many are changed.
fn changed(number: usize, change: fn(&mut Endpoint)) -> Arc<Service> {
    let mut service = (*fleet("a", 0, 50)).clone();
    service.endpoints.iter_mut().take(number).for_each(change);
    Arc::new(service)
}

#[test]
fn what_takes_no_traffic_any_more_counts_as_lost() {
    let useless: [fn(&mut Endpoint); 4] = [
        |endpoint| endpoint.health = Health::Unhealthy,
        |endpoint| endpoint.health = Health::Draining,
        |endpoint| endpoint.enabled = false,
        |endpoint| endpoint.weight = Weight::ZERO,
    ];
    for change in useless {
        let mut world = one(|_| {});
        world.list(&[fleet("a", 0, 50)]);
        let before = show(&service_at(&mut world, "a.example"));
        world.list(&[changed(50, change)]);
        assert_eq!(show(&service_at(&mut world, "a.example")), before, "as it was when it took traffic");
        assert_eq!(world.holds(), [HoldEvent::Began { missing: 50, of: 50 }]);
        assert_eq!(world.catalog().registries[0].endpoints, 50, "it has them");
        world.list(&[fleet("a", 0, 50)]);
        assert_eq!((world.served(), world.holds()), (50, vec![HoldEvent::Recovered]));
        world.list(&[changed(50, change)]);
        world.seconds(300);
        assert_ne!(show(&service_at(&mut world, "a.example")), before, "followed in the end");
        // A few are followed at once.
        world.list(&[fleet("a", 0, 50)]);
        world.seconds(61);
        world.list(&[changed(10, change)]);
        assert_ne!(show(&service_at(&mut world, "a.example")), before);
    }
}

#[test]
fn what_protection_brings_back_is_not_lost() {
    let mut world = one(|_| {});
    let protected = |number| {
        let service = changed(number, |endpoint| endpoint.health = Health::Unhealthy);
        Arc::new(Service { protect_threshold: Some(Fraction::new(0.5).unwrap()), ..(*service).clone() })
    };
    world.list(&[protected(0)]);
    world.list(&[protected(50)]);
    assert_eq!((world.served(), world.holds()), (50, vec![]));
}

#[test]
fn a_registry_that_lists_nothing_is_held_however_small() {
    let mut world = one(|_| {});
    world.list(&singles(0..5));
    for _ in 0..5 {
        world.seconds(1);
        world.list(&[]);
        assert_eq!(world.served(), 5);
    }
    world.seconds(294);
    assert_eq!(world.served(), 5);
    world.seconds(2);
    assert_eq!((world.served(), world.catalog().services.len()), (0, 5), "empty, but still there");
    world.seconds(600);
    assert_eq!(world.catalog().services.len(), 0);
}

#[test]
fn a_removal_that_is_spelt_out_is_followed_even_if_it_is_the_last() {
    let mut world = one(|_| {});
    world.list(&singles(0..1));
    world.update(Update::Removed(all(), id("r", "s0")));
    assert_eq!(world.served(), 0);
    world.list(&[]);
    assert_eq!((world.served(), world.holds()), (0, vec![]));
}

/// The registry restarts without its memory: down for a while, then its instances register again one by one, one a
/// second, and it is listed each second.
fn restart_empty(number: usize, outage: bool) -> (Vec<usize>, Vec<HoldEvent>) {
    let mut world = one(|_| {});
    world.list(&singles(0..number));
    if outage {
        world.update(failed("connection refused"));
        world.seconds(20);
        world.update(failed("connection refused"));
    }
    let mut served = Vec::new();
    for back in usize::from(outage)..=number {
        world.seconds(1);
        world.list(&singles(0..back));
        served.push(world.served());
    }
    world.seconds(1);
    world.list(&singles(0..number));
    assert_eq!(world.served(), number, "in the end all are served");
    (served, world.holds())
}

#[test]
fn a_registry_that_restarts_empty_empties_nothing() {
    for outage in [false, true] {
        for number in [5, 50] {
            let (served, holds) = restart_empty(number, outage);
            assert!(served.iter().all(|served| *served == number), "{served:?}");
            assert_eq!(holds.len(), 2, "{holds:?}");
            assert_eq!(holds.last(), Some(&HoldEvent::Recovered));
        }
    }
}

#[test]
fn a_service_that_stays_away_when_the_others_are_back_is_followed_in_the_end() {
    let mut world = one(|_| {});
    world.list(&singles(0..50));
    world.list(&[]);
    world.seconds(100);
    world.list(&singles(0..45));
    world.list(&singles(0..45));
    assert_eq!((world.served(), world.holds().last()), (50, Some(&HoldEvent::Recovered)));
    assert_eq!(world.catalog().registries[0].hold.as_ref().map(|hold| hold.endpoints), Some(5));
    world.list(&singles(0..46));
    assert_eq!(world.catalog().registries[0].hold.as_ref().map(|hold| hold.endpoints), Some(4));
    world.seconds(199);
    assert_eq!(world.served(), 50);
    world.seconds(1);
    assert_eq!((world.served(), world.catalog().registries[0].hold.clone()), (46, None));
}

#[test]
fn without_an_outage_a_small_partial_drop_is_followed() {
    let mut world = one(|_| {});
    world.list(&singles(0..5));
    world.list(&singles(0..1));
    world.list(&singles(0..1));
    assert_eq!(world.served(), 1);
}

#[test]
fn the_guard_is_configured() {
    for change in
        [(|p| p.holding.hold = Duration::ZERO) as fn(&mut Policy), |p| p.holding.max_drop = Fraction::new(1.0).unwrap()]
    {
        let mut world = one(change);
        world.list(&[fleet("a", 0, 100)]);
        world.list(&[]);
        world.list(&[]);
        assert_eq!(world.served(), 0);
    }
}

#[test]
fn the_last_endpoints_of_a_service_are_held_where_configured() {
    let mut world = one(|p| p.holding.empty = Empty::Hold);
    world.list(&[service("a", &["10.0.0.1:80", "10.0.0.2:80"]), service("b", &["10.0.0.3:80"])]);
    world.list(&[service("a", &["10.0.0.1:80"]), service("b", &["10.0.0.3:80"])]);
    world.list(&[service("a", &[]), service("b", &["10.0.0.3:80"])]);
    world.check(&["a.example http:80 | 10.0.0.1:80", "b.example http:80 | 10.0.0.3:80"]);
    world.check_notes(&id("r", "a"), &[(Reason::HeldBack, "10.0.0.1:80")]);
    assert_eq!(world.catalog().registries[0].hold.as_ref().map(|hold| hold.endpoints), Some(1));
    // Any instance ends it.
    world.list(&[service("a", &["10.0.0.9:80"]), service("b", &["10.0.0.3:80"])]);
    world.check(&["a.example http:80 | 10.0.0.9:80", "b.example http:80 | 10.0.0.3:80"]);
    world.list(&[service("a", &[]), service("b", &["10.0.0.3:80"])]);
    world.seconds(301);
    world.check(&["a.example http:80 | ", "b.example http:80 | 10.0.0.3:80"]);
}

#[test]
fn what_is_held_outlives_lingering() {
    let mut world = one(|p| p.linger = Duration::from_secs(10));
    world.list(&[fleet("a", 0, 50), service("b", &[])]);
    for _ in 0..2 {
        world.list(&[service("b", &[])]);
    }
    world.seconds(100);
    assert_eq!(world.count("a.example"), Some(50));
    world.seconds(201);
    assert_eq!(world.count("a.example"), None);
}

#[test]
fn a_hold_of_one_service_is_released_by_itself() {
    let mut world = one(|policy| policy.absent_lists = 1);
    world.list(&[fleet("a", 0, 50), fleet("b", 50, 50)]);
    world.list(&[fleet("a", 0, 10), fleet("b", 50, 10)]);
    assert_eq!((world.count("a.example"), world.count("b.example")), (Some(50), Some(50)));
    let host = |name: &str| Hostname::new(name).unwrap();
    assert!(world.core.release_service(&host("a.example"), world.now));
    assert_eq!((world.count("a.example"), world.count("b.example")), (Some(10), Some(50)));
    assert!(!world.core.release_service(&host("a.example"), world.now), "nothing is left");
    assert!(!world.core.release_service(&host("x.example"), world.now));
    world.core.release("r", world.now);
    assert_eq!(world.count("b.example"), Some(10));
}
