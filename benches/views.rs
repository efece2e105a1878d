//! What views of a selection cost: a hundred of 50 services each out of 5,000, beside or without the one that has everything.
//! Allocations are counted: what is held in the end is the difference of what was allocated and freed.
//!
//!     cargo bench --bench views

mod services;

use divan::{AllocProfiler, Bencher};
use portolan::{
    catalog::Catalog,
    model::{Protocol, PublishedService},
    resource::{Dialect, ViewGeneration},
    translate::envoy::Options,
    views::{Select, Selection, Sources, Stage, ViewKey},
};
use services::{catalog, changed, service};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SERVICES: u32 = 5_000;
const SELECTED: u32 = 50;

fn main() {
    divan::main();
}

/// Selects services by the number in their host's name: those that leave this rest.
#[derive(Debug)]
struct Every(u32);

impl Select for Every {
    fn select(&self, service: &Arc<PublishedService>) -> Option<Arc<PublishedService>> {
        let host = service.host.as_str();
        let number = host.split(['-', '.']).nth(1).and_then(|number| number.parse::<u32>().ok());
        number.is_some_and(|number| number % (SERVICES / SELECTED) == self.0).then(|| service.clone())
    }
}

/// A stage with a view for each of so many scopes; if `whole`, also with the view that has everything.
fn stage(scopes: u32, whole: bool) -> Stage {
    let mut stage = Stage::new(Dialect::Envoy, Box::new(Options::default()));
    let unbuilt = Arc::new(ViewGeneration::empty());
    for scope in 0..scopes {
        let key = ViewKey::of_scope(Dialect::Envoy, scope.to_string());
        stage.add((key, 0), &Selection::by(Arc::new(Every(scope))), unbuilt.clone());
    }
    if whole {
        stage.add((ViewKey::whole(Dialect::Envoy), 0), &Selection::default(), unbuilt);
    }
    stage
}

/// Translates a catalog. Returns how many views made a new generation.
fn step(stage: &mut Stage, catalog: &Arc<Catalog>) -> usize {
    let (sources, mut made) = (Sources::plain(catalog.clone(), Arc::default()), 0);
    stage.step(&sources, None, |_, _, stepped| made += usize::from(stepped.generation.is_some()));
    made
}

/// The number of scopes, and true with the view that has everything.
const CASES: [(u32, bool); 3] = [(0, true), (100, false), (100, true)];

#[divan::bench(sample_count = 10, args = CASES)]
fn at_first(bencher: Bencher, (scopes, whole): (u32, bool)) {
    let catalog = Arc::new(catalog(SERVICES, Protocol::Http));
    bencher.with_inputs(|| stage(scopes, whole)).bench_local_values(|mut stage| {
        assert_eq!(step(&mut stage, &catalog), scopes as usize + usize::from(whole));
        stage
    });
}

/// One weight changes, back and forth: one translation, and a generation of the views that have the service.
#[divan::bench(sample_count = 1000, args = CASES)]
fn one_change(bencher: Bencher, (scopes, whole): (u32, bool)) {
    let before = Arc::new(catalog(SERVICES, Protocol::Http));
    let after = Arc::new(changed(&before, service(7, Protocol::Http, 2.0)));
    let mut stage = stage(scopes, whole);
    step(&mut stage, &before);
    let mut turns = [after, before].into_iter().cycle();
    bencher.with_inputs(|| turns.next().expect("a cycle has no end")).bench_local_refs(|catalog| {
        assert_eq!(step(&mut stage, catalog), usize::from(scopes > 0) + usize::from(whole));
    });
}
