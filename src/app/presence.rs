//! How many callers of each cluster (`node.cluster`) are connected from each place. Zone-aware Envoys need that if
//! their own cluster is no service of a registry.
//!
//! Each replica knows its own streams only. An Envoy with several streams counts once, by its node's id.

use crate::{
    model::{Locality, Text},
    util::lock::lock,
    views::{Callers, Set},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

/// How long changes are collected: streams often come and go together, and each change alters the shares of all
/// callers.
const SETTLE: Duration = Duration::from_secs(2);

/// The callers that are connected. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Presence(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The number of open streams of each caller.
    callers: Mutex<HashMap<Caller, usize>>,
    changed: Notify,
}

/// A caller: its cluster, its place, and its id.
type Caller = (Text, Locality, Text);

/// Stands for an open stream of a caller; when it is dropped, the stream no longer counts.
#[derive(Debug)]
pub(super) struct Present {
    caller: Caller,
    presence: Presence,
}

impl Presence {
    /// Notes that a stream of a caller has opened.
    pub(super) fn enter(&self, cluster: Text, locality: Locality, id: Text) -> Present {
        let caller = (cluster, locality, id);
        let count = {
            let mut callers = lock(&self.0.callers);
            let count = callers.entry(caller.clone()).or_default();
            *count += 1;
            *count
        };
        if count == 1 {
            self.0.changed.notify_one();
        }
        Present { caller, presence: self.clone() }
    }

    /// How many callers there are in each place, by cluster.
    fn count(&self) -> Callers {
        let mut counts: BTreeMap<Text, BTreeMap<Locality, usize>> = BTreeMap::new();
        for (cluster, locality, _) in lock(&self.0.callers).keys() {
            *counts.entry(cluster.clone()).or_default().entry(locality.clone()).or_default() += 1;
        }
        counts.into_iter().map(|(cluster, places)| (cluster, Arc::new(places))).collect()
    }

    /// Tells views who is connected, some time after each change.
    pub(super) async fn run(self, views: Set, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.changed.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(SETTLE) => views.set_callers(self.count()),
            }
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut callers = lock(&self.presence.0.callers);
        if let Some(count) = callers.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                callers.remove(&self.caller);
                self.presence.0.changed.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_counts_once_for_as_long_as_it_has_a_stream() {
        let presence = Presence::default();
        let enter =
            |cluster: &str, place: &str, id: &str| presence.enter(cluster.into(), Locality::parse(place), id.into());
        let count = || -> Vec<(String, String, usize)> {
            let count = presence.count();
            let places = count.iter().flat_map(|(cluster, places)| {
                places.iter().map(move |(place, count)| (cluster.to_string(), place.to_string(), *count))
            });
            places.collect()
        };
        let (one, again, other) = (enter("a", "cn/x", "1"), enter("a", "cn/x", "1"), enter("a", "cn/x", "2"));
        let _b = enter("b", "cn/y", "1");
        assert_eq!(count(), [("a".into(), "cn/x".into(), 2), ("b".into(), "cn/y".into(), 1)]);
        drop((one, other));
        assert_eq!(count()[0], ("a".into(), "cn/x".into(), 1));
        drop(again);
        assert_eq!(count().len(), 1);
    }
}
