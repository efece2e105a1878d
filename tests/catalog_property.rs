//! Properties of the catalog: the order in which registries are heard does not matter, being incremental does not matter,
//! and hosts and aliases belong to whom a naive model gives them.

#[path = "catalog_property/configure.rs"]
mod configure;
#[path = "catalog_property/everything.rs"]
mod everything;
#[path = "catalog_property/holds.rs"]
mod holds;
#[path = "catalog_property/overrides.rs"]
mod overrides;
#[path = "catalog_property/restarts.rs"]
mod restarts;

use portolan::{
    catalog::{Catalog, Core, Desired, Merge, Now, Options, Policy, Template},
    model::{Address, Endpoint, Hostname, Labels, Port, Protocol, PublishedService, Scope, Service, ServiceId, Update},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

const REGISTRIES: [&str; 3] = ["r0", "r1", "r2"];

/// An instance in small numbers, so that they meet: address, port's protocol, version label, enabled.
type Instance = (u8, u8, u8, bool);

/// A service: name, whether it has an alias of its own or a common one, instances.
type Spec = (u8, u8, Vec<Instance>);

#[derive(Debug, Clone)]
enum Step {
    List(Vec<Spec>),
    Apply(Spec),
    Remove(u8),
    Fail,
}

fn spec() -> impl Strategy<Value = Spec> {
    let instance = (0..6_u8, 0..3_u8, 0..3_u8, prop::bool::weighted(0.9));
    (0..5_u8, 0..4_u8, prop::collection::vec(instance, 0..4))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(spec(), 0..5).prop_map(Step::List),
        2 => spec().prop_map(Step::Apply),
        1 => (0..5_u8).prop_map(Step::Remove),
        1 => Just(Step::Fail),
    ]
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

/// Registries that differ in what they choose, and whose hosts meet one another, ports' hosts and aliases.
fn policies(merge: [bool; 3]) -> Vec<Policy> {
    REGISTRIES
        .iter()
        .zip(merge)
        .enumerate()
        .map(|(i, (name, merge))| {
            let host = if i == 1 { "{service}{label:version}.x" } else { "{service}.x" };
            let mut policy = Policy::new(name, "test", template(host));
            policy.aliases = vec![template("{label:alias|none}.x")];
            policy.merge = if merge { Merge::Host } else { Merge::Refuse };
            policy.absent_lists = 1;
            policy.holding.max_drop = portolan::model::Fraction::new(1.0).unwrap();
            policy.priority = i as u32 / 2;
            policy
        })
        .collect()
}

fn id(registry: usize, name: u8) -> ServiceId {
    // The last of the names is a host of a further port of the first.
    let name = ["a", "b", "c", "d", "grpc.a"][usize::from(name)];
    ServiceId::new(REGISTRIES[registry], "", "", name)
}

fn service(registry: usize, (name, alias, instances): &Spec) -> Arc<Service> {
    let endpoint = |(address, protocol, version, enabled): &Instance| {
        let address = Address::parse(&format!("10.0.0.{address}")).unwrap();
        let mut endpoint = Endpoint::new(address, Port::new(80).unwrap());
        endpoint.ports[0].protocol = [None, Some(Protocol::Grpc), Some(Protocol::Http2)][usize::from(*protocol)];
        endpoint.enabled = *enabled;
        if *version > 0 {
            endpoint.labels.insert("version".into(), ["b", "1"][usize::from(*version) - 1].into());
        }
        endpoint
    };
    let mut service = Service::new(id(registry, *name), instances.iter().map(endpoint).collect());
    let alias = ["none", "a", "grpc.a", "own"][usize::from(*alias)];
    service.labels = Labels::from([("alias".into(), alias.into())]);
    Arc::new(service)
}

fn update(registry: usize, step: &Step) -> Update {
    let scope = Scope("".into());
    match step {
        Step::List(specs) => {
            let by_name: BTreeMap<u8, &Spec> = specs.iter().map(|spec| (spec.0, spec)).collect();
            let services = by_name.into_values().map(|spec| service(registry, spec)).collect();
            Update::Listed { scope, services, unreadable: Vec::new() }
        }
        Step::Apply(spec) => Update::Applied(scope, service(registry, spec)),
        Step::Remove(name) => Update::Removed(scope, id(registry, *name)),
        Step::Fail => Update::Failed { scope: Some(scope), error: "down".into() },
    }
}

/// A core that follows these policies, without any grace.
fn core(policies: Vec<Policy>, now: Now) -> Core {
    let options = Options { grace: Duration::ZERO, ..Options::default() };
    let mut core = Core::new(Duration::ZERO, now);
    let registries = policies.into_iter().map(Into::into).collect();
    let _ = core.configure(Desired { registries, options, ..Desired::default() }, false, now);
    core
}

fn apply(core: &mut Core, registry: usize, update: Update, now: Now) {
    if let Some(reading) = core.reading(REGISTRIES[registry]) {
        core.apply(&reading, update, now);
    }
}

fn start() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH }
}

/// Feeds the steps of each registry in the order that `turns` gives.
fn feed(core: &mut Core, now: Now, steps: &[Vec<Step>; 3], turns: &[usize]) {
    let mut next = [0; 3];
    let rest = (0..3).flat_map(|registry| vec![registry; steps[registry].len()]);
    for registry in turns.iter().copied().chain(rest) {
        if let Some(step) = steps[registry].get(next[registry]) {
            apply(core, registry, update(registry, step), now);
            next[registry] += 1;
        }
    }
}

fn published(catalog: &Catalog) -> Vec<PublishedService> {
    catalog.services.values().map(|service| (**service).clone()).collect()
}

fn steps() -> impl Strategy<Value = [Vec<Step>; 3]> {
    let of_one = || prop::collection::vec(step(), 0..8);
    [of_one(), of_one(), of_one()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_global_rejects: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_registries_does_not_matter(
        steps in steps(),
        merge in any::<[bool; 3]>(),
        turns in prop::collection::vec(0..3_usize, 0..24),
    ) {
        let now = start();
        let mut cores = [turns, Vec::new()].map(|turns| {
            let mut core = core(policies(merge), now);
            feed(&mut core, now, &steps, &turns);
            core
        });
        let [one, other] = cores.each_mut().map(Core::snapshot);
        prop_assert_eq!(published(&one), published(&other));
        prop_assert_eq!(one.records.iter().collect::<Vec<_>>(), other.records.iter().collect::<Vec<_>>());
        // And after everything that lingers has gone.
        let later = now.after(Duration::from_secs(10_000));
        let [one, other] = cores.each_mut().map(|core| { core.tick(later); core.snapshot() });
        prop_assert_eq!(published(&one), published(&other));
    }

    #[test]
    fn a_catalog_grown_by_updates_is_one_made_at_once(steps in steps(), merge in any::<[bool; 3]>()) {
        let now = start();
        let mut grown = core(policies(merge), now);
        feed(&mut grown, now, &steps, &[0, 1, 2, 2, 1, 0, 1, 1]);
        grown.tick(now.after(Duration::from_secs(10_000)));
        let grown = grown.snapshot();
        // Services without instances remember what they were; that is not in a list.
        let forgetful = grown.records.values().any(|record| record.service.endpoints.is_empty());
        prop_assume!(!forgetful);
        let mut fresh = core(policies(merge), now);
        for (registry, name) in REGISTRIES.iter().enumerate() {
            let of_it = grown.records.values().filter(|record| &*record.service.id.registry == *name);
            let services = of_it.map(|record| record.service.clone()).collect();
            let listed = Update::Listed { scope: Scope("".into()), services, unreadable: Vec::new() };
            apply(&mut fresh, registry, listed, now);
        }
        prop_assert_eq!(published(&grown), published(&fresh.snapshot()));
    }

    #[test]
    fn hosts_and_aliases_belong_to_whom_a_naive_model_gives_them(
        steps in steps(),
        merge in any::<[bool; 3]>(),
    ) {
        let now = start();
        let mut core = core(policies(merge), now);
        feed(&mut core, now, &steps, &[2, 0, 1, 0]);
        core.tick(now.after(Duration::from_secs(10_000)));
        let catalog = core.snapshot();
        let owners = naive_owners(&catalog, merge);
        let shown: BTreeMap<Hostname, Vec<ServiceId>> =
            catalog.services.values().map(|s| (s.host.clone(), s.sources.clone())).collect();
        prop_assert_eq!(&shown, &owners);
        prop_assert_eq!(
            catalog.services.values().map(|s| (s.host.clone(), s.aliases.clone())).collect::<BTreeMap<_, _>>(),
            naive_aliases(&catalog, &owners)
        );
        for service in catalog.services.values() {
            let places: Vec<_> = service.endpoints.iter()
                .flat_map(|e| e.ports.iter().map(|port| (e.address.clone(), port.clone())))
                .collect();
            prop_assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "each place once");
            let ranks: BTreeSet<u32> = service.endpoints.iter().map(|e| e.priority).collect();
            prop_assert!(ranks.iter().copied().eq(0..ranks.len() as u32), "no gap in {:?}", ranks);
        }
    }
}

/// Who has which host: for each, all who claim it in order of registry and id; the first, or all of them that merge.
fn naive_owners(catalog: &Catalog, merge: [bool; 3]) -> BTreeMap<Hostname, Vec<ServiceId>> {
    let mut claims: BTreeMap<Hostname, BTreeSet<(usize, ServiceId)>> = BTreeMap::new();
    for record in catalog.records.values() {
        let registry = REGISTRIES.iter().position(|name| **name == *record.service.id.registry).unwrap();
        // What the service says of its hosts itself: those it has, and those that are noted as another's.
        let refused = record.notes.iter().filter(|n| n.reason == portolan::model::Reason::HostContested);
        let refused = refused.map(|note| Hostname::new(&note.subject).unwrap());
        for host in record.hosts.iter().cloned().chain(refused) {
            claims.entry(host).or_default().insert((registry, record.service.id.clone()));
        }
    }
    let mut owners = BTreeMap::new();
    for (host, claimants) in claims {
        let owner = claimants.first().unwrap().0;
        let part = claimants.into_iter().enumerate().filter(|(i, (r, _))| *i == 0 || (merge[owner] && merge[*r]));
        owners.insert(host, part.map(|(_, (_, id))| id).collect());
    }
    owners
}

/// Who has which alias: the only host that claims it, unless it is a host of a service or of a port.
fn naive_aliases(catalog: &Catalog, owners: &BTreeMap<Hostname, Vec<ServiceId>>) -> BTreeMap<Hostname, Vec<Hostname>> {
    let taken: BTreeSet<&Hostname> =
        catalog.services.values().flat_map(|s| s.ports.iter().map(|port| &port.host)).chain(owners.keys()).collect();
    let claims = |host: &Hostname| -> BTreeSet<Hostname> {
        let alias = |id: &ServiceId| catalog.records[id].service.labels["alias"].to_string();
        owners[host].iter().map(|id| Hostname::new(&format!("{}.x", alias(id))).unwrap()).collect()
    };
    let all: BTreeMap<&Hostname, BTreeSet<Hostname>> = owners.keys().map(|host| (host, claims(host))).collect();
    let alone = |alias: &Hostname| all.values().filter(|claims| claims.contains(alias)).count() == 1;
    all.iter()
        .map(|(host, claims)| {
            let has = claims.iter().filter(|alias| !taken.contains(alias) && alone(alias));
            ((*host).clone(), has.cloned().collect())
        })
        .collect()
}
