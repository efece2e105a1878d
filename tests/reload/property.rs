//! Whatever configurations came before: what is published in the end is what a fresh start with the last one publishes, byte
//! for byte, and on the way no endpoint that two configurations in a row publish is ever lost.

use crate::{
    envoy::{Envoy, Known},
    support::until,
    world::{LIMIT, World},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, subsequence},
    test_runner::{Config, TestRunner},
};
use serde_json::Value;
use std::{collections::BTreeSet, path::Path};

const REGISTRIES: [&str; 4] = ["a", "b", "c", "d"];

/// An entry of `registries:`, with the index of its policy in [`POLICIES`].
#[derive(Debug, Clone)]
struct Registry {
    name: &'static str,
    /// Which of its two catalogues is read.
    source: usize,
    policy: usize,
}

/// Keys of `publish:`, besides `linger` and `hold`: nothing lingers or is held, so that a fresh start can be compared
/// with.
const POLICIES: [&str; 5] = ["", ", port: 8080", ", aliases: '{service}.alias'", ", protocol: grpc", ", merge: host"];

const SECTIONS: [&str; 6] = [
    "",
    "envoy: { unhealthy: omit }\n",
    "envoy: { connect_timeout: 7s, lb_policy: round_robin }\n",
    "istio: { labels: { team: shop } }\ncatalog: { debounce: 1ms }\n",
    "istio: { addresses: all }\n",
    "istio: { mark_empty: false }\nlog: { format: json }\n",
];

/// A configuration: its registries in order, and one of the sections.
#[derive(Debug, Clone)]
struct Configuration {
    registries: Vec<Registry>,
    section: usize,
}

/// What the next configuration changes.
#[derive(Debug, Clone)]
enum Edit {
    /// All registries and the section.
    All(Configuration),
    // One thing alone: that it is missed shows only where nothing else makes a difference.
    Source(Index),
    Policy(Index, usize),
    Section(usize),
    Order,
    Removal(Index),
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let registry =
        |name| (0..2_usize, 0..POLICIES.len()).prop_map(move |(source, policy)| Registry { name, source, policy });
    let registries = subsequence(REGISTRIES.to_vec(), 1..=REGISTRIES.len()).prop_shuffle();
    let registries = registries.prop_flat_map(move |names| names.into_iter().map(registry).collect::<Vec<_>>());
    (registries, 0..SECTIONS.len()).prop_map(|(registries, section)| Configuration { registries, section })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => configuration().prop_map(Edit::All),
        1 => any::<Index>().prop_map(Edit::Source),
        2 => (any::<Index>(), 0..POLICIES.len()).prop_map(|(registry, policy)| Edit::Policy(registry, policy)),
        1 => (0..SECTIONS.len()).prop_map(Edit::Section),
        2 => Just(Edit::Order),
        1 => any::<Index>().prop_map(Edit::Removal),
    ]
}

impl Configuration {
    fn edited(&self, edit: &Edit) -> Configuration {
        let mut next = self.clone();
        let count = next.registries.len();
        match edit {
            Edit::All(other) => next = other.clone(),
            Edit::Source(registry) => next.registries[registry.index(count)].source ^= 1,
            Edit::Policy(registry, policy) => next.registries[registry.index(count)].policy = *policy,
            Edit::Section(section) => next.section = *section,
            Edit::Order => next.registries.rotate_left(1),
            Edit::Removal(registry) if count > 1 => drop(next.registries.remove(registry.index(count))),
            Edit::Removal(_) => {}
        }
        next
    }

    fn text(&self) -> String {
        let entry = |r: &Registry| {
            let policy = POLICIES[r.policy];
            format!(
                "- {{ name: {0}, file: {{ path: {0}{1}.yaml }}, publish: {{ linger: 0s, hold: 0s{policy} }} }}\n",
                r.name, r.source
            )
        };
        format!("{}registries:\n{}", SECTIONS[self.section], self.registries.iter().map(entry).collect::<String>())
    }
}

/// The first configuration, and those that its edits make one after the other.
fn configurations() -> impl Strategy<Value = Vec<String>> {
    (configuration(), vec(edit(), 1..7)).prop_map(|(first, edits)| {
        let next = |now: &mut Configuration, edit: &Edit| {
            *now = now.edited(edit);
            Some(now.clone())
        };
        let later = edits.iter().scan(first.clone(), next);
        [first.clone()].into_iter().chain(later).map(|configuration| configuration.text()).collect()
    })
}

/// Two catalogues for each registry. Hosts are shared and contested; endpoints tell who has one.
fn catalogues(folder: &Path) {
    for (i, name) in REGISTRIES.iter().enumerate() {
        for source in 0..2 {
            let own = format!("10.{i}.0.1:80");
            let moved = format!("10.{i}.{}.2:80", source + 1);
            let only = format!("{name}-{source}.example");
            World::catalogue(
                folder,
                &format!("{name}{source}.yaml"),
                &[("shared.example", &[&own, &moved]), (&format!("{name}.example"), &[&own, &moved]), (&only, &[&own])],
            );
        }
    }
}

/// What is published when nothing more is to come: digests by kind, and the endpoints of each cluster.
async fn settled(world: &World, registries: usize) -> (Value, BTreeSet<Known>) {
    until("all registries to be listed", LIMIT, || async {
        let list = world.json("/api/v1/registries").await;
        let all = list.as_array().cloned().unwrap_or_default();
        if all.len() == registries && all.iter().all(|r| r["state"] == "synced") { Ok(()) } else { Err(list) }
    })
    .await;
    // Views follow the catalog: two looks alike, and the catalog's number between them the same.
    let look = || async { (world.digests().await, world.endpoints().await) };
    let mut before = look().await;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let now = look().await;
        if now == before {
            break;
        }
        before = now;
    }
    let (digests, endpoints) = before;
    let known = endpoints
        .into_iter()
        .flat_map(|(cluster, all): (String, Vec<String>)| all.into_iter().map(move |e| (cluster.clone(), e)));
    (digests, known.collect())
}

async fn check(configurations: Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    catalogues(folder.path());
    let world = World::start(folder, &configurations[0], false).await;
    let registries = |text: &str| text.matches("- { name").count();
    let (_, mut published) = settled(&world, registries(&configurations[0])).await;
    let envoy = Envoy::connect(&world).await;
    envoy.has(&world.endpoints().await).await;
    for configuration in &configurations[1..] {
        // Nothing is held back, so no force is needed: with it all would be done whatever the plan says.
        world.change(configuration, "").await;
        let fresh_folder = tempfile::tempdir().unwrap();
        catalogues(fresh_folder.path());
        let fresh = World::start(fresh_folder, configuration, false).await;
        let (digests, endpoints) = settled(&fresh, registries(configuration)).await;
        until("what a fresh start publishes", LIMIT, || async {
            let (now, _) = settled(&world, registries(configuration)).await;
            if now == digests { Ok(()) } else { Err((now, digests.clone(), configurations.clone())) }
        })
        .await;
        envoy.has(&world.endpoints().await).await;
        let stays: BTreeSet<&Known> = published.intersection(&endpoints).collect();
        let lost: Vec<Known> = envoy.take_lost().into_iter().filter(|known| stays.contains(known)).collect();
        assert!(lost.is_empty(), "{lost:?} was lost on the way to the last of {configurations:#?}");
        assert_eq!(envoy.seen(|seen| seen.ended.clone()), None);
        published = endpoints;
        fresh.end().await;
    }
    world.end().await;
}

#[test]
fn the_last_configuration_alone_decides_and_nothing_that_stays_is_lost_on_the_way() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 8, failure_persistence: None, max_shrink_iters: 20, ..Config::default() });
    runner
        .run(&configurations(), |configurations| {
            runtime.block_on(check(configurations));
            Ok(())
        })
        .unwrap();
}
