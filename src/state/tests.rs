//! Files as they are written, and whatever becomes of them until they are read.

use super::*;
use crate::{
    calls::{self, Application, Model},
    catalog::{
        self, Deed, Desired, HoldMemory, HostMemory, LostMemory, Memory, Override, Policy, PortMemory, ScopeMemory,
        ServiceMemory, Target, Template,
    },
    manifests::{self, ManifestMemory},
    model::{
        Address, DeclaredPort, Endpoint, Fraction, Health, Hostname, Locality, ManifestId, Need, Note, Port, Protocol,
        PublishedEndpoint, PublishedService, Reason, Scope, Service, ServiceId, ServicePort, Text, Update, Weight,
    },
    resource::{Kind, Resource},
    util::time::unix_millis,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

fn store(dir: &Path, max_age: Duration) -> Store {
    Store::new(Options { dir: Some(dir.into()), max_age, ..Options::default() }, Metrics::default())
}

/// Milliseconds are what is kept.
fn moment(ago: u64) -> SystemTime {
    wire::time(unix_millis(SystemTime::now()) - ago)
}

fn id(name: &str) -> ServiceId {
    ServiceId::new("r", "ns", "group", name)
}

/// A memory that has everything that one can have.
fn everything() -> Memory {
    let port = |number| Port::new(number).unwrap();
    let mut endpoints = Vec::new();
    for (address, health) in [
        ("10.0.0.1", Health::Healthy),
        ("fd00::1", Health::Unhealthy),
        ("node-1.example", Health::Draining),
        ("/run/a.sock", Health::Unknown),
    ] {
        let mut endpoint = Endpoint::new(Address::parse(address).unwrap(), port(8080));
        endpoint.health = health;
        endpoint.labels.insert("zone".into(), "订单".into());
        endpoint.locality = Locality::parse("cn/hz/a");
        endpoints.push(endpoint);
    }
    let last = endpoints.last_mut().unwrap();
    (last.enabled, last.secure, last.weight) = (false, true, Weight::ZERO);
    last.ports[0].protocol = Some(Protocol::Tri);
    last.ports[0].name = Some(Text::default());
    endpoints[0].weight = Weight::of_millionths(u64::MAX);
    let mut service = Service::new(id("a"), endpoints.clone());
    service.host = Some(Hostname::new("a.example").unwrap());
    service.ports = vec![DeclaredPort { name: "http".into(), number: port(80), protocol: Protocol::Http }];
    service.labels.insert("team".into(), "shop".into());
    service.protect_threshold = Some(Fraction::THIRTY_PERCENT);
    service.protected = true;
    service.notes = vec![Note::new(Reason::EntryInvalid, "10.0.0.9:0", "no port")];
    let read = ServiceMemory {
        scope: 0,
        service: Arc::new(service),
        read: true,
        unreadable: Some("a text".into()),
        absent: 1,
        gone: None,
    };
    let bare = Arc::new(Service::new(id("b"), Vec::new()));
    let gone =
        ServiceMemory { scope: 1, service: bare, read: false, unreadable: None, absent: 2, gone: Some(moment(5)) };
    let learned = PortMemory { held: true, beside: true, name: "grpc".into(), protocol: Protocol::Grpc };
    let host = HostMemory {
        service: id("a"),
        host: Hostname::new("a.example").unwrap(),
        learned: vec![learned],
        emptied: Some(moment(1)),
        rewritten: true,
        spelled: Some(0),
        cased: Some("A.example".into()),
        ports: vec![("http".into(), port(80))],
        owned: true,
    };
    let lost = LostMemory {
        service: id("a"),
        endpoints,
        has_any: true,
        absent: true,
        emptied: Some(moment(2)),
        early: 1,
        prolonged: Some((moment(2), moment(8))),
    };
    let holds = HoldMemory {
        since: Some((moment(3), 9)),
        until: Some(moment(8)),
        returned: Some(moment(6)),
        before: vec![(moment(4), 7)],
        lost: vec![lost],
    };
    Memory {
        scopes: ["x", ""]
            .map(|scope| ScopeMemory {
                scope: Scope(scope.into()),
                listed_at: Some(moment(9)).filter(|_| !scope.is_empty()),
            })
            .into(),
        services: vec![read, gone],
        hosts: vec![host],
        holds: holds.clone(),
        parts: vec![("name=\"a\"".into(), holds)],
        names: vec![("node-1.example".into(), vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()])],
    }
}

#[test]
fn what_was_written_is_read_and_equal_memories_give_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), Duration::from_secs(60));
    let (memory, registry) = (everything(), Text::from("r"));
    let written = store.write(&registry, "here", &memory, None, false).unwrap();
    assert_eq!(store.read(&registry, "here", SystemTime::now()).as_ref(), Some(&memory));
    let mut turned = memory;
    turned.services.reverse();
    let path = dir.path().join("r.state");
    fs::remove_file(&path).unwrap();
    assert_eq!(store.write(&registry, "here", &turned, written, false).unwrap(), written);
    assert!(!path.exists(), "what is the same is not written again");
    assert_eq!(store.write(&registry, "here", &turned, written, true).unwrap(), written);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// The content of a file, what is written next, and what it is called after it was set aside.
#[test]
fn what_cannot_be_used_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, hour) = (Text::from("r"), Duration::from_secs(3600));
    let store = store(dir.path(), hour);
    let path = dir.path().join("r.state");
    store.write(&registry, "here", &everything(), None, false).unwrap();
    let good = fs::read(&path).unwrap();
    let header = |format| crate::pb::state::Header {
        format,
        registry: "r".into(),
        identity: "here".into(),
        ..Default::default()
    };
    let nonsense = crate::pb::state::Registry { services: vec![Default::default()], ..Default::default() };
    let nonsense = prost::Message::encode_to_vec(&nonsense);
    let (now, late) = (SystemTime::now(), SystemTime::now() + 2 * hour);
    let current = crate::pb::state::Header { written: unix_millis(now), ..header(frame::FORMAT) };
    for (content, identity, at, aside) in [
        (good[..good.len() / 2].to_vec(), "here", now, "damaged"),
        (Vec::new(), "here", now, "damaged"),
        (frame::close(&current, &nonsense), "here", now, "damaged"),
        (frame::close(&header(9), &nonsense), "here", now, "newer"),
        (good.clone(), "elsewhere", now, "foreign"),
        (good.clone(), "here", late, "expired"),
    ] {
        fs::write(&path, &content).unwrap();
        assert_eq!(store.read::<Memory>(&registry, identity, at), None, "{aside}");
        assert!(!path.exists(), "{aside}");
        let aside = dir.path().join(format!("r.state.{aside}"));
        assert_eq!(fs::read(aside).unwrap(), content);
    }
    assert_eq!(store.read::<Memory>(&registry, "here", now), None, "and without any file it begins without");
    fs::create_dir(&path).unwrap();
    assert_eq!(store.read::<Memory>(&registry, "here", now), None, "a folder in its place is no reason to end");
}

#[test]
fn a_name_is_the_name_of_a_file_whatever_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), Duration::from_secs(60));
    let long = "n".repeat(400);
    for name in ["../../etc/passwd", "a b", "订单", "A", "a", &long] {
        let name = Text::from(name);
        let memory = Memory { names: vec![(name.clone(), Vec::new())], ..Memory::default() };
        store.write(&name, "here", &memory, None, false).unwrap();
        assert_eq!(store.read(&name, "here", SystemTime::now()), Some(memory), "{name}");
        store.forget::<Memory>(&name).unwrap();
        store.forget::<Memory>(&name).unwrap();
        assert_eq!(store.read::<Memory>(&name, "here", SystemTime::now()), None, "{name}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn one_process_writes_into_a_folder() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("made/when/needed");
    let store = store(&dir, Duration::from_secs(60));
    let lock = store.lock(None).unwrap().expect("nobody has it");
    assert!(store.lock(None).unwrap().is_none());
    let lock = store.lock(Some(lock)).unwrap();
    assert!(lock.is_some() && store.lock(None).unwrap().is_none(), "it is kept");
    drop(lock);
    let lock = store.lock(None).unwrap();
    assert!(lock.is_some());
    fs::remove_file(dir.join("lock")).unwrap();
    let lock = store.lock(lock).unwrap();
    assert!(lock.is_some() && store.lock(None).unwrap().is_none(), "it is taken anew where its file is gone");
    assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
    fs::write(parent.path().join("file"), "").unwrap();
    let error = self::store(&parent.path().join("file"), Duration::from_secs(60)).lock(None).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn manifests_have_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (store, registry) = (store(dir.path(), Duration::from_secs(60)), Text::from("r"));
    let id = |name: &str| ManifestId {
        registry: registry.clone(),
        namespace: "public".into(),
        group: "ISTIO".into(),
        name: name.into(),
    };
    let manifest = |name: &str, good: Option<&str>, text: Result<&str, &str>| ManifestMemory {
        id: id(name),
        good: good.map(Text::from),
        text: text.map(Text::from).map_err(Text::from),
    };
    let manifests = vec![
        manifest("right", Some("kind: Gateway"), Ok("kind: Gateway")),
        manifest("wrong", Some("kind: Gateway"), Ok("kind: 订单")),
        manifest("never right", None, Ok("")),
        manifest("unreadable", Some("kind: Gateway"), Err("it is no UTF-8")),
    ];
    let memory = manifests::Memory { scopes: vec![(Scope("x".into()), manifests), (Scope("".into()), Vec::new())] };
    let services = everything();
    store.write(&registry, "here", &services, None, false).unwrap();
    let written = store.write(&registry, "here", &memory, None, false).unwrap();
    assert_eq!(store.write(&registry, "here", &memory, written, false).unwrap(), written);
    assert_eq!(store.read(&registry, "here", SystemTime::now()).as_ref(), Some(&memory));
    assert_eq!(store.read(&registry, "here", SystemTime::now()), Some(services));
    assert_eq!(store.read::<manifests::Memory>(&registry, "elsewhere", SystemTime::now()), None);
    let aside = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(aside.collect::<BTreeSet<_>>(), ["r.manifests.foreign", "r.state"].map(String::from).into());
}

#[test]
fn mutated_files_of_state_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, registry) = (store(dir.path(), Duration::from_secs(60)), Text::from("r"));
    store.write(&registry, "here", &everything(), None, false).unwrap();
    let file = fs::read(dir.path().join("r.state")).unwrap();
    let (header, body) = frame::open(&file).unwrap();
    // The checksum keeps nearly all of them out: what it lets in is to be read, too.
    crate::util::mutate::mutated(&[body], |input| {
        if let Ok(memory) = <Memory as Content>::decode(&registry, input) {
            let _ = memory.encode();
        }
        let _ = <manifests::Memory as Content>::decode(&registry, input);
        let closed = frame::close(&header, input);
        assert_eq!(frame::open(&closed).unwrap().1, input);
    });
    crate::util::mutate::mutated(&[&file], |input| drop(frame::open(input)));
}

#[test]
fn what_people_have_laid_over_has_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (store, name) = (store(dir.path(), Duration::from_secs(60)), Text::from(EVERYTHING));
    let host = |name: &str| Hostname::new(name).unwrap();
    let port = |name: &str, number, host: &str| ServicePort {
        name: name.into(),
        number: Port::new(number).unwrap(),
        protocol: Protocol::Grpc,
        host: Hostname::new(host).unwrap(),
    };
    let mut endpoint = PublishedEndpoint::new(
        Address::parse("10.0.0.1").unwrap(),
        vec![("grpc".into(), Port::new(9090).unwrap()), ("http".into(), Port::new(80).unwrap())].into(),
    );
    (endpoint.priority, endpoint.source, endpoint.health) = (1, 1, Health::Draining);
    endpoint.labels.insert("zone".into(), "a".into());
    let ports = vec![port("grpc", 9090, "a.example"), port("http", 80, "http.a.example")];
    let mut service = PublishedService::new(host("a.example"), ports, vec![endpoint]);
    service.spelling = Some("A.example".into());
    service.aliases = vec![host("b.example")];
    service.sources = vec![id("a"), ServiceId::new("other", "x", "y", "z")];
    service.instance_ports = vec![("grpc".into(), Port::new(9091).unwrap())];
    (service.protected, service.dns) = (true, true);
    service.protect_threshold = Some(Fraction::THIRTY_PERCENT);
    service.nearness = crate::model::Nearness::Priority;
    service.notes = vec![Note::new(Reason::EntryInvalid, "x", "y")];
    let service = Arc::new(service);
    let of = |place: Option<&str>| match place {
        None => Target::Service(host("a.example")),
        Some(place) => Target::Instance(host("a.example"), place.into()),
    };
    let deeds = [
        (Target::Everything, Deed::PinAll([(service.host.clone(), service.clone())].into_iter().collect())),
        (of(None), Deed::Pin(Some(service.clone()))),
        (of(None), Deed::Pin(None)),
        (of(Some("10.0.0.1")), Deed::Drain),
        (of(Some("10.0.0.1:80")), Deed::Disable),
        (of(None), Deed::Weight(Weight::of_millionths(7))),
        (of(None), Deed::Keep(service)),
    ];
    let over = |(id, (of, deed)): (u64, (Target, Deed))| Override {
        id,
        of,
        deed,
        since: moment(9),
        until: moment(1),
        by: "ann".into(),
        why: "订单".into(),
    };
    let overrides: Arc<[Override]> = (1..).zip(deeds).map(over).collect();
    let key = (Kind::VirtualService, crate::resource::Name::from("shop/orders"));
    let resource = Resource::versioned(key.0, key.1.clone(), 7, b"a body", None).for_revision(Some("canary".into()));
    let status = manifests::Status {
        id: ManifestId { registry: "r".into(), namespace: "".into(), group: "g".into(), name: "n".into() },
        state: manifests::State::Good,
        resources: vec![key.clone()],
        error: None,
    };
    let snapshot = manifests::Snapshot {
        resources: [(key, Arc::new(resource))].into(),
        manifests: vec![status],
        ..manifests::Snapshot::default()
    };
    let laid = Laid { overrides, manifests: Some(Arc::new(snapshot)) };
    store.write(&name, EVERYTHING, &laid, None, false).unwrap();
    let read: Laid = store.read(&name, EVERYTHING, SystemTime::now()).unwrap();
    assert_eq!(read.overrides, laid.overrides);
    assert_eq!(read.manifests, laid.manifests);
    crate::util::mutate::mutated(&[&laid.encode()], |input| drop(<Laid as Content>::decode(&name, input)));
}

#[test]
fn who_calls_whom_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), Duration::from_secs(3600));
    let need =
        |interface: &str, group: &str| Need { interface: interface.into(), group: group.into(), version: "1".into() };
    let needs = [(need("a.A", "*"), None), (need("a.B", ""), Some(moment(7)))];
    let everything = [(need("*", "*"), None)];
    let applications = [("cart", BTreeMap::from(needs)), ("console", BTreeMap::from(everything))];
    let applications = applications.map(|(name, needs)| (name.into(), Arc::new(Application::new(needs))));
    let model = Model { applications: applications.into(), ..Model::default() };
    let all = Text::from(EVERYTHING);
    store.write(&all, EVERYTHING, &model, None, false).unwrap();
    assert_eq!(store.read::<Model>(&all, EVERYTHING, SystemTime::now()), Some(model));
}

/// A keeper that runs, with a catalog of the registries `one` and `two`.
struct World {
    catalog: catalog::Handle,
    feeds: Vec<catalog::Feed>,
    control: Control,
    keeper: JoinHandle<()>,
    stop: CancellationToken,
    /// What the keeper follows, too.
    _others: (manifests::ManifestStore, calls::Store),
}

impl World {
    fn start(options: Options) -> World {
        let (mut writer, catalog) = catalog::Writer::new(catalog::Options::default(), catalog::Metrics::default());
        let registry = |name| Policy::new(name, "test", Template::parse("{service}.example").unwrap()).into();
        let registries = ["one", "two"].map(registry).into();
        let feeds = writer.configure(Desired { registries, ..Desired::default() }, false).feeds;
        let (manifests, rules) = manifests::ManifestStore::new(Vec::new(), 0, manifests::Metrics::default());
        let (calls, models) =
            calls::Store::new(BTreeSet::new(), calls::Options::default(), None, calls::Metrics::default());
        let (keeper, control) = Keeper::new(options, catalog.clone(), &rules, &models, Metrics::default());
        let stop = CancellationToken::new();
        // The catalog ends with the test.
        tokio::spawn(writer.run(CancellationToken::new()));
        let keeper = tokio::spawn(keeper.run(stop.clone()));
        World { catalog, feeds, control, keeper, stop, _others: (manifests, calls) }
    }

    /// Has a registry list one service.
    async fn list(&self, place: usize, name: &str) {
        let service = Service::new(ServiceId::new(["one", "two"][place], "", "", name), Vec::new());
        let services = vec![Arc::new(service)];
        let update = Update::Listed { scope: Scope::whole(), services, unreadable: Vec::new() };
        self.feeds[place].updates.send(update).await.unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.keeper.await.unwrap();
    }
}

/// Waits, by a paused clock, until a folder has the state of both registries.
async fn both_in(dir: &Path) {
    for _ in 0..600 {
        if ["one.state", "two.state"].iter().all(|name| dir.join(name).exists()) {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("a minute has passed, and {} does not have all", dir.display());
}

#[tokio::test(start_paused = true)]
async fn another_folder_gets_everything_at_once_also_amid_changes() {
    let parent = tempfile::tempdir().unwrap();
    let [first, second, third] = ["first", "second", "third"].map(|name| parent.path().join(name));
    let options = |dir: &PathBuf| Options { dir: Some(dir.clone()), ..Options::default() };
    let world = World::start(options(&first));
    world.list(0, "a").await;
    world.list(1, "b").await;
    both_in(&first).await;
    let is_free = |dir: &Path| store(dir, Duration::from_secs(60)).lock(None).unwrap().is_some();
    assert!(!is_free(&first), "it is this one's, also while nothing is written");

    // Nothing changes but the folder, and neither is it the end.
    world.control.set(options(&second));
    both_in(&second).await;
    assert!(is_free(&first) && !is_free(&second));

    // While it waits for quiet, and then it is the end.
    world.list(0, "c").await;
    sleep(Duration::from_secs(1)).await;
    world.control.set(options(&third));
    world.end().await;
    both_in(&third).await;
    assert!(is_free(&third));
}

#[tokio::test(start_paused = true)]
async fn who_asks_is_told_when_all_is_on_disk() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let options = Options { dir: Some(dir.clone()), quiet: Duration::from_secs(3600), ..Options::default() };
    let world = World::start(options.clone());
    let mut touched = world.catalog.touched();
    touched.mark_unchanged();
    world.list(0, "a").await;
    touched.changed().await.unwrap();
    assert!(world.control.write().await);
    assert!(dir.join("one.state").exists(), "long before it is quiet");
    // Without a folder there is nothing to be written; with one of another process it cannot be.
    world.control.set(Options::default());
    assert!(world.control.write().await);
    let lock = store(&dir, Duration::from_secs(60)).lock(None).unwrap();
    assert!(lock.is_some());
    world.control.set(options);
    assert!(!world.control.write().await);
    world.end().await;
}
