//! What the book makes of reports, and the `Sidecar`s that follow.

use super::{MOST_NEEDS, Metrics, Model, Options, Sidecars, Store, book::Book, follow};
use crate::{
    catalog::{self, Desired, Policy, Template, Writer},
    model::{
        Address, CallUpdate, DUBBO_SERVICE, Endpoint, ManifestUpdate, Need, Needs, Note, Port, Readiness, Reason,
        Scope, Service, ServiceId, Text, Update,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

const HOUR: u64 = 3600;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn need(service: &str) -> Need {
    let mut parts = service.split(':').map(Text::from);
    let mut part = || parts.next().unwrap_or_default();
    Need { interface: part(), group: part(), version: part() }
}

/// What consumers say at one place, as `application needs service`.
fn callers(lines: &[&str]) -> Arc<Needs> {
    let mut callers = Needs::default();
    for line in lines {
        let (application, service) = line.split_once(" needs ").unwrap();
        callers.needs.entry(application.into()).or_default().insert(need(service));
    }
    Arc::new(callers)
}

fn listed(places: &[(&str, &[&str])], unread: &[&str]) -> CallUpdate {
    let places = places.iter().map(|(place, lines)| (Text::from(*place), callers(lines))).collect();
    CallUpdate::Listed(places, unread.iter().map(|place| Text::from(*place)).collect())
}

struct Scene {
    book: Book,
    registries: BTreeSet<Text>,
}

impl Scene {
    fn new(registries: &[&str]) -> Self {
        let registries: BTreeSet<Text> = registries.iter().map(|name| Text::from(*name)).collect();
        let mut book = Book::default();
        book.configure(&registries, Duration::from_secs(24 * HOUR), at(0));
        Scene { book, registries }
    }

    fn apply(&mut self, registry: &str, update: CallUpdate, seconds: u64) {
        self.book.apply(&registry.into(), update, at(seconds));
    }

    fn model(&mut self) -> Model {
        self.book.model().clone()
    }

    /// As `application: service service@gone`.
    fn check(&mut self, expected: &[&str]) {
        let shown = |(name, of): (&Text, &Arc<super::Application>)| {
            let needs = of.needs.iter().map(|(need, gone)| match gone {
                None => need.service(),
                Some(gone) => {
                    let hours = gone.duration_since(at(0)).unwrap().as_secs() / HOUR;
                    format!("{}@{hours}", need.service())
                }
            });
            format!("{name}: {}", needs.collect::<Vec<_>>().join(" "))
        };
        let model = self.model();
        let found: Vec<String> = model.applications.iter().map(shown).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_is_no_longer_said_stays_for_a_while() {
    let mut scene = Scene::new(&["zk"]);
    scene.apply("zk", listed(&[("a.A", &["cart needs a.A"]), ("a.B", &["cart needs a.B:g:1"])], &[]), 0);
    scene.check(&["cart: a.A a.B:g:1"]);
    scene.apply("zk", CallUpdate::Applied("a.A".into(), callers(&[])), HOUR);
    scene.check(&["cart: a.A@1 a.B:g:1"]);
    assert_eq!(scene.book.due(), Some(at(25 * HOUR)));
    // It comes back: nothing has happened.
    scene.apply("zk", CallUpdate::Applied("a.A".into(), callers(&["cart needs a.A"])), 2 * HOUR);
    scene.check(&["cart: a.A a.B:g:1"]);
    scene.apply("zk", listed(&[], &[]), 3 * HOUR);
    scene.check(&["cart: a.A@3 a.B:g:1@3"]);
    scene.book.expire(at(27 * HOUR - 1));
    scene.check(&["cart: a.A@3 a.B:g:1@3"]);
    scene.book.expire(at(27 * HOUR));
    scene.check(&[]);
}

#[test]
fn what_stood_before_a_restart_has_the_age_that_it_had() {
    let mut before = Scene::new(&["zk"]);
    before.apply("zk", listed(&[("a.A", &["cart needs a.A", "cart needs a.B", "shop needs a.A"])], &[]), 0);
    before.apply("zk", listed(&[("a.A", &["cart needs a.A", "shop needs a.A"])], &[]), 2 * HOUR);
    let mut scene = Scene { book: Book::default(), registries: before.registries.clone() };
    scene.book.recall(&before.model(), at(5 * HOUR));
    scene.book.configure(&before.registries, Duration::from_secs(24 * HOUR), at(5 * HOUR));
    // Nobody has said anything since, and that is not known to be everything.
    scene.check(&["cart: a.A@5 a.B@2", "shop: a.A@5"]);
    assert!(!scene.model().is_complete());
    assert_eq!(scene.book.due(), Some(at(26 * HOUR)));
    scene.apply("zk", listed(&[("a.A", &["cart needs a.A"])], &[]), 6 * HOUR);
    scene.check(&["cart: a.A a.B@2", "shop: a.A@5"]);
    scene.book.expire(at(29 * HOUR));
    scene.check(&["cart: a.A"]);
    // By a clock that was ahead: it is not kept for longer.
    let mut scene = Scene { book: Book::default(), registries: before.registries.clone() };
    scene.book.recall(&before.model(), at(HOUR));
    scene.check(&["cart: a.A@1 a.B@1", "shop: a.A@1"]);
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_older() {
    let mut scene = Scene::new(&["zk"]);
    scene.apply("zk", listed(&[("a.A", &["cart needs a.A"])], &[]), 30 * HOUR);
    scene.apply("zk", listed(&[], &[]), 30 * HOUR);
    scene.book.expire(at(0));
    scene.check(&["cart: a.A@30"]);
}

#[test]
fn what_cannot_be_read_is_as_it_was() {
    let mut scene = Scene::new(&["zk"]);
    scene.apply("zk", listed(&[("a.A", &["cart needs a.A"]), ("a.B", &["cart needs a.B"])], &[]), 0);
    scene.apply("zk", CallUpdate::Failed("no such node".into()), HOUR);
    scene.check(&["cart: a.A a.B"]);
    assert_eq!(scene.model().registries["zk"].error.as_deref(), Some("no such node"));
    scene.apply("zk", listed(&[], &["a.B"]), HOUR);
    scene.check(&["cart: a.A@1 a.B"]);
    assert_eq!(scene.model().registries["zk"].error, None);
}

#[test]
fn two_registries_may_say_the_same() {
    let mut scene = Scene::new(&["nacos", "zk"]);
    scene.apply("zk", listed(&[("a.A", &["cart needs a.A"])], &[]), 0);
    assert!(!scene.model().is_complete());
    scene.apply("nacos", listed(&[("consumers:a.A::", &["cart needs a.A", "shop needs a.A:*"])], &[]), 0);
    assert!(scene.model().is_complete());
    scene.apply("zk", listed(&[], &[]), HOUR);
    scene.check(&["cart: a.A", "shop: a.A:*"]);
    scene.registries.remove("nacos");
    let registries = scene.registries.clone();
    scene.book.configure(&registries, Duration::from_secs(24 * HOUR), at(2 * HOUR));
    scene.check(&["cart: a.A@2", "shop: a.A:*@2"]);
    scene.apply("nacos", listed(&[("a.C", &["late needs a.C"])], &[]), 2 * HOUR);
    scene.check(&["cart: a.A@2", "shop: a.A:*@2"]);
    scene.book.configure(&registries, Duration::ZERO, at(2 * HOUR));
    scene.check(&[]);
}

#[test]
fn nothing_new_is_no_new_model() {
    let mut scene = Scene::new(&["zk"]);
    let list = || listed(&[("a.A", &["cart needs a.A", "shop needs a.A:*:*"])], &[]);
    scene.apply("zk", list(), 0);
    let first = scene.model();
    scene.apply("zk", list(), HOUR);
    assert_eq!(scene.model(), first);
    scene.apply("zk", CallUpdate::Applied("a.A".into(), callers(&["cart needs a.A", "shop needs a.A:*:*"])), HOUR);
    assert_eq!(scene.model(), first);
    let names =
        |application: &str| first.names(application).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((names("cart"), names("shop")), (vec!["a.A::".to_owned()], vec!["a.A:*:*".to_owned()]));
    assert_eq!(first.names("nobody"), None);
}

#[test]
fn who_needs_ten_thousand_services_needs_all_and_is_told() {
    let mut scene = Scene::new(&["zk"]);
    let all: BTreeMap<Text, Arc<Needs>> = (0..10_000)
        .map(|n| (format!("a.A{n}").into(), callers(&[&format!("greedy needs a.A{n}"), "cart needs a.B"])))
        .collect();
    scene.apply("zk", CallUpdate::Listed(all, BTreeSet::new()), 0);
    let model = scene.model();
    assert_eq!((model.names("greedy"), model.names("cart").map(|names| names.len())), (None, Some(1)));
    let told: Vec<&str> = model.notes.iter().map(|(_, note)| &*note.subject).collect();
    assert_eq!((told, model.applications["greedy"].needs.len()), (vec!["greedy"], 10_000));
    // A list of groups and versions is as many names.
    let many = vec!["g"; 50].join(",") + ":" + &vec!["1"; MOST_NEEDS / 50 + 1].join(",");
    scene.apply("zk", CallUpdate::Applied("a.C".into(), callers(&[&format!("cart needs a.C:{many}")])), 0);
    assert_eq!(scene.model().names("cart"), None);
}

#[test]
fn who_needs_every_interface_is_told() {
    let mut scene = Scene::new(&["zk"]);
    scene.apply("zk", listed(&[("*", &["admin needs *:*:*"])], &[]), 0);
    let model = scene.model();
    assert!(model.applications["admin"].everything && model.names("admin").is_none());
    assert_eq!(&*model.notes[0].1.detail, "says that it needs every service");
}

#[test]
fn what_could_not_be_read_of_consumers_is_told() {
    let mut scene = Scene::new(&["zk"]);
    let note = Note::new(Reason::EntryInvalid, "a.A", "10.0.0.1 says no application, so nobody knows who needs it");
    let read = Needs { notes: vec![note.clone()], ..Needs::clone(&callers(&["cart needs a.A"])) };
    scene.apply("zk", CallUpdate::Applied("a.A".into(), Arc::new(read)), 0);
    scene.check(&["cart: a.A"]);
    assert_eq!(scene.model().notes, [("zk".into(), note)]);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut scene = Scene::new(&["zk"]);
    let all = (0..=super::MOST_KEPT).map(|n| (format!("a.A{n}").into(), callers(&[&format!("a{n} needs a.A{n}")])));
    scene.apply("zk", CallUpdate::Listed(all.collect(), BTreeSet::new()), 0);
    scene.apply("zk", CallUpdate::Applied("a.A7".into(), callers(&[])), 0);
    scene.apply("zk", listed(&[], &[]), HOUR);
    let model = scene.model();
    assert_eq!(model.applications.len(), super::MOST_KEPT);
    assert!(!model.applications.contains_key("a7"), "the oldest goes first");
}

/// The whole list of a registry that has this one service of Dubbo's.
fn provides(registry: &str, interface: &str) -> Update {
    let instance = Endpoint::new(Address::Ip([10, 0, 0, 1].into()), Port::new(20880).unwrap());
    let mut service = Service::new(ServiceId::new(registry, "", "", interface), vec![instance]);
    service.labels.insert(DUBBO_SERVICE.into(), interface.into());
    Update::Listed { scope: Scope::whole(), services: vec![Arc::new(service)], unreadable: Vec::new() }
}

/// The grace is over, and one registry was never read: what is missing there is not known.
#[tokio::test(start_paused = true)]
async fn no_sidecar_is_told_before_every_required_registry_was_read() {
    let stop = CancellationToken::new();
    let (mut writer, catalog) = Writer::new(catalog::Options::default(), catalog::Metrics::default());
    let policy = |name: &str| Policy::new(name, "test", Template::parse("{service}.{registry}").unwrap()).into();
    let desired = Desired { registries: vec![policy("zk"), policy("nacos")], ..Desired::default() };
    let [zk, nacos] = &writer.configure(desired, false).feeds[..] else { panic!() };
    let (zk, nacos) = (zk.updates.clone(), nacos.updates.clone());
    tokio::spawn(writer.run(stop.clone()));

    let sidecars = Sidecars { label: "app".into(), namespaces: vec!["shop".into()], hosts: vec!["./*".into()] };
    let options = Options { sidecars: Some(sidecars), ..Options::default() };
    let (store, calls) = Store::new(["zk".into()].into(), options, None, Metrics::default());
    tokio::spawn(store.run(stop.clone()));
    let needs = listed(&[("a.A", &["cart needs a.A", "cart needs a.B"])], &[]);
    calls.feed("zk").unwrap().send(needs).await.unwrap();
    let (out, mut told) = mpsc::channel(16);
    tokio::spawn(follow(calls.clone(), catalog.clone(), move || Some(out.clone()), stop.clone()));

    zk.send(provides("zk", "a.A")).await.unwrap();
    sleep(catalog::Options::default().grace + Duration::from_secs(10)).await;
    let states = (calls.load().is_complete(), catalog.load().sync, catalog.load().known);
    assert_eq!(states, (true, Readiness::Partial, Readiness::Partial));
    nacos.send(provides("nacos", "a.B")).await.unwrap();
    assert!(matches!(told.recv().await, Some(ManifestUpdate::Scopes(_))));
    let Some(ManifestUpdate::Listed(_, manifests)) = told.recv().await else { panic!() };
    let [cart] = &manifests[..] else { panic!("{manifests:?}") };
    let text = cart.text.as_ref().unwrap();
    assert!(text.contains(r#""hosts":["./*","*/a.a.zk","*/a.b.nacos"]"#), "{text}");
}
