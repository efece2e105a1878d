//! What stands after what was heard.

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
    Arc::new(Manifest { id: id("a", name), text: text.into() })
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
        let source = |name: &&str| Source { registry: (*name).into(), namespace: "portolan".into() };
        let now = Instant::now();
        World { core: Core::new(registries.iter().map(source).collect(), 7, Metrics::default(), now), now }
    }

    /// One that has heard these.
    fn with(manifests: &[(&str, String)]) -> World {
        let mut world = World::new();
        world.hears(ManifestUpdate::Scopes(vec![scope("s")]));
        world.hears(listed(manifests));
        world
    }

    fn hears(&mut self, update: ManifestUpdate) -> Snapshot {
        self.core.apply(0, update, self.now);
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
    let next = world.hears(listed(&[("z2", gateway("z2", 2)), ("zz", gateway("zz", 1))]));
    assert_eq!(names(&next), ["portolan/z2", "portolan/zz"]);
    assert_ne!(
        next.resources[&(Kind::Gateway, "portolan/z2".into())],
        first.resources[&(Kind::Gateway, "portolan/z2".into())]
    );
    assert_eq!(names(&world.hears(listed(&[("zz", gateway("zz", 1))]))), ["portolan/zz"]);
    assert!(names(&world.hears(listed(&[]))).is_empty(), "one may go");
}

#[test]
fn a_failure_changes_nothing() {
    let mut world = World::with(&two());
    let before = world.core.snapshot();
    for update in [failed(), ManifestUpdate::Failed(None, "down".into())] {
        let after = world.hears(update);
        assert_eq!(after, before);
    }
    assert_eq!(names(&world.after(9_999)), ["portolan/x", "portolan/z2"]);
}

#[test]
fn a_wrong_text_keeps_what_its_last_good_one_gave() {
    let mut world = World::with(&two());
    let wrong = format!("{}---\n{}", gateway("new", 1), gateway("x", 1).replace("servers", "srvers"));
    let next = world.hears(listed(&[("x", wrong.clone()), ("z2", gateway("z2", 2))]));
    assert_eq!(names(&next), ["portolan/x", "portolan/z2"], "no half");
    assert_eq!(states(&next), [("x", State::Wrong), ("z2", State::Good)]);
    let error = next.manifests[0].error.clone().unwrap();
    assert!(
        error.contains("x:9:8: spec.srvers: Gateway has no field \"srvers\"; did you mean \"servers\"?"),
        "{error}"
    );
    let right = world.hears(listed(&[("x", gateway("x2", 1)), ("z2", gateway("z2", 2))]));
    assert_eq!((names(&right), states(&right)[0]), (vec!["portolan/x2", "portolan/z2"], ("x", State::Good)));
    let deleted = world.hears(listed(&[("x", wrong)]));
    assert_eq!(names(&deleted), ["portolan/x2"]);
    assert!(names(&world.hears(listed(&[("q", "nonsense".into())]))).is_empty(), "it never was good");
}

#[test]
fn a_loss_of_everything_is_held_until_it_has_lasted() {
    let mut world = World::with(&two());
    let held = world.hears(listed(&[]));
    assert_eq!(states(&held), [("x", State::Held), ("z2", State::Held)]);
    assert_eq!(names(&world.after(59)).len(), 2);
    world.hears(listed(&[]));
    assert_eq!(names(&world.after(1)).len(), 0, "60 s since the first such list");

    let mut world = World::with(&two());
    world.hears(listed(&[]));
    world.after(30);
    let back = world.hears(listed(&[("z2", gateway("z2", 1))]));
    assert_eq!(states(&back), [("z2", State::Good)]);
    assert_eq!(names(&world.after(99)), ["portolan/z2"]);

    let mut world = World::with(&two());
    world.hears(listed(&[]));
    world.after(59);
    world.hears(failed());
    assert_eq!(names(&world.after(99)).len(), 2, "nobody says that it is gone");
    world.hears(listed(&[]));
    assert_eq!(names(&world.after(59)).len(), 2);
    assert_eq!(names(&world.after(1)).len(), 0);
}

#[test]
fn a_scope_that_is_no_longer_named_is_lost_as_a_whole() {
    let mut world = World::with(&two());
    let held = world.hears(ManifestUpdate::Scopes(vec![scope("other")]));
    assert_eq!((names(&held).len(), held.readiness), (2, Some(Readiness::Waiting)));
    world.hears(ManifestUpdate::Listed(scope("other"), Vec::new()));
    world.hears(ManifestUpdate::Failed(None, "down".into()));
    let gone = world.after(60);
    assert_eq!((names(&gone).len(), gone.readiness), (0, Some(Readiness::Complete)));

    let mut world = World::with(&two()[..1]);
    assert!(names(&world.hears(ManifestUpdate::Scopes(Vec::new()))).is_empty());
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
    let one = world.hears(listed(&[("z2", gateway("same", 2))]));
    assert_eq!((names(&one), states(&one)), (vec!["portolan/same"], vec![("z2", State::Good)]));
}

#[test]
fn all_is_heard_when_every_registry_has_listed_every_scope_and_overdue_after_a_minute() {
    let mut world = World::of(&["a", "b"]);
    assert_eq!(world.core.snapshot().readiness, Some(Readiness::Waiting));
    world.hears(ManifestUpdate::Scopes(vec![scope("s"), scope("t")]));
    world.hears(listed(&two()));
    world.hears(ManifestUpdate::Failed(Some(scope("t")), "denied".into()));
    world.core.apply(1, ManifestUpdate::Scopes(Vec::new()), world.now);
    assert_eq!(world.after(59).readiness, Some(Readiness::Waiting));
    assert_eq!(world.after(1).readiness, Some(Readiness::Partial));
    let all = world.hears(ManifestUpdate::Listed(scope("t"), Vec::new()));
    assert_eq!((all.readiness, world.core.due()), (Some(Readiness::Complete), None));
    assert_eq!(World::of(&[]).core.snapshot().readiness, None);
}

#[tokio::test(start_paused = true)]
async fn the_keeper_tells_each_change_once_and_lets_go_by_itself() {
    let source = Source { registry: "a".into(), namespace: "portolan".into() };
    let (keeper, handle) = Keeper::new(vec![source], 7, Metrics::default());
    assert!(keeper.feed("b").is_none());
    let (feed, stop) = (keeper.feed("a").unwrap(), CancellationToken::new());
    let running = tokio::spawn(keeper.run(stop.clone()));
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
