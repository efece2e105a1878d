//! What is noted, kept and written, and going back.

use super::{book::*, entry::State, *};
use crate::{
    catalog::{self, Services, Target},
    manifests::{self, ManifestStore, Snapshot},
    model::{Address, Hostname, Port, Protocol, PublishedEndpoint, PublishedService, ServicePort},
    state,
};
use std::{
    fs,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn service(name: &str, instances: &[u8]) -> Arc<PublishedService> {
    let host = Hostname::new(&format!("{name}.example")).unwrap();
    let port = ServicePort {
        name: "http".into(),
        number: Port::new(80).unwrap(),
        protocol: Protocol::Http,
        host: host.clone(),
    };
    let endpoint = |i: &u8| {
        let ports = vec![("http".into(), Port::new(8080).unwrap())];
        PublishedEndpoint::new(Address::Ip([10, 0, 0, *i].into()), ports.into())
    };
    Arc::new(PublishedService::new(host, vec![port], instances.iter().map(endpoint).collect()))
}

fn state_of(all: &[(&str, &[u8])]) -> State {
    let services: Services =
        all.iter().map(|(name, instances)| service(name, instances)).map(|s| (s.host.clone(), s)).collect();
    State { services, manifests: Arc::default() }
}

fn causes(text: &str) -> Vec<String> {
    vec![text.into()]
}

/// Number, causes and difference of each generation.
fn shown(book: &Book) -> Vec<String> {
    let text = |entry: Entry| match entry.what {
        What::Published { causes, difference } => {
            let host =
                |of: &HostChange| format!("{:?} {} +{} -{}", of.change, of.host, of.added.len(), of.removed.len());
            let hosts: Vec<String> = difference.hosts.iter().map(host).collect();
            format!("{} {}: {}", entry.number, causes.join(","), hosts.join(", "))
        }
        other => format!("{} {other:?}", entry.number),
    };
    book.since(None, None).into_iter().map(text).collect()
}

#[test]
fn a_generation_has_its_causes_and_what_differs() {
    let mut book = Book::default();
    assert!(book.published(state_of(&[("a", &[1, 2])]), causes("registry r"), at(10)));
    assert!(!book.published(state_of(&[("a", &[1, 2])]), causes("registry r"), at(20)), "nothing differs");
    assert!(book.published(state_of(&[("a", &[2, 3]), ("b", &[4])]), causes("registry r"), at(30)));
    // What the same registry says within a second is one generation; what another one says is not.
    assert!(!book.published(state_of(&[("a", &[3]), ("b", &[4])]), causes("registry r"), at(30)));
    assert!(book.published(state_of(&[("b", &[4])]), causes("configuration"), at(30)));
    assert_eq!(
        shown(&book),
        [
            "1 registry r: Added a.example +2 -0",
            "2 registry r: Changed a.example +1 -2, Added b.example +1 -0",
            "3 configuration: Removed a.example +0 -1",
        ]
    );
    assert_eq!(book.state(2).unwrap().services.len(), 2);
    assert_eq!(book.before(), Some(2));
    assert_eq!(book.since(Some(at(30)), None).len(), 2);
    assert_eq!(book.since(None, Some("b.example")).len(), 1);
}

/// The numbers of those that can be gone back to.
fn whole(book: &Book) -> Vec<u64> {
    let entries = book.since(None, None);
    entries.iter().map(|entry| entry.number).filter(|number| book.state(*number).is_some()).collect()
}

#[test]
fn what_is_kept_whole_is_all_that_is_new_and_the_less_the_older() {
    let mut book = Book::default();
    for i in 0..5_000_u64 {
        book.published(state_of(&[("a", &[(i % 250) as u8])]), causes("registry r"), at(i * 10));
    }
    assert_eq!(book.since(None, None).len(), 500);
    assert_eq!((book.entry(5_000).map(|entry| entry.number), book.entry(4_000)), (Some(5_000), None));
    let whole = whole(&book);
    let newest: Vec<u64> = (4_969..=5_000).collect();
    assert_eq!((whole.len(), &whole[32..]), (64, &newest[..]));
    let ages: Vec<u64> = whole.iter().map(|number| 5_000 - number).collect();
    assert!(ages[0] == 4_999 && ages[5] > 2_000 && ages[20] < 300, "{ages:?}");
    assert!(ages.windows(2).all(|two| two[0] - two[1] <= ages[0] / 4), "no large gap: {ages:?}");
    assert_eq!(book.before(), Some(4_999));
    // A request changes nothing of what is published, and costs no place.
    for i in 0..100 {
        let what = What::Configuration { cause: format!("{i}"), result: "".into(), hash: None, changes: vec![] };
        let number = book.note(what, at(50_000 + i)).number;
        assert!(book.state(number).is_some());
    }
    assert_eq!(book.before(), Some(4_999));
}

#[test]
fn of_large_generations_less_is_kept_and_always_the_one_before() {
    let mut book = Book::default();
    let many: Vec<u8> = (0..250).collect();
    let names: Vec<String> = (0..100).map(|i| format!("s{i}")).collect();
    for i in 0..20_u64 {
        let instances = if i % 2 == 0 { &many[..] } else { &many[1..] };
        let all: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, instances)).collect();
        book.published(state_of(&all), causes("registry r"), at(i * 10));
    }
    assert_eq!(whole(&book), [19, 20], "each takes some 5 MB that the next one has not");
    // All goes at once: what was there can be gone back to, however large it is.
    book.published(state_of(&[]), causes("registry r"), at(500));
    assert_eq!((whole(&book), book.before()), (vec![20, 21], Some(20)));
    // And so it can when other things change, until what there is now is about as much.
    for i in 0..100_u64 {
        book.published(state_of(&[("a", &many[..1 + i as usize])]), causes("registry r"), at(600 + i * 10));
    }
    assert_eq!(whole(&book)[0], 20);
    for i in 0..3 {
        let all: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &many[2 + i..])).collect();
        book.published(state_of(&all), causes("registry r"), at(2_000 + i as u64 * 10));
    }
    assert!(!whole(&book).contains(&20), "{:?}", whole(&book));
}

#[test]
fn what_entries_name_is_bounded_in_all() {
    let mut book = Book::default();
    let names: Vec<String> = (0..50).map(|i| format!("s{i}")).collect();
    let many: Vec<u8> = (0..20).collect();
    for i in 0..100_u64 {
        let instances = if i % 2 == 0 { &many[..] } else { &many[..1] };
        let all: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, instances)).collect();
        book.published(state_of(&all), causes("registry r"), at(i * 10));
    }
    let entries = book.since(None, None);
    let differences = entries.iter().filter_map(|entry| match &entry.what {
        What::Published { difference, .. } => Some(difference),
        _ => None,
    });
    let differences: Vec<&Difference> = differences.collect();
    let named: usize = differences.iter().map(|difference| difference.names()).sum();
    assert!((19_000..=20_000).contains(&named), "{named}");
    assert!(differences.iter().all(|difference| difference.hosts_total == 50));
    assert!(differences[0].hosts.is_empty() && differences[99].hosts.len() == 50);
}

#[test]
fn entries_are_written_when_they_are_closed_and_read_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("made");
    let mut book = Book::default();
    book.published(state_of(&[("a", &[1])]), causes("registry r"), at(10));
    assert!(book.take_closed(at(10)).is_empty(), "it may get more");
    let request = What::Request {
        action: "pin".into(),
        of: "everything".into(),
        by: "订单".into(),
        why: "a line\nof two".into(),
        until: None,
        result: "override 1".into(),
    };
    book.note(request, at(11));
    let closed = book.take_closed(at(11));
    assert_eq!(closed.len(), 2);
    file::append(&dir, &closed, true).unwrap();
    assert!(book.take_all().is_empty());
    // A line that was cut off costs itself.
    let path = dir.join("history.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(b"\n{\"number\":3,\"at\":");
    fs::write(&path, bytes).unwrap();
    book.published(state_of(&[("b", &[1])]), causes("configuration"), at(20));
    file::append(&dir, &book.take_all(), false).unwrap();

    let read = file::read(&dir).unwrap();
    assert_eq!(read, book.since(None, None));
    let mut again = Book::default();
    again.recall(read);
    assert_eq!(again.since(None, None), book.since(None, None));
    assert!(again.state(1).is_none(), "only what differed is known");
    assert_eq!(
        again
            .note(
                What::Request {
                    action: "unpin".into(),
                    of: "a.example".into(),
                    by: "".into(),
                    why: "".into(),
                    until: None,
                    result: "".into(),
                },
                at(30)
            )
            .number,
        4,
        "numbers go on"
    );
    assert!(again.take_all().len() == 1, "what was read is not written again");
    assert!(file::read(&folder.path().join("nowhere")).unwrap().is_empty());
}

/// A running catalog that a registry feeds, its manifests, and a recorder.
struct World {
    feed: tokio::sync::mpsc::Sender<crate::model::Update>,
    catalog: catalog::Handle,
    history: Handle,
    _stop: tokio_util::sync::DropGuard,
}

async fn world() -> World {
    let (mut writer, catalog) = catalog::Writer::new(catalog::Options::default(), catalog::Metrics::default());
    let published = writer.journal();
    let mut policy = catalog::Policy::new("r", "test", catalog::Template::parse("{service}.example").unwrap());
    policy.absent_lists = 1;
    policy.linger = Duration::ZERO;
    let desired = catalog::Desired { registries: vec![policy.into()], ..catalog::Desired::default() };
    let feed = writer.configure(desired, false).feeds.remove(0).updates;
    let (store, kept) = ManifestStore::new(Vec::new(), 0, manifests::Metrics::default());
    let options = watch::channel(state::Options::default()).1;
    let (recorder, history) = Recorder::new(options, catalog.clone(), published, kept);
    let stop = CancellationToken::new();
    tokio::spawn(writer.run(stop.clone()));
    tokio::spawn(store.run(stop.clone()));
    tokio::spawn(recorder.run(stop.clone()));
    World { feed, catalog, history, _stop: stop.drop_guard() }
}

impl World {
    /// The registry has these instances of `a`, and that was noted.
    async fn has(&self, instances: &[u8]) {
        use crate::model::{Endpoint, Scope, Service, ServiceId, Update};
        let endpoint = |i: &u8| Endpoint::new(Address::Ip([10, 0, 0, *i].into()), Port::new(80).unwrap());
        let service = Service::new(ServiceId::new("r", "", "", "a"), instances.iter().map(endpoint).collect());
        let before = self.history.list(None, None).len();
        self.feed.send(Update::Applied(Scope("".into()), Arc::new(service))).await.unwrap();
        self.until("it to be noted", || self.history.list(None, None).len() > before).await;
    }

    async fn until(&self, what: &str, is: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if is() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{what}: {:?}", self.history.list(None, None));
    }

    fn serves(&self) -> usize {
        self.catalog.load().services.values().map(|service| service.endpoints.len()).sum()
    }
}

fn wanted(of: Target) -> Wanted {
    Wanted { of, time: Duration::from_secs(60), by: "me".into(), why: "a test".into() }
}

#[tokio::test]
async fn one_goes_back_by_one_request_and_on_by_another() {
    let world = world().await;
    world.has(&[1, 2, 3]).await;
    // Not the same generation as the one before: something was asked for in between.
    world.history.requested("release", "registry r".into(), "me", "", "released".into());
    world.has(&[1]).await;
    assert_eq!(world.serves(), 1);
    let laid = world.history.back(wanted(Target::Everything)).await.unwrap();
    assert_eq!((world.serves(), &*laid.by), (3, "me"));
    let audit = world.history.list(None, None).into_iter().rev().find_map(|entry| match entry.what {
        What::Request { action, of, by, why, until, result } => Some((action, of, by, why, until.is_some(), result)),
        _ => None,
    });
    let first = world.history.list(None, None)[0].number;
    let expected = ("rollback", "everything", "me", "a test", true, format!("override {} to {first}", laid.id));
    let (action, of, by, why, until, result) = audit.unwrap();
    assert_eq!((&*action, &*of, &*by, &*why, until, result), expected);

    world.has_below(&[7, 8]).await;
    assert_eq!(world.serves(), 3, "it is frozen");
    let a = Target::Service(Hostname::new("a.example").unwrap());
    assert_eq!(
        world.history.unpin(a.clone(), "me".into(), "".into()).await.unwrap_err(),
        Refused::NothingLies("a.example".into())
    );
    world.history.unpin(Target::Everything, "me".into(), "".into()).await.unwrap();
    assert_eq!(world.serves(), 2);
    let difference = world.history.difference(first, None).unwrap();
    assert_eq!((difference.endpoints_added, difference.endpoints_removed), (2, 3));
    assert_eq!(world.history.difference(999, None).unwrap_err(), Refused::Unknown(999));
    world.history.pin(wanted(a), Some(first)).await.unwrap();
    assert_eq!(world.serves(), 3);
}

impl World {
    /// The registry has these instances, which nobody is told.
    async fn has_below(&self, instances: &[u8]) {
        use crate::model::{Endpoint, Scope, Service, ServiceId, Update};
        let endpoint = |i: &u8| Endpoint::new(Address::Ip([10, 0, 0, *i].into()), Port::new(80).unwrap());
        let service = Service::new(ServiceId::new("r", "", "", "a"), instances.iter().map(endpoint).collect());
        self.feed.send(Update::Applied(Scope("".into()), Arc::new(service))).await.unwrap();
        let below = || self.catalog.load().records.values().any(|r| r.service.endpoints.len() == instances.len());
        self.until("the registry to be followed below", below).await;
    }
}

#[test]
fn manifests_differ_by_their_resources() {
    use crate::resource::{Kind, Resource};
    let snapshot = |all: &[(&str, u8)]| {
        let resource = |(name, value): &(&str, u8)| {
            let name = crate::resource::Name::from(*name);
            let resource = Resource::new(Kind::VirtualService, name.clone(), &[0x22, 1, *value], None);
            ((Kind::VirtualService, name), Arc::new(resource))
        };
        Snapshot { resources: all.iter().map(resource).collect(), ..Snapshot::default() }
    };
    let none = Services::default();
    let (before, after) = (snapshot(&[("x/a", 1), ("x/b", 1)]), snapshot(&[("x/b", 2), ("x/c", 1)]));
    let difference = Difference::between((&none, &before), (&none, &after));
    assert_eq!(
        difference.manifests,
        ["removed virtualservices/x/a", "changed virtualservices/x/b", "added virtualservices/x/c"]
    );
}

#[test]
fn mutated_histories_are_read_as_far_as_they_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::default();
    book.published(state_of(&[("a", &[1, 2])]), causes("registry r"), at(10));
    book.note(
        What::Configuration { cause: "file".into(), result: "reloaded".into(), hash: None, changes: vec![] },
        at(12),
    );
    file::append(dir.path(), &book.take_all(), false).unwrap();
    let path = dir.path().join("history.jsonl");
    let good = fs::read(&path).unwrap();
    crate::util::mutate::mutated(&[&good], |input| {
        fs::write(&path, input).unwrap();
        let mut again = Book::default();
        again.recall(file::read(dir.path()).unwrap());
        let last = again.since(None, None).last().map_or(0, |entry| entry.number);
        let next = What::Configuration { cause: "".into(), result: "".into(), hash: None, changes: vec![] };
        assert!(again.note(next, at(20)).number > last || last == u64::MAX);
    });
}
