//! The Eureka registry against a server in this process: every way of reading, every bad answer.

mod support;

use portolan::{
    model::{Health, Reason, Service},
    registry::{
        Kind, Limits,
        eureka::{AddressOf, Config, Server},
        transport::Connection,
    },
    util::secret::Secret,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use support::{
    fake_eureka::{FakeEureka, instance},
    fault::{Fault, TIMEOUT},
    reading::Reading,
};

fn config(servers: &[&FakeEureka]) -> Config {
    let servers = servers.iter().map(|s| Server::parse(&s.url()).unwrap()).collect();
    let connection = Connection { timeout: TIMEOUT, ..Connection::default() };
    Config { period: Config::MIN_PERIOD, connection, ..Config::new(servers) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Eureka(config))
}

fn endpoints(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    pairs.iter().map(|(name, list)| (name.to_string(), list.iter().map(ToString::to_string).collect())).collect()
}

/// A server with one application.
async fn with_orders() -> FakeEureka {
    let fake = FakeEureka::start().await;
    fake.model().put("ORDERS", instance("10.0.0.1", 8080));
    fake
}

fn with(ip: &str, changes: &[(&str, Value)]) -> Value {
    let mut instance = instance(ip, 8080);
    for (field, value) in changes {
        instance[*field] = value.clone();
    }
    instance
}

#[tokio::test]
async fn a_list_is_followed_by_changes_and_only_read() {
    let fake = with_orders().await;
    fake.model().put("USERS", instance("10.0.0.2", 80));
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    assert_eq!((reading.scopes.clone(), reading.failed), (vec![String::new()], 0));
    assert_eq!(reading.endpoints(), endpoints(&[("ORDERS", &["10.0.0.1:8080"]), ("USERS", &["10.0.0.2:80"])]));
    let users = reading.service("USERS").unwrap().clone();
    fake.model().put("ORDERS", instance("10.0.0.3", 8080));
    reading.until("the second", |h| h.service("ORDERS").unwrap().endpoints.len() == 2).await;
    fake.model().put("ORDERS", with("10.0.0.3", &[("status", json!("DOWN"))]));
    reading.until("it to be down", |h| h.service("ORDERS").unwrap().endpoints[1].health == Health::Unhealthy).await;
    fake.model().remove("ORDERS", "10.0.0.1:8080");
    reading.until("the first to be gone", |h| h.service("ORDERS").unwrap().endpoints.len() == 1).await;
    assert!(reading.removed.is_empty());
    fake.model().remove("ORDERS", "10.0.0.3:8080");
    reading.until("all to be gone", |h| h.service("ORDERS").is_none()).await;
    assert_eq!(reading.removed, ["ORDERS"], "the server has said so itself");
    assert!(Arc::ptr_eq(reading.service("USERS").unwrap(), &users), "what does not change is the same value");
    assert_eq!((fake.model().asked("/eureka/apps"), reading.failed), (1, 0));
    assert!(fake.model().log.iter().all(|line| line.starts_with("GET ")), "{:#?}", fake.model().log);
}

#[tokio::test]
async fn without_changes_the_whole_list_is_read_each_time() {
    for delta in [true, false] {
        let fake = with_orders().await;
        if delta {
            // As a server answers that has it switched off, and as one that never had it.
            fake.model().faults.push(("delta".into(), Fault::Status(403, "")));
        }
        let mut reading = read(Config { delta, ..config(&[&fake]) });
        reading.list().await;
        let orders = reading.service("ORDERS").unwrap().clone();
        reading.list().await;
        assert!(Arc::ptr_eq(reading.service("ORDERS").unwrap(), &orders));
        fake.model().put("USERS", instance("10.0.0.2", 80));
        reading.until("the other", |h| h.service("USERS").is_some()).await;
        assert!(Arc::ptr_eq(reading.service("ORDERS").unwrap(), &orders));
        fake.model().remove("USERS", "10.0.0.2:80");
        reading.until("it to be gone", |h| h.service("USERS").is_none()).await;
        assert!(reading.removed.is_empty(), "that a list lacks it is for the catalog to judge");
        assert_eq!((fake.model().asked("/apps/delta"), reading.failed), (usize::from(delta), 0));
    }
}

#[tokio::test]
async fn changes_that_do_not_fit_are_made_up_for_by_a_list() {
    let fake = with_orders().await;
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    fake.model().put_in_silence("USERS", instance("10.0.0.2", 80));
    reading.until("the other", |h| h.service("USERS").is_some()).await;
    assert_eq!((fake.model().asked("/eureka/apps"), reading.failed), (2, 0));
    // With one more and one less, the hash sees nothing of it: that is what the list from time to time is for.
    let mut slow = read(Config { full_period: Duration::from_secs(2), ..config(&[&fake]) });
    slow.list().await;
    let started = Instant::now();
    fake.model().put_in_silence("ORDERS", with("10.0.0.9", &[("instanceId", json!("10.0.0.1:8080"))]));
    slow.until("the other address", |h| h.endpoints()["ORDERS"] == ["10.0.0.9:8080"]).await;
    assert!(started.elapsed() > Duration::from_millis(1500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_hash_that_never_matches_costs_at_most_one_list_in_a_round() {
    let fake = with_orders().await;
    fake.model().hash = Some("UP_77_".into());
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    for _ in 0..5 {
        reading.round().await;
    }
    let lists = fake.model().asked("/eureka/apps");
    assert_eq!(fake.model().asked("/apps/delta"), 0, "whose own hash does not fit is not asked for changes");
    assert!((5..=7).contains(&lists), "{lists} lists in 6 rounds");
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn a_list_that_contradicts_its_own_hash_is_read_again_without_a_word() {
    let (fake, other) = (with_orders().await, with_orders().await);
    fake.model().put("ORDERS", instance("10.0.0.2", 8080));
    let mut reading = read(config(&[&fake, &other]));
    reading.list().await;
    let orders = reading.service("ORDERS").unwrap().clone();
    // As a list that was made while an instance changed, and is kept for some rounds.
    fake.model().hash = Some("UP_2_".into());
    fake.model().remove("ORDERS", "10.0.0.2:8080");
    let lists = fake.model().asked("/eureka/apps");
    reading.until("it to be read again", |_| fake.model().asked("/eureka/apps") > lists + 3).await;
    assert!(Arc::ptr_eq(reading.service("ORDERS").unwrap(), &orders), "it is never taken");
    assert_eq!(other.model().log.len(), 0, "nor is it a reason to leave the server");
    fake.model().hash = None;
    reading.until("what fits again", |h| h.endpoints()["ORDERS"] == ["10.0.0.1:8080"]).await;
    assert_eq!(reading.failed, 0, "{:?}", reading.failures);
}

#[tokio::test]
async fn lists_that_contradict_their_own_hash_for_long_are_a_failure() {
    let fake = with_orders().await;
    fake.model().put("ORDERS", instance("10.0.0.2", 8080));
    let mut reading = read(Config { patience: Duration::from_millis(500), ..config(&[&fake]) });
    reading.list().await;
    // As an answer that lost an instance on its way: neither changes nor the list fit the hash.
    fake.model().hash = Some("UP_2_".into());
    fake.model().remove("ORDERS", "10.0.0.2:8080");
    let failure = reading.failure().await;
    assert!(failure.contains("contradicts itself") && failure.contains("UP_2_"), "{failure}");
    assert_eq!(reading.endpoints()["ORDERS"].len(), 2);
    fake.model().hash = None;
    reading.until("what fits again", |h| h.errors.is_empty() && h.endpoints()["ORDERS"] == ["10.0.0.1:8080"]).await;
    // A server that has not counted so for long is another make.
    fake.model().hash = Some("UP_77_".into());
    let mut other = read(Config { full_period: Duration::from_secs(1), ..config(&[&fake]) });
    other.list().await;
    fake.model().hash = None;
    fake.model().put("ORDERS", instance("10.0.0.3", 8080));
    other.until("the third", |h| h.endpoints()["ORDERS"].len() == 2).await;
    fake.model().hash = Some("UP_77_".into());
    fake.model().put("ORDERS", instance("10.0.0.4", 8080));
    other.until("the fourth", |h| h.endpoints()["ORDERS"].len() == 3).await;
}

#[tokio::test]
async fn what_exceeds_a_limit_is_a_failure_and_the_last_list_stays() {
    let limits = Limits::default();
    for (limits, delta, expected) in [
        (Limits { services: 2, ..limits.clone() }, true, "more than 2 services; raise `limits.services`"),
        (Limits { services: 2, ..limits.clone() }, false, "more than 2 services; raise `limits.services`"),
        (Limits { bytes: 4000, ..limits }, true, "more than 4000 bytes to read; raise `limits.bytes`"),
    ] {
        let fake = with_orders().await;
        let mut reading = read(Config { limits, delta, ..config(&[&fake]) });
        reading.list().await;
        let before = reading.endpoints();
        for name in ["A", "B", "C"] {
            fake.model().put(name, with("10.0.0.2", &[("metadata", json!({"text": "x".repeat(900)}))]));
        }
        let failure = reading.failure().await;
        assert!(failure.contains(expected), "{failure}");
        assert_eq!(reading.endpoints(), before);
        for name in ["B", "C"] {
            fake.model().remove(name, "10.0.0.2:8080");
        }
        // A delta that is too long is a reason to read the list, which is not.
        reading.until("the rest", |h| h.errors.is_empty() && h.endpoints().len() == 2).await;
        assert!(reading.removed.is_empty());
    }
}

#[tokio::test]
async fn a_change_that_is_told_again_and_again_is_applied_once() {
    let fake = with_orders().await;
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    fake.model().put("ORDERS", instance("10.0.0.2", 8080));
    fake.model().remove("ORDERS", "10.0.0.1:8080");
    reading.until("the change", |h| h.endpoints()["ORDERS"] == ["10.0.0.2:8080"]).await;
    let orders = reading.service("ORDERS").unwrap().clone();
    // Another change is told together with those.
    fake.model().put("USERS", instance("10.0.0.3", 80));
    reading.until("the other", |h| h.service("USERS").is_some()).await;
    assert!(Arc::ptr_eq(reading.service("ORDERS").unwrap(), &orders));
    fake.model().forget_changes();
    reading.round().await;
    reading.round().await;
    assert_eq!(reading.endpoints(), endpoints(&[("ORDERS", &["10.0.0.2:8080"]), ("USERS", &["10.0.0.3:80"])]));
    assert_eq!((fake.model().asked("/eureka/apps"), reading.failed), (1, 0));
}

#[tokio::test]
async fn a_server_that_restarts_empty_is_told_by_a_list_and_never_as_removal() {
    let fake = FakeEureka::start().await;
    for n in 0..10 {
        fake.model().put(&format!("APP-{n}"), instance("10.0.0.1", 8080));
    }
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    assert_eq!(reading.endpoints().len(), 10);
    reading.round().await;
    fake.model().restart();
    reading.until("an empty list", |h| h.endpoints().is_empty()).await;
    assert_eq!((reading.removed.clone(), reading.failed), (Vec::<String>::new(), 0));
    fake.model().put("APP-1", instance("10.0.0.1", 8080));
    reading.until("one of them", |h| h.endpoints().len() == 1).await;
}

/// What it says of a bad answer to every request, that it keeps quiet about services meanwhile, and recovers.
async fn check_fault(fault: Fault, expected: &str) {
    let fake = with_orders().await;
    let mut small = config(&[&fake]);
    small.connection.max_body_bytes = 1 << 20;
    small.connection.timeout = fault.timeout();
    let mut reading = read(small);
    reading.list().await;
    fake.model().faults.push(("/".into(), fault.clone()));
    let failure = reading.failure().await;
    assert!(failure.contains(expected) && failure.contains(&fake.url()), "{fault:?}: {failure}");
    let lists = reading.listed;
    reading.failure().await;
    assert_eq!(reading.listed, lists, "{fault:?}: an error is no list");
    fake.model().faults.clear();
    reading.list().await;
    assert_eq!(reading.endpoints(), endpoints(&[("ORDERS", &["10.0.0.1:8080"])]));
    assert!(reading.removed.is_empty());
}

#[tokio::test]
async fn every_bad_answer_is_an_error_that_says_what_and_where() {
    let bad = [
        (Fault::Text("<html><body>Sign in</body></html>"), "<html>"),
        (Fault::Text(""), "not what Eureka answers"),
        (Fault::Text("{}"), "not what Eureka answers"),
        (Fault::Text("null"), "not what Eureka answers"),
        (Fault::Text("[]"), "not what Eureka answers"),
        (Fault::Text(r#"{"applications":null}"#), "not what Eureka answers"),
        (Fault::Text(r#"{"applications":{}}"#), "it is no list"),
        (Fault::Text(r#"{"applications":{"application":null}}"#), "it is no list"),
        (Fault::Text(r#"{"applications":{"application":"none"}}"#), "not what Eureka answers"),
        (Fault::Text(r#"{"applications":{"application":[{"instance":[]}]}}"#), "have no name"),
        (Fault::Text(r#"{"timestamp":1,"status":404,"error":"Not Found"}"#), "not what Eureka answers"),
        (Fault::Text("<applications><apps__hashcode/></applications>"), "answers in XML"),
        (Fault::Text("<?xml version=\"1.0\"?>\n<applications>"), "answers in XML"),
        (Fault::Truncated, "broke off"),
        (Fault::Redirect, "not Eureka's API"),
        (Fault::Status(401, ""), "check `username` and `password`, or `token`"),
        (Fault::Status(403, ""), "403 Forbidden"),
        (Fault::Status(404, ""), "check the address's path"),
        (Fault::Status(406, ""), "cannot answer in JSON"),
        (Fault::Status(500, "caused: boom;"), "boom"),
        (Fault::Status(503, ""), "starting"),
        (Fault::Busy("0"), "429"),
        (Fault::Slow, "cannot reach"),
        (Fault::Endless, "longer than"),
        (Fault::GzipBomb, "longer than"),
    ];
    futures_util::future::join_all(bad.map(|(fault, expected)| check_fault(fault, expected))).await;
}

#[tokio::test]
async fn a_bad_delta_is_made_up_for_by_a_list() {
    let bad = [
        Fault::Status(404, ""),
        Fault::Status(500, ""),
        Fault::Text("<html>"),
        Fault::Text("{}"),
        Fault::Truncated,
        Fault::GzipBomb,
        Fault::Endless,
    ];
    let check = async |fault: Fault| {
        let fake = with_orders().await;
        let mut small = config(&[&fake]);
        small.connection.max_body_bytes = 1 << 20;
        let mut reading = read(small);
        reading.list().await;
        fake.model().faults.push(("delta".into(), fault.clone()));
        fake.model().put("ORDERS", instance("10.0.0.2", 8080));
        reading.until("the second", |h| h.endpoints()["ORDERS"].len() == 2).await;
        assert_eq!(reading.failed, 0, "{fault:?}");
    };
    futures_util::future::join_all(bad.map(check)).await;
}

#[tokio::test]
async fn the_next_server_is_read_when_one_fails_in_any_way_and_kept() {
    for fault in [Fault::Status(503, ""), Fault::Status(404, ""), Fault::Text("<html>"), Fault::Truncated, Fault::Slow]
    {
        let (first, second, third) = (with_orders().await, with_orders().await, with_orders().await);
        let mut config = config(&[&first, &second, &third]);
        config.connection.timeout = fault.timeout();
        let mut reading = read(config);
        reading.list().await;
        reading.round().await;
        assert_eq!(second.model().log.len() + third.model().log.len(), 0);
        first.model().faults.push(("/".into(), fault.clone()));
        reading.list().await;
        reading.list().await;
        assert_eq!(reading.failed, 0, "{fault:?}");
        // What one server tells of changes says nothing about another.
        assert_eq!((second.model().asked("/eureka/apps"), third.model().log.len()), (1, 0));
        first.model().faults.clear();
        let asked = first.model().log.len();
        reading.list().await;
        reading.list().await;
        assert_eq!(first.model().log.len(), asked, "the good one is kept");
    }
}

#[tokio::test]
async fn servers_that_disagree_do_not_take_turns() {
    let (first, second) = (with_orders().await, with_orders().await);
    second.model().put("ORDERS", instance("10.0.0.2", 8080));
    second.model().remove("ORDERS", "10.0.0.1:8080");
    let mut reading = read(config(&[&first, &second]));
    for _ in 0..5 {
        reading.list().await;
        assert_eq!(reading.endpoints(), endpoints(&[("ORDERS", &["10.0.0.1:8080"])]));
    }
    first.model().faults.push(("/".into(), Fault::Status(500, "")));
    reading.list().await;
    first.model().faults.clear();
    for _ in 0..5 {
        assert_eq!(reading.endpoints(), endpoints(&[("ORDERS", &["10.0.0.2:8080"])]));
        reading.list().await;
    }
}

#[tokio::test]
async fn all_servers_that_fail_are_named_in_one_error() {
    let (first, second) = (with_orders().await, with_orders().await);
    let mut reading = read(config(&[&first, &second]));
    reading.list().await;
    first.model().faults.push(("/".into(), Fault::Status(500, "boom")));
    second.model().faults.push(("/".into(), Fault::Text("<html>")));
    let failure = reading.failure().await;
    for part in ["none of the 2 servers", "boom", "<html>", &first.url(), &second.url()] {
        assert!(failure.contains(part), "{part}: {failure}");
    }
    assert_eq!(reading.errors.keys().collect::<Vec<_>>(), [""]);
    assert_eq!(reading.endpoints(), endpoints(&[("ORDERS", &["10.0.0.1:8080"])]));
}

#[tokio::test]
async fn the_own_zone_goes_first_and_is_returned_to() {
    let (own, other) = (with_orders().await, with_orders().await);
    let zoned = Config { own_zone: 1, full_period: Duration::from_secs(2), ..config(&[&own, &other]) };
    let mut reading = read(zoned);
    reading.list().await;
    own.model().faults.push(("/".into(), Fault::Status(503, "")));
    reading.until("the other zone", |_| !other.model().log.is_empty()).await;
    own.model().faults.clear();
    own.model().log.clear();
    let away = Instant::now();
    reading.until("the own zone", |_| !own.model().log.is_empty()).await;
    assert!(away.elapsed() > Duration::from_millis(1500), "{:?}", away.elapsed());
    let asked = other.model().log.len();
    reading.list().await;
    reading.list().await;
    assert_eq!((other.model().log.len(), reading.failed), (asked, 0));
}

#[tokio::test]
async fn who_we_are_is_told_in_every_way() {
    let fake = with_orders().await;
    let (user, token) = (Some("Basic cmVhZGVyOnAmc3M=".to_owned()), Some("Bearer t0ken".to_owned()));
    let by_address = Server::parse(&fake.url().replace("http://", "http://reader:p%26ss@")).unwrap();
    let login = by_address.login.clone();
    let own = Config { servers: vec![by_address], ..config(&[&fake]) };
    let named = Config { login, ..config(&[&fake]) };
    let bearer = Config { token: Some(Secret::new("t0ken")), ..config(&[&fake]) };
    for (config, expected) in [(own, &user), (named, &user), (bearer, &token)] {
        fake.model().authorization.clone_from(expected);
        let mut reading = read(config.clone());
        assert_eq!(reading.list().await.failed, 0, "{expected:?}");
        fake.model().authorization = Some("nobody".into());
        let failure = reading.failure().await;
        assert!(failure.contains("401") && !failure.contains("p&ss") && !failure.contains("t0ken"), "{failure}");
        assert!(!format!("{config:?}").contains("t0ken") && !format!("{config:?}").contains("p&ss"));
    }
}

#[tokio::test]
async fn secrets_that_a_server_echoes_are_blanked() {
    for (fault, expected) in [
        (
            Fault::Status(401, r#"{"message":"p4ssw0rd of reader (cmVhZGVyOnA0c3N3MHJk) is wrong"}"#),
            "*** of reader (cmVhZGVyOn***) is wrong",
        ),
        (Fault::Status(500, "<html> p4ssw0rd"), "(<html> ***)"),
        (Fault::Text("<html>password=p4ssw0rd&user=reader"), "<html>password=***&user=reader"),
    ] {
        let fake = with_orders().await;
        fake.model().faults.push(("/apps".into(), fault.clone()));
        let server = Server::parse(&fake.url().replace("http://", "http://reader:p4ssw0rd@")).unwrap();
        let failure = read(Config { servers: vec![server], ..config(&[&fake]) }).failure().await;
        assert!(failure.contains(expected) && !failure.contains("p4ss"), "{fault:?}: {failure}");
        assert!(!failure.contains("cmVhZGVyOnA0c3N3MHJk"), "{fault:?}: {failure}");
    }
}

#[tokio::test]
async fn any_path_may_stand_behind_the_address() {
    let fake = with_orders().await;
    fake.model().path = "/registry/v2".into();
    let server = Server::parse(&format!("{}/registry/v2/", fake.url())).unwrap();
    let mut reading = read(Config { servers: vec![server], ..config(&[&fake]) });
    assert_eq!(reading.list().await.failed, 0);
    let failure = read(config(&[&fake])).failure().await;
    assert!(failure.contains("/eureka/apps answered 404") && failure.contains("/eureka/v2"), "{failure}");
}

#[tokio::test]
async fn bad_instances_are_left_out_with_a_note_and_neighbours_serve() {
    let fake = FakeEureka::start().await;
    let port = |number: Value, enabled: &str| json!({"$": number, "@enabled": enabled});
    let instances = [
        instance("10.0.0.1", 8080),
        with("10.0.0.2", &[("port", port(json!(0), "true"))]),
        with("10.0.0.3", &[("port", port(json!(70000), "true"))]),
        with("10.0.0.4", &[("port", port(json!(8080), "false"))]),
        with("10.0.0.5", &[("port", port(json!("http"), "true"))]),
        with("10.0.0.256", &[]),
        with("10.0.0.7", &[("metadata", json!({"weight": "heavy"}))]),
        with("10.0.0.8", &[("status", json!("DANCING"))]),
        with("10.0.0.9", &[("port", json!([]))]),
        with("node-10.internal", &[]),
    ];
    for instance in instances {
        fake.model().put("ORDERS", instance);
    }
    fake.model().put("NEIGHBOUR", instance("10.0.1.1", 8080));
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    let expected: &[&str] = &["10.0.0.1:8080", "10.0.0.7:8080", "10.0.0.8:8080", "node-10.internal:8080"];
    assert_eq!(reading.endpoints(), endpoints(&[("NEIGHBOUR", &["10.0.1.1:8080"]), ("ORDERS", expected)]));
    let orders = reading.service("ORDERS").unwrap();
    assert!(orders.notes.iter().all(|note| note.reason == Reason::EntryInvalid), "{:#?}", orders.notes);
    let noted: Vec<&str> = orders.notes.iter().map(|note| &*note.subject).collect();
    let bad = ["10.0.0.256:8080", "10.0.0.2:8080", "10.0.0.3:8080", "10.0.0.4:8080", "10.0.0.5:8080", "10.0.0.7:8080"];
    assert_eq!((&noted[..6], noted.len()), (&bad[..], 7), "{:#?}", orders.notes);
    let unknown = orders.endpoints.iter().find(|e| e.address.to_string() == "10.0.0.8").unwrap();
    assert_eq!(unknown.health, Health::Unhealthy, "only what is up serves");
}

#[tokio::test]
async fn instances_are_reached_by_address_or_by_host_name() {
    let fake = with_orders().await;
    let mut by_name = read(Config { address: AddressOf::Hostname, ..config(&[&fake]) });
    assert_eq!(by_name.list().await.endpoints(), endpoints(&[("ORDERS", &["node.internal:8080"])]));
}

#[tokio::test]
async fn one_id_twice_is_one_instance_in_any_order() {
    let (newer, older) = (with("10.0.0.2", &[("lastDirtyTimestamp", json!(7))]), with("10.0.0.1", &[]));
    let services = async |instances: Vec<Value>| {
        let mut both = json!({"applications": {"application": [{"name": "ORDERS", "instance": instances}]}});
        for instance in both["applications"]["application"][0]["instance"].as_array_mut().unwrap() {
            instance["instanceId"] = "same".into();
        }
        let fake = FakeEureka::start().await;
        fake.model().faults.push(("/".into(), Fault::Text(both.to_string().leak())));
        let mut reading = read(config(&[&fake]));
        reading.list().await.lists[""].iter().map(|service| (**service).clone()).collect::<Vec<Service>>()
    };
    let one = services(vec![newer.clone(), older.clone()]).await;
    assert_eq!(one, services(vec![older, newer]).await);
    assert_eq!(one[0].endpoints[0].address.to_string(), "10.0.0.2");
    assert_eq!((one[0].endpoints.len(), one[0].notes[0].reason), (1, Reason::Duplicate));
}

#[tokio::test]
async fn three_thousand_instances_are_read_whole_and_unchanged_ones_compressed_cost_a_request() {
    let fake = FakeEureka::start().await;
    for n in 0..3000_u32 {
        fake.model().put(&format!("APP-{}", n / 3), instance(&format!("10.0.{}.{}", n >> 8, n & 255), 8080));
    }
    fake.model().forget_changes();
    let mut reading = read(Config { delta: false, ..config(&[&fake]) });
    reading.list().await;
    assert_eq!((reading.endpoints().len(), reading.endpoints().values().map(Vec::len).sum::<usize>()), (1000, 3000));
    let lists = reading.lists[""].clone();
    reading.round().await;
    reading.round().await;
    assert!(lists.iter().zip(&reading.lists[""]).all(|(a, b)| Arc::ptr_eq(a, b)));
    let plain = fake.model().list().to_string().len() as u64;
    assert!(reading.cost.requests == 1 && reading.cost.bytes * 10 < plain, "{:?} of {plain}", reading.cost);
}

#[tokio::test]
async fn a_server_that_comes_late_is_read_then() {
    let address = FakeEureka::start().await.address;
    let server = Server::parse(&format!("http://{address}")).unwrap();
    let mut reading = read(Config { period: Config::MIN_PERIOD, ..Config::new(vec![server]) });
    let failure = reading.failure().await;
    assert!(failure.contains("cannot reach"), "{failure}");
    let fake = FakeEureka::start_on(address).await;
    reading.list().await;
    assert_eq!(reading.endpoints(), endpoints(&[]), "a server with nothing in it has said so");
    fake.model().put("ORDERS", instance("10.0.0.1", 8080));
    reading.until("the first", |h| h.endpoints().len() == 1).await;
}
