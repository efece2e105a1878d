//! What becomes of a service's instances that are not as they should be, in every registry that cannot tell them by an id.
//! Values inside of them are read by [`super::lenient`]. Pure.
//!
//! 1. An instance that cannot be read at a place that can, its address and perhaps its port, keeps its last good value.
//! 2. A service that has instances of which none can be read is unreadable: it keeps its last good value as a whole.
//!
//! So one garbled entry never takes a healthy endpoint away, and an error never reads as an empty list.

use crate::model::{Address, Endpoint, Note, Port, Reason, Service, Text};

/// The most instances that one message about unreadable ones names.
const MAX_NAMED: usize = 3;

/// The address of an instance, by which it is found among the last good ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: Address,
    /// `None` if it cannot be read; then every port of the address is meant.
    pub(super) port: Option<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// Shown in notes and errors to help find the entry, such as its address or the first characters of its text.
    pub(super) subject: String,
    pub(super) why: String,
    /// `None` if not even the address can be read; then no last good value is kept for it.
    pub(super) place: Option<Place>,
}

/// Collects the instances of one service as they are read; [`Instances::finish`] makes the list of them.
#[derive(Debug, Default)]
pub(super) struct Instances {
    read: Vec<Endpoint>,
    unreadable: Vec<Unreadable>,
    notes: Vec<Note>,
    /// How many instances were left out on purpose. A service that has only such instances is empty, not unreadable.
    left_out: usize,
}

impl Instances {
    /// Adds an instance that was read; `problems` are its fields that could not be read.
    pub(super) fn read(&mut self, endpoint: Endpoint, problems: Vec<String>) {
        let port = endpoint.ports.first().map(|port| port.number);
        let subject = endpoint.address.place(port);
        self.notes.extend(problems.into_iter().map(|problem| Note::new(Reason::EntryInvalid, &*subject, problem)));
        self.read.push(endpoint);
    }

    pub(super) fn unreadable(&mut self, unreadable: Unreadable) {
        self.unreadable.push(unreadable);
    }

    /// Counts an instance that is left out on purpose; `note` says why.
    pub(super) fn left_out(&mut self, note: Note) {
        self.left_out += 1;
        self.notes.push(note);
    }

    /// All instances of the service, sorted, with notes. `last` is the service's last good value.
    ///
    /// # Errors
    /// If there are instances and none can be read; the text says why.
    pub(super) fn finish(mut self, last: Option<&Service>) -> Result<(Vec<Endpoint>, Vec<Note>), Text> {
        if self.read.is_empty() && self.left_out == 0 && !self.unreadable.is_empty() {
            return Err(self.none_is_readable());
        }
        let mut kept = Vec::new();
        for Unreadable { subject, mut why, place } in self.unreadable {
            let last = last.into_iter().flat_map(|service| &service.endpoints);
            let is_there = |endpoint: &&Endpoint| self.read.iter().any(|other| same_place(other, endpoint));
            let before = kept.len();
            kept.extend(last.filter(|e| place.as_ref().is_some_and(|p| p.holds(e)) && !is_there(e)).cloned());
            if kept.len() > before {
                why.push_str("; its last good value stays");
            }
            self.notes.push(Note::new(Reason::EntryInvalid, subject, why));
        }
        self.read.extend(kept);
        self.read.sort();
        // The very same instance twice means no more than once.
        self.read.dedup();
        self.notes.sort();
        Ok((self.read, self.notes))
    }

    fn none_is_readable(&self) -> Text {
        let named = self.unreadable.iter().take(MAX_NAMED).map(|u| format!("{}: {}", u.subject, u.why));
        let named = named.collect::<Vec<_>>().join("; ");
        format!("none of its {} instances can be read ({named})", self.unreadable.len()).into()
    }
}

impl Place {
    fn holds(&self, endpoint: &Endpoint) -> bool {
        endpoint.address == self.address
            && self.port.is_none_or(|port| endpoint.ports.first().is_some_and(|first| first.number == port))
    }
}

fn same_place(a: &Endpoint, b: &Endpoint) -> bool {
    let first = |endpoint: &Endpoint| endpoint.ports.first().map(|port| port.number);
    a.address == b.address && first(a) == first(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndpointPort, ServiceId, Weight};

    fn endpoint(address: &str, port: i64) -> Endpoint {
        let number = Port::new(port).unwrap();
        Endpoint {
            address: Address::parse(address).unwrap(),
            ports: [EndpointPort::plain(number)].into(),
            weight: Weight::DEFAULT,
            health: Default::default(),
            enabled: true,
            locality: Default::default(),
            labels: Default::default(),
            secure: false,
        }
    }

    fn unreadable(address: Option<&str>, port: Option<i64>) -> Unreadable {
        let address = address.map(|address| Address::parse(address).unwrap());
        let place = address.map(|address| Place { address, port: port.map(|port| Port::new(port).unwrap()) });
        Unreadable { subject: "s".into(), why: "w".into(), place }
    }

    #[test]
    fn an_unreadable_instance_of_a_known_place_keeps_its_last_value() {
        let id = ServiceId::new("r", "", "", "s");
        let last = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| endpoint(address, 80));
        let last = Service::new(id, [&last[..], &[endpoint("10.0.0.3", 81)]].concat());
        let places = |read: &[(&str, i64)], unread: &[(Option<&str>, Option<i64>)]| {
            let mut instances = Instances::default();
            read.iter().for_each(|(address, port)| instances.read(endpoint(address, *port), vec![]));
            unread.iter().for_each(|(address, port)| instances.unreadable(unreadable(*address, *port)));
            let (endpoints, notes) = instances.finish(Some(&last)).unwrap();
            assert_eq!(notes.len(), unread.len());
            endpoints.iter().map(|e| e.address.place(Some(e.ports[0].number))).collect::<Vec<_>>()
        };
        let one = ("10.0.0.1", 80);
        assert_eq!(places(&[one], &[(Some("10.0.0.2"), Some(80))]), ["10.0.0.1:80", "10.0.0.2:80"]);
        assert_eq!(places(&[one], &[(Some("10.0.0.3"), None)]), ["10.0.0.1:80", "10.0.0.3:80", "10.0.0.3:81"]);
        // Another place, and one that cannot be read, say nothing of those that are known.
        assert_eq!(
            places(&[one], &[(Some("10.0.0.2"), Some(90)), (Some("10.0.0.9"), None), (None, None)]),
            ["10.0.0.1:80"]
        );
        // What can be read goes before what was.
        assert_eq!(places(&[one], &[(Some("10.0.0.1"), None)]), ["10.0.0.1:80"]);
    }

    #[test]
    fn a_service_without_a_readable_instance_is_unreadable() {
        let mut instances = Instances::default();
        instances.unreadable(unreadable(None, None));
        assert_eq!(&*instances.finish(None).unwrap_err(), "none of its 1 instances can be read (s: w)");
        assert_eq!(Instances::default().finish(None), Ok((vec![], vec![])));
    }

    #[test]
    fn places_are_shown_as_people_write_them() {
        let port = Port::new(80).ok();
        assert_eq!(Address::parse("::1").unwrap().place(port), "[::1]:80");
        assert_eq!(Address::parse("node-1").unwrap().place(port), "node-1:80");
    }
}
