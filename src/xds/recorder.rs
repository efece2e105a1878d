//! What happens on a stream, in the log, the metrics and the table of clients: one function writes all three, so that they
//! agree.
//!
//! A refusal that repeats is one line until the client accepts something. (How many lines of one sort are logged at all is
//! the log's own limit.) No text of a client is the field `message`, which is the line's own.

use super::{clients::Registration, event::Event, metrics::Metrics};
use crate::resource::{Kind, version_text};
use std::collections::BTreeMap;
use tracing::{debug, info, warn};

/// Writes down what happens on one stream.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) registration: Registration,
    pub(super) metrics: Metrics,
    /// The error of each kind that was logged last, until the client accepts something.
    logged: BTreeMap<Kind, Box<str>>,
}

impl Recorder {
    pub(super) fn new(registration: Registration, metrics: Metrics) -> Self {
        Recorder { registration, metrics, logged: BTreeMap::new() }
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
