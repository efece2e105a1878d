//! What Istiods cost: services to encoded entries at first and after one change, and the list of all of them.
//!
//!     cargo bench --bench istio

mod services;
mod whole;

use bytes::Bytes;
use divan::{Bencher, black_box, counter::ItemsCount};
use portolan::{
    model::Protocol,
    resource::{Dialect, Kind, Variant, ViewGeneration},
    translate::istio::{Options, translate},
    views::{Istio, Metrics},
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

fn views() -> Views {
    Views::new(Dialect::Istio, Box::new(Istio::new(Options::default(), Metrics::default())))
}

/// A whole list, as a stream takes it.
fn list(view: &ViewGeneration) -> Vec<Bytes> {
    view.get(Kind::ServiceEntry).blocks(Variant::Sotw).into_iter().flatten().map(|(bytes, _)| bytes).collect()
}

/// All services, and all with one weight changed.
fn before_and_after() -> (Arc<ViewGeneration>, Arc<ViewGeneration>) {
    let before = catalog(SERVICES, Protocol::Http);
    let after = changed(&before, service(7, Protocol::Http, 2.0));
    let mut views = views();
    (views.step(&Arc::new(before)), views.step(&Arc::new(after)))
}

#[divan::bench(sample_count = 20)]
fn one_service(bencher: Bencher) {
    let (service, options) = (service(1, Protocol::Http, 1.0), Options::default());
    bencher.bench(|| translate(black_box(&service), &options, &|_| Vec::new()));
}

/// Services of Dubbo have a virtual address each.
#[divan::bench(sample_count = 10, args = [Protocol::Http, Protocol::Dubbo])]
fn all_services_at_first(bencher: Bencher, protocol: Protocol) {
    let catalog = Arc::new(catalog(SERVICES, protocol));
    bencher.counter(ItemsCount::new(SERVICES)).with_inputs(views).bench_local_values(|mut views| {
        views.step(&catalog);
        views
    });
}

/// One weight changes, back and forth.
#[divan::bench(sample_count = 1000, args = [Protocol::Http, Protocol::Dubbo])]
fn one_of_all_services_changes(bencher: Bencher, protocol: Protocol) {
    let before = Arc::new(catalog(SERVICES, protocol));
    let after = Arc::new(changed(&before, service(7, protocol, 2.0)));
    let mut views = views();
    views.step(&before);
    let mut turns = [after, before].into_iter().cycle();
    bencher.with_inputs(|| turns.next().expect("a cycle has no end")).bench_local_refs(|catalog| views.step(catalog));
}

/// Every block is encoded for the first time.
#[divan::bench(sample_count = 20)]
fn first_list(bencher: Bencher) {
    let catalog = Arc::new(catalog(SERVICES, Protocol::Http));
    bencher.with_inputs(|| views().step(&catalog)).bench_local_refs(|view| {
        let list = list(view);
        assert!(list.iter().map(Bytes::len).sum::<usize>() > 10 << 20);
        list
    });
}

/// One block is encoded, the others are shared.
#[divan::bench(sample_count = 20)]
fn list_after_one_change(bencher: Bencher) {
    let fresh = || {
        let (before, after) = before_and_after();
        list(&before);
        after
    };
    bencher.with_inputs(fresh).bench_local_refs(|after| list(after));
}

/// What every further Istiod costs: the blocks are encoded already.
#[divan::bench]
fn the_same_list_again(bencher: Bencher) {
    let (before, _) = before_and_after();
    list(&before);
    bencher.bench_local(|| list(black_box(&before)));
}
