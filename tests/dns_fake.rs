//! The registry of kind `dns` against a name server in this process.

mod support;

use portolan::{
    model::{Health, Port},
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
