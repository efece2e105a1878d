//! Which views there are, for how long, and what they follow.

use super::{services::shown, *};
use crate::{
    catalog::{Desired, Handle, Policy, Template, Writer},
    manifests,
    model::{Scope, Update},
    resource::KindReadiness,
    translate::istio,
};
use std::time::Duration;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

const ENVOY: ViewKey = ViewKey::whole(Dialect::Envoy);
const ISTIO: ViewKey = ViewKey::whole(Dialect::Istio);
const IDLE: Duration = Duration::from_secs(300);
const DEADLINE: Duration = Duration::from_secs(60);

/// A catalog that one registry feeds, and the tasks of all dialects, which run when a test says so.
struct World {
    set: Set,
    tasks: [Task; Dialect::ALL.len()],
    /// The tasks for settings that are rolled out.
    next: [Task; Dialect::ALL.len()],
    now: Instant,
    catalog: Handle,
    feed: mpsc::Sender<Update>,
    manifests: watch::Sender<Arc<Snapshot>>,
    metrics: Metrics,
}

impl World {
    async fn new(options: Options) -> World {
        let policy = Policy::new("r", "file", Template::parse("{service}.example").unwrap());
        let (mut writer, catalog) = Writer::new(Default::default(), Default::default());
        let desired = Desired { registries: vec![policy.into()], ..Desired::default() };
        let feed = writer.configure(desired, false).feeds.remove(0).updates;
        tokio::spawn(writer.run(CancellationToken::new()));
        let manifests = watch::Sender::new(Arc::new(Snapshot::default()));
        let handle = manifests::Handle::of(manifests.subscribe());
        let metrics = Metrics::default();
        let (set, [tasks, next]) = Set::new(options, catalog.clone(), handle, metrics.clone());
        let mut world = World { set, tasks, next, now: Instant::now(), catalog, feed, manifests, metrics };
        world.step();
        world
    }

    /// Services of that many endpoints each are listed, and nothing else.
    async fn listed(&mut self, services: usize, endpoints: u16) {
        let services: Vec<_> = (0..services).map(|n| Arc::new(registered(n, endpoints))).collect();
        let wanted = |catalog: &Catalog| {
            catalog.services.len() == services.len()
                && catalog.services.values().all(|service| service.endpoints.len() == usize::from(endpoints))
        };
        let mut changed = self.catalog.changed();
        list(&self.feed, services.clone()).await;
        let until = async {
            while !(wanted(&self.catalog.load()) && self.catalog.load().sync == Readiness::Complete) {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, until).await.expect("the list is published");
        self.step();
    }

    /// Applies other settings, for views alone.
    async fn configure(&mut self, envoy: EnvoyOptions, istio: istio::Options) {
        self.roll(Outputs { envoy, istio, ..Outputs::default() }, None).await;
    }

    /// Applies other settings, and the settings of a rollout, if any.
    async fn roll(&mut self, outputs: Outputs, next: Option<Outputs>) {
        let revision = self.set.configure(outputs, next);
        let policy = Policy::new("r", "file", Template::parse("{service}.example").unwrap());
        let desired = Desired { registries: vec![policy.into()], revision, ..Desired::default() };
        drop(self.catalog.configure(desired, true).await);
        self.step();
    }

    fn step(&mut self) {
        self.tasks.iter_mut().chain(&mut self.next).for_each(|task| task.step(self.now));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step();
    }

    fn subscribe(&self, key: &ViewKey) -> Result<watch::Receiver<Arc<ViewGeneration>>, Full> {
        self.set.subscribe(key, &Selection::default(), &Part::default())
    }

    /// What is counted of Istiods' views.
    fn of_istio(&self, metric: &str) -> Option<String> {
        let line = shown(&self.metrics, &format!("{metric}{{dialect=\"istio\"}}")).pop()?;
        line.rsplit(' ').next().map(str::to_owned)
    }
}

/// The registry lists these services, and nothing else.
async fn list(feed: &mpsc::Sender<Update>, services: Vec<Arc<Service>>) {
    feed.send(Update::Scopes(vec![Scope::whole()])).await.unwrap();
    feed.send(Update::Listed { scope: Scope::whole(), services, unreadable: Vec::new() }).await.unwrap();
}

fn registered(number: usize, endpoints: u16) -> Service {
    let id = ServiceId::new("r", "", "", format!("s{number}"));
    let endpoint =
        |n: u16| Endpoint::new(Address::parse("10.0.0.1").unwrap(), Port::new(8_000 + i64::from(n)).unwrap());
    Service::new(id, (0..endpoints).map(endpoint).collect())
}

#[tokio::test(start_paused = true)]
async fn without_an_istiod_nothing_is_made_for_one() {
    let mut world = World::new(Options::default()).await;
    let envoy = world.subscribe(&ENVOY).unwrap();
    world.listed(3, 1).await;
    assert_eq!(envoy.borrow().get(Kind::Cluster).len(), 3);
    assert_eq!((world.of_istio("views_kept"), world.of_istio("views_translations_total")), (Some("0".into()), None));
    assert!(world.tasks[Dialect::Istio as usize].is_idle());
    assert!(!world.tasks[Dialect::Envoy as usize].is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_view_that_nobody_sees_is_dropped_after_its_time_and_comes_back_as_it_was() {
    let mut world = World::new(Options::default()).await;
    world.listed(3, 1).await;
    let istiod = world.subscribe(&ISTIO).unwrap();
    assert_eq!(istiod.borrow().number(), 0, "it is made by the task");
    world.step();
    let before = content(&istiod.borrow());
    assert_eq!((before.len(), world.of_istio("views_kept")), (3, Some("1".into())));
    let other = world.subscribe(&ISTIO).unwrap();
    drop(istiod);
    world.pass(2 * IDLE);
    assert_eq!(world.set.views().len(), 1, "somebody sees it");

    drop(other);
    world.step();
    world.pass(IDLE - Duration::from_secs(1));
    drop(world.subscribe(&ISTIO).unwrap());
    world.step();
    world.pass(IDLE - Duration::from_secs(1));
    assert_eq!(world.set.views().len(), 1, "its time began anew");
    world.pass(Duration::from_secs(1));
    assert!(world.set.views().is_empty() && world.tasks[Dialect::Istio as usize].is_idle());
    assert_eq!(
        (world.of_istio("views_kept"), shown(&world.metrics, "views_resources{")),
        (Some("0".into()), Vec::new())
    );

    let again = world.subscribe(&ISTIO).unwrap();
    world.step();
    assert_eq!(content(&again.borrow()), before);
    assert_eq!(world.of_istio("views_translations_total").as_deref(), Some("6"), "it was made anew");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_views_is_bounded_and_one_that_nobody_sees_makes_room() {
    let world = World::new(Options { most: 2, ..Options::default() }).await;
    let scope = |name: &str| ViewKey::of_scope(Dialect::Envoy, name);
    let (a, _b) = (world.subscribe(&scope("a")).unwrap(), world.subscribe(&scope("b")).unwrap());
    assert_eq!(world.subscribe(&scope("c")).unwrap_err(), Full { most: 2 });
    assert!(world.subscribe(&scope("a")).is_ok() && world.subscribe(&ISTIO).is_ok(), "these need no room");
    drop(a);
    assert!(world.subscribe(&scope("c")).is_ok());
    let keys: Vec<String> = world.set.views().iter().map(|view| view.key.to_string()).collect();
    assert_eq!(keys, ["envoy/b", "envoy/c", "istio"]);
}

#[tokio::test(start_paused = true)]
async fn a_view_made_again_under_its_key_has_a_generation_even_if_no_step_lay_between() {
    let mut world = World::new(Options { most: 1, ..Options::default() }).await;
    world.listed(2, 1).await;
    let scope = |name: &str| ViewKey::of_scope(Dialect::Envoy, name);
    let first = world.subscribe(&scope("a")).unwrap();
    world.step();
    drop(first);
    drop(world.subscribe(&scope("b")).unwrap());
    let again = world.subscribe(&scope("a")).unwrap();
    world.step();
    assert_eq!(again.borrow().get(Kind::Cluster).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_options_are_swapped_in_and_equal_ones_change_nothing() {
    let mut world = World::new(Options::default()).await;
    let (mut envoy, mut istiod) = (world.subscribe(&ENVOY).unwrap(), world.subscribe(&ISTIO).unwrap());
    world.listed(3, 2).await;
    let (first, entries) = (envoy.borrow_and_update().clone(), istiod.borrow_and_update().clone());

    world.configure(EnvoyOptions::default(), istio::Options::default()).await;
    assert!(!envoy.has_changed().unwrap() && !istiod.has_changed().unwrap());

    let options = EnvoyOptions { connect_timeout: Duration::from_secs(9), ..EnvoyOptions::default() };
    world.configure(options, istio::Options::default()).await;
    let second = envoy.borrow_and_update().clone();
    assert_eq!(second.number(), first.number() + 1, "one generation for all of it");
    let clusters = |generation: &ViewGeneration| generation.get(Kind::Cluster).digest();
    assert_ne!(clusters(&second), clusters(&first));
    assert!(Arc::ptr_eq(second.get(Kind::Endpoint), first.get(Kind::Endpoint)), "assignments are the same values");
    assert!(!istiod.has_changed().unwrap(), "and Istiods hear nothing of it");

    // While nobody sees it a view is not made; later it is made by the options in force.
    let rules = istio::Rules { namespace: Template::parse("mesh").unwrap(), ..Default::default() };
    drop(istiod);
    world.step();
    world.pass(IDLE);
    world.configure(EnvoyOptions::default(), istio::Options { rules, ..Default::default() }).await;
    let istiod = world.subscribe(&ISTIO).unwrap();
    world.step();
    let names = |generation: &ViewGeneration| -> Vec<Name> {
        generation.get(Kind::ServiceEntry).versions().keys().cloned().collect()
    };
    assert_eq!(&*names(&entries)[0], "portolan/s0.example");
    assert_eq!(&*names(&istiod.borrow())[0], "mesh/s0.example");
    assert_eq!(clusters(&envoy.borrow()), clusters(&first), "and back");

    // What it changes of the catalog, too, is in the same generation.
    let before = envoy.borrow_and_update().number();
    let options = EnvoyOptions { connect_timeout: Duration::from_secs(8), ..EnvoyOptions::default() };
    let revision = world.set.configure(Outputs { envoy: options, ..Outputs::default() }, None);
    world.step();
    assert!(!envoy.has_changed().unwrap(), "not before its catalog");
    let policy = Policy::new("r", "file", Template::parse("{service}.elsewhere").unwrap());
    let desired = Desired { registries: vec![policy.into()], revision, ..Desired::default() };
    drop(world.catalog.configure(desired, true).await);
    world.step();
    let last = envoy.borrow_and_update().clone();
    let hosts = |generation: &ViewGeneration| -> Vec<Name> {
        generation.get(Kind::Cluster).versions().keys().filter(|name| name.ends_with(".elsewhere")).cloned().collect()
    };
    assert_eq!((last.number(), hosts(&last).len()), (before + 1, 3));
}

#[tokio::test(start_paused = true)]
async fn readiness_is_told_by_dialect_whether_or_not_there_is_a_view() {
    let mut world = World::new(Options::default()).await;
    let ready = |world: &World| Dialect::ALL.map(|dialect| world.set.is_ready(dialect));
    assert_eq!(ready(&world), [false, false, false]);
    world.manifests.send_replace(Arc::new(Snapshot { readiness: Some(Readiness::Waiting), ..Snapshot::default() }));
    world.listed(1, 1).await;
    assert_eq!(ready(&world), [false, false, false], "rules change clusters, and entries are in lists");
    assert_eq!(
        shown(&world.metrics, "views_ready{"),
        ["envoy\"} 0", "grpc\"} 0", "istio\"} 0"].map(|end| format!("views_ready{{client=\"{end}")),
        "a gauge to alert on"
    );
    let istiod = world.subscribe(&ISTIO).unwrap();
    assert_eq!(istiod.borrow().readiness_of(Kind::Gateway), Some(Readiness::Waiting), "before anything runs");
    world.manifests.send_replace(Arc::new(Snapshot {
        number: 1,
        readiness: Some(Readiness::Partial),
        ..Snapshot::default()
    }));
    world.step();
    assert_eq!(ready(&world), [true, true, false], "an Istiod starts only when each type was answered");
    let of = |kind| istiod.borrow().readiness_of(kind);
    assert_eq!((of(Kind::ServiceEntry), of(Kind::Gateway)), (Some(Readiness::Complete), Some(Readiness::Partial)));
    world.manifests.send_replace(Arc::new(Snapshot {
        number: 2,
        readiness: Some(Readiness::Complete),
        ..Snapshot::default()
    }));
    world.step();
    assert_eq!(ready(&world), [true, true, true]);
}

/// A resource as the manifest with that kind, name and spec gives it.
fn manifest_of(kind: &str, name: &str, spec: &str) -> ((Kind, Name), Arc<Resource>) {
    let text =
        format!("{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}");
    let (kind, resource) =
        crate::translate::istio::manifest::read("m", &text, &"portolan".into(), 7).unwrap().remove(0);
    ((kind, resource.name().clone()), Arc::new(resource))
}

#[tokio::test(start_paused = true)]
async fn manifests_stand_beside_services_whose_names_go_first() {
    let mut world = World::new(Options::default()).await;
    let entry =
        |host: &str| manifest_of("ServiceEntry", "s0.example", &format!("{{hosts: [{host}], resolution: STATIC}}"));
    let gateway = manifest_of("Gateway", "g", "{}");
    let istiod = world.subscribe(&ISTIO).unwrap();
    let (set, manifests) = (world.set.clone(), world.manifests.clone());
    let mut number = 0;
    let mut send = |resources: Vec<((Kind, Name), Arc<Resource>)>| {
        number += 1;
        let (readiness, resources) = (Some(Readiness::Complete), resources.into_iter().collect());
        manifests.send_replace(Arc::new(Snapshot { number, readiness, resources, ..Snapshot::default() }));
    };
    let now = || {
        let generation = istiod.borrow();
        let entry = generation.get(Kind::ServiceEntry).get("portolan/s0.example").map(|r| r.version());
        (entry, generation.get(Kind::Gateway).len(), set.report(&ISTIO).unwrap().conflicts.len())
    };
    let of_manifest = |host: &str| Some(entry(host).1.version());

    world.listed(0, 1).await;
    assert_eq!(now(), (None, 0, 0));
    send(vec![entry("x.example"), gateway.clone()]);
    world.step();
    assert_eq!(now(), (of_manifest("x.example"), 1, 0));
    world.listed(1, 1).await;
    let of_service = now().0;
    assert_ne!(of_service, of_manifest("x.example"), "the service's goes first");
    assert_eq!(now(), (of_service, 1, 1));
    send(vec![entry("y.example"), gateway.clone()]);
    world.step();
    assert_eq!(now(), (of_service, 1, 1));
    send(vec![gateway]);
    world.step();
    assert_eq!(now(), (of_service, 1, 0));
    send(vec![entry("z.example")]);
    world.step();
    assert_eq!(now(), (of_service, 0, 1));
    send(Vec::new());
    world.step();
    assert_eq!(now(), (of_service, 0, 0));
    assert_eq!(istiod.borrow().readiness().get(Kind::Gateway), Some(Readiness::Complete));
    assert_eq!(istiod.borrow().readiness().get(Kind::Cluster), KindReadiness::default().get(Kind::Cluster));
}

#[tokio::test]
async fn the_tasks_follow_what_registries_send_and_end_on_demand() {
    let World { set, tasks, catalog, feed, manifests: _manifests, .. } = World::new(Options::default()).await;
    drop(catalog);
    let shutdown = CancellationToken::new();
    let tasks = tasks.map(|task| tokio::spawn(task.run(shutdown.clone())));
    list(&feed, vec![Arc::new(registered(0, 1))]).await;

    let mut seen = set.subscribe(&ENVOY, &Selection::default(), &Part::default()).unwrap();
    let endpoints = |generation: &Arc<ViewGeneration>| generation.get(Kind::Endpoint).digest();
    let has = |generation: &Arc<ViewGeneration>| generation.get(Kind::Endpoint).len() == 1;
    let first = tokio::time::timeout(DEADLINE, seen.wait_for(has)).await.expect("the first list").unwrap().clone();
    feed.send(Update::Applied(Scope::whole(), Arc::new(registered(0, 2)))).await.unwrap();
    let differs = |generation: &Arc<ViewGeneration>| endpoints(generation) != endpoints(&first);
    tokio::time::timeout(DEADLINE, seen.wait_for(differs)).await.expect("the change").unwrap();

    let scope = ViewKey::of_scope(Dialect::Istio, "nobody");
    assert!(set.load(&scope).await.is_none());
    let loaded = tokio::time::timeout(DEADLINE, set.load(&ISTIO)).await.expect("it is made for that").unwrap();
    assert_eq!(loaded.generation.get(Kind::ServiceEntry).len(), 1);

    shutdown.cancel();
    for task in tasks {
        tokio::time::timeout(DEADLINE, task).await.expect("it ends").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_nobody_has_is_dropped_however_often_services_change() {
    let World { set, tasks, catalog: _catalog, feed, manifests: _manifests, .. } = World::new(Options::default()).await;
    let shutdown = CancellationToken::new();
    let tasks = tasks.map(|task| tokio::spawn(task.run(shutdown.clone())));
    list(&feed, vec![Arc::new(registered(0, 1))]).await;
    let mut whole = set.subscribe(&ENVOY, &Selection::default(), &Part::default()).unwrap();
    let near = Part { locality: Some(Locality::parse("cn/hz")), ..Part::default() };
    let part = set.subscribe(&ENVOY, &Selection::default(), &near).unwrap();
    let first = whole.wait_for(|generation| generation.get(Kind::Endpoint).len() == 1);
    drop(tokio::time::timeout(DEADLINE, first).await.expect("the first list").unwrap());
    assert_eq!(set.views()[0].parts, 1);
    drop(part);
    let (every, times) = (IDLE / 30, 30);
    for endpoints in 2..=times {
        feed.send(Update::Applied(Scope::whole(), Arc::new(registered(0, endpoints)))).await.unwrap();
        tokio::time::timeout(DEADLINE, whole.changed()).await.expect("the change").unwrap();
        tokio::time::sleep(every).await;
    }
    assert_eq!((set.views()[0].readers, set.views()[0].parts), (1, 0));
    shutdown.cancel();
    for task in tasks {
        tokio::time::timeout(DEADLINE, task).await.expect("it ends").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn views_by_the_next_settings_stand_beside_the_others_and_leave_nothing() {
    let mut world = World::new(Options::default()).await;
    let next = ViewKey { class: Class { next: true, ..Class::default() }, ..ENVOY };
    let mut settled = world.subscribe(&ENVOY).unwrap();
    world.listed(3, 2).await;
    let before = settled.borrow_and_update().clone();
    assert!(world.set.load(&next).await.is_none(), "nothing is rolled out");
    let of = |seconds| {
        let envoy = EnvoyOptions { connect_timeout: Duration::from_secs(seconds), ..EnvoyOptions::default() };
        Outputs { envoy, ..Outputs::default() }
    };
    world.roll(Outputs::default(), Some(of(9))).await;
    let other = world.subscribe(&next).unwrap();
    world.step();
    assert!(!settled.has_changed().unwrap(), "who has no part in it hears nothing");
    let clusters = |generation: &ViewGeneration| generation.get(Kind::Cluster).digest();
    let endpoints = |generation: &ViewGeneration| generation.get(Kind::Endpoint).digest();
    assert_ne!(clusters(&other.borrow()), clusters(&before));
    assert_eq!(endpoints(&other.borrow()), endpoints(&before));
    world.listed(3, 3).await;
    assert_ne!(endpoints(&settled.borrow_and_update()), endpoints(&before));
    assert_eq!(endpoints(&other.borrow()), endpoints(&settled.borrow()), "both follow instances");

    // It holds for all: what was next and what is settled are the same, byte for byte.
    let revision = world.set.configure(of(9), None);
    let policy = Policy::new("r", "file", Template::parse("{service}.example").unwrap());
    let desired = Desired { registries: vec![policy.into()], revision, ..Desired::default() };
    drop(world.catalog.configure(desired, true).await);
    world.step();
    world.set.made(revision).await;
    assert_eq!(clusters(&settled.borrow_and_update()), clusters(&other.borrow()));
    let last = other.borrow().clone();
    world.set.end_next();
    world.step();
    assert!(world.next.iter().all(Task::is_idle) && world.set.load(&next).await.is_none());
    assert_eq!(world.set.views().len(), 1);
    assert!(Arc::ptr_eq(&other.borrow(), &last), "who still reads one keeps what it has");
    world.listed(3, 1).await;
    assert!(settled.has_changed().unwrap());
}
