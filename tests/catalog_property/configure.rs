//! Random configurations and updates: however a catalog came to a configuration, it publishes what a fresh one publishes,
//! and on the way nothing disappears that both the old and the new configuration publish.

use super::*;
use portolan::catalog::{Matcher, Registry};

/// A registry of a configuration: its index in [`REGISTRIES`], and the numbers of its policy and of its connection.
type Wanted = (usize, u8, u8);

#[derive(Debug, Clone)]
enum Turn {
    Configure(Vec<Wanted>, bool),
    /// A registry has these services from now on, and its reading lists them.
    List(usize, Vec<Spec>),
    /// Its reading lists once more what it has.
    Repeat(usize),
    Pass(u16),
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let instance = (0..6_u8, 0..3_u8, 0..3_u8, prop::bool::weighted(0.9));
    prop::collection::vec((0..5_u8, 0..4_u8, prop::collection::vec(instance, 1..4)), 0..5)
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let of_one = |registry: usize| (Just(registry), 0..4_u8, 0..2_u8, prop::bool::weighted(0.8));
    let all = [of_one(0), of_one(1), of_one(2)].prop_map(|all| {
        all.into_iter()
            .filter(|(.., there)| *there)
            .map(|(registry, policy, connection, _)| (registry, policy, connection))
            .collect::<Vec<Wanted>>()
    });
    all.prop_shuffle()
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        3 => (wanted(), prop::bool::weighted(0.1)).prop_map(|(wanted, force)| Turn::Configure(wanted, force)),
        4 => (0..3_usize, specs()).prop_map(|(registry, specs)| Turn::List(registry, specs)),
        1 => (0..3_usize).prop_map(Turn::Repeat),
        1 => (0..400_u16).prop_map(Turn::Pass),
    ]
}

fn registry((registry, policy, connection): &Wanted) -> Registry {
    let host = if *policy == 3 { "{service}{label:version}.x" } else { "{service}.x" };
    let mut made = Policy::new(REGISTRIES[*registry], "test", template(host));
    // What lingers stays where a fresh start has nothing: its host may be another service's port's.
    (made.absent_lists, made.linger) = (1, Duration::ZERO);
    match policy {
        1 => made.merge = Merge::Host,
        2 => made.select.exclude = vec![Matcher { name: Some("a".into()), ..Matcher::default() }],
        _ => {}
    }
    Registry { connection: u64::from(*connection), ..made.into() }
}

/// A catalog with its time, and what each registry has.
struct World {
    core: Core,
    now: Now,
    has: [Vec<Spec>; 3],
    /// What each registry has listed last; `None` if that is forgotten.
    listed: [Option<Vec<Spec>>; 3],
    wanted: Vec<Wanted>,
}

impl World {
    fn new(now: Now) -> Self {
        let (has, listed, wanted) = Default::default();
        World { core: Core::new(Duration::ZERO, now), now, has, listed, wanted }
    }

    fn configure(&mut self, wanted: &[Wanted], force: bool) {
        let registries = wanted.iter().map(registry).collect();
        let _ = self.core.configure(Desired { registries, ..Desired::default() }, force, self.now);
        self.wanted = wanted.to_vec();
        self.forget();
    }

    fn forget(&mut self) {
        let catalog = self.core.snapshot();
        for (name, listed) in REGISTRIES.iter().zip(&mut self.listed) {
            *listed = listed.take().filter(|_| catalog.registries.iter().any(|registry| *registry.name == **name));
        }
    }

    fn list(&mut self, registry: usize) {
        if self.core.reading(REGISTRIES[registry]).is_some() {
            self.listed[registry] = Some(self.has[registry].clone());
            let step = Step::List(self.has[registry].clone());
            apply(&mut self.core, registry, update(registry, &step), self.now);
            self.forget();
        }
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now.after(Duration::from_secs(seconds));
        while let Some(due) = self.core.due().filter(|due| *due <= end.instant) {
            self.now = self.now.after(due.saturating_duration_since(self.now.instant));
            self.core.tick(self.now);
        }
        self.now = end;
        self.forget();
    }

    /// What a catalog publishes that never had another configuration, and received nothing but the last lists.
    fn fresh(&self) -> Catalog {
        let mut fresh = World::new(self.now);
        fresh.configure(&self.wanted, false);
        for (registry, listed) in self.listed.iter().enumerate() {
            if let Some(specs) = listed {
                fresh.has[registry] = specs.clone();
                fresh.list(registry);
            }
        }
        (*fresh.core.snapshot()).clone()
    }
}

/// Each endpoint under its host.
fn places(catalog: &Catalog) -> BTreeSet<(Hostname, String)> {
    let of = |service: &Arc<PublishedService>| {
        let ports =
            service.endpoints.iter().flat_map(|e| e.ports.iter().map(move |port| format!("{} {port:?}", e.address)));
        ports.map(|place| (service.host.clone(), place)).collect::<Vec<_>>()
    };
    catalog.services.values().flat_map(of).collect()
}

/// Follows the turns. After each configuration nothing is gone that both the former and the new one publish, and in the end
/// the catalog is what a fresh one is.
fn leads_where_a_fresh_start_leads(turns: Vec<Turn>) -> Result<(), TestCaseError> {
    let mut world = World::new(start());
    world.configure(&[(0, 0, 0), (1, 0, 0), (2, 0, 0)], false);
    for turn in turns {
        match turn {
            Turn::Configure(wanted, force) => {
                let before = places(&world.core.snapshot());
                world.configure(&wanted, force);
                let after = places(&world.core.snapshot());
                let both: BTreeSet<_> = before.intersection(&places(&world.fresh())).cloned().collect();
                let lost: Vec<_> = both.difference(&after).collect();
                prop_assert!(force || lost.is_empty(), "{:?} disappeared", lost);
            }
            Turn::List(registry, specs) => {
                world.has[registry] = specs;
                world.list(registry);
            }
            Turn::Repeat(registry) => world.list(registry),
            Turn::Pass(seconds) => world.pass(u64::from(seconds)),
        }
    }
    (0..3).for_each(|registry| world.list(registry));
    world.pass(10_000);
    let (grown, fresh) = (world.core.snapshot(), world.fresh());
    prop_assert_eq!(published(&grown), published(&fresh));
    prop_assert_eq!(grown.records.iter().collect::<Vec<_>>(), fresh.records.iter().collect::<Vec<_>>());
    let names = |catalog: &Catalog| catalog.registries.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
    prop_assert_eq!(names(&grown), names(&fresh));
    Ok(())
}

/// The policy names hosts by labels: what the registry lists of `c` names another host than what is held of it, and that
/// takes `c.x` from nobody.
#[test]
fn a_held_instance_takes_no_host_that_its_service_no_longer_names() {
    leads_where_a_fresh_start_leads(vec![
        Turn::List(2, vec![(2, 0, vec![(0, 0, 0, true)])]),
        Turn::List(0, vec![(2, 0, vec![(0, 1, 0, true)])]),
        Turn::List(0, Vec::new()),
        Turn::List(0, vec![(2, 0, vec![(0, 0, 1, false)])]),
        Turn::Configure(vec![(2, 0, 0), (0, 0, 0)], false),
        Turn::Configure(vec![(0, 3, 0), (2, 0, 0)], false),
    ])
    .unwrap();
}

#[test]
fn a_held_instance_takes_no_number_of_a_port() {
    leads_where_a_fresh_start_leads(vec![
        Turn::List(2, vec![(0, 0, vec![(0, 0, 0, true)]), (3, 0, vec![(0, 0, 1, true)])]),
        Turn::List(2, Vec::new()),
        Turn::List(2, vec![(3, 0, vec![(1, 2, 0, true)])]),
        Turn::Configure(vec![(2, 3, 0)], false),
        Turn::Configure(vec![(2, 0, 0)], false),
    ])
    .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_configuration_leads_where_a_fresh_start_with_it_leads(turns in prop::collection::vec(turn(), 1..20)) {
        leads_where_a_fresh_start_leads(turns)?;
    }
}
