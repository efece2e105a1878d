//! Who is connected, and what each was sent, acknowledged and refused: the table that admin shows and `stalled` walks.
//!
//! A stream enters itself when it opens and leaves when it is dropped. Its entry is one small record behind a mutex of its
//! own, touched only when something happens on that stream.

use super::{
    node::Node,
    peer::Remote,
    unwanted::{Found, Item},
};
use crate::{
    identity::Identity,
    resource::{Kind, Name, Variant, ViewGeneration},
    util::lock::lock,
};
use imbl::OrdSet;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// A client's stream, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// Number of the stream, counted from 1 since the server was started.
    pub stream: u64,
    /// Where it comes from.
    pub peer: Remote,
    /// The name of the listener that it came in by.
    pub listener: Arc<str>,
    /// Name of the identity that its certificate or token proves; `None`: it was asked for none.
    pub identity: Option<Arc<str>>,
    /// State of the world or incremental, which the stream's gRPC method decides.
    pub variant: Variant,
    /// When the stream was opened.
    pub connected: SystemTime,
    /// Its node as it sent it; empty until its first request.
    pub node: Node,
    /// The key of the view that it sees, and why it is that one; `None` until its first request, and where it may see none.
    pub view: Option<(Arc<str>, Arc<str>)>,
    /// What it has of each type that it asked for, in the order of [`Kind`].
    pub types: Vec<ClientType>,
}

/// A stream and what it sees.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Who it is and what it follows.
    pub client: Client,
    /// All that it may ask for; `None` until its first request.
    pub view: Option<Arc<ViewGeneration>>,
}

/// What a stream wants of one type, and what it was sent, acknowledged and refused.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientType {
    /// The type that is subscribed to.
    pub kind: Kind,
    /// Type URL as the client's request spelled it.
    pub type_url: Arc<str>,
    /// Whether it wants everything.
    pub wildcard: bool,
    /// Names that it subscribes to one by one; the wildcard `*` is none of them.
    pub names: OrdSet<Name>,
    /// The last answer; `None` before the first.
    pub sent: Option<Answer>,
    /// Version of the last answer that it acknowledged, and when it did.
    pub acknowledged: Option<(u64, SystemTime)>,
    /// Its last refusal (NACK); `None` if it has refused no answer of the type.
    pub refused: Option<Refusal>,
    /// What it is not sent, because it refuses it, by name.
    pub withheld: BTreeMap<Name, Withheld>,
    /// How many messages it was sent; a long answer is cut into several.
    pub answers: u64,
    /// How many resources, and names of removed ones, were in them.
    pub resources: u64,
    /// Length of these messages together, in bytes, without gRPC's headers.
    pub bytes: u64,
}

/// The last answer of a type that a stream was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Version of the set of all resources in it: a digest, which the client sees as 16 hexadecimal digits.
    pub version: u64,
    /// Number by which the client names the answer; it counts the messages of the stream, of all types.
    pub nonce: u64,
    /// When it was queued.
    pub at: SystemTime,
}

/// The last answer that the client refused (NACK).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The client's error message.
    pub message: String,
    /// Version of the set in that answer; `None` if it was not the last answer.
    pub version: Option<u64>,
    /// When the refusal came.
    pub at: SystemTime,
}

/// A resource that a client is not sent, because it or others refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Hash of the content that is refused; other content of that name is sent.
    pub version: u64,
    /// How that is known.
    pub found: Found,
}

/// The table of open streams, for admin and for what ends stalled ones.
#[derive(Debug)]
pub struct Clients {
    started: Instant,
    next: AtomicU64,
    entries: Mutex<BTreeMap<u64, Arc<Entry>>>,
}

impl Clients {
    pub(super) fn new() -> Self {
        Clients { started: Instant::now(), next: AtomicU64::new(1), entries: Mutex::default() }
    }

    /// All open streams, oldest first.
    pub fn list(&self) -> Vec<Client> {
        let entries: Vec<_> = lock(&self.entries).iter().map(|(id, entry)| (*id, entry.clone())).collect();
        entries.into_iter().map(|(id, entry)| entry.client(id)).collect()
    }

    /// All open streams, oldest first, each with the newest generation of its view.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        let entries: Vec<_> = lock(&self.entries).iter().map(|(id, entry)| (*id, entry.clone())).collect();
        let snapshot = |(id, entry): (u64, Arc<Entry>)| {
            let view = lock(&entry.record).generations.as_ref().map(|generations| generations.borrow().clone());
            Snapshot { client: entry.client(id), view }
        };
        entries.into_iter().map(snapshot).collect()
    }

    /// How many streams are open.
    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Enters a stream. Until it first looks for requests it counts as sending: the transport may never let it.
    pub(super) fn enter(self: &Arc<Self>, origin: Origin, variant: Variant, close: CancellationToken) -> Registration {
        let entry = Arc::new(Entry {
            origin,
            variant,
            connected: SystemTime::now(),
            started: self.started,
            sending_since: AtomicU64::new(0),
            close,
            record: Mutex::default(),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.entries).insert(id, entry.clone());
        let registration = Registration { id, entry, clients: self.clone() };
        registration.sending();
        registration
    }

    /// Closes the connections of those streams that have been sending for longer than `limit` without the transport
    /// taking a frame. Returns what they are.
    pub(super) fn close_stalled(&self, now: Instant, limit: Duration) -> Vec<(u64, Remote)> {
        let stalled = |entry: &Entry| entry.sending_for(now).is_some_and(|time| time > limit);
        let entries = lock(&self.entries);
        let found = entries.iter().filter(|(_, entry)| !entry.close.is_cancelled() && stalled(entry));
        let found: Vec<_> = found.map(|(id, entry)| (*id, entry.clone())).collect();
        drop(entries);
        found.iter().for_each(|(_, entry)| entry.close.cancel());
        found.into_iter().map(|(id, entry)| (id, entry.origin.peer)).collect()
    }
}

/// A stream's place in the table; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    id: u64,
    entry: Arc<Entry>,
    clients: Arc<Clients>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.clients.entries).remove(&self.id);
    }
}

impl Registration {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.entry.origin
    }

    /// Notes the node of the stream's first request.
    pub(super) fn set_node(&self, node: Node) {
        lock(&self.entry.record).node = node;
    }

    /// Notes the key of the view that the client sees, and why it sees that one.
    pub(super) fn set_view(&self, view: Arc<str>, why: Arc<str>) {
        lock(&self.entry.record).view = Some((view, why));
    }

    /// Notes where the generations of the client's view come from, for [`Clients::snapshot`].
    pub(super) fn set_generations(&self, generations: watch::Receiver<Arc<ViewGeneration>>) {
        lock(&self.entry.record).generations = Some(generations);
    }

    pub(super) fn subscribed(&self, kind: Kind, type_url: Arc<str>, wildcard: bool, names: OrdSet<Name>) {
        self.change(kind, |entry| (entry.type_url, entry.wildcard, entry.names) = (type_url, wildcard, names));
    }

    pub(super) fn sent(&self, kind: Kind, version: u64, nonce: u64, items: usize, bytes: usize) {
        self.change(kind, |entry| {
            entry.answers += 1;
            entry.resources += items as u64;
            entry.bytes += bytes as u64;
            entry.sent = Some(Answer { version, nonce, at: SystemTime::now() });
        });
    }

    pub(super) fn acknowledged(&self, kind: Kind, version: u64) {
        self.change(kind, |entry| entry.acknowledged = Some((version, SystemTime::now())));
    }

    pub(super) fn refused(&self, kind: Kind, version: Option<u64>, message: String) {
        self.change(kind, |entry| entry.refused = Some(Refusal { message, version, at: SystemTime::now() }));
    }

    pub(super) fn withheld(&self, Item { kind, name, version }: &Item, found: Found) {
        let (name, withheld) = (name.clone(), Withheld { version: *version, found });
        self.change(*kind, |entry| {
            entry.withheld.insert(name, withheld);
        });
    }

    pub(super) fn released(&self, item: &Item) {
        self.change(item.kind, |entry| {
            entry.withheld.remove(&item.name);
        });
    }

    /// The key of the client's view, the id of its node, and the message of its last refusal of that kind; each may be
    /// empty.
    pub(super) fn said(&self, kind: Kind) -> (Arc<str>, Arc<str>, Arc<str>) {
        let record = lock(&self.entry.record);
        let words = record.types.iter().find(|of| of.kind == kind).and_then(|of| of.refused.as_ref());
        let view = record.view.as_ref().map(|(view, _)| view.clone()).unwrap_or_default();
        (view, record.node.id.as_str().into(), words.map(|refusal| refusal.message.as_str().into()).unwrap_or_default())
    }

    fn change(&self, kind: Kind, change: impl FnOnce(&mut ClientType)) {
        change(lock(&self.entry.record).of(kind));
    }

    /// A frame is handed to the transport; the stream's next call shows that the transport took it.
    pub(super) fn sending(&self) {
        let since = self.entry.started.elapsed().as_millis() as u64 + 1;
        self.entry.sending_since.store(since, Ordering::Relaxed);
    }

    /// Notes that the stream has nothing to send.
    pub(super) fn idle(&self) {
        self.entry.sending_since.store(0, Ordering::Relaxed);
    }
}

/// Where a stream comes from; known before its first request.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) peer: Remote,
    pub(super) listener: Arc<str>,
    pub(super) identity: Option<Arc<Identity>>,
}

#[derive(Debug)]
struct Entry {
    origin: Origin,
    variant: Variant,
    connected: SystemTime,
    started: Instant,
    /// Milliseconds after the start, plus one; 0: nothing is being sent.
    sending_since: AtomicU64,
    close: CancellationToken,
    record: Mutex<Record>,
}

impl Entry {
    fn client(&self, stream: u64) -> Client {
        let record = lock(&self.record);
        Client {
            stream,
            peer: self.origin.peer,
            listener: self.origin.listener.clone(),
            identity: self.origin.identity.as_ref().map(|identity| identity.name().clone()),
            variant: self.variant,
            connected: self.connected,
            node: record.node.clone(),
            view: record.view.clone(),
            types: record.types.clone(),
        }
    }

    fn sending_for(&self, now: Instant) -> Option<Duration> {
        let since = self.sending_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_duration_since(self.started + Duration::from_millis(since)))
    }
}

#[derive(Debug, Default)]
struct Record {
    node: Node,
    view: Option<(Arc<str>, Arc<str>)>,
    generations: Option<watch::Receiver<Arc<ViewGeneration>>>,
    /// In the order of their kinds. An Envoy has two of the many.
    types: Vec<ClientType>,
}

impl Record {
    fn of(&mut self, kind: Kind) -> &mut ClientType {
        let place = self.types.binary_search_by_key(&kind, |of| of.kind).unwrap_or_else(|place| {
            self.types.reserve_exact(1);
            self.types.insert(place, ClientType::of(kind));
            place
        });
        &mut self.types[place]
    }
}

impl ClientType {
    /// The entry of a type of which nothing was asked for or sent yet.
    pub fn of(kind: Kind) -> Self {
        ClientType {
            kind,
            type_url: kind.type_url().into(),
            wildcard: false,
            names: OrdSet::new(),
            sent: None,
            acknowledged: None,
            refused: None,
            withheld: BTreeMap::new(),
            answers: 0,
            resources: 0,
            bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (Arc<Clients>, Origin) {
        let peer = Remote::Unix { uid: 1, pid: None };
        (Arc::new(Clients::new()), Origin { peer, listener: "default".into(), identity: None })
    }

    #[test]
    fn a_stream_is_listed_while_it_lives() {
        let (clients, origin) = table();
        let one = clients.enter(origin, Variant::Delta, CancellationToken::new());
        one.set_node(Node { id: "n".into(), ..Node::default() });
        one.set_view("envoy".into(), "no rule fits".into());
        one.sent(Kind::Cluster, 1, 3, 2, 50);
        one.acknowledged(Kind::Cluster, 1);
        let [client] = &clients.list()[..] else { panic!() };
        let entry = &client.types[0];
        assert_eq!((&*client.node.id, entry.answers, entry.resources, entry.bytes), ("n", 1, 2, 50));
        assert_eq!(entry.acknowledged.as_ref().unwrap().0, 1);
        assert_eq!(
            (client.types.len(), entry.refused.clone(), client.view.clone().map(|(view, _)| view)),
            (1, None, Some("envoy".into()))
        );
        drop(one);
        assert_eq!(clients.list(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_stream_that_sends_and_makes_no_progress_is_stalled() {
        let (clients, origin) = table();
        let close = CancellationToken::new();
        let one = clients.enter(origin.clone(), Variant::Sotw, close.clone());
        one.idle();
        let limit = Duration::from_secs(30);
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(clients.close_stalled(later(99), limit), []);
        one.sending();
        assert_eq!(clients.close_stalled(later(29), limit), []);
        tokio::time::advance(Duration::from_secs(20)).await;
        one.sending();
        assert_eq!(clients.close_stalled(later(29), limit), []);
        one.idle();
        assert_eq!(clients.close_stalled(later(99), limit), []);
        one.sending();
        assert!(!close.is_cancelled());
        assert_eq!(clients.close_stalled(later(31), limit), [(one.id(), origin.peer)]);
        assert!(close.is_cancelled());
        assert_eq!(clients.close_stalled(later(32), limit), [], "once is enough");
    }
}
