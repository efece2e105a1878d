//! Many services: what a first reading costs, what it keeps when it takes too long or loses its server, and what idling costs.

use crate::{
    config, read,
    support::{
        fake_consul::{FakeConsul, Model},
        fault::Fault,
        until,
    },
};
use portolan::registry::{Limits, consul::Config, transport::Connection};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An instance with a check, on one of a hundred nodes.
fn instance(n: usize, name: &str, status: &str) -> Value {
    let (node, id) = (n % 100, format!("{name}-1"));
    json!({
        "Node": format!("node-{node}"), "Address": format!("10.0.0.{node}"), "SkipNodeUpdate": true,
        "Service": {"ID": id, "Service": name, "Port": 8080},
        "Check": {"CheckID": format!("c-{name}"), "Name": "c", "Status": status, "ServiceID": id},
    })
}

async fn with(names: &[String]) -> FakeConsul {
    let fake = FakeConsul::start().await;
    for (n, name) in names.iter().enumerate() {
        fake.register(instance(n, name, "passing"));
    }
    fake
}

/// How many requests asked for the instances of a single service.
fn asked(model: &Model) -> usize {
    model.asked("/health/service/")
}

#[tokio::test]
async fn five_thousand_services_are_each_read_once_and_then_only_what_changes() {
    let names: Vec<String> = (0..5000).map(|n| format!("s-{n}")).collect();
    let fake = with(&names).await;
    let started = Instant::now();
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    eprintln!("5,000 services of the stand-in were read in {:.1?}", started.elapsed());
    assert_eq!((reading.endpoints().len(), reading.listed, reading.failed), (5000, 1, 0));
    assert_eq!(asked(&fake.model()), 5000);
    // A check says who it is, and nobody else is asked for.
    fake.register(instance(77, "s-77", "critical"));
    let failed = |h: &crate::Reading| crate::health(h, "s-77") == [portolan::model::Health::Unhealthy];
    reading.until("the one that fails", failed).await;
    assert_eq!((asked(&fake.model()), reading.listed, reading.applied), (5001, 1, 1));
    let most = fake.model().most_open;
    assert!(most <= 16 + 3, "{most} questions at once");
}

#[tokio::test]
async fn two_thousand_idle_services_cost_three_questions_that_are_held() {
    let names: Vec<String> = (0..2000).map(|n| format!("s-{n}")).collect();
    let fake = with(&names).await;
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    let state = || {
        let model = fake.model();
        (model.open, model.log.len())
    };
    until("the lists to be asked for again", Duration::from_secs(60), async || match state() {
        (3, _) => Ok(()),
        other => Err(other),
    })
    .await;
    let before = state();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(state(), before);
}

#[tokio::test]
async fn a_first_reading_that_takes_too_long_goes_on_where_it_was() {
    let names: Vec<String> = ["a", "m", "z"].iter().flat_map(|l| (0..20).map(move |n| format!("{l}-{n}"))).collect();
    let fake = with(&names).await;
    fake.model().faults.push(("/service/m-".into(), Fault::Slow));
    let limits = Limits { time: Duration::from_secs(5), ..Limits::default() };
    // Longer than that, so that nobody else says that these are slow.
    let connection = Connection { timeout: Duration::from_secs(30), ..Connection::default() };
    let mut reading = read(Config { limits, connection, concurrency: 4, ..config(&[&fake]) });
    let error = reading.failure().await;
    assert!(
        error.contains("of 60 services that are to be read 20 are by now") && error.contains("limits.time"),
        "{error}"
    );
    assert_eq!(reading.listed, 0, "a part is no list");
    fake.model().faults.clear();
    reading.list().await;
    assert_eq!(reading.endpoints().len(), 60);
    assert_eq!(fake.model().asked("/service/a-"), 20, "what was read is kept");
}

#[tokio::test]
async fn a_server_that_is_lost_during_the_first_reading_costs_what_is_left_of_it() {
    let names: Vec<String> = ["a", "m", "z"].iter().flat_map(|l| (0..20).map(move |n| format!("{l}-{n}"))).collect();
    let fake = with(&names).await;
    fake.model().faults.push(("/service/m-".into(), Fault::Slow));
    let connection = Connection { timeout: Fault::Slow.timeout(), ..Connection::default() };
    let mut reading = read(Config { connection, concurrency: 4, ..config(&[&fake]) });
    let is_slow = async || if fake.model().asked("/service/m-") > 0 { Ok(()) } else { Err("nobody asks for them") };
    until("the first part", Duration::from_secs(60), is_slow).await;
    fake.model().faults.push(("/v1/catalog/services".into(), Fault::Status(500, "No cluster leader")));
    fake.wake();
    let error = reading.failure().await;
    assert!(error.contains("no leader at the moment"), "{error}");
    assert!(fake.model().asked("/service/z-") == 0 && reading.listed == 0, "it is not asked any more");
    fake.model().faults.clear();
    reading.list().await;
    reading.until("all", |h| h.endpoints().len() == 60).await;
    assert_eq!(fake.model().asked("/service/a-"), 20, "what was read is kept");
}
