//! Random drops, holds, moves, absences and lingers of one registry against a naive reference: what has left, and was
//! followed, never comes back by itself, and what is gone owns no host before what is listed.

use super::*;
use portolan::model::Hostname;

const SERVICES: usize = 4;
const GROUPS: usize = 2;

#[derive(Debug, Clone)]
pub(super) enum Turn {
    /// Of each service and group, how many instances; `None`: it is not in the list.
    List([[Option<u8>; GROUPS]; SERVICES]),
    Apply(usize, usize, u8),
    Remove(usize, usize),
    Fail,
    Pass(u8),
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
    ]
}

/// What the registry has, as far as it has reported.
#[derive(Debug, Clone, Copy, Default)]
struct Reported {
    instances: u8,
    /// Lists in a row that lacked it; `None`: it is gone, or never was.
    absent: Option<u32>,
}

fn service_id(service: usize, group: usize) -> ServiceId {
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
        Turn::Pass(_) => return None,
    })
}

impl Reported {
    fn follow(&mut self, turn: &Turn, service: usize, group: usize, lists: u32) {
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

    /// The addresses that it has.
    fn addresses(&self, service: usize, group: usize) -> BTreeSet<String> {
        let number = if self.absent.is_some() { self.instances } else { 0 };
        (0..number).map(|i| format!("10.{service}.{group}.{i}")).collect()
    }
}

fn served(catalog: &Catalog) -> BTreeSet<String> {
    catalog.services.values().flat_map(|s| s.endpoints.iter().map(|e| e.address.to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_has_left_stays_away_and_owns_nothing(
        turns in prop::collection::vec(turn(), 1..30),
        lists in 1..3_u32,
        merge in any::<bool>(),
    ) {
        let mut now = start();
        let mut policy = Policy::new(REGISTRIES[0], "test", template("{service}.x"));
        (policy.absent_lists, policy.linger) = (lists, Duration::from_secs(45));
        policy.merge = if merge { Merge::Host } else { Merge::Refuse };
        let mut core = core(vec![policy], now);
        let mut reported = [[Reported::default(); GROUPS]; SERVICES];
        let mut lost_at: BTreeMap<String, SystemTime> = BTreeMap::new();
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
                (_, None) => {}
            }
            for (service, groups) in reported.iter_mut().enumerate() {
                groups.iter_mut().enumerate().for_each(|(group, one)| one.follow(&turn, service, group, lists));
            }
            let has: BTreeSet<String> = each(&reported).flat_map(|(s, g, r)| r.addresses(s, g)).collect();
            lost_at.extend(had.difference(&has).map(|address| (address.clone(), now.wall)));
            let catalog = core.snapshot();
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

fn each(reported: &[[Reported; GROUPS]; SERVICES]) -> impl Iterator<Item = (usize, usize, Reported)> {
    let of = |(service, groups): (usize, &[Reported; GROUPS])| {
        groups.iter().enumerate().map(|(group, one)| (service, group, *one)).collect::<Vec<_>>()
    };
    reported.iter().enumerate().flat_map(of)
}
