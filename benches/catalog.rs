//! What the catalog's core costs: a first list, a list without news, one change among many.
//!
//! `cargo bench --bench catalog`

use divan::{Bencher, black_box};
use portolan::{
    catalog::{Core, Desired, Now, Policy, Reading, Template},
    model::{Address, Endpoint, Port, Scope, Service, ServiceId, Update, Weight},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

fn main() {
    divan::main();
}

fn core() -> (Core, Reading, Now) {
    let now = Now { instant: Instant::now(), wall: SystemTime::now() };
    let host = Template::parse("{service}.{group}.{namespace}.nacos").expect("the template is right");
    let mut policy = Policy::new("nacos", "nacos", host);
    policy.aliases = vec![Template::parse("{service}").expect("the template is right")];
    let mut core = Core::new(Duration::from_secs(30), now);
    let mut outcome = core.configure(Desired { registries: vec![policy.into()], ..Desired::default() }, false, now);
    (core, outcome.begun.remove(0), now)
}

/// A service of so many instances; the weight of the first is given.
fn service(number: usize, instances: usize, weight: f64) -> Arc<Service> {
    let endpoint = |i: usize| {
        let address = format!("10.{}.{}.{}", number / 250 % 250, number % 250, i + 1);
        let address = Address::parse(&address).expect("that is an address");
        let mut endpoint = Endpoint::new(address, Port::new(8080).expect("8080 is a port"));
        endpoint.labels.insert("version".into(), "v1".into());
        if i == 0 {
            endpoint.weight = Weight::relative(weight, 1.0).expect("that is a weight");
        }
        endpoint
    };
    let id = ServiceId::new("nacos", "public", "DEFAULT_GROUP", format!("service-{number:05}"));
    Arc::new(Service::new(id, (0..instances).map(endpoint).collect()))
}

fn services(number: usize, instances: usize) -> Vec<Arc<Service>> {
    (0..number).map(|i| service(i, instances, 1.0)).collect()
}

fn listed(services: Vec<Arc<Service>>) -> Update {
    Update::Listed { scope: Scope("public".into()), services, unreadable: Vec::new() }
}

/// One instance's weight changes, as a push reports it, up to the new snapshot.
#[divan::bench(args = [5_000, 50_000])]
fn one_change_pushed(bencher: Bencher, number: usize) {
    let (mut core, reading, now) = core();
    core.apply(&reading, listed(services(number, 10)), now);
    let mut held = core.snapshot();
    let mut weight = 1.0;
    bencher
        .with_inputs(|| {
            weight += 1.0;
            Update::Applied(Scope("public".into()), service(number / 2, 10, weight))
        })
        .bench_local_values(|update| {
            core.apply(&reading, update, now);
            held = core.snapshot();
        });
    assert!(held.number > 1);
}

/// One instance's weight changes, as a list of everything reports it, of which all else is as before.
#[divan::bench(args = [5_000, 50_000])]
fn one_change_listed(bencher: Bencher, number: usize) {
    let (mut core, reading, now) = core();
    let mut all = services(number, 10);
    core.apply(&reading, listed(all.clone()), now);
    let mut held = core.snapshot();
    let mut weight = 1.0;
    bencher
        .with_inputs(|| {
            weight += 1.0;
            all[number / 2] = service(number / 2, 10, weight);
            listed(all.clone())
        })
        .bench_local_values(|update| {
            core.apply(&reading, update, now);
            held = core.snapshot();
        });
    assert!(held.number > 1);
}

/// A list without news makes no new number.
#[divan::bench(args = [2_000, 50_000])]
fn nothing_new_listed(bencher: Bencher, number: usize) {
    let (mut core, reading, now) = core();
    let all = services(number, 3);
    core.apply(&reading, listed(all.clone()), now);
    let first = core.snapshot().number;
    bencher.with_inputs(|| listed(all.clone())).bench_local_values(|update| {
        core.apply(&reading, update, now);
        assert_eq!(black_box(core.snapshot()).number, first);
    });
}

/// The first list of 10,000 services of 10 instances.
#[divan::bench(sample_count = 10)]
fn first_list(bencher: Bencher) {
    let all = services(10_000, 10);
    bencher.with_inputs(|| (core(), listed(all.clone()))).bench_local_values(|((mut core, reading, now), update)| {
        core.apply(&reading, update, now);
        let catalog = core.snapshot();
        assert_eq!(catalog.services.len(), 10_000);
        (core, catalog)
    });
}
