//! What clients refuse, over all streams: for people, for a client that comes back, and for others like those that refuse it.
//!
//! A stream withholds what its own client refuses, whatever stands here. It tells of it, so that people see it and can release
//! it, and that the same client is not tried with it again when it comes back. Once several clients refuse the same version of
//! a view, all who see that view and have not got it are spared it. As soon as one stream that withholds it sees that a version
//! is not served any more the entry is gone; where no stream withholds it, once another comes that is served something else.
//!
//! Entries are bounded in number, and those that no open stream has give way; what finds no place is withheld by its stream all
//! the same.

use super::{
    metrics::Metrics,
    peer::Peer,
    unwanted::{Filter, Found, Item, Unwanted},
};
use crate::{
    resource::{Kind, Resource},
    util::lock::lock,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};
use tokio::sync::watch;
use tracing::{info, warn};

/// Most entries of the table.
const MOST: usize = 1_024;
/// Most clients that one entry remembers.
const CLIENTS: usize = 64;
/// So many different nodes must refuse the same version before others are spared it.
const NODES: usize = 3;
/// If any of these nodes has proved an identity, so many different identities must be among them.
const IDENTITIES: usize = 2;
/// So many of the last releases are kept. A stream that missed more of them releases everything.
const RELEASES: usize = 64;

/// Who refuses something: what must be the same for a client to be taken for one that was here before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    /// `node.id`, the client's own word.
    pub(super) node: Arc<str>,
    /// Name of the identity that it has proved; `None` if it has proved none.
    pub(super) identity: Option<Arc<str>>,
    /// Where it comes from; `None` where it has an identity.
    pub(super) peer: Option<Peer>,
}

/// What a stream tells of a resource that it withholds.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) item: Item,
    pub(super) found: Found,
    pub(super) instead: Option<Arc<Resource>>,
    /// The error message of the client's last refusal of that kind.
    pub(super) message: Arc<str>,
}

/// An entry of the table, as the admin API shows it.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// The resource and the version of it that is withheld.
    pub item: Item,
    /// Key of the view whose clients refuse it.
    pub view: Arc<str>,
    /// Whether all who see that view are spared it.
    pub for_all: bool,
    /// When a stream of that view first withheld it.
    pub since: SystemTime,
    /// Open streams that it is withheld from.
    pub streams: usize,
    /// The nodes whose clients have refused it, open or not.
    pub nodes: Vec<Arc<str>>,
    /// How it is known, by the last client that refused it.
    pub found: Found,
    /// The error message of the last client that refused it.
    pub message: Arc<str>,
}

/// The table of the resources that clients refuse, for all streams. See the module.
#[derive(Debug)]
pub struct Quarantine {
    table: Mutex<Table>,
    /// Counts up when streams have to look again.
    number: AtomicU64,
    releases: watch::Sender<u64>,
    metrics: Metrics,
}

/// Key of the view, and the resource that is refused in it.
type Key = (Arc<str>, Item);

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<Key, Entry>,
    /// The last [`RELEASES`] releases, the newest at the end.
    releases: VecDeque<Filter>,
    /// How many releases there were since the start.
    released: u64,
}

#[derive(Debug)]
struct Entry {
    since: SystemTime,
    for_all: bool,
    by: BTreeMap<u64, By>,
}

/// A stream's part in an entry.
#[derive(Debug)]
struct By {
    who: Who,
    told: Told,
    /// The client itself has refused it, on this stream or an earlier one.
    refuses: bool,
    open: bool,
}

impl Quarantine {
    pub(super) fn new(metrics: Metrics) -> Self {
        Quarantine { table: Mutex::default(), number: AtomicU64::new(0), releases: watch::Sender::new(0), metrics }
    }

    /// All entries, sorted by view, kind and name.
    pub fn list(&self) -> Vec<Quarantined> {
        let table = lock(&self.table);
        table.entries.iter().map(|((view, item), entry)| entry.quarantined(view, item)).collect()
    }

    /// Has the resources that the filter fits sent again to all. Returns how many entries that were.
    pub fn release(&self, filter: &Filter) -> usize {
        let mut table = lock(&self.table);
        let before = table.entries.len();
        table.entries.retain(|(_, item), _| !filter.fits(item.kind, &item.name));
        let count = before - table.entries.len();
        if table.releases.len() == RELEASES {
            table.releases.pop_front();
        }
        table.releases.push_back(filter.clone());
        table.released += 1;
        let number = table.released;
        self.count(&table);
        drop(table);
        self.number.fetch_add(1, Ordering::Release);
        self.releases.send_replace(number);
        count
    }

    /// Drops the entries of views that exist no more. A stream that withholds something goes on with that.
    pub fn forget(&self, is_gone: impl Fn(&str) -> bool) {
        let mut table = lock(&self.table);
        table.entries.retain(|(view, _), _| !is_gone(view));
        self.count(&table);
    }

    /// Rises each time that a stream must look up again what others refuse.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Signals each release. The value is how many there were since the start.
    pub(super) fn releases(&self) -> watch::Receiver<u64> {
        self.releases.subscribe()
    }

    /// The releases after that number, and the newest number. Who is too far behind is told to release everything.
    pub(super) fn released_since(&self, number: u64) -> (Vec<Filter>, u64) {
        let table = lock(&self.table);
        let missed = (table.released - number) as usize;
        let filters = match missed > table.releases.len() {
            true => vec![Filter::default()],
            false => table.releases.iter().skip(table.releases.len() - missed).cloned().collect(),
        };
        (filters, table.released)
    }

    /// What a client of that view is not sent: what all are spared, and what the same client has refused before. What no open
    /// stream has, and is not served any more, is dropped.
    pub(super) fn unwanted(&self, view: &Arc<str>, who: &Who, is_served: impl Fn(&Item) -> bool) -> Arc<[Unwanted]> {
        let mut table = lock(&self.table);
        if table.drop_outdated(view, is_served) {
            self.number.fetch_add(1, Ordering::Release);
        }
        let of_view = table.entries.iter().filter(|((of, item), _)| of == view && !passes(item.kind));
        let unwanted = of_view.filter_map(|((_, item), entry)| {
            let own = entry.by.values().find(|by| by.refuses && by.who == *who);
            let instead = own.and_then(|own| own.told.instead.clone());
            (entry.for_all || own.is_some()).then(|| Unwanted { item: item.clone(), instead })
        });
        unwanted.collect()
    }

    /// Notes that a stream withholds a resource. Once enough clients refuse it, all who see the view are spared it.
    pub(super) fn withheld(&self, stream: u64, who: Who, view: Arc<str>, told: Told) {
        let mut table = lock(&self.table);
        let key = (view, told.item.clone());
        if !table.entries.contains_key(&key) && !table.make_room() {
            return;
        }
        let entry = table.entries.entry(key.clone()).or_insert_with(|| Entry {
            since: SystemTime::now(),
            for_all: false,
            by: BTreeMap::new(),
        });
        // On an earlier stream the same client has refused it.
        let before =
            entry.by.iter().find(|(_, by)| !by.open && by.who == who).map(|(stream, by)| (*stream, by.refuses));
        if let Some((stream, _)) = before {
            entry.by.remove(&stream);
        }
        let refuses = told.found != Found::Shared || before.is_some_and(|(_, refuses)| refuses);
        if entry.by.len() < CLIENTS || refuses && entry.forget_one() {
            entry.by.insert(stream, By { who, told, refuses, open: true });
        }
        let spread = !entry.for_all && !passes(key.1.kind) && entry.is_common();
        entry.for_all |= spread;
        self.count(&table);
        drop(table);
        if spread {
            let (view, item) = key;
            warn!(
                kind = item.kind.name(),
                name = &*item.name,
                view = &*view,
                "Several clients refuse the same resource; no others are tried with it until it changes or is released."
            );
            self.number.fetch_add(1, Ordering::Release);
        }
    }

    /// A stream, which sees that view by now, withholds it no longer. `outdated`: because nobody who sees that view is served that
    /// version any more. What it refused in a view that it saw before is still that one's.
    pub(super) fn let_go(&self, stream: u64, view: &Arc<str>, item: &Item, outdated: bool) {
        let mut table = lock(&self.table);
        let mut ended = false;
        table.entries.retain(|(of, known), entry| {
            if known != item || entry.by.remove(&stream).is_none() {
                return true;
            }
            let gone = (outdated && of == view) || (!entry.for_all && entry.by.is_empty());
            ended |= gone && entry.for_all;
            !gone
        });
        self.count(&table);
        drop(table);
        if ended {
            info!(kind = item.kind.name(), name = &*item.name, "What several clients refused is served no more.");
            self.number.fetch_add(1, Ordering::Release);
        }
    }

    /// A stream has ended. What its client has refused is remembered, should it come back.
    pub(super) fn left(&self, stream: u64) {
        let mut table = lock(&self.table);
        table.entries.retain(|(_, item), entry| {
            match entry.by.get_mut(&stream) {
                Some(by) if by.refuses && !passes(item.kind) => by.open = false,
                Some(_) => drop(entry.by.remove(&stream)),
                None => {}
            }
            entry.for_all || !entry.by.is_empty()
        });
        self.count(&table);
    }

    fn count(&self, table: &Table) {
        let mut counts: BTreeMap<Kind, i64> = Kind::ENVOY.into_iter().map(|kind| (kind, 0)).collect();
        for ((_, item), entry) in &table.entries {
            if entry.is_open() {
                *counts.entry(item.kind).or_default() += 1;
            }
        }
        counts.into_iter().for_each(|(kind, count)| self.metrics.quarantined(kind, count));
    }
}

/// Whether a refusal says nothing of others, or of the same client when it comes back: secrets name files of its machine, which may
/// be there by then.
fn passes(kind: Kind) -> bool {
    kind == Kind::Secret
}

impl Table {
    /// Makes room for an entry; `false` if there is none. Of what no stream has open goes first what others are not spared, and
    /// of that the oldest.
    fn make_room(&mut self) -> bool {
        if self.entries.len() < MOST {
            return true;
        }
        let idle = self.entries.iter().filter(|(_, entry)| !entry.is_open());
        let oldest = idle.min_by_key(|(_, entry)| (entry.for_all, entry.since));
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return false };
        self.entries.remove(&oldest).is_some()
    }

    /// Drops the entries of a view that no stream has open and that are served no more. Returns whether others were spared one.
    fn drop_outdated(&mut self, view: &Arc<str>, is_served: impl Fn(&Item) -> bool) -> bool {
        let mut spared = false;
        self.entries.retain(|(of, item), entry| {
            let stays = of != view || entry.is_open() || is_served(item);
            spared |= !stays && entry.for_all;
            stays
        });
        spared
    }
}

impl Entry {
    /// Whether an open stream withholds it.
    fn is_open(&self) -> bool {
        self.by.values().any(|by| by.open)
    }

    /// Whether enough different clients refuse it: [`NODES`], and [`IDENTITIES`] where they have proved any.
    fn is_common(&self) -> bool {
        let refusing = || self.by.values().filter(|by| by.refuses && by.open);
        let nodes: BTreeSet<&str> = refusing().map(|by| &*by.who.node).filter(|node| !node.is_empty()).collect();
        let identities: BTreeSet<&str> = refusing().filter_map(|by| by.who.identity.as_deref()).collect();
        nodes.len() >= NODES && (identities.is_empty() || identities.len() >= IDENTITIES)
    }

    /// Makes room for a client that refuses; `false` if there is none.
    fn forget_one(&mut self) -> bool {
        let least = self.by.iter().find(|(_, by)| !by.open || !by.refuses).map(|(stream, _)| *stream);
        least.is_some_and(|stream| self.by.remove(&stream).is_some())
    }

    fn quarantined(&self, view: &Arc<str>, item: &Item) -> Quarantined {
        let nodes: BTreeSet<Arc<str>> =
            self.by.values().filter(|by| by.refuses).map(|by| by.who.node.clone()).collect();
        let last = self.by.values().rev().find(|by| by.told.found != Found::Shared).or(self.by.values().next_back());
        Quarantined {
            item: item.clone(),
            view: view.clone(),
            for_all: self.for_all,
            since: self.since,
            streams: self.by.values().filter(|by| by.open).count(),
            nodes: nodes.into_iter().collect(),
            found: last.map_or(Found::Shared, |by| by.told.found),
            message: last.map(|by| by.told.message.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::{encoding::text::encode, registry::Registry};

    fn who(node: &str, identity: Option<&str>) -> Who {
        Who { node: node.into(), identity: identity.map(Into::into), peer: None }
    }

    fn told(name: &str, version: u64, found: Found) -> Told {
        let item = Item { kind: Kind::Cluster, name: name.into(), version };
        Told { item, found, instead: None, message: "no".into() }
    }

    fn quarantine() -> Quarantine {
        Quarantine::new(Metrics::default())
    }

    fn unwanted(quarantine: &Quarantine, node: &str) -> usize {
        quarantine.unwanted(&"envoy".into(), &who(node, None), |_| true).len()
    }

    #[test]
    fn one_client_concerns_no_other_however_often_it_comes() {
        let quarantine = quarantine();
        for stream in 0..10 {
            quarantine.withheld(stream, who("n", None), "envoy".into(), told("a", 1, Found::Named));
            assert_eq!((unwanted(&quarantine, "n"), unwanted(&quarantine, "other")), (1, 0));
            quarantine.left(stream);
        }
        let [entry] = &quarantine.list()[..] else { panic!() };
        assert_eq!((entry.for_all, entry.streams, entry.nodes.len(), &*entry.message), (false, 0, 1, "no"));
        assert_eq!(quarantine.number(), 0);
    }

    #[test]
    fn three_nodes_spare_the_others_and_a_new_version_ends_it_for_all() {
        let quarantine = quarantine();
        for (stream, node) in [(1, "a"), (2, "b"), (3, "b"), (4, "")] {
            quarantine.withheld(stream, who(node, None), "envoy".into(), told("x", 1, Found::Named));
        }
        assert_eq!(unwanted(&quarantine, "z"), 0);
        quarantine.withheld(5, who("c", None), "other".into(), told("x", 1, Found::Named));
        quarantine.withheld(6, who("c", None), "envoy".into(), told("x", 2, Found::Named));
        assert_eq!(unwanted(&quarantine, "z"), 0, "another view, and another version");
        quarantine.withheld(7, who("c", None), "envoy".into(), told("x", 1, Found::Searched));
        assert_eq!((unwanted(&quarantine, "z"), quarantine.number()), (1, 1));
        quarantine.withheld(8, who("z", None), "envoy".into(), told("x", 1, Found::Shared));
        let item = told("x", 1, Found::Named).item;
        quarantine.let_go(8, &"envoy".into(), &item, true);
        assert_eq!((unwanted(&quarantine, "z"), quarantine.number(), quarantine.list().len()), (0, 2, 2));
    }

    #[test]
    fn who_sees_another_view_leaves_the_entry_of_the_former_to_those_who_still_see_it() {
        let quarantine = quarantine();
        let (before, after): (Arc<str>, Arc<str>) = ("next:envoy".into(), "envoy".into());
        let item = told("x", 1, Found::Named).item;
        for (stream, node) in ["a", "b", "c"].into_iter().enumerate() {
            quarantine.withheld(stream as u64, who(node, None), before.clone(), told("x", 1, Found::Named));
        }
        quarantine.let_go(0, &after, &item, true);
        let [entry] = &quarantine.list()[..] else { panic!() };
        assert_eq!((entry.for_all, entry.streams, quarantine.number()), (true, 2, 1), "the others are served it");
        quarantine.withheld(9, who("d", None), before, told("y", 1, Found::Named));
        quarantine.let_go(9, &after, &told("y", 1, Found::Named).item, true);
        assert_eq!(quarantine.list().len(), 1, "nobody is left who refuses it");
    }

    #[test]
    fn what_no_open_stream_withholds_ends_when_another_is_served_something_else() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let quarantine = Quarantine::new(metrics);
        let counted = |count: usize| {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text.contains(&format!("xds_quarantined_resources{{kind=\"clusters\"}} {count}\n"))
        };
        let (before, after): (Arc<str>, Arc<str>) = ("envoy".into(), "envoy@edge".into());
        let item = told("x", 1, Found::Named).item;
        for (stream, node) in ["a", "b", "c"].into_iter().enumerate() {
            quarantine.withheld(stream as u64, who(node, None), before.clone(), told("x", 1, Found::Named));
        }
        quarantine.withheld(3, who("d", None), before.clone(), told("y", 1, Found::Named));
        quarantine.left(3);
        // They see another view by now: nobody who sees the former one says that it is outdated.
        assert!(counted(1));
        (0..3).for_each(|stream| quarantine.let_go(stream, &after, &item, true));
        assert_eq!((unwanted(&quarantine, "z"), quarantine.list().len()), (1, 2), "it may be served still");
        assert!(counted(0), "nobody is there from whom it is withheld");
        let number = quarantine.number();
        let is_served = |item: &Item| &*item.name != "x";
        let of = |view: &Arc<str>, node| quarantine.unwanted(view, &who(node, None), is_served).len();
        assert_eq!((of(&after, "z"), quarantine.number()), (0, number), "another view's is none of its business");
        assert_eq!((of(&before, "z"), quarantine.number()), (0, number + 1));
        assert_eq!((of(&before, "d"), quarantine.list().len()), (1, 1), "who comes back has its own");
        quarantine.withheld(4, who("e", None), before.clone(), told("x", 1, Found::Named));
        assert_eq!(
            (of(&before, "e"), quarantine.list().len()),
            (1, 2),
            "an open stream says itself when it is outdated"
        );
    }

    #[test]
    fn what_all_are_spared_gives_way_once_no_stream_has_it() {
        let quarantine = quarantine();
        for n in 0..MOST as u64 {
            for (stream, node) in ["a", "b", "c"].into_iter().enumerate() {
                quarantine.withheld(stream as u64, who(node, None), "envoy".into(), told("x", n, Found::Named));
            }
        }
        let names = || quarantine.list().into_iter().filter(|entry| &*entry.item.name == "new").count();
        quarantine.withheld(9, who("z", None), "envoy".into(), told("new", 1, Found::Named));
        assert_eq!(names(), 0, "all others are open");
        (0..3).for_each(|stream| quarantine.left(stream));
        quarantine.withheld(9, who("z", None), "envoy".into(), told("new", 1, Found::Named));
        assert_eq!((names(), quarantine.list().len()), (1, MOST));
    }

    #[test]
    fn who_has_proved_who_it_is_counts_by_that_as_well() {
        let quarantine = quarantine();
        for (stream, node) in ["a", "b", "c", "d"].into_iter().enumerate() {
            quarantine.withheld(stream as u64, who(node, Some("one")), "envoy".into(), told("x", 1, Found::Named));
        }
        assert_eq!(unwanted(&quarantine, "z"), 0, "one client with four names");
        quarantine.withheld(9, who("e", Some("two")), "envoy".into(), told("x", 1, Found::Named));
        assert_eq!(unwanted(&quarantine, "z"), 1);
    }

    #[test]
    fn what_is_spared_counts_as_no_refusal() {
        let quarantine = quarantine();
        for (stream, node) in ["a", "b", "c", "d"].into_iter().enumerate() {
            quarantine.withheld(stream as u64, who(node, None), "envoy".into(), told("x", 1, Found::Shared));
        }
        assert!(!quarantine.list()[0].for_all);
        (0..4).for_each(|stream| quarantine.left(stream));
        assert_eq!(unwanted(&quarantine, "a"), 0);
    }

    /// It names files of a machine: others may have them, and the same one may when it comes back.
    #[test]
    fn a_secret_is_withheld_from_its_stream_alone() {
        let quarantine = quarantine();
        let view: Arc<str> = "envoy".into();
        for (stream, node) in ["a", "b", "c"].into_iter().enumerate() {
            let item = Item { kind: Kind::Secret, ..told("tls", 1, Found::Named).item };
            let told = Told { item, ..told("tls", 1, Found::Named) };
            quarantine.withheld(stream as u64, who(node, None), view.clone(), told);
        }
        assert!(quarantine.list().iter().all(|entry| !entry.for_all && entry.streams == 3), "{:?}", quarantine.list());
        assert_eq!((unwanted(&quarantine, "a"), unwanted(&quarantine, "d")), (0, 0));
        (0..3).for_each(|stream| quarantine.left(stream));
        assert_eq!(quarantine.list().len(), 0);
    }

    #[test]
    fn a_release_is_heard_of_by_all_and_its_entries_are_gone() {
        let quarantine = quarantine();
        let mut heard = quarantine.releases();
        quarantine.withheld(1, who("a", None), "envoy".into(), told("x", 1, Found::Named));
        quarantine.withheld(1, who("a", None), "envoy".into(), told("y", 1, Found::Named));
        let filter = Filter { kind: Some(Kind::Cluster), name: Some("x".into()) };
        assert_eq!((quarantine.release(&filter), quarantine.release(&filter)), (1, 0));
        assert!(heard.has_changed().unwrap());
        assert_eq!(*heard.borrow_and_update(), 2);
        assert_eq!(quarantine.released_since(1), (vec![filter.clone()], 2));
        for _ in 0..100 {
            quarantine.release(&filter);
        }
        assert_eq!(quarantine.released_since(1), (vec![Filter::default()], 102), "too far behind");
        assert_eq!(quarantine.list().len(), 1);
    }

    #[test]
    fn what_views_had_that_are_gone_is_forgotten() {
        let quarantine = quarantine();
        quarantine.withheld(1, who("a", None), "envoy".into(), told("x", 1, Found::Named));
        quarantine.withheld(2, who("a", None), "next:envoy".into(), told("x", 2, Found::Named));
        quarantine.forget(|view| view.starts_with("next:"));
        let left: Vec<_> = quarantine.list().into_iter().map(|entry| entry.view).collect();
        assert_eq!(left, ["envoy".into()]);
    }

    #[test]
    fn entries_and_their_clients_are_bounded_and_what_nobody_has_goes_first() {
        let quarantine = quarantine();
        for n in 0..2 * MOST as u64 {
            quarantine.withheld(n, who(&n.to_string(), None), "envoy".into(), told("x", n, Found::Named));
        }
        assert_eq!(quarantine.list().len(), MOST);
        quarantine.left(0);
        quarantine.withheld(9_999, who("z", None), "envoy".into(), told("new", 1, Found::Named));
        assert_eq!(quarantine.list().len(), MOST);
        assert_eq!(unwanted(&quarantine, "z"), 1);
        for n in 0..1_000 {
            quarantine.withheld(10_000 + n, who("z", None), "envoy".into(), told("new", 1, Found::Named));
        }
        let entry = quarantine.list().into_iter().find(|entry| &*entry.item.name == "new").unwrap();
        assert_eq!(entry.streams, CLIENTS);
    }
}
