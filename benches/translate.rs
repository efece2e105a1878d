//! What it costs to translate and encode: everything at first, and one service when it changes.
//!
//!     cargo bench --bench translate

use divan::{Bencher, counter::ItemsCount};
use portolan::{
    catalog::{Catalog, Sync},
    model::*,
    translate::envoy::{Options, translate},
    views::Builder,
};
use std::{net::Ipv4Addr, sync::Arc};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;

fn main() {
    divan::main();
}

fn service(number: u32, weight: f64) -> PublishedService {
    let host = Hostname::new(&format!("service-{number}.default-group.public.nacos")).unwrap();
    let endpoint = |n: u32| PublishedEndpoint {
        address: Address::Ip(Ipv4Addr::from(0x0a00_0000 + number * 16 + n).into()),
        ports: vec![("http".into(), Port::new(8080).unwrap())],
        weight: Weight::relative(if n == 0 { weight } else { 1.0 }, 1.0).unwrap(),
        health: Health::Healthy,
        locality: Locality::parse("cn-hangzhou/cn-hangzhou-h"),
        labels: [("version", "v1"), ("preserved.register.source", "SPRING_CLOUD")]
            .map(|(key, value)| (key.into(), value.into()))
            .into(),
        secure: false,
        priority: 0,
    };
    PublishedService {
        aliases: Vec::new(),
        sources: Vec::new(),
        ports: vec![ServicePort {
            name: "http".into(),
            number: Port::new(80).unwrap(),
            protocol: Protocol::Http,
            host: host.clone(),
        }],
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
        labels: Labels::new(),
        protected: false,
        protect_threshold: None,
        dns: false,
        notes: Vec::new(),
        host,
    }
}

fn catalog() -> Catalog {
    let services = (0..SERVICES).map(|number| service(number, 1.0));
    Catalog {
        number: 1,
        services: services.map(|s| (s.host.clone(), Arc::new(s))).collect(),
        records: Default::default(),
        registries: Arc::new([]),
        sync: Sync::Complete,
    }
}

#[divan::bench(sample_count = 20)]
fn one_service(bencher: Bencher) {
    let (service, options) = (service(1, 1.0), Options::default());
    bencher.bench(|| translate(divan::black_box(&service), &options));
}

#[divan::bench(sample_count = 10)]
fn all_services_at_first(bencher: Bencher) {
    let catalog = catalog();
    bencher
        .counter(ItemsCount::new(SERVICES))
        .with_inputs(|| Builder::new(Options::default()))
        .bench_local_values(|mut builder| builder.update(&catalog));
}

/// One weight changes, back and forth.
#[divan::bench(sample_count = 1000)]
fn one_of_all_services_changes(bencher: Bencher) {
    let (before, mut after) = (catalog(), catalog());
    let changed = service(7, 2.0);
    after.services = before.services.update(changed.host.clone(), Arc::new(changed));
    let mut builder = Builder::new(Options::default());
    builder.update(&before);
    let mut turns = [after, before].into_iter().cycle();
    bencher
        .with_inputs(|| turns.next().expect("a cycle has no end"))
        .bench_local_refs(|catalog| builder.update(catalog));
}
