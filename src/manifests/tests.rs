//! What stands after what was received.

use super::{core::Core, *};
use crate::model::{Manifest, ManifestUpdate, Scope};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn id(registry: &str, name: &str) -> ManifestId {
    ManifestId { registry: registry.into(), namespace: "public".into(), group: "istio".into(), name: name.into() }
}

fn gateway(name: &str, port: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\n\
         spec: {{servers: [{{port: {{number: {port}}}}}]}}\n"
    )
}

fn manifest(name: &str, text: &str) -> Arc<Manifest> {
    Arc::new(Manifest { id: id("a", name), text: Ok(text.into()) })
}

fn scope(name: &str) -> Scope {
    Scope(name.into())
}

fn listed(manifests: &[(&str, String)]) -> ManifestUpdate {
    ManifestUpdate::Listed(scope("s"), manifests.iter().map(|(name, text)| manifest(name, text)).collect())
}

fn failed() -> ManifestUpdate {
    ManifestUpdate::Failed(Some(scope("s")), "no connection".into())
}

/// One registry, `a`, and a clock.
struct World {
    core: Core,
    now: Instant,
}

impl World {
    fn new() -> World {
        World::of(&["a"])
    }

    fn of(registries: &[&str]) -> World {
        let source =
            |name: &&str| Source { registry: (*name).into(), namespace: "portolan".into(), ..Source::default() };
        let now = Instant::now();
        let mut core = Core::new(now);
        core.configure(registries.iter().map(source).collect(), 7);
        World { core, now }
    }

    /// One that has received these.
    fn with(manifests: &[(&str, String)]) -> World {
        let mut world = World::new();
        world.receives(ManifestUpdate::Scopes(vec![scope("s")]));
        world.receives(listed(manifests));
        world
    }

    fn receives(&mut self, update: ManifestUpdate) -> Snapshot {
        self.core.apply("a", update, self.now);
        self.core.snapshot()
    }

    fn after(&mut self, seconds: u64) -> Snapshot {
        self.now += Duration::from_secs(seconds);
        if self.core.due().is_some_and(|due| due <= self.now) {
            self.core.tick(self.now);
        }
        self.core.snapshot()
    }
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.resources.keys().map(|(_, name)| &**name).collect()
}

fn states(snapshot: &Snapshot) -> Vec<(&str, State)> {
    snapshot.manifests.iter().map(|status| (&*status.id.name, status.state)).collect()
}

fn two() -> Vec<(&'static str, String)> {
    vec![("x", gateway("x", 1)), ("z2", gateway("z2", 1))]
}

#[test]
fn a_list_is_followed_and_what_it_lacks_goes_at_once() {
    let mut world = World::with(&two());
    let first = world.core.snapshot();
    assert_eq!((names(&first), first.readiness), (vec!["portolan/x", "portolan/z2"], Some(Readiness::Complete)));
    let next = world.receives(listed(&[("z2", gateway("z2", 2)), ("zz", gateway("zz", 1))]));
    assert_eq!(names(&next), ["portolan/z2", "portolan/zz"]);
    assert_ne!(
        next.resources[&(Kind::Gateway, "portolan/z2".into())],
        first.resources[&(Kind::Gateway, "portolan/z2".into())]
    );
    assert_eq!(names(&world.receives(listed(&[("zz", gateway("zz", 1))]))), ["portolan/zz"]);
    assert!(names(&world.receives(listed(&[]))).is_empty(), "one may go");
}

#[test]
fn a_failure_changes_nothing() {
    let mut world = World::with(&two());
    let before = world.core.snapshot();
    for update in [failed(), ManifestUpdate::Failed(None, "down".into())] {
        let after = world.receives(update);
        assert_eq!(after, before);
    }
    assert_eq!(names(&world.after(9_999)), ["portolan/x", "portolan/z2"]);
}

#[test]
fn a_wrong_text_keeps_what_its_last_good_one_gave() {
    let mut world = World::with(&two());
    let wrong = format!("{}---\n{}", gateway("new", 1), gateway("x", 1).replace("servers", "srvers"));
    let next = world.receives(listed(&[("x", wrong.clone()), ("z2", gateway("z2", 2))]));
    assert_eq!(names(&next), ["portolan/x", "portolan/z2"], "no half");
    assert_eq!(states(&next), [("x", State::Wrong), ("z2", State::Good)]);
    let error = next.manifests[0].error.clone().unwrap();
    assert!(
        error.contains("x:9:8: spec.srvers: Gateway has no field \"srvers\"; did you mean \"servers\"?"),
        "{error}"
    );
    let right = world.receives(listed(&[("x", gateway("x2", 1)), ("z2", gateway("z2", 2))]));
    assert_eq!((names(&right), states(&right)[0]), (vec!["portolan/x2", "portolan/z2"], ("x", State::Good)));
    let deleted = world.receives(listed(&[("x", wrong)]));
    assert_eq!(names(&deleted), ["portolan/x2"]);
    assert!(names(&world.receives(listed(&[("q", "nonsense".into())]))).is_empty(), "it never was good");
}

#[test]
fn a_loss_of_everything_is_held_until_it_has_lasted() {
    let mut world = World::with(&two());
    let held = world.receives(listed(&[]));
    assert_eq!(states(&held), [("x", State::Held), ("z2", State::Held)]);
    assert_eq!(names(&world.after(59)).len(), 2);
    world.receives(listed(&[]));
    assert_eq!(names(&world.after(1)).len(), 0, "60 s since the first such list");

    let mut world = World::with(&two());
    world.receives(listed(&[]));
    world.after(30);
    let back = world.receives(listed(&[("z2", gateway("z2", 1))]));
    assert_eq!(states(&back), [("z2", State::Good)]);
    assert_eq!(names(&world.after(99)), ["portolan/z2"]);

    let mut world = World::with(&two());
    world.receives(listed(&[]));
    world.after(59);
    world.receives(failed());
    assert_eq!(names(&world.after(99)).len(), 2, "nobody says that it is gone");
    world.receives(listed(&[]));
    assert_eq!(names(&world.after(59)).len(), 2);
    assert_eq!(names(&world.after(1)).len(), 0);
}

#[test]
fn a_scope_that_is_no_longer_named_is_lost_as_a_whole() {
    let mut world = World::with(&two());
    let held = world.receives(ManifestUpdate::Scopes(vec![scope("other")]));
    assert_eq!((names(&held).len(), held.readiness), (2, Some(Readiness::Waiting)));
    world.receives(ManifestUpdate::Listed(scope("other"), Vec::new()));
    world.receives(ManifestUpdate::Failed(None, "down".into()));
    let gone = world.after(60);
    assert_eq!((names(&gone).len(), gone.readiness), (0, Some(Readiness::Complete)));

    let mut world = World::with(&two()[..1]);
    assert!(names(&world.receives(ManifestUpdate::Scopes(Vec::new()))).is_empty());
}

#[test]
fn a_scope_that_is_named_again_keeps_what_it_had_until_it_is_listed() {
    let mut world = World::with(&two());
    world.receives(ManifestUpdate::Scopes(vec![scope("other")]));
    world.after(30);
    world.receives(ManifestUpdate::Scopes(vec![scope("other"), scope("s")]));
    assert_eq!(names(&world.after(99)).len(), 2, "its list takes its time");
    world.receives(listed(&[]));
    assert_eq!(names(&world.after(59)).len(), 2);
    world.receives(ManifestUpdate::Scopes(vec![scope("s")]));
    assert_eq!(names(&world.after(1)).len(), 0, "it was named all the time");
}

#[test]
fn of_two_with_one_name_the_first_by_id_has_it() {
    let mut world = World::with(&[("x", gateway("same", 1)), ("z2", gateway("same", 2))]);
    let both = world.core.snapshot();
    assert_eq!(states(&both), [("x", State::Good), ("z2", State::Conflicting)]);
    assert_eq!(
        &**both.manifests[1].error.as_ref().unwrap(),
        "Gateway portolan/same stands in a/public/istio/x already"
    );
    assert_eq!((both.manifests[0].resources.len(), both.manifests[1].resources.len()), (1, 0));
    let one = world.receives(listed(&[("z2", gateway("same", 2))]));
    assert_eq!((names(&one), states(&one)), (vec!["portolan/same"], vec![("z2", State::Good)]));
}

#[test]
fn all_is_known_when_every_registry_has_listed_every_scope_and_overdue_after_a_minute() {
    let mut world = World::of(&["a", "b"]);
    assert_eq!(world.core.snapshot().readiness, Some(Readiness::Waiting));
    world.receives(ManifestUpdate::Scopes(vec![scope("s"), scope("t")]));
    world.receives(listed(&two()));
    world.receives(ManifestUpdate::Failed(Some(scope("t")), "denied".into()));
    world.core.apply("b", ManifestUpdate::Scopes(Vec::new()), world.now);
    assert_eq!(world.after(59).readiness, Some(Readiness::Waiting));
    assert_eq!(world.after(1).readiness, Some(Readiness::Partial));
    let all = world.receives(ManifestUpdate::Listed(scope("t"), Vec::new()));
    assert_eq!((all.readiness, world.core.due()), (Some(Readiness::Complete), None));
    assert_eq!(World::of(&[]).core.snapshot().readiness, None);
}

#[test]
fn nobody_has_waited_for_a_registry_that_is_new() {
    let mut world = World::of(&[]);
    world.after(61);
    let source = Source { registry: "a".into(), namespace: "portolan".into(), ..Source::default() };
    world.core.configure(vec![source], 7);
    assert_eq!(world.after(1).readiness, Some(Readiness::Partial));
    assert_eq!(world.core.take_events(), []);
}

#[tokio::test(start_paused = true)]
async fn the_store_signals_each_change_once_and_lets_go_by_itself() {
    let source = Source { registry: "a".into(), namespace: "portolan".into(), ..Source::default() };
    let (store, handle) = ManifestStore::new(vec![source], 7, Metrics::default());
    assert!(handle.feed("b").is_none());
    let (feed, stop) = (handle.feed("a").unwrap(), CancellationToken::new());
    let running = tokio::spawn(store.run(stop.clone()));
    let mut seen = handle.subscribe();
    feed.send(ManifestUpdate::Scopes(vec![scope("s")])).await.unwrap();
    feed.send(listed(&two())).await.unwrap();
    seen.wait_for(|snapshot| snapshot.resources.len() == 2).await.unwrap();
    feed.send(listed(&two())).await.unwrap();
    feed.send(failed()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!seen.has_changed().unwrap(), "nothing changed");
    feed.send(listed(&[])).await.unwrap();
    seen.wait_for(|snapshot| snapshot.resources.is_empty()).await.unwrap();
    stop.cancel();
    running.await.unwrap();
}

#[test]
fn what_happens_is_said_once_until_it_is_otherwise() {
    let mut world = World::with(&two());
    world.core.take_events();
    let registry = Text::from("a");
    let scope = Some(scope("s"));
    let failed =
        |error: &str, again| Event::Failed { registry: "a".into(), scope: scope.clone(), error: error.into(), again };
    for (error, again) in [("refused", false), ("refused", true), ("timed out", false), ("timed out", true)] {
        world.receives(ManifestUpdate::Failed(scope.clone(), error.into()));
        assert_eq!(world.core.take_events(), [failed(error, again)]);
    }
    world.receives(listed(&two()));
    assert_eq!(world.core.take_events(), [Event::Recovered { registry, scope: scope.clone() }]);
    world.receives(listed(&two()));
    assert_eq!(world.core.take_events(), []);
    world.receives(ManifestUpdate::Failed(scope.clone(), "timed out".into()));
    assert_eq!(world.core.take_events(), [failed("timed out", false)], "anew");
    world.receives(listed(&[("x", gateway("same", 1)), ("z2", gateway("same", 2))]));
    let events = world.core.take_events();
    assert!(
        matches!(
            &events[..],
            [Event::Recovered { .. }, Event::Read { .. }, Event::Read { .. }, Event::Conflict { .. }]
        ),
        "{events:?}"
    );
}

#[test]
fn another_configuration_awaits_what_is_new_lets_go_what_is_gone_and_reads_again_what_it_concerns() {
    let source = |name: &str, namespace: &str| Source {
        registry: name.into(),
        namespace: namespace.into(),
        ..Source::default()
    };
    let mut world = World::with(&two());
    let before = world.core.snapshot();
    world.core.configure(vec![source("a", "portolan"), source("b", "portolan")], 7);
    let awaited = world.core.snapshot();
    assert_eq!((awaited.readiness, &awaited.pending[..]), (Some(Readiness::Partial), &[Text::from("b")][..]));
    assert_eq!(awaited.resources, before.resources);
    assert_eq!(world.core.due(), None, "services' entries wait no longer than they did");

    world.core.configure(vec![source("a", "mesh"), source("b", "portolan")], 7);
    assert_eq!(names(&world.core.snapshot()), ["mesh/x", "mesh/z2"]);
    world.core.configure(vec![source("a", "mesh"), source("b", "portolan")], 8);
    let later = world.core.snapshot();
    let key = (Kind::Gateway, Name::from("mesh/x"));
    assert_eq!(names(&later), ["mesh/x", "mesh/z2"]);
    assert_ne!(later.resources[&key], before.resources[&(Kind::Gateway, "portolan/x".into())]);

    world.core.configure(vec![source("b", "portolan")], 8);
    assert!(world.core.snapshot().resources.is_empty());
    world.receives(listed(&two()));
    assert!(world.core.snapshot().resources.is_empty(), "it is not read any more");
    world.core.configure(Vec::new(), 8);
    assert_eq!(world.core.snapshot().readiness, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_former_reading_of_a_registry_sends_is_passed_over() {
    let source = || Source { registry: "a".into(), namespace: "portolan".into(), ..Source::default() };
    let (store, handle) = ManifestStore::new(vec![source()], 7, Metrics::default());
    let (old, new) = (handle.feed("a").unwrap(), handle.feed("a").unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(store.run(stop.clone()));
    let mut seen = handle.subscribe();
    old.send(ManifestUpdate::Scopes(vec![scope("old")])).await.unwrap();
    new.send(ManifestUpdate::Scopes(vec![scope("s")])).await.unwrap();
    new.send(listed(&two())).await.unwrap();
    seen.wait_for(|snapshot| snapshot.readiness == Some(Readiness::Complete)).await.unwrap();
    assert_eq!(names(&handle.load()).len(), 2);

    handle.configure(Vec::new(), 7);
    seen.wait_for(|snapshot| snapshot.resources.is_empty() && snapshot.readiness.is_none()).await.unwrap();
    assert!(handle.feed("a").is_none());
    handle.configure(vec![source()], 7);
    seen.wait_for(|snapshot| snapshot.pending.len() == 1).await.unwrap();
    let again = handle.feed("a").unwrap();
    again.send(ManifestUpdate::Scopes(Vec::new())).await.unwrap();
    seen.wait_for(|snapshot| snapshot.readiness == Some(Readiness::Complete)).await.unwrap();
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_gone_is_in_no_metric() {
    let source = |name: &str| Source { registry: name.into(), namespace: "portolan".into(), ..Source::default() };
    let (mut registry, metrics) = (crate::telemetry::registry(), Metrics::default());
    metrics.register(&mut registry);
    let (store, handle) = ManifestStore::new(vec![source("a"), source("stays")], 7, metrics);
    let (feed, stop) = (handle.feed("a").unwrap(), CancellationToken::new());
    let running = tokio::spawn(store.run(stop.clone()));
    let mut seen = handle.subscribe();
    let shown = || {
        let text = crate::telemetry::encode(&registry);
        ["a", "stays"].map(|name| text.matches(&format!("registry=\"{name}\"")).count())
    };
    feed.send(ManifestUpdate::Scopes(vec![scope("s")])).await.unwrap();
    feed.send(failed()).await.unwrap();
    feed.send(listed(&two())).await.unwrap();
    seen.wait_for(|snapshot| snapshot.resources.len() == 2).await.unwrap();
    feed.send(listed(&[])).await.unwrap();
    seen.wait_for(|snapshot| snapshot.manifests.iter().any(|status| status.state == State::Held)).await.unwrap();
    assert_eq!(shown(), [6, 4], "four states, failures and holds");
    handle.configure(vec![source("stays")], 7);
    seen.wait_for(|snapshot| snapshot.resources.is_empty()).await.unwrap();
    assert_eq!(shown(), [0, 4]);
    stop.cancel();
    running.await.unwrap();
}

#[test]
fn a_manifest_whose_entry_gives_way_to_a_services_says_so() {
    let mut world = World::with(&two());
    let names_of_services = BTreeSet::from([(Kind::Gateway, Name::from("portolan/x"))]);
    let statuses = world.core.snapshot().statuses(&names_of_services);
    let [x, z] = &statuses[..] else { panic!("{statuses:?}") };
    assert_eq!((x.state, x.resources.len(), z.state), (State::Conflicting, 0, State::Good));
    assert_eq!(
        x.error.as_deref(),
        Some("Gateway portolan/x is a service's already; rename one, or let `istio: name` tell them apart")
    );
}

#[test]
fn what_is_known_from_before_a_restart_is_served_until_the_registry_is_listed() {
    let mut before = World::with(&two());
    let wrong = gateway("x", 1).replace("servers", "srvers");
    before.receives(listed(&[("x", wrong.clone()), ("z2", gateway("z2", 1))]));
    let served = before.core.snapshot();
    let (identity, memory) = before.core.remember().remove("a").unwrap();
    assert_eq!((&*identity, memory.len()), ("", 2));

    let now = Instant::now();
    let mut after = World { core: Core::new(now), now };
    let source = |identity: &str, memory: Option<Memory>| Source {
        registry: "a".into(),
        namespace: "portolan".into(),
        identity: identity.into(),
        memory: memory.map(Arc::new),
    };
    after.core.configure(vec![source("", Some(memory.clone()))], 7);
    let recalled = after.core.snapshot();
    assert_eq!(recalled.resources, served.resources, "also what the last good text of a wrong one gave");
    assert_eq!(states(&recalled), [("x", State::Wrong), ("z2", State::Good)]);
    assert_eq!((recalled.sync(), recalled.known()), (Some(Readiness::Partial), Some(Readiness::Waiting)));
    assert_eq!(after.core.remember(), before.core.remember(), "once more, if that is all");
    let late = after.after(60);
    assert_eq!((late.sync(), late.known()), (Some(Readiness::Partial), Some(Readiness::Complete)));
    assert_eq!(after.receives(failed()).resources, served.resources);
    // A registry that comes back empty does not empty the mesh.
    after.receives(ManifestUpdate::Scopes(vec![scope("s")]));
    assert_eq!(after.receives(listed(&[])).resources, served.resources);
    let again = after.receives(listed(&two()));
    assert_eq!((names(&again), again.known()), (vec!["portolan/x", "portolan/z2"], Some(Readiness::Complete)));
}

#[test]
fn what_another_registry_had_under_the_name_is_not_kept_as_this_ones() {
    let mut world = World::with(&two());
    let elsewhere =
        Source { registry: "a".into(), namespace: "portolan".into(), identity: "elsewhere".into(), memory: None };
    world.core.configure(vec![elsewhere], 7);
    assert!(world.core.remember().is_empty());
    world.receives(ManifestUpdate::Scopes(vec![scope("s")]));
    world.receives(listed(&[]));
    assert!(world.core.remember().is_empty(), "what is held is the other's");
    world.receives(listed(&[("x", gateway("x", 3))]));
    let (identity, memory) = world.core.remember().remove("a").unwrap();
    assert_eq!((&*identity, memory.len()), ("elsewhere", 1));
}
