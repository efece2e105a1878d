//! The registry of kind `dns` against a name server in this process.

mod support;

use portolan::{
    model::{Health, Note, Port},
    registry::{
        Kind,
        dns::{Asked, Config, Name},
    },
};
use std::time::Duration;
use support::{
    fake_dns::{Bad, FakeDns},
    reading::Reading,
};

const SRV: &str = "_web._tcp.services.test";

fn name(name: &str, port: Option<i64>) -> Name {
    let asked = port.map_or(Asked::Srv, |port| Asked::Addresses(Port::new(port).unwrap()));
    let service = if port.is_some() { "db" } else { "web" };
    Name { name: name.into(), service: service.into(), asked, protocol: None }
}

fn config(dns: &FakeDns) -> Config {
    let ttl = (Duration::from_millis(100), Duration::from_millis(500));
    let names = vec![name(SRV, None), name("db.services.test", Some(5432))];
    Config { servers: vec![dns.address], ttl, timeout: Duration::from_secs(10), ..Config::new(names) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Dns(config))
}

async fn with_names() -> FakeDns {
    let dns = FakeDns::start().await;
    {
        let mut zone = dns.zone();
        zone.host("a.test", &["10.0.0.1"]);
        zone.host("b.test", &["10.0.0.2", "2001:db8::2"]);
        zone.host("db.services.test", &["10.0.0.5"]);
        zone.srv(SRV, &[(1, 3, 80, "a.test"), (1, 0, 81, "b.test"), (2, 1, 82, "c.test")]);
    }
    dns
}

/// Names of hosts, none of which is in the zone.
fn hosts(number: usize) -> Vec<String> {
    (0..number).map(|number| format!("slow-{number}.test")).collect()
}

/// SRV records of these hosts.
fn targets(hosts: &[String]) -> Vec<(u16, u16, u16, &str)> {
    hosts.iter().map(|host| (1, 1, 80, host.as_str())).collect()
}

#[tokio::test]
async fn names_are_services_that_are_followed() {
    let dns = with_names().await;
    let mut reading = read(config(&dns));
    reading.list().await;
    let expected = ["10.0.0.1:80", "10.0.0.2:81", "2001:db8::2:81"];
    assert_eq!(
        (&reading.endpoints()["web"][..], &reading.endpoints()["db"][..]),
        (&expected.map(String::from)[..], &["10.0.0.5:5432".into()][..])
    );
    let web = &reading.service("web").unwrap().endpoints;
    assert_eq!((web[0].weight.get(), web[1].weight.get(), &*web[0].labels["target"]), (3.0, 1.0, "a.test"));
    assert_eq!(web[0].health, Health::Healthy);
    dns.zone().host("db.services.test", &["10.0.0.6", "10.0.0.7"]);
    reading.until("the change", |h| h.endpoints()["db"] == ["10.0.0.6:5432", "10.0.0.7:5432"]).await;
    dns.zone().forget("db.services.test");
    reading.until("nothing", |h| h.endpoints()["db"].is_empty()).await;
    assert_eq!((reading.listed, reading.failed), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_looked_up_keeps_its_last_good() {
    for bad in [Bad::Silent, Bad::Failed, Bad::Garbage] {
        let dns = with_names().await;
        // Where no answer comes, or none that counts, the whole time is waited for.
        let timeout = if matches!(bad, Bad::Failed) { config(&dns).timeout } else { Duration::from_secs(1) };
        let mut reading = read(Config { timeout, ..config(&dns) });
        reading.list().await;
        // One host of several.
        dns.zone().bad.push(("a.test".into(), bad));
        reading.until("a note", |h| h.service("web").is_some_and(|web| !web.notes.is_empty())).await;
        assert_eq!(reading.endpoints()["web"].len(), 3, "{bad:?}");
        // One name of two, then both.
        dns.zone().bad.push((SRV.into(), bad));
        reading.until("that it is unreadable", |h| !h.unreadable[""].is_empty()).await;
        assert_eq!((reading.failed, reading.endpoints()["db"].len()), (0, 1), "{bad:?}");
        dns.zone().bad.push(("services".into(), bad));
        let error = reading.failure().await;
        assert!(error.contains("cannot be looked up"), "{bad:?}: {error}");
        dns.zone().bad.clear();
        reading
            .until("all again", |h| h.errors.is_empty() && h.endpoints().len() == 2 && h.unreadable[""].is_empty())
            .await;
    }
}

#[tokio::test]
async fn a_family_that_cannot_be_looked_up_keeps_its_last_addresses() {
    let dns = with_names().await;
    dns.zone().host("db.services.test", &["2001:db8::1"]);
    let mut reading = read(config(&dns));
    reading.list().await;
    let endpoints = reading.endpoints();
    assert_eq!(endpoints["web"], ["10.0.0.1:80", "10.0.0.2:81", "2001:db8::2:81"]);
    assert_eq!(endpoints["db"], ["2001:db8::1:5432"]);
    // The one with addresses of that family alone is not known at all.
    dns.zone().bad.push(("test AAAA".into(), Bad::Failed));
    reading.until("that it is unreadable", |h| !h.unreadable[""].is_empty()).await;
    assert_eq!(&*reading.unreadable[""][0].0.name, "db");
    dns.zone().host("b.test", &["10.0.0.3"]);
    reading.until("the change", |h| h.endpoints()["web"].contains(&"10.0.0.3:81".into())).await;
    assert_eq!(reading.endpoints()["web"], ["10.0.0.1:80", "10.0.0.3:81", "2001:db8::2:81"]);
    let notes: Vec<&str> = reading.service("web").unwrap().notes.iter().map(|note| &*note.subject).collect();
    assert_eq!((notes, reading.failed), (vec!["b.test"], 0));
    dns.zone().bad.clear();
    reading.until("both families", |h| h.unreadable[""].is_empty() && h.endpoints()["web"].len() == 2).await;
    assert_eq!(reading.endpoints()["db"], ["2001:db8::1:5432"]);
}

#[tokio::test]
async fn a_name_that_takes_long_holds_up_no_other() {
    let dns = with_names().await;
    let mut reading = read(config(&dns));
    reading.list().await;
    let hosts = hosts(20);
    dns.zone().srv(SRV, &targets(&hosts));
    dns.zone().bad.push(("slow".into(), Bad::Silent));
    let asked = || dns.zone().log.iter().any(|line| line.starts_with("slow"));
    reading.until("the slow ones to be asked", |_| asked()).await;
    for last in 10..13 {
        dns.zone().host("db.services.test", &[&format!("10.0.1.{last}")]);
        reading.until("the change", |h| h.endpoints()["db"] == [format!("10.0.1.{last}:5432")]).await;
        assert_eq!(reading.endpoints()["web"].len(), 3, "the slow ones are still being asked");
    }
}

#[tokio::test]
async fn hosts_of_one_name_that_take_too_long_together_keep_their_last_addresses() {
    let dns = with_names().await;
    let hosts = hosts(50);
    for (number, host) in hosts.iter().enumerate() {
        dns.zone().host(host, &[&format!("10.0.2.{number}")]);
    }
    dns.zone().srv(SRV, &targets(&hosts));
    let mut reading = read(Config { timeout: Duration::from_millis(200), ..config(&dns) });
    reading.until("all hosts", |h| h.endpoints().get("web").is_some_and(|web| web.len() == 50)).await;
    dns.zone().bad.push(("slow".into(), Bad::Silent));
    reading.until("that none answers", |h| h.service("web").is_some_and(|web| web.notes.len() == 50)).await;
    let late = |note: &Note| note.detail.contains("within 2s");
    assert!(reading.service("web").unwrap().notes.iter().any(late), "16 at a time, each for 0.6 s, are not all");
    assert_eq!(reading.endpoints()["web"].len(), 50);
}

#[tokio::test]
async fn an_answer_holds_for_its_time_within_bounds() {
    let dns = with_names().await;
    dns.zone().ttl = 3600;
    let mut reading = read(config(&dns));
    reading.list().await;
    dns.zone().host("db.services.test", &["10.0.0.9"]);
    let took = reading.until("the change", |h| h.endpoints()["db"] == ["10.0.0.9:5432"]).await;
    eprintln!("a change was seen after {took:?}, of at most 0.5 s and the question itself");
    let asked = dns.zone().log.iter().filter(|line| line.starts_with("db.")).count();
    assert!(asked <= 6, "{asked} questions");
}
