//! Services that are counted, and held, apart from the others; and holds that people prolong.

use super::*;
use crate::catalog::{Empty, Event, HoldEvent, HoldRule, Holding, Matcher};

fn rule(name: &str, change: impl FnOnce(&mut Holding)) -> HoldRule {
    let mut holding = Holding::default();
    change(&mut holding);
    HoldRule { services: vec![Matcher { name: Some(name.into()), ..Matcher::default() }], holding }
}

fn share(share: f64) -> Fraction {
    Fraction::new(share).unwrap()
}

fn host(name: &str) -> Hostname {
    Hostname::new(name).unwrap()
}

impl World {
    fn until(&mut self) -> Option<u64> {
        let until = self.catalog().registries[0].hold.as_ref()?.until;
        Some(until.duration_since(self.now.wall).unwrap().as_secs())
    }

    fn told(&mut self) -> Vec<HoldEvent> {
        let hold = |event| match event {
            Event::Hold { event, .. } => Some(event),
            _ => None,
        };
        self.core.take_events().into_iter().filter_map(hold).collect()
    }

    fn counts(&mut self, names: &[&str]) -> Vec<usize> {
        names.iter().map(|name| self.count(&format!("{name}.example")).unwrap_or(0)).collect()
    }
}

#[test]
fn each_part_is_counted_and_held_by_its_own_rules() {
    let mut world = one(|policy| {
        policy.holds = vec![
            rule("strict*", |holding| (holding.max_drop, holding.hold) = (share(0.1), Duration::from_secs(600))),
            rule("batch", |holding| holding.hold = Duration::ZERO),
        ];
    });
    let list =
        |batch, other, strict| [fleet("batch", 0, batch), fleet("other", 100, other), fleet("strict-a", 200, strict)];
    world.list(&list(100, 100, 100));
    // What is a matter of course for one is too much for another.
    world.list(&list(10, 75, 75));
    assert_eq!(world.counts(&["batch", "other", "strict-a"]), [10, 75, 100]);
    assert_eq!((world.until(), world.told()), (Some(600), vec![HoldEvent::Began { missing: 25, of: 100 }]));
    // The others' drop begins by itself, and ends before.
    world.seconds(10);
    world.list(&list(10, 60, 75));
    assert_eq!(world.counts(&["batch", "other", "strict-a"]), [10, 75, 100]);
    world.seconds(300);
    assert_eq!(world.counts(&["batch", "other", "strict-a"]), [10, 60, 100]);
    assert_eq!(world.told(), [HoldEvent::Began { missing: 40, of: 100 }, HoldEvent::Expired]);
    world.seconds(290);
    assert_eq!((world.counts(&["strict-a"]), world.until()), (vec![75], None));
}

#[test]
fn a_small_part_goes_with_a_registry_that_loses_its_memory() {
    let mut world = one(|policy| policy.holds = vec![rule("small", |holding| holding.max_drop = share(0.5))]);
    world.list(&[fleet("small", 0, 3), fleet("big", 100, 60)]);
    world.list(&[fleet("small", 0, 1), fleet("big", 100, 60)]);
    assert_eq!(world.counts(&["small"]), [1], "two are few, as long as nothing else is missing");
    world.seconds(61);
    world.list(&[fleet("small", 0, 3), fleet("big", 100, 60)]);
    world.list(&[fleet("small", 0, 1), fleet("big", 100, 20)]);
    assert_eq!(world.counts(&["small", "big"]), [3, 60]);
    // Nor does a part that may lose what it likes make the others' few count.
    let mut world = one(|policy| policy.holds = vec![rule("batch", |holding| holding.max_drop = share(1.0))]);
    world.list(&[fleet("batch", 0, 60), fleet("small", 100, 3)]);
    world.list(&[fleet("batch", 0, 1), fleet("small", 100, 1)]);
    assert_eq!(world.counts(&["batch", "small"]), [1, 1]);
}

#[test]
fn last_endpoints_are_held_where_a_rule_says_so() {
    let mut world = one(|policy| policy.holds = vec![rule("a", |holding| holding.empty = Empty::Hold)]);
    world.list(&[fleet("a", 0, 2), fleet("b", 10, 2)]);
    world.list(&[fleet("a", 0, 0), fleet("b", 10, 0)]);
    assert_eq!(world.counts(&["a", "b"]), [2, 0]);
}

#[test]
fn the_first_rule_that_has_a_service_decides() {
    let strict = rule("a*", |holding| holding.empty = Empty::Hold);
    let mut world = one(|policy| policy.holds = vec![rule("ab", |_| {}), strict]);
    world.list(&[fleet("ab", 0, 1), fleet("ac", 10, 1)]);
    world.list(&[fleet("ab", 0, 0), fleet("ac", 10, 0)]);
    assert_eq!(world.counts(&["ab", "ac"]), [0, 1]);
}

/// Another configuration tells others apart: what is held goes on, by the rules of the part that has it then.
#[test]
fn what_is_held_goes_on_where_others_are_told_apart() {
    let mut world = one(|_| {});
    let list = |a, b| [fleet("a", 0, a), fleet("b", 100, b)];
    world.list(&list(50, 50));
    world.list(&list(10, 10));
    assert_eq!(world.counts(&["a", "b"]), [50, 50]);
    world.seconds(100);
    let republish = |world: &mut World, change: &dyn Fn(&mut Policy)| {
        let mut policy = super::policy("r");
        change(&mut policy);
        // A change that takes much away is held back itself, unless somebody means it.
        let _ = world.configure_all(vec![policy.into()], true);
    };
    let long = rule("a", |holding| holding.hold = Duration::from_secs(1000));
    republish(&mut world, &|policy| policy.holds = vec![long.clone()]);
    assert_eq!((world.counts(&["a", "b"]), world.until()), (vec![50, 50], Some(900)));
    world.seconds(200);
    assert_eq!(world.counts(&["a", "b"]), [50, 10], "each by its own time, from when it began");
    republish(&mut world, &|policy| policy.holds = vec![rule("a", |holding| holding.hold = Duration::ZERO)]);
    assert_eq!((world.counts(&["a", "b"]), world.until()), (vec![10, 10], None));
}

#[test]
fn a_hold_is_prolonged_for_one_service_alone() {
    let mut world = one(|policy| policy.absent_lists = 1);
    world.list(&[fleet("a", 0, 50), fleet("b", 50, 50)]);
    assert_eq!(world.core.prolong_service(&host("a.example"), Duration::from_secs(900), world.now), None);
    world.list(&[fleet("a", 0, 10), fleet("b", 50, 10)]);
    world.seconds(200);
    let hour = Duration::from_secs(3600);
    let until = world.core.prolong_service(&host("a.example"), hour, world.now);
    assert_eq!((until, world.until()), (Some(world.now.wall + hour), Some(3600)));
    assert_eq!(world.told().last(), Some(&HoldEvent::Prolonged));
    world.seconds(100);
    assert_eq!(world.counts(&["a", "b"]), [50, 10], "the other's time is over");
    // It goes on when some of it are back, and whatever is released of others.
    world.list(&[fleet("a", 0, 20), fleet("b", 50, 10)]);
    assert_eq!(world.counts(&["a", "b"]), [50, 10]);
    assert_eq!(world.core.prolong_service(&host("b.example"), hour, world.now), None, "nothing of it is held");
    // Less than it has is no less.
    let less = world.core.prolong_service(&host("a.example"), Duration::from_secs(1), world.now);
    assert_eq!(less, Some(world.now.wall + Duration::from_secs(3500)));
    world.seconds(3499);
    assert_eq!(world.counts(&["a", "b"]), [50, 10]);
    world.seconds(1);
    assert_eq!((world.counts(&["a", "b"]), world.until()), (vec![20, 10], None));
}

#[test]
fn a_prolonged_hold_ends_when_all_are_back_or_by_hand() {
    let held = || {
        let mut world = one(|_| {});
        world.list(&[fleet("a", 0, 50)]);
        world.list(&[fleet("a", 0, 10)]);
        world.core.prolong_service(&host("a.example"), Duration::from_secs(3600), world.now).unwrap();
        world
    };
    let mut back = held();
    back.list(&[fleet("a", 0, 50)]);
    assert_eq!((back.counts(&["a"]), back.until()), (vec![50], None));
    let mut released = held();
    assert!(released.core.release_service(&host("a.example"), released.now));
    assert_eq!((released.counts(&["a"]), released.until()), (vec![10], None));
    let mut all = held();
    assert!(all.core.release("r", all.now));
    assert_eq!((all.counts(&["a"]), all.until()), (vec![10], None));
}

#[test]
fn everything_that_is_held_of_a_registry_is_prolonged() {
    let mut world = one(|policy| policy.holding.empty = Empty::Hold);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    assert_eq!(world.core.prolong("r", minutes(9), world.now), None);
    world.list(&[fleet("a", 0, 50), fleet("b", 100, 1)]);
    world.list(&[fleet("a", 0, 10), fleet("b", 100, 0)]);
    world.seconds(60);
    assert_eq!(world.core.prolong("r", minutes(9), world.now), Some(world.now.wall + minutes(9)));
    world.seconds(539);
    assert_eq!((world.counts(&["a", "b"]), world.until()), (vec![50, 1], Some(1)));
    world.seconds(1);
    assert_eq!((world.counts(&["a", "b"]), world.until()), (vec![10, 0], None));
    // What is back is back, however long it was to last.
    world.list(&[fleet("a", 0, 50)]);
    world.list(&[fleet("a", 0, 10)]);
    world.core.prolong("r", minutes(60), world.now);
    world.list(&[fleet("a", 0, 50)]);
    assert_eq!(world.until(), None);
}

#[test]
fn what_a_service_loses_during_a_prolonged_hold_is_held_as_long_as_that() {
    let mut world = one(|policy| policy.holding.empty = Empty::Hold);
    world.list(&[fleet("a", 0, 50), fleet("b", 100, 2)]);
    world.list(&[fleet("a", 0, 10), fleet("b", 100, 1)]);
    world.seconds(60);
    world.core.prolong("r", Duration::from_secs(3600), world.now);
    world.seconds(60);
    world.list(&[fleet("a", 0, 10), fleet("b", 100, 0)]);
    // By itself its own hold would be over after 420 s.
    world.seconds(3539);
    assert_eq!((world.counts(&["a", "b"]), world.until()), (vec![50, 2], Some(1)));
    world.seconds(1);
    assert_eq!((world.counts(&["a", "b"]), world.until()), (vec![10, 0], None));
}

#[test]
fn what_is_held_of_a_configuration_is_prolonged_too() {
    let mut world = one(|_| {});
    world.list(&[fleet("a", 0, 50)]);
    let _ = world.configure(vec![]);
    assert_eq!(world.until(), Some(300));
    let hour = Duration::from_secs(3600);
    assert_eq!(world.core.prolong("r", hour, world.now), Some(world.now.wall + hour));
    world.seconds(3599);
    assert_eq!(world.counts(&["a"]), [50]);
    world.seconds(1);
    assert_eq!(world.counts(&["a"]), [0]);
}
