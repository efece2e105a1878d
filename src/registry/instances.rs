//! One rule for entries that are not as they should be, for every registry. Pure.
//!
//! 1. What can be read with certainty is read: a number, or `true` and `false`, written as text is what it says.
//! 2. An optional value that cannot be read costs itself: its default is taken, with a note. A bad weight is the default
//!    weight, so that it takes no instance out of service.
//! 3. An instance that cannot be read at a place that can, its address and perhaps its port, keeps its last good value.
//! 4. A service that has instances of which none can be read is unreadable: it keeps its last good value as a whole.
//!
//! So one garbled entry never takes a healthy endpoint away, and an error never reads as an empty list.

use crate::model::{Address, Endpoint, Note, Port, Reason, Service, Text, Weight};
use serde_json::Value;

/// Instances in a message about those that cannot be read.
const MAX_NAMED: usize = 3;

/// A whole number, which may be written as text or with `.0`.
pub(super) fn integer(value: &Value) -> Option<i64> {
    const EXACT: f64 = (1_i64 << 53) as f64;
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64);
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A finite number, which may be written as text.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

/// `true` or `false`, which may be written as text in any case.
pub(super) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// An optional value by `read`; one that cannot be read is absent, with a problem in `problems`.
pub(super) fn optional<T>(
    key: &str,
    value: Option<&Value>,
    read: impl Fn(&Value) -> Option<T>,
    problems: &mut Vec<String>,
) -> Option<T> {
    let value = value.filter(|value| !value.is_null())?;
    let found = read(value);
    if found.is_none() {
        problems.push(format!("{key} {} cannot be read", short(value)));
    }
    found
}

/// The weight relative to the registry's `default`, which is taken where there is none or a bad one.
pub(super) fn weight(value: Option<&Value>, default: f64, problems: &mut Vec<String>) -> Weight {
    let read = |value: &Value| number(value).and_then(|number| Weight::relative(number, default).ok());
    optional("weight", value, read, problems).unwrap_or(Weight::DEFAULT)
}

/// A value as a message shows it.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: Address,
    /// `None` if it cannot be read; then every port of the address is meant.
    pub(super) port: Option<Port>,
}

/// An instance that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// How people find the entry.
    pub(super) subject: String,
    pub(super) why: String,
    /// If at least that can be read.
    pub(super) place: Option<Place>,
}

/// What becomes of a service's instances one by one.
#[derive(Debug, Default)]
pub(super) struct Instances {
    read: Vec<Endpoint>,
    unreadable: Vec<Unreadable>,
    notes: Vec<Note>,
    /// Left out on purpose.
    left_out: usize,
}

impl Instances {
    /// An instance that was read, with what could not be read of it.
    pub(super) fn read(&mut self, endpoint: Endpoint, problems: Vec<String>) {
        let port = endpoint.ports.first().map(|port| port.number);
        let subject = endpoint.address.place(port);
        self.notes.extend(problems.into_iter().map(|problem| Note::new(Reason::EntryInvalid, &*subject, problem)));
        self.read.push(endpoint);
    }

    /// An instance that could not be read.
    pub(super) fn unreadable(&mut self, unreadable: Unreadable) {
        self.unreadable.push(unreadable);
    }

    /// An instance that is left out on purpose.
    pub(super) fn left_out(&mut self, note: Note) {
        self.left_out += 1;
        self.notes.push(note);
    }

    /// All instances of the service, with notes. `last` is its last good value.
    ///
    /// # Errors
    /// If there are instances and none can be read; why.
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
    use crate::model::{EndpointPort, ServiceId};
    use serde_json::json;

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
    fn what_is_certain_is_read() {
        for (value, expected) in [
            (json!(8080), Some(8080)),
            (json!("8080"), Some(8080)),
            (json!(" 8080 "), Some(8080)),
            (json!(8080.0), Some(8080)),
            (json!(8080.5), None),
            (json!("http"), None),
            (json!(null), None),
            (json!([8080]), None),
        ] {
            assert_eq!(integer(&value), expected, "{value}");
        }
        for (value, expected) in
            [(json!(true), Some(true)), (json!("TRUE"), Some(true)), (json!("false"), Some(false)), (json!(1), None)]
        {
            assert_eq!(flag(&value), expected, "{value}");
        }
    }

    #[test]
    fn a_bad_weight_is_the_default_with_a_problem() {
        for (value, expected, good) in [
            (Some(json!(50)), 0.5, true),
            (Some(json!("50")), 0.5, true),
            (Some(json!(0)), 0.0, true),
            (None, 1.0, true),
            (Some(json!(null)), 1.0, true),
            (Some(json!(-1)), 1.0, false),
            (Some(json!("NaN")), 1.0, false),
            (Some(json!("heavy")), 1.0, false),
            (Some(json!(1e300)), 1.0, false),
            (Some(json!([])), 1.0, false),
        ] {
            let mut problems = Vec::new();
            assert_eq!(weight(value.as_ref(), 100.0, &mut problems).get(), expected, "{value:?}");
            assert_eq!(problems.is_empty(), good, "{value:?} {problems:?}");
        }
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
