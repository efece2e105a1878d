//! What happens on a stream, in the log, the metrics and the table of clients: one function writes all three, so that they
//! agree.
//!
//! A refusal that repeats is one line until the client accepts something. (How many lines of one sort are logged at all is
//! the log's own limit.) No text of a client is the field `message`, which is the line's own.

use super::{
    clients::Registration,
    event::Event,
    metrics::Metrics,
    peer::Peer,
    quarantine::{Quarantine, Told, Who},
    unwanted::{Found, Item, Unwanted},
};
use crate::resource::{Kind, Resource, version_text};
use std::{collections::BTreeMap, sync::Arc};
use tracing::{debug, info, warn};

/// Writes down what happens on one stream.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) registration: Registration,
    pub(super) metrics: Metrics,
    /// The error of each kind that was logged last, until the client accepts something.
    logged: BTreeMap<Kind, Box<str>>,
    quarantine: Arc<Quarantine>,
    /// True once a withheld resource was reported: the quarantine is then told when the stream ends.
    has_told: bool,
}

impl Recorder {
    pub(super) fn new(registration: Registration, metrics: Metrics, quarantine: Arc<Quarantine>) -> Self {
        Recorder { registration, metrics, logged: BTreeMap::new(), quarantine, has_told: false }
    }

    /// The resources that this client is not sent, because it or others have refused them. `is_served`: whether its view may
    /// still have that version.
    pub(super) fn unwanted(&self, is_served: impl Fn(&Item) -> bool) -> Arc<[Unwanted]> {
        let (view, node, _) = self.registration.said(Kind::Cluster);
        self.quarantine.unwanted(&view, &self.who(node), is_served)
    }

    fn who(&self, node: Arc<str>) -> Who {
        let origin = self.registration.origin();
        let identity = origin.identity.as_ref().map(|identity| identity.name().clone());
        let peer = identity.is_none().then(|| Peer::from(origin.peer));
        Who { node, identity, peer }
    }

    fn withheld(&mut self, item: Item, found: Found, instead: Option<Arc<Resource>>) {
        let (view, node, message) = self.registration.said(item.kind);
        self.has_told = true;
        self.metrics.withheld(item.kind);
        self.registration.withheld(&item, found);
        warn!(
            stream = self.registration.id(),
            kind = item.kind.name(),
            name = &*item.name,
            version = version_text(item.version),
            node = &*node,
            found = found.name(),
            "A resource is withheld from a client that refuses it; the rest goes on."
        );
        let told = Told { item, found, instead, message };
        self.quarantine.withheld(self.registration.id(), self.who(node), view, told);
    }

    fn released(&self, item: &Item, outdated: bool) {
        let (view, _, _) = self.registration.said(item.kind);
        self.registration.released(item);
        self.quarantine.let_go(self.registration.id(), &view, item, outdated);
        let (stream, kind) = (self.registration.id(), item.kind.name());
        info!(stream, kind, name = &*item.name, outdated, "A resource is withheld no longer.");
    }

    pub(super) fn record(&mut self, event: Event) {
        let stream = self.registration.id();
        match event {
            Event::Subscribed { kind, type_url, wildcard, names } => {
                self.registration.subscribed(kind, type_url, wildcard, names);
            }
            Event::Sent { kind, version, nonce, items, bytes } => {
                self.metrics.sent(kind, bytes);
                self.registration.sent(kind, version, nonce, items, bytes);
                debug!(stream, kind = kind.name(), version = version_text(version), nonce, items, bytes, "Sent.");
            }
            Event::Acknowledged { kind, version } => {
                self.metrics.acknowledged(kind);
                self.registration.acknowledged(kind, version);
                self.logged.remove(&kind);
            }
            Event::Refused { kind, version, message } => self.refused(kind, version, message),
            Event::Withheld { item, found, instead } => self.withheld(item, found, instead),
            Event::Released { item, outdated } => self.released(&item, outdated),
            Event::UnknownType { type_url } => {
                self.metrics.unknown_type();
                debug!(stream, type_url, "A type that is not served was asked for.");
            }
            Event::Empty { type_url } => {
                self.metrics.empty_answer();
                debug!(stream, type_url = &*type_url, "Nothing feeds the type; answered so.");
            }
            Event::Waits { kind } => {
                self.metrics.wait();
                info!(
                    stream,
                    kind = kind.name(),
                    "An Istiod waits: it would delete what a list lacks, and not all registries were read yet."
                );
            }
        }
    }

    fn refused(&mut self, kind: Kind, version: Option<u64>, error: String) {
        self.metrics.refused(kind);
        let logged = self.logged.insert(kind, error.as_str().into());
        if logged.is_none_or(|logged| *logged != *error) {
            warn!(
                stream = self.registration.id(),
                kind = kind.name(),
                version = version.map(version_text),
                error,
                "A client refuses what it was sent."
            );
        }
        self.registration.refused(kind, version, error);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.has_told {
            self.quarantine.left(self.registration.id());
        }
    }
}
