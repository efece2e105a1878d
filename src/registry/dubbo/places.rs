//! The providers of one service by the places where they listen. One that was killed and started again is registered twice
//! until its former session ends: then the one that was started later counts. Pure.

use crate::model::{Address, Endpoint, EndpointPort, Note, Reason};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::SystemTime,
};

/// One provider of a service.
#[derive(Debug)]
pub(crate) struct Provider {
    /// The instance, with the one port at which the service is called.
    pub(crate) endpoint: Endpoint,
    /// When it was started, in milliseconds since 1970; 0 if that is not known.
    pub(crate) started: u64,
    /// When its weight next changes by itself; `None` if it does not.
    pub(crate) until: Option<SystemTime>,
}

/// The providers of one service, each address and port once.
#[derive(Debug, Default)]
pub(crate) struct Places {
    providers: BTreeMap<(Address, EndpointPort), Provider>,
    pub(crate) notes: Vec<Note>,
}

impl Places {
    pub(crate) fn add(&mut self, provider: Provider) {
        let Some(port) = provider.endpoint.ports.first() else { return };
        match self.providers.entry((provider.endpoint.address.clone(), port.clone())) {
            Entry::Vacant(free) => drop(free.insert(provider)),
            Entry::Occupied(mut taken) => {
                let (address, port) = taken.key();
                let twice = "registered twice; the one that was started later counts";
                self.notes.push(Note::new(Reason::Duplicate, address.with_port(port.number), twice));
                let other = taken.get_mut();
                if (provider.started, &provider.endpoint) > (other.started, &other.endpoint) {
                    *other = provider;
                }
            }
        }
    }

    /// When the first weight changes by itself; `None` if none does.
    pub(crate) fn until(&self) -> Option<SystemTime> {
        self.providers.values().filter_map(|provider| provider.until).min()
    }

    /// The endpoints and the notes, both in order.
    pub(crate) fn finish(self) -> (Vec<Endpoint>, Vec<Note>) {
        let mut notes = self.notes;
        notes.sort();
        notes.dedup();
        (self.providers.into_values().map(|provider| provider.endpoint).collect(), notes)
    }
}
