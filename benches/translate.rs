//! What it costs to translate and encode: everything at first, and one service when it changes.
//!
//!     cargo bench --bench translate

mod services;

use divan::{Bencher, counter::ItemsCount};
use portolan::{
    model::Protocol,
    translate::envoy::{Options, translate},
    views::Builder,
};
use services::{SERVICES, catalog, service};
use std::sync::Arc;

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

#[divan::bench(sample_count = 10)]
fn all_services_at_first(bencher: Bencher) {
    let catalog = catalog(Protocol::Http);
    bencher
        .counter(ItemsCount::new(SERVICES))
        .with_inputs(|| Builder::new(Options::default()))
        .bench_local_values(|mut builder| builder.update(&catalog));
}

/// One weight changes, back and forth.
#[divan::bench(sample_count = 1000)]
fn one_of_all_services_changes(bencher: Bencher) {
    let (before, mut after) = (catalog(Protocol::Http), catalog(Protocol::Http));
    let changed = service(7, Protocol::Http, 2.0);
    after.services = before.services.update(changed.host.clone(), Arc::new(changed));
    let mut builder = Builder::new(Options::default());
    builder.update(&before);
    let mut turns = [after, before].into_iter().cycle();
    bencher
        .with_inputs(|| turns.next().expect("a cycle has no end"))
        .bench_local_refs(|catalog| builder.update(catalog));
}
