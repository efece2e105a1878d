//! The wall clock is set, forwards or back, while Portolan runs: what is published does not depend on it.

use super::*;
use crate::catalog::Empty;

#[test]
fn a_clock_that_jumps_ends_no_hold_and_no_linger_early_or_late() {
    let day = Duration::from_secs(86_400);
    for (ahead, back) in [(day, Duration::ZERO), (Duration::ZERO, day)] {
        let mut world = one(|policy| {
            (policy.absent_lists, policy.linger) = (1, Duration::from_secs(60));
            (policy.holding.empty, policy.stale_after) = (Empty::Hold, Some(Duration::from_secs(900)));
        });
        world.now.wall += day * 2;
        world.list(&[fleet("a", 0, 50), fleet("b", 50, 1), fleet("c", 60, 3)]);
        world.list(&[fleet("a", 0, 10), fleet("b", 50, 0)]);
        let shown = |world: &mut World| ["a", "b", "c"].map(|name| world.count(&format!("{name}.example")));
        world.now.wall = world.now.wall + ahead - back;
        world.core.tick(world.now);
        assert_eq!(shown(&mut world), [Some(50), Some(1), Some(3)]);
        world.seconds(299);
        assert_eq!(shown(&mut world), [Some(50), Some(1), Some(3)]);
        world.seconds(1);
        assert_eq!(shown(&mut world), [Some(10), Some(0), None]);
        // What cannot be read is too old when that time has passed, and not when the clock says so.
        world.update(failed("down"));
        world.now.wall = world.now.wall + back - ahead;
        world.core.tick(world.now);
        world.seconds(899);
        let old = |world: &mut World| {
            let notes = world.catalog().records[&id("r", "a")].notes.clone();
            notes.iter().any(|note| note.reason == Reason::TooOld)
        };
        assert!(!old(&mut world));
        world.seconds(1);
        assert!(old(&mut world));
    }
}
