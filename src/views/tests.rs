//! The builder against its model: translating the last catalog from scratch.

use super::*;
use crate::{
    catalog::{Catalog, Desired, Feed, Handle, Policy, Template, Writer},
    model::*,
    model::{Scope, Update},
    resource::{Kind, Name, Readiness, Resource, ViewGeneration},
    translate::{
        Why,
        envoy::{ClusterName, Options, translate},
    },
};
use prometheus_client::{encoding::text, registry::Registry};
use proptest::{collection::vec, prelude::*, sample::subsequence};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

fn host(name: &str) -> Hostname {
    Hostname::new(name).unwrap()
}

fn service(name: &str, aliases: &[&str], endpoints: i64) -> PublishedService {
    let port = |name: &str, number, host| ServicePort {
        name: name.into(),
        number: Port::new(number).unwrap(),
        protocol: Protocol::Http,
        host,
    };
    let endpoint = |number| {
        let ports = vec![("http".into(), Port::new(number).unwrap())];
        PublishedEndpoint::new(Address::parse("10.0.0.1").unwrap(), ports)
    };
    let ports = vec![port("http", 80, host(name)), port("p", 81, host(&format!("p.{name}")))];
    PublishedService {
        aliases: aliases.iter().map(|alias| host(alias)).collect(),
        ..PublishedService::new(host(name), ports, (1..=endpoints).map(endpoint).collect())
    }
}

fn catalog(sync: Readiness, services: impl IntoIterator<Item = PublishedService>) -> Catalog {
    Catalog {
        number: 1,
        services: services.into_iter().map(|s| (s.host.clone(), Arc::new(s))).collect(),
        records: Default::default(),
        registries: Arc::new([]),
        sync,
    }
}

/// Names that hosts alone decide, so that they can meet.
fn by_host() -> Options {
    Options { cluster_name: ClusterName::parse("{host}").unwrap(), ..Options::default() }
}

fn names(changes: Option<Changes>) -> Vec<String> {
    let sign = |body: &Option<Resource>| if body.is_some() { '+' } else { '-' };
    let resources = changes.into_iter().flat_map(|c| c.resources);
    resources.map(|(kind, name, body)| format!("{}{} {name}", sign(&body), kind.name())).collect()
}

#[test]
fn only_what_differs_is_told() {
    let mut builder = Builder::new(by_host());
    assert_eq!(
        names(builder.update(&catalog(Readiness::Complete, [service("a", &["x"], 1)]))),
        ["+clusters a", "+clusters p.a", "+clusters p.x", "+clusters x", "+endpoints a", "+endpoints p.a"],
    );
    let two = catalog(Readiness::Complete, [service("a", &["x"], 1), service("b", &[], 0)]);
    assert_eq!(names(builder.update(&two)), ["+clusters b", "+clusters p.b", "+endpoints b", "+endpoints p.b"]);
    assert_eq!(builder.update(&two), None);

    let more = catalog(Readiness::Complete, [service("a", &["x"], 2), service("b", &[], 0)]);
    assert_eq!(names(builder.update(&more)), ["+endpoints a"]);

    let noted = PublishedService { protected: true, ..service("b", &[], 0) };
    assert_eq!(builder.update(&catalog(Readiness::Complete, [service("a", &["x"], 2), noted])), None);

    let left = catalog(Readiness::Complete, [service("b", &[], 0)]);
    assert_eq!(
        names(builder.update(&left)),
        ["-clusters a", "-clusters p.a", "-clusters p.x", "-clusters x", "-endpoints a", "-endpoints p.a"],
    );
    assert_eq!((builder.count(Kind::Cluster), builder.count(Kind::Endpoint)), (2, 2));
}

#[test]
fn readiness_follows_the_catalog_even_if_nothing_else_does() {
    let mut builder = Builder::new(by_host());
    assert_eq!(builder.update(&catalog(Readiness::Waiting, [])), None);
    for readiness in [Readiness::Partial, Readiness::Complete, Readiness::Waiting] {
        let changes = builder.update(&catalog(readiness, []));
        assert_eq!(changes, Some(Changes { readiness, resources: Vec::new() }));
        assert_eq!(builder.update(&catalog(readiness, [])), None);
    }
}

#[test]
fn the_smaller_host_has_a_contested_name_whoever_came_first() {
    let (small, large) = (service("b", &["p.d"], 1), service("d", &[], 1));
    let taken = |builder: &Builder<Options>| -> Vec<String> {
        builder.rejected().map(|r| format!("{} {}: {}", r.host, r.subject, r.why.code())).collect()
    };
    let mut builder = Builder::new(by_host());
    builder.update(&catalog(Readiness::Complete, [large.clone()]));
    let won = names(builder.update(&catalog(Readiness::Complete, [small, large.clone()])));
    // `p.d` was a port of `d` with an assignment; now it is another name of `b`, whose assignment it shares.
    let expected =
        ["+clusters b", "+clusters p.b", "+clusters p.d", "+clusters p.p.d", "+endpoints b", "+endpoints p.b"];
    assert_eq!(won, [&expected[..], &["-endpoints p.d"]].concat());
    assert_eq!(taken(&builder), ["d p.d: name_taken"]);

    let back = names(builder.update(&catalog(Readiness::Complete, [large])));
    let expected =
        ["-clusters b", "-clusters p.b", "+clusters p.d", "-clusters p.p.d", "-endpoints b", "-endpoints p.b"];
    assert_eq!(back, [&expected[..], &["+endpoints p.d"]].concat());
    assert_eq!(taken(&builder), [""; 0]);
}

type Resources = BTreeMap<(Kind, Name), Resource>;

/// Without any state: the name is the smallest claimant's; a cluster goes with its assignment.
fn from_scratch(catalog: &Catalog, options: &Options) -> Resources {
    let all: Vec<(Hostname, Vec<(Kind, Resource)>)> =
        catalog.services.iter().map(|(host, service)| (host.clone(), translate(service, options).0)).collect();
    let mut owners: BTreeMap<Name, Hostname> = BTreeMap::new();
    for (host, resources) in all.iter().rev() {
        owners.extend(resources.iter().map(|(_, r)| (r.name().clone(), host.clone())));
    }
    let mut kept = Resources::new();
    for (host, resources) in all {
        for (kind, resource) in resources {
            let has = |name: &Name| owners[name] == host;
            if has(resource.name()) && resource.refers_to().is_none_or(has) {
                kept.insert((kind, resource.name().clone()), resource);
            }
        }
    }
    kept
}

fn any_catalog() -> impl Strategy<Value = Catalog> {
    let alias = || subsequence(vec!["b", "p.b", "p.c", "x", "y"], 0..3);
    let some = subsequence(vec!["a", "c", "d", "p.d", "p.p.d", "z"], 0..6);
    let sync = prop_oneof![Just(Readiness::Waiting), Just(Readiness::Partial), Just(Readiness::Complete)];
    (sync, some, vec((alias(), 0..3_i64, any::<bool>()), 6)).prop_map(|(sync, hosts, details)| {
        let services = hosts
            .into_iter()
            .zip(details)
            .map(|(host, (aliases, endpoints, dns))| PublishedService { dns, ..service(host, &aliases, endpoints) });
        catalog(sync, services.collect::<Vec<_>>())
    })
}

proptest! {
    #[test]
    fn any_way_to_a_catalog_gives_what_the_catalog_gives_from_scratch(catalogs in vec(any_catalog(), 1..8)) {
        let mut builder = Builder::new(by_host());
        let mut held = Resources::new();
        for catalog in &catalogs {
            let rejected: Vec<_> = builder.rejected().cloned().collect();
            let changes = builder.update(catalog);
            prop_assert_eq!(builder.rejected_differs(), !builder.rejected().eq(&rejected));
            for (kind, name, resource) in changes.into_iter().flat_map(|c| c.resources) {
                let before = match resource {
                    Some(resource) => held.insert((kind, name), resource.clone()).filter(|old| *old == resource),
                    None => { prop_assert!(held.remove(&(kind, name)).is_some(), "gone, and was not there"); None }
                };
                prop_assert_eq!(before, None, "told, and did not differ");
            }
            prop_assert_eq!(&held, &from_scratch(catalog, &by_host()));
            prop_assert_eq!(builder.update(catalog), None);

            let mut fresh = Builder::new(by_host());
            fresh.update(catalog);
            prop_assert!(fresh.rejected().eq(builder.rejected()));
        }
    }
}

fn shown(metrics: &Metrics, start: &str) -> Vec<String> {
    let (mut registry, mut out) = (Registry::default(), String::new());
    metrics.register(&mut registry);
    text::encode(&mut out, &registry).unwrap();
    let mut lines: Vec<String> = out.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn generations_follow_the_catalog_and_nothing_is_told_when_nothing_changes() {
    let metrics = Metrics::default();
    let (mut follower, views) = Follower::new(by_host(), writer(&[]).1, metrics.clone());
    let mut seen = views.subscribe();
    follower.follow(&catalog(Readiness::Waiting, []));
    assert!(!seen.has_changed().unwrap());

    let both = catalog(Readiness::Complete, [service("b", &["p.d"], 1), service("d", &[], 1)]);
    follower.follow(&both);
    assert!(seen.has_changed().unwrap());
    let generation = seen.borrow_and_update().clone();
    assert_eq!((generation.number(), generation.readiness_of(Kind::Cluster)), (1, Some(Readiness::Complete)));
    assert_eq!(views.load().number(), 1);
    let rejected: Vec<String> =
        views.rejected().iter().map(|r| format!("{} {} {}", r.host, r.subject, r.why)).collect();
    let why = "the name is b's; let `envoy: cluster_name` or `istio: name` tell them apart, or rename one";
    assert_eq!(rejected, [format!("d p.d {why}")]);

    follower.follow(&both);
    assert!(!seen.has_changed().unwrap());
    assert_eq!(shown(&metrics, "views_generations_total"), ["views_generations_total 1"]);
    assert_eq!(
        shown(&metrics, "views_resources{"),
        ["clusters", "endpoints", "listeners", "routes"].map(|kind| format!(
            "views_resources{{kind=\"{kind}\"}} {}",
            generation.get(Kind::named(kind).unwrap()).len()
        ))
    );
    let rejected = shown(&metrics, "views_rejected{");
    let codes: Vec<&str> = rejected.iter().filter_map(|line| line.split('"').nth(3)).collect();
    let mut expected = Why::CODES;
    expected.sort();
    assert_eq!(codes, expected);
    assert!(rejected.contains(&"views_rejected{view=\"envoy\",reason=\"name_taken\"} 1".to_owned()), "{rejected:?}");
}

/// A catalog that file registries of these names feed.
fn writer(registries: &[&str]) -> (Writer, Handle, Vec<Feed>) {
    let policy = |name: &&str| Policy::new(name, "file", Template::parse("{service}.example").unwrap()).into();
    let (mut writer, handle) = Writer::new(Default::default(), Default::default());
    let desired = Desired { registries: registries.iter().map(policy).collect(), ..Desired::default() };
    let feeds = writer.configure(desired, false).feeds;
    (writer, handle, feeds)
}

#[tokio::test]
async fn the_task_follows_what_registries_tell_and_ends_on_demand() {
    let (writer, handle, feeds) = writer(&["r"]);
    let feed = &feeds[0].updates;
    let (follower, view) = Follower::new(Options::default(), handle, Metrics::default());
    let shutdown = CancellationToken::new();
    let tasks = [tokio::spawn(writer.run(shutdown.clone())), tokio::spawn(follower.run(shutdown.clone()))];

    let id = ServiceId::new("r", "", "", "a");
    let service = |n: i64| {
        let port = Port::new(8080 + n).unwrap();
        Arc::new(Service::new(id.clone(), vec![Endpoint::new(Address::parse("10.0.0.1").unwrap(), port)]))
    };
    let scope = Scope("".into());
    feed.send(Update::Scopes(vec![scope.clone()])).await.unwrap();
    let listed = Update::Listed { scope: scope.clone(), services: vec![service(0)], unreadable: Vec::new() };
    feed.send(listed).await.unwrap();

    let name: Name = "outbound|80||a.example".into();
    let mut seen = view.subscribe();
    let limit = Duration::from_secs(5);
    let has = |g: &Arc<ViewGeneration>| {
        g.readiness_of(Kind::Endpoint) == Some(Readiness::Complete) && g.get(Kind::Endpoint).get(&name).is_some()
    };
    let first = tokio::time::timeout(limit, seen.wait_for(has)).await.expect("the first list").unwrap().clone();
    let before = first.get(Kind::Endpoint).get(&name).cloned();
    feed.send(Update::Applied(scope, service(1))).await.unwrap();
    let differs = |g: &Arc<ViewGeneration>| g.get(Kind::Endpoint).get(&name) != before.as_ref();
    tokio::time::timeout(limit, seen.wait_for(differs)).await.expect("the change").unwrap();

    shutdown.cancel();
    for task in tasks {
        tokio::time::timeout(limit, task).await.expect("it ends").unwrap();
    }
}

/// A resource of that kind from a manifest, of the entry `portolan/a` where it is one.
fn manifest_of(kind: &str, name: &str, spec: &str) -> ((Kind, Name), Resource) {
    let text =
        format!("{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}");
    let (kind, resource) =
        crate::translate::istio::manifest::read("m", &text, &"portolan".into(), 7).unwrap().remove(0);
    ((kind, resource.name().clone()), resource)
}

#[test]
fn manifests_stand_beside_services_whose_names_go_first() {
    use crate::manifests::Snapshot;
    use tokio::sync::watch;

    let entry = |host: &str| manifest_of("ServiceEntry", "a", &format!("{{hosts: [{host}], resolution: STATIC}}"));
    let gateway = manifest_of("Gateway", "g", "{}");
    let snapshot = |number, heard, resources: Vec<((Kind, Name), Resource)>| {
        Arc::new(Snapshot {
            number,
            readiness: Some(heard),
            resources: resources.into_iter().collect(),
            manifests: vec![],
        })
    };
    let feed = watch::Sender::new(snapshot(0, Readiness::Waiting, Vec::new()));
    let istio = Istio::new(Default::default(), Metrics::default());
    let (follower, view) = Follower::new(istio, writer(&[]).1, Metrics::default());
    let mut follower = follower.with_manifests(crate::manifests::Handle::of(feed.subscribe()));
    assert_eq!(view.load().readiness_of(Kind::Gateway), Some(Readiness::Waiting), "before anything runs");
    let mut step = |services: &[&str]| {
        follower.load_manifests();
        follower.follow(&catalog(Readiness::Complete, services.iter().map(|name| service(name, &[], 1))));
        let now = view.load();
        let entry = now.get(Kind::ServiceEntry).get("portolan/a").map(|r| r.version());
        (entry, now.get(Kind::Gateway).len(), view.taken().len())
    };
    let name: Name = "portolan/a".into();
    let mut own = Builder::new(Istio::new(Default::default(), Metrics::default()));
    let changes = own.update(&catalog(Readiness::Complete, [service("a", &[], 1)])).unwrap().resources;
    let of_service = changes.iter().find(|(_, n, _)| *n == name).and_then(|(_, _, r)| r.clone()).map(|r| r.version());
    let of_manifest = |host: &str| Some(entry(host).1.version());

    assert_eq!(step(&[]), (None, 0, 0));
    feed.send_replace(snapshot(1, Readiness::Complete, vec![entry("x.example"), gateway.clone()]));
    assert_eq!(step(&[]), (of_manifest("x.example"), 1, 0));
    assert_eq!(step(&["a"]), (of_service, 1, 1), "the service's goes first");
    feed.send_replace(snapshot(2, Readiness::Complete, vec![entry("y.example"), gateway.clone()]));
    assert_eq!(step(&["a"]), (of_service, 1, 1));
    assert_eq!(step(&[]), (of_manifest("y.example"), 1, 0), "and then the manifest's has its name back");
    assert_eq!(step(&["a"]), (of_service, 1, 1));
    feed.send_replace(snapshot(3, Readiness::Complete, vec![gateway]));
    assert_eq!(step(&["a"]), (of_service, 1, 0));
    assert_eq!(step(&[]), (None, 1, 0));
    feed.send_replace(snapshot(4, Readiness::Complete, Vec::new()));
    assert_eq!(step(&[]), (None, 0, 0));
}
