//! Assignments of clusters that this stream does not follow: another stream of the same client does, or a file has them.
//!
//! Envoy keeps a changed cluster warming until its assignment comes, and on a stream of endpoints it does not always ask
//! again. When it starts to wait this stream does not see. So where a cluster changes, its assignment goes out again soon
//! after and once more; and a request that repeats what was acknowledged is answered with it at once.

use crate::resource::{Generation, Name};
use imbl::OrdMap;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// By then Envoy has taken over the cluster, which was sent on the other stream at the same time.
const SOON: Duration = Duration::from_millis(250);
/// By then it has even where it was busy. It waits for 15 s.
const LATER: Duration = Duration::from_secs(3);

/// What may be warming at the client.
#[derive(Debug, Default)]
pub(super) struct Warming {
    /// The clusters that were looked at last; `None` as long as the stream follows no assignments, or follows clusters.
    seen: Option<OrdMap<Name, u64>>,
    /// When the assignments of changed clusters go out: the next time, and the last time if there is another one.
    due: BTreeMap<Name, (Instant, Option<Instant>)>,
}

impl Warming {
    /// Forgets everything: the stream follows no assignments, or it follows clusters itself.
    pub(super) fn forget(&mut self) {
        if self.seen.is_some() {
            *self = Warming::default();
        }
    }

    /// Notes the assignments of clusters that have changed since the last look, where they are wanted.
    pub(super) fn look(&mut self, clusters: &Generation, wants: impl Fn(&Name) -> bool, now: Instant) {
        let Some(seen) = &mut self.seen else {
            self.seen = Some(clusters.versions().clone());
            return;
        };
        if seen.ptr_eq(clusters.versions()) {
            return;
        }
        let changed = clusters.changes_since(seen).filter_map(|(_, cluster)| cluster?.refers_to());
        for assignment in changed.filter(|name| wants(name)) {
            self.due.insert(assignment.clone(), (now + SOON, Some(now + LATER)));
        }
        *seen = clusters.versions().clone();
    }

    /// The assignments that go out now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Name> {
        if self.next().is_none_or(|next| next > now) {
            return Vec::new();
        }
        let due: Vec<Name> = self.due.iter().filter(|(_, (at, _))| *at <= now).map(|(name, _)| name.clone()).collect();
        self.due.retain(|_, (at, last)| match (*at <= now, last.take()) {
            (true, Some(last)) => {
                *at = last;
                true
            }
            (true, None) => false,
            (false, unchanged) => {
                *last = unchanged;
                true
            }
        });
        due
    }

    /// The client asks again for what it has: all that may be warming goes out, for the last time.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Name> {
        std::mem::take(&mut self.due).into_keys()
    }

    /// When the next ones go out.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().map(|(at, _)| *at).min()
    }
}
