//! The configuration, value by value.

use super::{Asked, Config, Name};
use crate::{
    model::{Port, Protocol},
    registry::Adapter,
    util::yaml::{Document, Limits},
};
use std::time::Duration;

fn read(text: &str) -> Result<Config, String> {
    let document = Document::parse("c.yaml", text.as_bytes(), &Limits::default()).unwrap();
    document.read(None, |root| root.section(Config::read)).finish().map_err(|problems| problems.to_string())
}

#[test]
fn configuration_has_defaults_and_reads_every_key() {
    let srv = Name { name: "_web._tcp.a.".into(), service: "_web._tcp.a".into(), asked: Asked::Srv, protocol: None };
    assert_eq!(read("names: _web._tcp.a."), Ok(Config::new(vec![srv])));
    let full = "{names: [_a._tcp.b, {name: db.b, service: db, port: 5432, protocol: tcp}], servers: [10.0.0.53, '[::1]:54'], \
                min_ttl: 1s, max_ttl: 2s, timeout: 3s}";
    let config = read(full).unwrap();
    let asked = Asked::Addresses(Port::new(5432).unwrap());
    let db = Name { name: "db.b".into(), service: "db".into(), asked, protocol: Some(Protocol::Tcp) };
    assert_eq!(config.names[1], db);
    assert_eq!(config.servers, ["10.0.0.53:53".parse().unwrap(), "[::1]:54".parse().unwrap()]);
    let seconds = Duration::from_secs;
    assert_eq!((config.ttl, config.timeout), ((seconds(1), seconds(2)), seconds(3)));
    assert_ne!(read("names: a.b").unwrap().identity(), read("names: {name: a.b, port: 80}").unwrap().identity());
    assert_eq!(read("names: [a, b]").unwrap().identity(), read("{names: [b, a], timeout: 1s}").unwrap().identity());
}

#[test]
fn mistakes_in_configuration_are_all_named() {
    for (text, expected) in [
        ("{}", "the key `names` is missing"),
        ("names: []", "names nothing"),
        ("names: 'a b'", "is no name of DNS"),
        ("names: a..b", "is no name of DNS"),
        ("names: [a.b, {name: c.d, service: a.b}]", "two names for the service \"a.b\""),
        ("names: {port: 80}", "the key `name` is missing"),
        ("names: {name: a, port: 0}", "must be a whole number from 1"),
        ("names: {name: a, port: 1, protocol: x}", "is no protocol"),
        ("{names: a, servers: ns.internal}", "a name server is known by one"),
        ("{names: a, min_ttl: 10m}", "longer than `max_ttl`"),
    ] {
        let problems = read(text).unwrap_err();
        assert!(problems.contains(expected), "{text}: {problems}");
    }
}
