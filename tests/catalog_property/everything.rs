//! Everything at once over random histories: lists, holds that people prolong and release, pins and edits, other configurations,
//! and restarts that begin with the bytes which the last process would have on its disk. Beside the catalog that restarts go one that
//! never does, and a naive reference that only knows what the registry says.

use super::{
    holds::{GROUPS, Reported, SERVICES, Turn, ask, each, host_of, rules, served, service_id, updates},
    restarts::{DOWN, Moment, begun, moment, order, pass, remembered, shown},
    *,
};
use portolan::{
    catalog::{HoldRule, Memory},
    state::{Content, Laid},
};
use proptest::test_runner::{TestRunner, contextualize_config};
use std::cell::Cell;

/// The environment variable with the least number of steps.
const STEPS: &str = "PORTOLAN_STEPS";

/// What may change while it runs: how long services linger, what is counted apart, and whether they have an alias.
#[derive(Debug, Clone)]
struct Settings {
    linger: u64,
    rules: Vec<HoldRule>,
    alias: bool,
}

#[derive(Debug, Clone)]
enum Event {
    Of(Moment),
    Configure(Settings),
}

fn settings() -> impl Strategy<Value = Settings> {
    (0..60_u64, rules(), any::<bool>()).prop_map(|(linger, rules, alias)| Settings { linger, rules, alias })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![9 => moment().prop_map(Event::Of), 1 => settings().prop_map(Event::Configure)]
}

/// The policy of the registry by these settings.
fn policy(lists: u32, settings: &Settings) -> Policy {
    let mut policy = Policy::new(REGISTRIES[0], "test", template("{service}.x"));
    (policy.absent_lists, policy.linger) = (lists, Duration::from_secs(settings.linger));
    policy.holds = settings.rules.clone();
    policy.aliases = settings.alias.then(|| template("{service}.alias")).into_iter().collect();
    policy
}

/// A memory after it was written to a disk and read again.
fn kept<M: Content>(memory: &M) -> M {
    let bytes = memory.encode();
    let read = M::decode(&REGISTRIES[0].into(), &bytes).expect("it reads what it has written");
    assert_eq!(read.encode(), bytes, "and writes the same again");
    read
}

/// A process ends, and another begins with what it has kept; before that nobody could read the registry for a while.
fn restart(core: &mut Core, policy: &Policy, memory: Memory, now: Now) {
    let laid = Laid { overrides: core.snapshot().overrides.clone(), manifests: None };
    *core = begun(policy.clone(), kept(&memory), now);
    core.recall_overrides(&kept(&laid).overrides, now);
    core.tick(now);
}

/// By force, for a configuration that waits is not kept over a restart: the next process reads the new one. A rule that holds
/// nothing takes away what was held before.
fn configure(core: &mut Core, policy: Policy, now: Now) {
    let options = Options { grace: Duration::ZERO, ..Options::default() };
    let _ = core.configure(Desired { registries: vec![policy.into()], options, ..Desired::default() }, true, now);
}

/// What the registry says must be served, and nothing else but by a hold; a host is nobody's who is gone, while one of its
/// services is listed.
fn agrees(catalog: &Catalog, reported: &[[Reported; GROUPS]; SERVICES]) -> Result<(), TestCaseError> {
    let has: BTreeSet<String> = each(reported).flat_map(|(s, g, r)| r.addresses(s, g)).collect();
    let extra: Vec<String> = served(catalog).difference(&has).cloned().collect();
    prop_assert!(extra.is_empty() || catalog.registries[0].hold.is_some(), "{:?} without a hold", extra);
    for (service, groups) in reported.iter().enumerate() {
        let listed: Vec<usize> = (0..GROUPS).filter(|group| groups[*group].is_there()).collect();
        if listed.is_empty() {
            continue;
        }
        let published = catalog.services.get(&host_of(service));
        let owner = published.and_then(|published| published.sources.first());
        let group = listed.into_iter().find(|group| owner == Some(&service_id(service, *group)));
        prop_assert!(group.is_some(), "{:?} owns s{}", owner, service);
        let own = groups[group.unwrap_or(0)].addresses(service, group.unwrap_or(0));
        let missing: Vec<String> = own.difference(&served(catalog)).cloned().collect();
        prop_assert!(missing.is_empty(), "{:?} of s{} are listed and not served", missing, service);
    }
    Ok(())
}

fn history(events: &[Event], lists: u32, first: Settings, steps: &Cell<usize>) -> Result<(), TestCaseError> {
    let (mut now, mut settings) = (start(), first);
    let mut steady = begun(policy(lists, &settings), Memory::default(), now);
    let mut restarted = steady.clone();
    let mut reported = [[Reported::default(); GROUPS]; SERVICES];
    for event in events {
        steps.set(steps.get() + 1);
        match event {
            Event::Configure(next) => {
                settings = next.clone();
                for core in [&mut steady, &mut restarted] {
                    configure(core, policy(lists, &settings), now);
                }
            }
            Event::Of(Moment::Restart) => {
                let memory = remembered(&restarted, now);
                // A registry of which nothing is known begins anew.
                if memory.services.is_empty() {
                    continue;
                }
                apply(&mut steady, 0, updates(&Turn::Fail).unwrap(), now);
                pass(&mut steady, now, DOWN);
                now = now.after(DOWN);
                restart(&mut restarted, &policy(lists, &settings), memory, now);
            }
            Event::Of(Moment::Turn(Turn::Pass(seconds))) => {
                let time = Duration::from_secs(u64::from(*seconds));
                [&mut steady, &mut restarted].into_iter().for_each(|core| pass(core, now, time));
                now = now.after(time);
            }
            Event::Of(Moment::Lay(service, what)) => {
                let laid = [&mut steady, &mut restarted].map(|core| {
                    core.snapshot();
                    core.lay(order(*service, *what), now).is_ok()
                });
                prop_assert_eq!(laid[0], laid[1]);
            }
            Event::Of(Moment::Lift(what)) => {
                let word = order(None, *what).wish.name();
                for core in [&mut steady, &mut restarted] {
                    core.lift(|over| over.deed.name() == word, &"a test".into(), now);
                }
            }
            Event::Of(Moment::Turn(turn @ (Turn::Prolong(..) | Turn::Release(_)))) => {
                let done = [&mut steady, &mut restarted].map(|core| ask(core, turn, now));
                prop_assert_eq!(done[0], done[1], "{:?}", turn);
            }
            Event::Of(Moment::Turn(turn)) => {
                for core in [&mut steady, &mut restarted] {
                    apply(core, 0, updates(turn).unwrap(), now);
                }
                for (service, groups) in reported.iter_mut().enumerate() {
                    groups.iter_mut().enumerate().for_each(|(group, one)| one.follow(turn, service, group, lists));
                }
            }
        }
        prop_assert_eq!(shown(&mut steady), shown(&mut restarted), "after {:?}", event);
        let catalog = restarted.snapshot();
        prop_assert_eq!(&steady.snapshot().registries[0].hold, &catalog.registries[0].hold, "after {:?}", event);
        if catalog.overrides.is_empty() {
            agrees(&catalog, &reported)?;
        }
    }
    Ok(())
}

#[test]
fn all_that_can_happen_to_a_catalog_leaves_it_as_a_naive_reference_has_it() {
    let wanted: usize = std::env::var(STEPS).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let steps = Cell::new(0);
    let mut cases = 0;
    while cases == 0 || steps.get() < wanted {
        let mut runner = TestRunner::new(contextualize_config(config.clone()));
        let all = (prop::collection::vec(event(), 1..40), 1..3_u32, settings());
        let outcome = runner.run(&all, |(events, lists, first)| history(&events, lists, first, &steps));
        if let Err(failed) = outcome {
            panic!("{failed}");
        }
        cases += 1;
    }
    eprintln!("{} steps", steps.get());
}
