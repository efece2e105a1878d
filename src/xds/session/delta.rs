//! Subscribing incrementally: requests add names and drop names.

use super::{Session, SessionError, State, subscription::Resumed};
use crate::{
    resource::{Kind, Name, ViewGeneration, parse_version, version_hash},
    xds::{
        names::{Names, NamesError, Versions},
        request::Request,
    },
};
use std::sync::Arc;

impl Session {
    /// Takes over what a request asks for. Returns whether it asks for anything.
    pub(super) fn subscribe_delta(
        &mut self,
        kind: Kind,
        request: &Request<'_>,
        list: Option<Arc<Names>>,
        view: &ViewGeneration,
    ) -> Result<bool, SessionError> {
        let first = self.begin(kind, request.type_url);
        if first && !request.has.is_empty() {
            self.resume(kind, &request.has, view)?;
        }
        let subscription = &mut self.subscriptions[kind as usize];
        let open = subscription.state == State::Open;
        let star = list.as_ref().is_some_and(|l| l.star);
        for name in &request.unsubscribe {
            if name.is_empty() {
                continue; // it names nothing
            } else if *name == "*" {
                if std::mem::take(&mut subscription.everything) {
                    subscription.leave_all();
                    subscription.resumed.iter_mut().filter(|_| !open).for_each(Resumed::leave_all);
                }
            } else if subscription.remove_name(name, star || subscription.everything) {
                match (open, subscription.everything) {
                    // Covered by the wildcard, too, the name is still wanted: the protocol wants it sent again (D12).
                    (true, true) => drop(subscription.resend.insert(Name::from(*name))),
                    (true, false) => subscription.leave(name),
                    (false, true) => {}
                    (false, false) => subscription.resumed.iter_mut().for_each(|resumed| resumed.leave(name)),
                }
            }
        }
        let legacy = first && list.is_none() && kind.whole_state();
        if (star || legacy) && !subscription.everything {
            subscription.everything = true;
            subscription.whole |= open;
        }
        if let Some(list) = &list {
            subscription.add_names(list);
            if open {
                // Subscribing to a name again is answered again (D08).
                subscription.resend.extend(list.set.iter().cloned());
            }
        }
        Ok(first || list.is_some() || !request.unsubscribe.is_empty())
    }

    /// Remembers what a reconnecting client has. Mostly that is just what there is, which a sum shows without a look-up.
    fn resume(&mut self, kind: Kind, has: &[(&[u8], &[u8])], view: &ViewGeneration) -> Result<(), SessionError> {
        let limit = self.rules.names;
        if has.len() > limit {
            return Err(NamesError::TooMany { limit }.into());
        }
        let hash = |(name, version): &(&[u8], &[u8])| Some(version_hash(name, parse_version(version)?));
        let digest = has.iter().try_fold(0, |sum: u64, entry| Some(sum.wrapping_add(hash(entry)?)));
        let generation = view.get(kind);
        let subscription = &mut self.subscriptions[kind as usize];
        let known = |name: &str| generation.name(name).cloned();
        let has = match digest == Some(generation.digest()) {
            true => Arc::new(Versions::held(generation.versions().clone())),
            false => self.rules.interner.versions(has, known),
        };
        subscription.resumed = Some(Resumed::with(digest, has));
        Ok(())
    }
}
