//! Pins and edits by hand over random histories: what lies below is as if nothing lay over it, what is frozen stays as it is, no
//! name is given to two services, and nothing is left when all of it is over.

use super::*;
use portolan::{
    catalog::{Order, Target, Wish},
    model::Health,
};

#[derive(Debug, Clone)]
enum Moment {
    Report(usize, Step),
    /// Lays something over a host, by its index in [`HOSTS`], or over everything if `None`.
    Lay(Option<usize>, Laid),
    Lift(Option<usize>),
    Pass(u8),
}

#[derive(Debug, Clone, Copy)]
enum Laid {
    Pin,
    Drain,
    Disable,
    Keep,
}

const HOSTS: [&str; 6] = ["a.x", "b.x", "c.x", "d.x", "grpc.a.x", "ab.x"];

fn moment() -> impl Strategy<Value = Moment> {
    let host = || prop_oneof![5 => (0..HOSTS.len()).prop_map(Some), 1 => Just(None)];
    let laid =
        prop_oneof![3 => Just(Laid::Pin), 1 => Just(Laid::Drain), 1 => Just(Laid::Disable), 2 => Just(Laid::Keep)];
    prop_oneof![
        6 => (0..3_usize, step()).prop_map(|(registry, step)| Moment::Report(registry, step)),
        3 => (host(), laid).prop_map(|(host, laid)| Moment::Lay(host, laid)),
        2 => host().prop_map(Moment::Lift),
        1 => (0..90_u8).prop_map(Moment::Pass),
    ]
}

fn target(host: Option<usize>) -> Target {
    host.map_or(Target::Everything, |host| Target::Service(Hostname::new(HOSTS[host]).unwrap()))
}

fn order(of: Target, laid: Laid) -> Order {
    let wish = match laid {
        Laid::Pin => Wish::Pin(None),
        Laid::Drain => Wish::Drain,
        Laid::Disable => Wish::Disable,
        Laid::Keep => Wish::Keep,
    };
    Order { of, wish, time: Duration::from_secs(60), by: "a test".into(), why: "".into() }
}

fn names(service: &PublishedService) -> impl Iterator<Item = &Hostname> {
    service.ports.iter().skip(1).map(|port| &port.host).chain(&service.aliases)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_lies_over_the_catalog_changes_nothing_below_and_leaves_nothing_behind(
        moments in prop::collection::vec(moment(), 1..40),
        merge in any::<[bool; 3]>(),
    ) {
        let mut now = start();
        let (mut plain, mut laid_over) = (core(policies(merge), now), core(policies(merge), now));
        let mut frozen: Option<Vec<PublishedService>> = None;
        for moment in moments {
            let before = laid_over.snapshot();
            match &moment {
                Moment::Report(registry, step) => {
                    for core in [&mut plain, &mut laid_over] {
                        apply(core, *registry, update(*registry, step), now);
                    }
                }
                Moment::Lay(host, laid) => {
                    let done = laid_over.lay(order(target(*host), *laid), now).is_ok();
                    prop_assert!(!done || host.is_some() || matches!(laid, Laid::Pin));
                    if done && host.is_none() {
                        frozen = Some(published(&before));
                    }
                }
                Moment::Lift(host) => {
                    let of = target(*host);
                    laid_over.lift(|over| over.of == of, &"a test".into(), now);
                }
                Moment::Pass(seconds) => {
                    now = now.after(Duration::from_secs(u64::from(*seconds)));
                    plain.tick(now);
                    laid_over.tick(now);
                }
            }
            let (below, above) = (plain.snapshot(), laid_over.snapshot());
            prop_assert_eq!(below.records.iter().collect::<Vec<_>>(), above.records.iter().collect::<Vec<_>>());
            let same = published(&before) == published(&above);
            let states = (before.sync, before.known) == (above.sync, above.known);
            prop_assert!(!same || !states || before.number == above.number, "nothing changed");
            let on = |host: &Hostname| above.overrides.iter().filter(|over| over.of.host() == Some(host)).count();
            let everything = above.overrides.iter().any(|over| over.of == Target::Everything);
            if above.overrides.is_empty() {
                prop_assert_eq!(published(&below), published(&above));
            }
            // Each name once.
            let mut taken: BTreeSet<&Hostname> = above.services.keys().collect();
            for name in above.services.values().flat_map(|service| names(service)) {
                prop_assert!(taken.insert(name), "{} is given twice after {:?}", name, moment);
            }
            for (host, service) in &above.services {
                let ranks: BTreeSet<u32> = service.endpoints.iter().map(|e| e.priority).collect();
                prop_assert!(ranks.iter().copied().eq(0..ranks.len() as u32), "no gap in {:?}", ranks);
                prop_assert!(service.endpoints.iter().all(|e| (e.source as usize) < service.sources.len()));
                if on(host) > 0 {
                    continue;
                }
                // Nobody speaks of this one: it is what there is, or was, but for names that it has lost.
                let base = match everything {
                    true => frozen.iter().flatten().find(|service| service.host == *host).cloned(),
                    false => below.services.get(host).map(|service| PublishedService::clone(service)),
                };
                let base = base.expect("a service that nobody has laid over is there below");
                let lost = names(&base).filter(|name| !names(service).any(|own| own == *name)).count();
                if lost == 0 {
                    prop_assert_eq!(&base, &**service);
                } else {
                    prop_assert!(names(service).all(|name| names(&base).any(|own| own == name)));
                }
            }
            for over in above.overrides.iter().filter(|over| over.deed.name() == "drain") {
                let service = over.of.host().and_then(|host| above.services.get(host));
                prop_assert!(service.is_none_or(|s| s.endpoints.iter().all(|e| e.health == Health::Draining)));
            }
        }
        // When their time is over, nothing is left of them.
        let later = now.after(Duration::from_secs(10_000));
        plain.tick(later);
        laid_over.tick(later);
        prop_assert!(laid_over.snapshot().overrides.is_empty());
        prop_assert_eq!(published(&plain.snapshot()), published(&laid_over.snapshot()));
    }
}
