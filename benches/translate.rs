//! What it costs to translate and encode: everything at first, and one service when it changes.
//!
//!     cargo bench --bench translate

mod services;
mod whole;

use divan::{Bencher, counter::ItemsCount};
use portolan::{
    model::Protocol,
    resource::Dialect,
    translate::envoy::{Options, translate},
};
use services::{catalog, changed, service};
use std::sync::Arc;
use whole::Views;

const SERVICES: u32 = 10_000;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 20)]
fn one_service(bencher: Bencher) {
    let (service, options) = (service(1, Protocol::Http, 1.0), Options::default());
    bencher.bench(|| translate(divan::black_box(&service), &options));
}

fn views() -> Views {
    Views::new(Dialect::Envoy, Box::new(Options::default()))
}

#[divan::bench(sample_count = 10)]
fn all_services_at_first(bencher: Bencher) {
    let catalog = Arc::new(catalog(SERVICES, Protocol::Http));
    bencher.counter(ItemsCount::new(SERVICES)).with_inputs(views).bench_local_values(|mut views| {
        views.step(&catalog);
        views
    });
}

/// One weight changes, back and forth.
#[divan::bench(sample_count = 1000)]
fn one_of_all_services_changes(bencher: Bencher) {
    let before = Arc::new(catalog(SERVICES, Protocol::Http));
    let after = Arc::new(changed(&before, service(7, Protocol::Http, 2.0)));
    let mut views = views();
    views.step(&before);
    let mut turns = [after, before].into_iter().cycle();
    bencher.with_inputs(|| turns.next().expect("a cycle has no end")).bench_local_refs(|catalog| views.step(catalog));
}
