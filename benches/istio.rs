//! What Istiods cost: services to encoded entries at first and after one change, and the list of all of them.
//!
//!     cargo bench --bench istio

mod services;

use bytes::Bytes;
use divan::{Bencher, black_box, counter::ItemsCount};
use portolan::{
    catalog::Catalog,
    model::Protocol,
    resource::{Kind, KindReadiness, Variant, ViewGeneration},
    translate::istio::{Options, translate},
    views::{Builder, Istio, Metrics},
};
use services::{SERVICES, catalog, service};
use std::sync::Arc;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn builder() -> Builder<Istio> {
    Builder::new(Istio::new(Options::default(), Metrics::default()))
}

fn view(builder: &mut Builder<Istio>, catalog: &Catalog, before: &ViewGeneration) -> ViewGeneration {
    let changes = builder.update(catalog).expect("it differs");
    before.next(KindReadiness::of([Kind::ServiceEntry], changes.readiness), changes.resources).expect("it differs")
}

/// A whole list, as a stream takes it.
fn list(view: &ViewGeneration) -> Vec<Bytes> {
    view.get(Kind::ServiceEntry).blocks(Variant::Sotw).map(|(bytes, _)| bytes).collect()
}

/// All services, and all with one weight changed.
fn before_and_after() -> (ViewGeneration, ViewGeneration) {
    let (before, mut after) = (catalog(Protocol::Http), catalog(Protocol::Http));
    let changed = service(7, Protocol::Http, 2.0);
    after.services = before.services.update(changed.host.clone(), Arc::new(changed));
    let mut builder = builder();
    let before = view(&mut builder, &before, &ViewGeneration::empty());
    let after = view(&mut builder, &after, &before);
    (before, after)
}

#[divan::bench(sample_count = 20)]
fn one_service(bencher: Bencher) {
    let (service, options) = (service(1, Protocol::Http, 1.0), Options::default());
    bencher.bench(|| translate(black_box(&service), &options, &|_| Vec::new()));
}

/// Dubbo's with a virtual address each.
#[divan::bench(sample_count = 10, args = [Protocol::Http, Protocol::Dubbo])]
fn all_services_at_first(bencher: Bencher, protocol: Protocol) {
    let catalog = catalog(protocol);
    bencher
        .counter(ItemsCount::new(SERVICES))
        .with_inputs(builder)
        .bench_local_values(|mut builder| builder.update(&catalog));
}

/// One weight changes, back and forth.
#[divan::bench(sample_count = 1000, args = [Protocol::Http, Protocol::Dubbo])]
fn one_of_all_services_changes(bencher: Bencher, protocol: Protocol) {
    let (before, mut after) = (catalog(protocol), catalog(protocol));
    let changed = service(7, protocol, 2.0);
    after.services = before.services.update(changed.host.clone(), Arc::new(changed));
    let mut builder = builder();
    builder.update(&before);
    let mut turns = [after, before].into_iter().cycle();
    bencher
        .with_inputs(|| turns.next().expect("a cycle has no end"))
        .bench_local_refs(|catalog| builder.update(catalog));
}

/// Every block is encoded for the first time.
#[divan::bench(sample_count = 20)]
fn first_list(bencher: Bencher) {
    let catalog = catalog(Protocol::Http);
    let fresh = || view(&mut builder(), &catalog, &ViewGeneration::empty());
    bencher.with_inputs(fresh).bench_local_refs(|view| {
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

/// Every further Istiod.
#[divan::bench]
fn the_same_list_again(bencher: Bencher) {
    let (before, _) = before_and_after();
    list(&before);
    bencher.bench_local(|| list(black_box(&before)));
}
