//! A process that ends and another one that begins with what the first has kept: they publish what one would that never
//! ended, whose registry could not be read meanwhile.

use super::{
    holds::{Turn, ask, rules, turn, updates},
    *,
};
use portolan::{
    catalog::{HoldRule, Memory, Order, Owner, Target, Wish},
    model::{Note, Readiness, Reason},
};

/// Longer than the 5 s from which the catalog counts an outage.
pub(super) const DOWN: Duration = Duration::from_secs(6);

fn policy(lists: u32, linger: u64) -> Policy {
    let mut policy = Policy::new(REGISTRIES[0], "test", template("{service}.x"));
    (policy.absent_lists, policy.linger) = (lists, Duration::from_secs(linger));
    policy
}

/// A core of one registry, as a process starts it that has read this memory from its disk.
pub(super) fn begun(policy: Policy, memory: Memory, now: Now) -> Core {
    let mut core = Core::new(Duration::ZERO, now);
    let registry = portolan::catalog::Registry { memory: Some(Arc::new(memory)), ..policy.into() };
    let options = Options { grace: Duration::ZERO, ..Options::default() };
    let _ = core.configure(Desired { registries: vec![registry], options, ..Desired::default() }, false, now);
    core
}

pub(super) fn remembered(core: &Core, now: Now) -> Memory {
    core.remember(0, now).memories.pop().map(|(.., memory)| memory).unwrap_or_default()
}

pub(super) fn pass(core: &mut Core, mut now: Now, time: Duration) {
    let end = now.after(time);
    while let Some(due) = core.due().filter(|due| *due <= end.instant) {
        now = now.after(due.saturating_duration_since(now.instant));
        core.tick(now);
    }
}

/// What is published, without the notes that it is stale.
pub(super) fn shown(core: &mut Core) -> Vec<PublishedService> {
    let stale = |note: &Note| note.reason == Reason::Stale;
    let mut services = published(&core.snapshot());
    services.iter_mut().for_each(|service| service.notes.retain(|note| !stale(note)));
    services
}

#[derive(Debug, Clone)]
pub(super) enum Moment {
    Turn(Turn),
    /// Lays something over a service, or over everything if `None`.
    Lay(Option<u8>, u8),
    Lift(u8),
    Restart,
}

pub(super) fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        8 => turn().prop_map(Moment::Turn),
        2 => Just(Moment::Restart),
        2 => (prop::option::weighted(0.8, 0..4_u8), 0..3_u8).prop_map(|(service, what)| Moment::Lay(service, what)),
        1 => (0..3_u8).prop_map(Moment::Lift),
    ]
}

pub(super) fn order(service: Option<u8>, what: u8) -> Order {
    let of = service.map(|service| Target::Service(Hostname::new(&format!("s{service}.x")).unwrap()));
    let wish = [Wish::Pin(None), Wish::Keep, Wish::Disable][usize::from(what)].clone();
    let time = Duration::from_secs(90);
    Order { of: of.unwrap_or(Target::Everything), wish, time, by: "a test".into(), why: "".into() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_changes_nothing_that_an_outage_does_not(
        moments in prop::collection::vec(moment(), 1..30),
        lists in 1..3_u32,
        linger in 0..60_u64,
        rules in rules(),
    ) {
        let mut now = start();
        let policy = |holds: &[HoldRule]| Policy { holds: holds.to_vec(), ..policy(lists, linger) };
        let mut steady = begun(policy(&rules), Memory::default(), now);
        let mut restarted = steady.clone();
        for moment in moments {
            match &moment {
                Moment::Restart => {
                    // A registry of which nothing is known begins anew.
                    let memory = remembered(&restarted, now);
                    if memory.services.is_empty() {
                        continue;
                    }
                    apply(&mut steady, 0, updates(&Turn::Fail).unwrap(), now);
                    let before = shown(&mut restarted);
                    let laid = restarted.snapshot().overrides.clone();
                    restarted = begun(policy(&rules), memory.clone(), now);
                    restarted.recall_overrides(&laid, now);
                    prop_assert_eq!(&before, &shown(&mut restarted));
                    prop_assert_eq!(restarted.snapshot().sync, Readiness::Partial);
                    // Once more, after a while without anybody.
                    pass(&mut steady, now, DOWN);
                    now = now.after(DOWN);
                    restarted = begun(policy(&rules), memory, now);
                    restarted.recall_overrides(&laid, now);
                    restarted.tick(now);
                }
                Moment::Turn(Turn::Pass(seconds)) => {
                    let time = Duration::from_secs(u64::from(*seconds));
                    pass(&mut steady, now, time);
                    pass(&mut restarted, now, time);
                    now = now.after(time);
                }
                Moment::Lay(service, what) => {
                    let laid = [&mut steady, &mut restarted].map(|core| {
                        core.snapshot();
                        core.lay(order(*service, *what), now).is_ok()
                    });
                    prop_assert_eq!(laid[0], laid[1]);
                }
                Moment::Lift(what) => for core in [&mut steady, &mut restarted] {
                    let word = order(None, *what).wish.name();
                    core.lift(|over| over.deed.name() == word, &"a test".into(), now);
                },
                Moment::Turn(turn @ (Turn::Prolong(..) | Turn::Release(_))) => {
                    let done = [&mut steady, &mut restarted].map(|core| ask(core, turn, now));
                    prop_assert_eq!(done[0], done[1], "{:?}", turn);
                }
                Moment::Turn(turn) => for core in [&mut steady, &mut restarted] {
                    apply(core, 0, updates(turn).unwrap(), now);
                },
            }
            prop_assert_eq!(shown(&mut steady), shown(&mut restarted), "after {:?}", moment);
            let hold = |core: &mut Core| core.snapshot().registries[0].hold.clone();
            prop_assert_eq!(hold(&mut steady), hold(&mut restarted), "after {:?}", moment);
        }
    }
}

#[test]
fn who_knows_a_registry_serves_at_once_and_tells_nothing_as_gone() {
    let mut now = start();
    let mut core = begun(policy(1, 60), Memory::default(), now);
    let one = vec![(0, 0, vec![(1, 0, 0, true)])];
    apply(&mut core, 0, update(0, &Step::List(one.clone())), now);
    let memory = remembered(&core, now);
    now = now.after(Duration::from_secs(3600));
    let grace = Duration::from_secs(30);
    let mut core = Core::new(grace, now);
    let registry = |name: usize, memory: Option<Memory>| portolan::catalog::Registry {
        memory: memory.map(Arc::new),
        ..Policy::new(REGISTRIES[name], "test", template("{service}.x")).into()
    };
    let options = Options { grace, ..Options::default() };
    let known = Desired { registries: vec![registry(0, Some(memory.clone()))], options, ..Desired::default() };
    let _ = core.configure(known, false, now);
    let catalog = core.snapshot();
    assert_eq!((catalog.sync, catalog.known, catalog.services.len()), (Readiness::Partial, Readiness::Partial, 1));
    // Whole lists wait for grace, which the registry may need to come back; then what is known counts.
    now = now.after(grace);
    core.tick(now);
    let catalog = core.snapshot();
    assert_eq!((catalog.sync, catalog.known), (Readiness::Partial, Readiness::Complete));
    apply(&mut core, 0, update(0, &Step::List(one)), now);
    assert_eq!(core.snapshot().sync, Readiness::Complete);

    // Of another registry nothing is known: everybody waits for it.
    let mut core = Core::new(grace, now);
    let both =
        Desired { registries: vec![registry(0, Some(memory)), registry(1, None)], options, ..Desired::default() };
    let _ = core.configure(both, false, now);
    assert_eq!(core.snapshot().sync, Readiness::Waiting);
}

#[test]
fn what_another_connection_has_reported_is_not_kept_as_this_ones() {
    let now = start();
    let mut core = begun(policy(1, 60), Memory::default(), now);
    apply(&mut core, 0, update(0, &Step::List(vec![(0, 0, vec![(1, 0, 0, true)])])), now);
    let elsewhere = portolan::catalog::Registry { connection: 7, identity: "elsewhere".into(), ..policy(1, 60).into() };
    let _ = core.configure(Desired { registries: vec![elsewhere], ..Desired::default() }, false, now);
    assert!(core.remember(0, now).memories.is_empty());
    apply(&mut core, 0, update(0, &Step::List(vec![(1, 0, vec![(2, 0, 0, true)])])), now);
    let (_, identity, memory) = core.remember(0, now).memories.pop().unwrap();
    assert_eq!((&*identity, memory.services.len()), ("elsewhere", 2), "one of them lingers");
}

#[test]
fn who_had_a_host_first_has_it_after_a_restart() {
    let now = start();
    let policy = |registry: usize| {
        let mut policy = Policy::new(REGISTRIES[registry], "test", template("{service}.x"));
        policy.owner = Owner::First;
        policy
    };
    let options = Options { grace: Duration::ZERO, ..Options::default() };
    let begun = |memories: [Option<Memory>; 2]| {
        let mut core = Core::new(Duration::ZERO, now);
        let registry = |(registry, memory): (usize, Option<Memory>)| portolan::catalog::Registry {
            memory: memory.map(Arc::new),
            ..policy(registry).into()
        };
        let registries = memories.into_iter().enumerate().map(registry).collect();
        let _ = core.configure(Desired { registries, options, ..Desired::default() }, false, now);
        core
    };
    let owner = |core: &mut Core| core.snapshot().services[&Hostname::new("a.x").unwrap()].sources[0].registry.clone();
    let memories = |core: &Core| {
        let all: BTreeMap<_, _> =
            core.remember(0, now).memories.into_iter().map(|(name, _, memory)| (name, memory)).collect();
        [0, 1].map(|registry| all.get(REGISTRIES[registry]).cloned())
    };
    let listed = |instance: u8| update(0, &Step::List(vec![(0, 0, vec![(instance, 0, 0, true)])]));
    let of_second = |instance: u8| update(1, &Step::List(vec![(0, 0, vec![(instance, 0, 0, true)])]));

    // The first in the order comes later, and waits for the host; also after a restart.
    let mut core = begun([None, None]);
    apply(&mut core, 1, of_second(1), now);
    apply(&mut core, 0, listed(2), now);
    assert_eq!(&*owner(&mut core), REGISTRIES[1]);
    let mut again = begun(memories(&core));
    assert_eq!(&*owner(&mut again), REGISTRIES[1]);
    apply(&mut again, 0, listed(3), now);
    apply(&mut again, 1, of_second(4), now);
    assert_eq!(&*owner(&mut again), REGISTRIES[1], "and as long as it is listed");

    // What a registry wins because another one loses it is news of both.
    let number = again.remember(0, now).number;
    apply(&mut again, 1, update(1, &Step::Remove(0)), now);
    assert_eq!(&*owner(&mut again), REGISTRIES[0]);
    let news: Vec<_> = again.remember(number, now).memories.into_iter().map(|(name, ..)| name.to_string()).collect();
    assert_eq!(news, &REGISTRIES[..2]);
    // Without any memory the order decides.
    let mut core = begun([None, None]);
    apply(&mut core, 0, listed(1), now);
    apply(&mut core, 1, of_second(2), now);
    assert_eq!(&*owner(&mut core), REGISTRIES[0]);
}
