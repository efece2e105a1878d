//! Which nodes have changed: a stream of places to look at again. What has changed there is read, never derived from the
//! event, so that all ways of noticing lead to the same result.
//!
//! Servers of 3.6 and later have one watch for a whole tree. Older ones have watches that fire once: one for the root's
//! children, one for each node's, and where data matters one for each entry; whoever reads such a node arms its watch
//! again. A path is armed at most once, because the server reports a change to each watch.

use super::{
    client::{OneshotWatcher, PersistentWatcher},
    layout::{Around, Layout},
};
use crate::model::Text;
use futures_util::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, Aborted, BoxFuture},
    stream::FuturesUnordered,
};
use std::collections::HashMap;
use zookeeper_client::EventType;

/// A place that may have changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touched {
    /// The list of the nodes of the root with this index.
    Root(usize),
    /// The node of this name below the root with this index.
    Node(usize, String),
    /// A place beside the services.
    Around(Around),
}

/// All watches of one session, for whole trees or for single nodes.
pub(super) struct Watches {
    roots: Vec<(Layout, Text)>,
    fires_once: bool,
    armed: Armed,
    /// All watches, those of trees and those of nodes.
    waiting: FuturesUnordered<BoxFuture<'static, Result<Fired, Aborted>>>,
}

/// What a watch has reported.
enum Fired {
    /// A watch of one node, which is over now. The value is the path.
    Node(String),
    /// A watch of a whole tree, which goes on: the path that has changed, and the watch.
    Tree(String, PersistentWatcher),
}

/// The paths at which a watch waits that fires once, and how each is cancelled.
#[derive(Debug, Default)]
pub(super) struct Armed(HashMap<String, AbortHandle>);

impl Armed {
    pub(super) fn waits_at(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }
}

impl Watches {
    /// Watches for these roots; none is set yet.
    pub(super) fn new(roots: Vec<(Layout, Text)>) -> Self {
        let (waiting, armed) = Default::default();
        Watches { roots, fires_once: false, armed, waiting }
    }

    /// Drops the watches of trees: from now on every node that is read gets a watch of its own.
    pub(super) fn watch_nodes(&mut self) {
        // So far there were watches of trees only.
        self.waiting.clear();
        self.fires_once = true;
    }

    /// True if nodes have watches of their own. Then each node that is read must be armed, unless a watch waits there.
    pub(super) fn fires_once(&self) -> bool {
        self.fires_once
    }

    /// The paths at which watches of single nodes wait.
    pub(super) fn armed(&self) -> &Armed {
        &self.armed
    }

    /// Adds the watch of a whole tree.
    pub(super) fn add_tree(&mut self, mut watcher: PersistentWatcher) {
        let fired = async move {
            let event = watcher.changed().await;
            // The session itself reports its end; asked again after it the library would panic.
            if event.event_type == EventType::Session {
                return std::future::pending().await;
            }
            Ok(Fired::Tree(event.path, watcher))
        };
        self.waiting.push(fired.boxed());
    }

    /// Adds the watch of one node.
    pub(super) fn arm(&mut self, path: String, watcher: OneshotWatcher) {
        let (abort, registration) = AbortHandle::new_pair();
        self.armed.0.insert(path.clone(), abort);
        let fired = async move {
            let event = watcher.changed().await;
            if event.event_type == EventType::Session {
                return std::future::pending().await;
            }
            Fired::Node(path)
        };
        self.waiting.push(Abortable::new(fired, registration).boxed());
    }

    /// Cancels the watches of a node that is gone, and of all below it.
    pub(super) fn disarm(&mut self, node: &str) {
        let below = format!("{node}/");
        self.armed.0.retain(|path, abort| {
            let gone = path == node || path.starts_with(&below);
            if gone {
                abort.abort();
            }
            !gone
        });
    }

    /// Waits for the next place to look at. Safe to cancel: nothing is lost.
    pub(super) async fn next(&mut self) -> Touched {
        loop {
            let path = match self.waiting.next().await {
                Some(Ok(Fired::Tree(path, watcher))) => {
                    self.add_tree(watcher);
                    path
                }
                Some(Ok(Fired::Node(path))) => {
                    self.armed.0.remove(&path);
                    path
                }
                // A cancelled one has nothing to report.
                Some(Err(Aborted)) => continue,
                None => return std::future::pending().await,
            };
            if let Some(touched) = self.touched(&path) {
                return touched;
            }
        }
    }

    /// The next place if a watch has reported one already.
    pub(super) fn ready(&mut self) -> Option<Touched> {
        self.next().now_or_never()
    }

    fn touched(&self, path: &str) -> Option<Touched> {
        let below = |root: &Text| path.strip_prefix(&**root).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut roots = self.roots.iter().enumerate();
        let (index, layout, rest) = roots.find_map(|(i, (layout, root))| Some((i, layout, below(root)?)))?;
        let mut names = rest.split('/').skip(1);
        let Some(node) = names.next() else { return Some(Touched::Root(index)) };
        let (child, name) = (names.next(), names.next());
        if let Some(around) = layout.around(node, child, name) {
            return Some(Touched::Around(around));
        }
        layout.concerns(node, child).then(|| Touched::Node(index, node.into()))
    }
}
