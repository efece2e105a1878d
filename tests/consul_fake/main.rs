//! The Consul registry against a server in this process: the rules of the index, every bad answer, what is hidden, and what
//! no real server does on demand.

mod amount;
#[path = "../support/mod.rs"]
mod support;

use portolan::{
    model::{Health, Service},
    registry::{
        Kind,
        consul::{AddressOf, Config, Consistency, Rules, Serves, server},
        transport::Connection,
    },
    util::secret::Secret,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use support::{
    fake_consul::{FakeConsul, Index},
    fault::{Fault, TIMEOUT},
    reading::Reading,
};

fn config(servers: &[&FakeConsul]) -> Config {
    let servers = servers.iter().map(|s| server(&s.url()).unwrap()).collect();
    let connection = Connection { timeout: TIMEOUT, ..Connection::default() };
    Config { wait: Duration::from_secs(30), connection, ..Config::new(servers) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Consul(config))
}

fn endpoints(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    pairs.iter().map(|(name, list)| (name.to_string(), list.iter().map(ToString::to_string).collect())).collect()
}

/// An instance with a check of its own.
fn instance(node: u8, service: &str, status: &str) -> Value {
    json!({
        "Node": format!("node-{node}"), "Address": format!("10.0.0.{node}"),
        "Service": {"ID": format!("{service}-{node}"), "Service": service, "Port": 8080},
        "Checks": [
            {"CheckID": "serfHealth", "Name": "alive", "Status": "passing"},
            {"CheckID": format!("c-{service}"), "Name": "c", "Status": status, "ServiceID": format!("{service}-{node}")},
        ],
    })
}

/// An instance without any check.
fn unchecked(node: u8, service: &str, port: u16) -> Value {
    let mut instance = instance(node, service, "passing");
    instance["Service"]["Port"] = port.into();
    instance.as_object_mut().unwrap().remove("Checks");
    instance
}

fn gone(node: u8, service: &str) -> Value {
    json!({"Node": format!("node-{node}"), "ServiceID": format!("{service}-{node}")})
}

/// A server with one service of one instance.
async fn with_web() -> FakeConsul {
    let fake = FakeConsul::start().await;
    fake.register(instance(1, "web", "passing"));
    fake
}

fn health(reading: &Reading, name: &str) -> Vec<Health> {
    reading.service(name).map(|service| service.endpoints.iter().map(|e| e.health).collect()).unwrap_or_default()
}

#[tokio::test]
async fn services_are_read_and_every_change_is_followed() {
    let fake = with_web().await;
    fake.register(instance(2, "users", "passing"));
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    assert_eq!((reading.scopes.clone(), reading.failed), (vec![String::new()], 0));
    assert_eq!(reading.endpoints(), endpoints(&[("users", &["10.0.0.2:8080"]), ("web", &["10.0.0.1:8080"])]));
    let users = reading.service("users").unwrap().clone();
    fake.register(instance(3, "web", "passing"));
    reading.until("the second", |h| h.service("web").unwrap().endpoints.len() == 2).await;
    fake.register(instance(3, "web", "critical"));
    reading.until("it to fail", |h| health(h, "web") == [Health::Healthy, Health::Unhealthy]).await;
    fake.deregister(gone(1, "web"));
    reading.until("the first to be gone", |h| h.endpoints()["web"] == ["10.0.0.3:8080"]).await;
    fake.register(unchecked(4, "jobs", 1));
    reading.until("a new one", |h| h.endpoints().get("jobs").is_some_and(|e| *e == ["10.0.0.4:1"])).await;
    fake.register(unchecked(4, "jobs", 2));
    reading.until("another port, which no check tells", |h| h.endpoints()["jobs"] == ["10.0.0.4:2"]).await;
    fake.register(json!({"Node": "node-3", "Address": "10.0.9.9"}));
    reading.until("another address of a node", |h| h.endpoints()["web"] == ["10.0.9.9:8080"]).await;
    fake.deregister(json!({"Node": "node-3"}));
    reading.until("all to be gone", |h| h.service("web").is_none()).await;
    assert_eq!(reading.removed, ["web"]);
    assert!(Arc::ptr_eq(reading.service("users").unwrap(), &users), "what does not change is the same value");
    assert_eq!((reading.listed, reading.failed), (1, 0));
    assert!(fake.model().log.iter().all(|line| line.starts_with("GET ")), "{:#?}", fake.model().log);
    assert_eq!(fake.model().asked("/service/consul"), 0, "Consul itself is not read");
}

#[tokio::test]
async fn checks_of_nodes_concern_all_that_is_there() {
    let fake = with_web().await;
    fake.register(instance(1, "users", "passing"));
    fake.register(instance(2, "web", "passing"));
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    let down = json!({"CheckID": "serfHealth", "Name": "alive", "Status": "critical"});
    fake.register(json!({"Node": "node-1", "SkipNodeUpdate": true, "Check": down}));
    let failed = |h: &Reading| {
        health(h, "web") == [Health::Unhealthy, Health::Healthy] && health(h, "users") == [Health::Unhealthy]
    };
    reading.until("both to fail", failed).await;
    let maintenance = json!({"CheckID": "_node_maintenance", "Name": "m", "Status": "critical"});
    fake.register(json!({"Node": "node-2", "SkipNodeUpdate": true, "Check": maintenance}));
    reading.until("it to be switched off", |h| !h.service("web").unwrap().endpoints[1].enabled).await;
    fake.deregister(json!({"Node": "node-2", "CheckID": "_node_maintenance"}));
    reading.until("it to be back", |h| h.service("web").unwrap().endpoints[1].enabled).await;
}

#[tokio::test]
async fn nothing_changed_is_nothing_sent() {
    let fake = with_web().await;
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    let web = reading.service("web").unwrap().clone();
    for _ in 0..3 {
        let asked = fake.model().asked("/catalog/services");
        fake.wake();
        let again = async || match fake.model().asked("/catalog/services") > asked {
            true => Ok(()),
            false => Err("not asked again"),
        };
        support::until("the question after a wake-up", Duration::from_secs(60), again).await;
    }
    // What changes in an index alone is read, and not told.
    let mut same = instance(1, "web", "passing");
    same["Checks"][1]["Output"] = "another text".into();
    fake.register(same);
    fake.register(instance(2, "users", "passing"));
    reading.until("the other", |h| h.service("users").is_some()).await;
    assert!(Arc::ptr_eq(reading.service("web").unwrap(), &web));
    assert_eq!((reading.listed, reading.applied, reading.failed), (1, 1, 0));
}

#[tokio::test]
async fn an_index_that_goes_back_begins_anew() {
    let fake = with_web().await;
    for port in 1..30 {
        fake.register(unchecked(2, "jobs", port));
    }
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    {
        let mut model = fake.model();
        // A snapshot is restored: other instances, and smaller indexes.
        model.put_in_silence(&unchecked(2, "jobs", 77));
        model.reset_index();
    }
    fake.look();
    reading.until("what was restored", |h| h.endpoints()["jobs"] == ["10.0.0.2:77"]).await;
    fake.register(unchecked(2, "jobs", 78));
    reading.until("a change after it", |h| h.endpoints()["jobs"] == ["10.0.0.2:78"]).await;
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn without_an_index_it_is_polled_and_not_flooded() {
    for index in [Index::Zero, Index::Missing] {
        let fake = with_web().await;
        fake.model().index = index;
        let mut reading = read(config(&[&fake]));
        reading.list().await;
        fake.register(unchecked(1, "web", 81));
        reading.until("the change", |h| h.endpoints()["web"].contains(&"10.0.0.1:81".into())).await;
        let asked = fake.model().log.len();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let asked = fake.model().log.len() - asked;
        assert!(asked < 80, "{asked} requests in about two seconds");
        assert_eq!(reading.failed, 0);
    }
}

#[tokio::test]
async fn a_server_that_never_holds_a_question_is_not_flooded() {
    let fake = with_web().await;
    fake.model().hasty = true;
    let mut reading = read(Config { resync: Duration::from_secs(1), ..config(&[&fake]) });
    reading.list().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = fake.model().log.len();
    assert!(asked < 90, "{asked} requests in three seconds");
}

#[tokio::test]
async fn what_is_hidden_is_not_gone() {
    let fake = with_web().await;
    fake.register(instance(2, "users", "passing"));
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    let before = reading.endpoints();
    // One service, and then all of them, as when a policy is taken away.
    fake.model().hidden.insert("web".into());
    fake.register(unchecked(3, "jobs", 1));
    reading.until("the other", |h| h.service("jobs").is_some()).await;
    reading.until("that it is hidden", |h| !h.unreadable.get("").is_none_or(Vec::is_empty)).await;
    let unreadable = &reading.unreadable[""];
    assert_eq!(&*unreadable[0].0.name, "web");
    assert!(unreadable[0].1.contains("hidden by ACLs"), "{}", unreadable[0].1);
    assert!(reading.removed.is_empty());
    fake.model().hidden.clear();
    fake.register(unchecked(3, "jobs", 2));
    reading.until("it to be seen again", |h| h.unreadable[""].is_empty() && h.service("web").is_some()).await;
    assert_eq!(reading.endpoints()["web"], before["web"]);
    // One that is gone while others are hidden is gone.
    fake.model().hidden.insert("users".into());
    fake.deregister(gone(1, "web"));
    reading.until("it to be gone", |h| h.removed.contains(&"web".into()) || h.service("web").is_none()).await;
    assert!(!reading.removed.contains(&"users".into()));
}

#[tokio::test]
async fn nodes_that_are_hidden_take_no_endpoint_away() {
    let fake = with_web().await;
    fake.register(instance(2, "web", "passing"));
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    fake.model().hidden.insert("node-2".into());
    fake.register(unchecked(3, "jobs", 1));
    reading.until("that some is hidden", |h| !h.unreadable.get("").is_none_or(Vec::is_empty)).await;
    assert_eq!((reading.removed.len(), &*reading.unreadable[""][0].0.name), (0, "web"));
}

#[tokio::test]
async fn a_token_that_sees_nothing_is_a_failure() {
    let fake = with_web().await;
    fake.model().hidden.extend(["web", "consul", "node-1", "server-1"].map(String::from));
    let mut reading = read(config(&[&fake]));
    let error = reading.failure().await;
    assert!(error.contains("lists no service at all, and says that some are hidden"), "{error}");
    assert_eq!(reading.listed, 0);
    // Consul before 1.11 does not say that it hides something.
    let empty = FakeConsul::start().await;
    empty.model().faults.push(("/catalog/services".into(), Fault::Text("{}")));
    let error = read(config(&[&empty])).failure().await;
    assert!(error.contains("lists no service at all: that is a token"), "{error}");
}

#[tokio::test]
async fn a_token_is_shown_and_one_that_is_refused_takes_nothing_away() {
    let fake = with_web().await;
    fake.model().token = Some("s3cret".into());
    let mut reading = read(Config { token: Some(Secret::new("s3cret")), ..config(&[&fake]) });
    reading.list().await;
    fake.model().token = Some("another".into());
    fake.wake();
    let error = reading.failure().await;
    assert!(error.contains("403") && error.contains("check `token`") && !error.contains("s3cret"), "{error}");
    assert!(reading.service("web").is_some() && reading.removed.is_empty());
    fake.model().token = Some("s3cret".into());
    reading.list().await;
    assert_eq!(reading.endpoints()["web"], ["10.0.0.1:8080"]);
}

#[tokio::test]
async fn bad_answers_are_failures_that_name_the_remedy() {
    for (fault, expected) in [
        (Fault::Status(500, "No cluster leader"), "no leader at the moment"),
        (Fault::Status(403, "Permission denied"), "check `token`"),
        (Fault::Busy("1"), "fewer requests"),
        (Fault::Redirect, "not Consul's API"),
        (Fault::Text("<html>"), "begins with \"<html>\""),
        (Fault::Text("null"), "is not what Consul answers"),
        (Fault::Text("[]"), "is not what Consul answers"),
        (Fault::Text(r#"{"error": 1"#), "is not what Consul answers"),
        (Fault::Truncated, "broke off"),
        (Fault::Endless, "raise `max_body`"),
        (Fault::GzipBomb, "raise `max_body`"),
        (Fault::Slow, "/v1/catalog/services"),
    ] {
        let fake = with_web().await;
        let connection = Connection { max_body_bytes: 1 << 20, timeout: fault.timeout(), ..Connection::default() };
        fake.model().faults.push(("/catalog/services".into(), fault.clone()));
        let mut reading = read(Config { connection, ..config(&[&fake]) });
        let error = reading.failure().await;
        assert!(error.contains(expected), "{fault:?}: {error}");
        assert_eq!(reading.listed, 0, "{fault:?}");
        fake.model().faults.clear();
        reading.until("what is there", |h| h.endpoints().contains_key("web")).await;
    }
}

#[tokio::test]
async fn one_bad_service_hides_no_other() {
    for (fault, expected) in [
        (Fault::Status(500, "rpc error"), "500"),
        (Fault::Busy("1"), "fewer requests"),
        (Fault::Text("{}"), "is not what Consul answers"),
        (Fault::Text("[{}]"), "none of its 1 instances can be read"),
        (Fault::Truncated, "broke off"),
        (Fault::Endless, "raise `max_body`"),
        (Fault::Slow, "cannot reach"),
    ] {
        let fake = with_web().await;
        fake.register(instance(2, "users", "passing"));
        let connection = Connection { max_body_bytes: 1 << 20, timeout: fault.timeout(), ..Connection::default() };
        let mut reading = read(Config { connection, ..config(&[&fake]) });
        reading.list().await;
        fake.model().faults.push(("/service/web".into(), fault.clone()));
        fake.register(instance(1, "web", "critical"));
        fake.register(instance(2, "users", "critical"));
        reading.until("the good one", |h| health(h, "users") == [Health::Unhealthy]).await;
        reading.until("the bad one", |h| !h.unreadable.get("").is_none_or(Vec::is_empty)).await;
        assert!(reading.unreadable[""][0].1.contains(expected), "{fault:?}: {:?}", reading.unreadable);
        fake.model().faults.clear();
        // One whose answer could be read as far as that is not asked for again by itself.
        fake.register(instance(1, "web", "warning"));
        reading.until("it to be read", |h| h.unreadable[""].is_empty() && health(h, "web") == [Health::Healthy]).await;
    }
}

#[tokio::test]
async fn a_service_that_no_server_can_give_is_that_one_alone() {
    let servers = [with_web().await, with_web().await];
    for fake in &servers {
        fake.register(instance(2, "users", "passing"));
        fake.model().faults.push(("/service/web".into(), Fault::Status(500, "rpc error")));
    }
    let mut reading = read(config(&[&servers[0], &servers[1]]));
    reading.list().await;
    assert_eq!((reading.endpoints(), reading.failed), (endpoints(&[("users", &["10.0.0.2:8080"])]), 0));
    let (id, why) = &reading.unreadable[""][0];
    assert!(&*id.name == "web" && why.contains("none of the 2 servers answered"), "{id} {why}");
    servers.iter().for_each(|fake| fake.model().faults.clear());
    reading.until("it to be read", |h| h.endpoints().len() == 2).await;
}

#[tokio::test]
async fn while_the_lists_fail_a_service_that_is_to_be_tried_again_makes_no_haste() {
    let fake = with_web().await;
    fake.model().faults.push(("/service/web".into(), Fault::Status(500, "rpc error")));
    let mut reading = read(config(&[&fake]));
    reading.until("that it is unreadable", |h| !h.unreadable.get("").is_none_or(Vec::is_empty)).await;
    fake.model().faults = vec![("/v1/".into(), Fault::Status(500, "No cluster leader"))];
    fake.wake();
    reading.failure().await;
    let counting = async {
        loop {
            reading.next().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), counting).await.ok();
    assert!(reading.failed < 60, "{} failures in three seconds", reading.failed);
    fake.model().faults.clear();
    reading.until("it to be read", |h| h.service("web").is_some()).await;
}

#[tokio::test]
async fn a_service_that_is_gone_before_it_is_read_is_no_failure() {
    let fake = with_web().await;
    fake.model().faults.push(("/service/web".into(), Fault::Text("[]")));
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    assert_eq!((reading.endpoints(), reading.failed), (BTreeMap::new(), 0));
    assert!(reading.unreadable[""].is_empty());
}

#[tokio::test]
async fn names_are_escaped() {
    let fake = FakeConsul::start().await;
    let names = ["a b", "a/b", "a?b", "ä", "%41", "..", "a#b"];
    for (node, name) in (1..).zip(names) {
        fake.register(unchecked(node, name, 80));
    }
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    let read: Vec<String> = reading.endpoints().into_keys().collect();
    let mut expected = names.map(String::from);
    expected.sort();
    // A path cannot have `..` as a part: such a name stays unread, and hides no other.
    let expected: Vec<String> = expected.into_iter().filter(|name| name != "..").collect();
    assert_eq!((read, reading.failed), (expected, 0));
}

#[tokio::test]
async fn datacenters_are_scopes_that_fail_alone() {
    let fake = FakeConsul::start().await;
    for (world, node) in [("dc1", 1), ("dc2", 2)] {
        fake.write(world, "/v1/catalog/register", instance(node, "web", "passing"));
    }
    fake.model().faults.push(("dc=dc2".into(), Fault::Status(500, "No path to datacenter")));
    let datacenters = vec!["dc1".into(), "dc2".into()];
    let mut reading = read(Config { datacenters, ..config(&[&fake]) });
    reading.until("one of two", |h| h.lists.contains_key("dc1") && h.errors.contains_key("dc2")).await;
    assert_eq!(reading.scopes, ["dc1", "dc2"]);
    fake.model().faults.clear();
    reading.until("both", |h| h.lists.contains_key("dc2")).await;
    let namespaces: Vec<&str> = reading.lists.values().flatten().map(|service| &*service.id.namespace).collect();
    assert_eq!(namespaces, ["dc1", "dc2"]);
}

#[tokio::test]
async fn enterprise_words_and_consistency_are_sent() {
    let fake = FakeConsul::start().await;
    fake.write("ns1,part1,peer1", "/v1/catalog/register", instance(1, "web", "passing"));
    let [namespace, partition, peer] = ["ns1", "part1", "peer1"].map(|word| Some(word.into()));
    let mut reading = read(Config { namespace, partition, peer, consistency: Consistency::Stale, ..config(&[&fake]) });
    reading.list().await;
    let web = reading.service("web").unwrap();
    assert_eq!((&*web.id.group, &*web.id.namespace), ("ns1", ""));
    let model = fake.model();
    let all = model.log.iter().all(|line| line.contains("ns=ns1&partition=part1&peer=peer1") && line.contains("stale"));
    assert!(all, "{:#?}", model.log);
}

#[tokio::test]
async fn a_server_that_fails_is_followed_by_the_next() {
    let (bad, good) = (with_web().await, with_web().await);
    bad.model().faults.push(("/v1/".into(), Fault::Status(503, "")));
    let mut reading = read(config(&[&bad, &good]));
    reading.list().await;
    assert_eq!((reading.endpoints()["web"].len(), reading.failed), (1, 0));
    good.model().faults.push(("/v1/".into(), Fault::Status(500, "")));
    good.wake();
    let error = reading.failure().await;
    assert!(error.contains("none of the 2 servers answered"), "{error}");
}

#[tokio::test]
async fn options_decide_which_instances_are_taken_and_where_they_are() {
    let fake = FakeConsul::start().await;
    let with = |node: u8, change: fn(&mut Value)| {
        let mut instance = instance(node, "web", "warning");
        change(&mut instance);
        instance
    };
    fake.register(with(1, |i| i["Service"]["Tags"] = json!(["live"])));
    fake.register(with(2, |i| i["Service"]["Tags"] = json!(["live", "old"])));
    fake.register(with(3, |i| i["Service"]["Kind"] = "connect-proxy".into()));
    fake.register(with(4, |i| {
        i["Service"]["Tags"] = json!(["live"]);
        i["TaggedAddresses"] = json!({"wan": "192.0.2.4"});
    }));
    let read_with = async |rules: Rules| {
        let mut reading = read(Config { rules, ..config(&[&fake]) });
        reading.list().await;
        let web: Service = Service::clone(reading.service("web").unwrap());
        let place = |e: &portolan::model::Endpoint| (e.address.to_string(), e.health);
        web.endpoints.iter().map(place).collect::<Vec<_>>()
    };
    let at = |ip: &str, health| (ip.to_owned(), health);
    let plain = read_with(Rules::default()).await;
    assert_eq!(plain, [1, 2, 4].map(|n| at(&format!("10.0.0.{n}"), Health::Healthy)));
    let (include_tags, exclude_tags) = (vec!["live".into()], vec!["old".into()]);
    let rules = Rules { include_tags, exclude_tags, warning: Serves::No, ..Rules::default() };
    assert_eq!(read_with(rules).await, [1, 4].map(|n| at(&format!("10.0.0.{n}"), Health::Unhealthy)));
    let rules = Rules { proxies: true, address: AddressOf::Tagged("wan"), ..Rules::default() };
    let tagged = read_with(rules).await;
    assert_eq!(tagged.len(), 4);
    assert_eq!(tagged[3], at("192.0.2.4", Health::Healthy));
}

#[tokio::test]
async fn an_agent_is_reached_by_its_socket() {
    let fake = with_web().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consul.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let target = fake.address;
    let passing = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    let agent = server(&format!("unix://{}", path.display())).unwrap();
    let mut reading = read(Config { servers: vec![agent], ..config(&[&fake]) });
    reading.list().await;
    fake.register(instance(2, "web", "passing"));
    reading.until("the second", |h| h.service("web").unwrap().endpoints.len() == 2).await;
    assert_eq!(reading.failed, 0);
    passing.abort();
}
