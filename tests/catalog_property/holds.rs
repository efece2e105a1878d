//! Random drops, holds, moves, absences and lingers of one registry against a naive reference: what has left, and was
//! followed, never comes back by itself, and what is gone owns no host before what is listed. What is counted apart and not
//! held is followed at once; what somebody has prolonged is served on until its time is over or somebody releases it.

use super::*;
use portolan::{
    catalog::{Empty, HoldRule, Holding, Matcher},
    model::{Fraction, Hostname, Reason},
};

pub(super) const SERVICES: usize = 4;
pub(super) const GROUPS: usize = 2;
/// What a rule of [`rules`] does not hold at all.
const LOOSE: &str = "s1";

#[derive(Debug, Clone)]
pub(super) enum Turn {
    /// A list: instances of each service and group; `None` if the list lacks it.
    List([[Option<u8>; GROUPS]; SERVICES]),
    Apply(usize, usize, u8),
    Remove(usize, usize),
    Fail,
    Pass(u8),
    /// Prolongs the hold of one service, or of the registry if `None`, by so many seconds.
    Prolong(Option<usize>, u16),
    Release(Option<usize>),
}

pub(super) fn turn() -> impl Strategy<Value = Turn> {
    let number = prop_oneof![2 => Just(None), 1 => Just(Some(0)), 4 => (1..20_u8).prop_map(Some)];
    let list = prop::array::uniform4(prop::array::uniform2(number));
    prop_oneof![
        4 => list.prop_map(Turn::List),
        1 => Just(Turn::List(Default::default())),
        2 => (0..SERVICES, 0..GROUPS, 0..20_u8).prop_map(|(service, group, number)| Turn::Apply(service, group, number)),
        1 => (0..SERVICES, 0..GROUPS).prop_map(|(service, group)| Turn::Remove(service, group)),
        1 => Just(Turn::Fail),
        3 => (0..90_u8).prop_map(Turn::Pass),
        1 => (prop::option::weighted(0.7, 0..SERVICES), 0..600_u16).prop_map(|(of, time)| Turn::Prolong(of, time)),
        1 => prop::option::weighted(0.7, 0..SERVICES).prop_map(Turn::Release),
    ]
}

/// Services that are counted apart: none; some that are held strictly; some that are not held at all.
pub(super) fn rules() -> impl Strategy<Value = Vec<HoldRule>> {
    let rule = |names: &[&str], max_drop: f64, hold: u64, empty| HoldRule {
        services: names.iter().map(|name| Matcher { name: Some((*name).into()), ..Matcher::default() }).collect(),
        holding: Holding { max_drop: Fraction::new(max_drop).unwrap(), hold: Duration::from_secs(hold), empty },
    };
    let strict = rule(&["s0", "s2"], 0.1, 400, Empty::Hold);
    let loose = rule(&[LOOSE], 0.3, 0, Empty::Follow);
    prop::sample::select(vec![vec![], vec![strict.clone()], vec![loose.clone()], vec![strict, loose]])
}

pub(super) fn host_of(service: usize) -> Hostname {
    Hostname::new(&format!("s{service}.x")).unwrap()
}

/// Prolongs or releases what is held. False if nothing was held, or the turn is another one.
pub(super) fn ask(core: &mut Core, turn: &Turn, now: Now) -> bool {
    core.snapshot();
    match turn {
        Turn::Prolong(None, time) => core.prolong(REGISTRIES[0], seconds(*time), now).is_some(),
        Turn::Prolong(Some(service), time) => core.prolong_service(&host_of(*service), seconds(*time), now).is_some(),
        Turn::Release(None) => core.release(REGISTRIES[0], now),
        Turn::Release(Some(service)) => core.release_service(&host_of(*service), now),
        _ => false,
    }
}

fn seconds(time: u16) -> Duration {
    Duration::from_secs(time.into())
}

/// The instances of a service in one group, as far as the registry has reported.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reported {
    instances: u8,
    /// Lists in a row that lacked it; `None`: it is gone, or never was.
    absent: Option<u32>,
}

pub(super) fn service_id(service: usize, group: usize) -> ServiceId {
    ServiceId::new(REGISTRIES[0], "", format!("g{group}"), format!("s{service}"))
}

fn made(service: usize, group: usize, number: u8) -> Arc<Service> {
    let place = |i: u8| format!("10.{service}.{group}.{i}");
    let endpoint = |i| Endpoint::new(Address::parse(&place(i)).unwrap(), Port::new(80).unwrap());
    Arc::new(Service::new(service_id(service, group), (0..number).map(endpoint).collect()))
}

pub(super) fn updates(turn: &Turn) -> Option<Update> {
    let scope = Scope("".into());
    Some(match turn {
        Turn::List(all) => {
            let listed = all.iter().enumerate().flat_map(|(service, groups)| {
                let there = groups.iter().enumerate().filter_map(|(group, number)| Some((group, (*number)?)));
                there.map(move |(group, number)| made(service, group, number))
            });
            Update::Listed { scope, services: listed.collect(), unreadable: Vec::new() }
        }
        Turn::Apply(service, group, number) => Update::Applied(scope, made(*service, *group, *number)),
        Turn::Remove(service, group) => Update::Removed(scope, service_id(*service, *group)),
        Turn::Fail => Update::Failed { scope: Some(scope), error: "down".into() },
        Turn::Pass(_) | Turn::Prolong(..) | Turn::Release(_) => return None,
    })
}

impl Reported {
    pub(super) fn follow(&mut self, turn: &Turn, service: usize, group: usize, lists: u32) {
        let number = match turn {
            Turn::List(all) => all[service][group],
            Turn::Apply(s, g, number) if (*s, *g) == (service, group) => Some(*number),
            Turn::Remove(s, g) if (*s, *g) == (service, group) => return *self = Reported::default(),
            _ => return,
        };
        *self = match (number, self.absent) {
            (Some(instances), _) => Reported { instances, absent: Some(0) },
            (None, Some(absent)) if absent + 1 < lists => Reported { absent: Some(absent + 1), ..*self },
            (None, _) => Reported::default(),
        };
    }

    /// False if it is gone, as far as is known, or never was there.
    pub(super) fn is_there(&self) -> bool {
        self.absent.is_some()
    }

    /// The addresses of its instances; empty if it is gone.
    pub(super) fn addresses(&self, service: usize, group: usize) -> BTreeSet<String> {
        let number = if self.absent.is_some() { self.instances } else { 0 };
        (0..number).map(|i| format!("10.{service}.{group}.{i}")).collect()
    }
}

/// Addresses of a service that the catalog notes as held back.
fn held(catalog: &Catalog, service: usize) -> BTreeSet<String> {
    let notes = catalog.services.get(&host_of(service)).map(|service| service.notes.clone()).unwrap_or_default();
    let held = notes.iter().filter(|note| note.reason == Reason::HeldBack);
    held.filter_map(|note| Some(note.subject.rsplit_once(':')?.0.to_owned())).collect()
}

pub(super) fn served(catalog: &Catalog) -> BTreeSet<String> {
    catalog.services.values().flat_map(|s| s.endpoints.iter().map(|e| e.address.to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_has_left_stays_away_and_owns_nothing(
        turns in prop::collection::vec(turn(), 1..30),
        lists in 1..3_u32,
        merge in any::<bool>(),
        rules in rules(),
    ) {
        let mut now = start();
        let loose = rules.last().is_some_and(|rule| rule.holding.hold.is_zero());
        let mut policy = Policy::new(REGISTRIES[0], "test", template("{service}.x"));
        (policy.absent_lists, policy.linger) = (lists, Duration::from_secs(45));
        policy.holds = rules;
        policy.merge = if merge { Merge::Host } else { Merge::Refuse };
        let mut core = core(vec![policy], now);
        let mut reported = [[Reported::default(); GROUPS]; SERVICES];
        let mut lost_at: BTreeMap<String, SystemTime> = BTreeMap::new();
        let mut prolonged: BTreeMap<usize, (SystemTime, BTreeSet<String>)> = BTreeMap::new();
        for turn in turns {
            let before = served(&core.snapshot());
            let had: BTreeSet<String> = each(&reported).flat_map(|(s, g, r)| r.addresses(s, g)).collect();
            match (&turn, updates(&turn)) {
                (Turn::Pass(seconds), _) => {
                    let end = now.after(Duration::from_secs(u64::from(*seconds)));
                    while let Some(due) = core.due().filter(|due| *due <= end.instant) {
                        now = now.after(due.saturating_duration_since(now.instant));
                        core.tick(now);
                    }
                    now = end;
                }
                (_, Some(update)) => apply(&mut core, 0, update, now),
                (_, None) => {
                    let held: Vec<BTreeSet<String>> = (0..SERVICES).map(|s| held(&core.snapshot(), s)).collect();
                    let done = ask(&mut core, &turn, now);
                    match &turn {
                        Turn::Prolong(Some(service), time) if done => {
                            let until = now.wall + seconds(*time);
                            let known = prolonged.entry(*service).or_insert((until, BTreeSet::new()));
                            *known = (until.max(known.0), held[*service].clone());
                        }
                        Turn::Release(Some(service)) => drop(prolonged.remove(service)),
                        Turn::Release(None) => prolonged.clear(),
                        _ => {}
                    }
                }
            }
            for (service, groups) in reported.iter_mut().enumerate() {
                groups.iter_mut().enumerate().for_each(|(group, one)| one.follow(&turn, service, group, lists));
            }
            let has: BTreeSet<String> = each(&reported).flat_map(|(s, g, r)| r.addresses(s, g)).collect();
            lost_at.extend(had.difference(&has).map(|address| (address.clone(), now.wall)));
            let catalog = core.snapshot();
            prolonged.retain(|_, (until, _)| *until > now.wall);
            for (service, (_, addresses)) in &mut prolonged {
                // Who is there again is what it is from now on. Of several that are gone one has the host, unless they share it,
                // and who is listed has it before all of them.
                addresses.retain(|address| !has.contains(address));
                let listed = reported[*service].iter().filter(|one| one.absent.is_some()).count();
                if merge && listed == 0 {
                    let missing: Vec<_> = addresses.difference(&served(&catalog)).cloned().collect();
                    prop_assert!(missing.is_empty(), "{:?} of s{} were prolonged; after {:?}", missing, service, turn);
                }
            }
            if loose && !prolonged.contains_key(&1) {
                let own: Vec<_> = served(&catalog).difference(&has).filter(|a| a.starts_with("10.1.")).cloned().collect();
                prop_assert!(own.is_empty(), "{:?} are served, and nothing is held of {}", own, LOOSE);
            }
            let hold = catalog.registries[0].hold.as_ref().map(|hold| hold.since);
            for address in served(&catalog).difference(&has) {
                let in_hold = hold.is_some_and(|since| lost_at.get(address).is_some_and(|at| *at >= since));
                prop_assert!(before.contains(address) || in_hold, "{} came back after {:?}", address, turn);
                prop_assert!(hold.is_some(), "{} is served without a hold", address);
            }
            for (service, group, _) in each(&reported).filter(|(.., one)| one.absent.is_some()) {
                let host = Hostname::new(&format!("s{service}.x")).unwrap();
                let owner = catalog.services.get(&host).and_then(|service| service.sources.first());
                let owns = |(s, g, one): (usize, usize, Reported)| one.absent.is_some() && owner == Some(&service_id(s, g));
                prop_assert!(each(&reported).any(owns), "{:?} owns {} before group {}", owner, host, group);
            }
        }
    }
}

pub(super) fn each(reported: &[[Reported; GROUPS]; SERVICES]) -> impl Iterator<Item = (usize, usize, Reported)> {
    let of = |(service, groups): (usize, &[Reported; GROUPS])| {
        groups.iter().enumerate().map(|(group, one)| (service, group, *one)).collect::<Vec<_>>()
    };
    reported.iter().enumerate().flat_map(of)
}
