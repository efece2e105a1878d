//! Subscribing in state of the world: every request lists all names that are wanted.

use super::{Session, State, subscription::Resumed};
use crate::{
    resource::{Kind, parse_version},
    xds::{names::Names, request::Request},
};
use imbl::ordset::DiffItem;
use std::sync::Arc;

impl Session {
    /// Takes over what a request asks for. Returns whether that differs from before.
    pub(super) fn subscribe_sotw(&mut self, kind: Kind, request: &Request<'_>, list: Option<Arc<Names>>) -> bool {
        let first = self.begin(kind, request.type_url);
        let subscription = &mut self.subscriptions[kind as usize];
        if first && !request.version.is_empty() {
            subscription.resumed = Some(Resumed::of(parse_version(request.version.as_bytes())));
        }
        let same = match (subscription.list(), &list) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if same && !first {
            return false; // an acknowledgement, a refusal, or stale: nothing new is asked for
        }
        let had_everything = subscription.everything;
        let star = list.as_ref().is_some_and(|l| l.star);
        subscription.named |= list.is_some();
        // Without any name ever, clusters and listeners mean all of them (S01); after one, an empty list means none (S13).
        subscription.everything = star || (!subscription.named && kind.whole_state());
        let everything = subscription.everything;
        let before = subscription.replace_names(list);
        let is_less = || had_everything || before.iter().any(|name| !subscription.names().contains(name));
        if kind.whole_state() && !everything && is_less() {
            subscription.narrow_accepted();
        }
        if subscription.state != State::Open {
            // Whoever leaves everything before its answer has not all of its version any more, should it come back.
            if let Some(resumed) = subscription.resumed.as_mut().filter(|_| !first && !everything) {
                resumed.digest = None;
            }
            return true;
        }
        if subscription.everything && !had_everything {
            subscription.whole = true;
        } else if !(kind.whole_state() && had_everything) {
            // Added names are answered at once, whatever their version (S08, S09). Whoever had everything has them.
            let added: Vec<_> = before
                .diff(subscription.names())
                .filter_map(|item| match item {
                    DiffItem::Add(name) => Some(name.clone()),
                    DiffItem::Remove(_) => None,
                })
                .collect();
            subscription.resend.extend(added);
        }
        true
    }
}
