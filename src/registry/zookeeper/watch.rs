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

/// A hint where something may have changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touched {
    /// At the list of a root's nodes.
    Root(usize),
    /// At one node of a root.
    Node(usize, String),
    /// Beside the services.
    Around(Around),
}

/// The watches of one session.
pub(super) struct Watches {
    roots: Vec<(Layout, Text)>,
    fires_once: bool,
    armed: Armed,
    /// Every watch, of whatever kind.
    waiting: FuturesUnordered<BoxFuture<'static, Result<Fired, Aborted>>>,
}

/// What a watch reports.
enum Fired {
    /// Of one node: it is over.
    Node(String),
    /// Of a whole tree, with the watch itself, which goes on.
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
    /// Watches nothing before the first session.
    pub(super) fn new(roots: Vec<(Layout, Text)>) -> Self {
        let (waiting, armed) = Default::default();
        Watches { roots, fires_once: false, armed, waiting }
    }

    /// From now on every node that is read is watched for itself.
    pub(super) fn watch_nodes(&mut self) {
        // So far there were watches of trees only.
        self.waiting.clear();
        self.fires_once = true;
    }

    /// Whether nodes are watched for themselves: then each that is read must be armed, unless a watch waits there.
    pub(super) fn fires_once(&self) -> bool {
        self.fires_once
    }

    /// Where such watches wait.
    pub(super) fn armed(&self) -> &Armed {
        &self.armed
    }

    /// Takes in the watch of a whole tree.
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

    /// Takes in the watch of one node.
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

    /// A node is gone: nobody waits for it or for what is below it any more.
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

    /// The next place to look at. Nothing is lost if it is not waited for to the end.
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

    /// The next place if there is one already.
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
