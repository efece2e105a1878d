//! The Nacos registry against a server in this process: every interface, every bad answer.

mod support;

use portolan::{
    model::{Health, Note, Reason, Service},
    registry::{
        Kind,
        nacos::{Config, Login, Mode, Namespaces},
        transport::Connection,
    },
    util::secret::Secret,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use support::{
    fake_nacos::{FakeNacos, FakeService, Fault, Generation, instance, key},
    fault::TIMEOUT,
    reading::Reading,
};

const ALL: [Generation; 5] = [Generation::V1, Generation::V2, Generation::V2Plain, Generation::V3, Generation::V3Plain];

fn config(servers: &[&FakeNacos]) -> Config {
    let servers = servers.iter().map(|s| Config::server(&s.url()).unwrap()).collect();
    let connection = Connection { timeout: TIMEOUT, ..Connection::default() };
    Config { mode: Mode::Poll, period: Config::MIN_PERIOD, connection, ..Config::new(servers) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Nacos(config))
}

fn endpoints(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    pairs.iter().map(|(name, list)| (name.to_string(), list.iter().map(ToString::to_string).collect())).collect()
}

/// A server with one service.
async fn with_orders(generation: Generation) -> FakeNacos {
    let fake = FakeNacos::start(generation).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
    fake
}

#[tokio::test]
async fn every_generation_is_read_by_what_it_offers() {
    for (generation, scope, path) in [
        (Generation::V1, "public/DEFAULT_GROUP", "/v1/ns/instance/list"),
        (Generation::V2, "public", "/v1/ns/catalog/services"),
        (Generation::V2Plain, "public/DEFAULT_GROUP", "/v2/ns/instance/list"),
        (Generation::V3, "public", "/v3/admin/ns/service/list"),
        (Generation::V3Plain, "public/DEFAULT_GROUP", "/v1/ns/instance/list"),
    ] {
        let fake = with_orders(generation).await;
        fake.model().put("empty", vec![]);
        let mut reading = read(config(&[&fake]));
        reading.list().await;
        assert_eq!(reading.scopes, [scope], "{generation:?}");
        assert_eq!(reading.endpoints(), endpoints(&[("empty", &[]), ("orders", &["10.0.0.1:8080"])]), "{generation:?}");
        assert!(fake.model().asked(path) > 0, "{generation:?}: {:#?}", fake.model().log);
        let writes = fake.model().log.iter().filter(|line| !line.starts_with("GET ")).count();
        assert_eq!(writes, 0, "{:#?}", fake.model().log);
    }
}

#[tokio::test]
async fn a_server_that_lists_in_no_known_way_is_explained() {
    let fake = with_orders(Generation::V3Bare).await;
    let failure = read(config(&[&fake])).failure().await;
    assert!(
        failure.contains("lists services in no way") && failure.contains("the right to read all groups"),
        "{failure}"
    );
}

#[tokio::test]
async fn changes_are_heard_and_the_unchanged_is_the_same_value() {
    for generation in ALL {
        let fake = with_orders(generation).await;
        fake.model().put("users", vec![instance("10.0.0.2", 80)]);
        let mut reading = read(config(&[&fake]));
        reading.list().await;
        let (orders, users) = (reading.service("orders").unwrap().clone(), reading.service("users").unwrap().clone());
        reading.list().await;
        assert!(Arc::ptr_eq(reading.service("orders").unwrap(), &orders), "{generation:?}");
        let changed = json!({"ip": "10.0.0.1", "port": 8080, "weight": 0.5, "healthy": false, "metadata": {"v": "2"}});
        fake.model().put("orders", vec![changed]);
        reading.until("the change", |h| !Arc::ptr_eq(h.service("orders").unwrap(), &orders)).await;
        let endpoint = &reading.service("orders").unwrap().endpoints[0];
        assert_eq!((endpoint.weight.get(), endpoint.labels.get("v").map(|v| &**v)), (0.5, Some("2")));
        assert!(Arc::ptr_eq(reading.service("users").unwrap(), &users), "{generation:?}");
        fake.model().services().remove(&key("public", "DEFAULT_GROUP", "orders"));
        reading.until("the removal", |h| h.service("orders").is_none()).await;
    }
}

#[tokio::test]
async fn bulk_lists_give_the_true_health_and_the_threshold_of_the_settings() {
    for generation in [Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        let mut bad = instance("10.0.0.2", 8080);
        bad["healthy"] = false.into();
        let service = |threshold, instances| FakeService { instances, metadata: json!({"team": "shop"}), threshold };
        let mixed = service(0.6, vec![instance("10.0.0.1", 8080), bad]);
        let fine = service(0.4, vec![instance("10.0.0.1", 8080)]);
        fake.model().services().insert(key("public", "DEFAULT_GROUP", "mixed"), mixed);
        fake.model().services().insert(key("public", "DEFAULT_GROUP", "fine"), fine);
        let mut reading = read(config(&[&fake]));
        // The first list has it already where it matters.
        reading.list().await;
        let mixed = reading.service("mixed").unwrap();
        let health: Vec<Health> = mixed.endpoints.iter().map(|e| e.health).collect();
        assert_eq!(health, [Health::Healthy, Health::Unhealthy]);
        assert_eq!((mixed.protect_threshold.unwrap().get(), mixed.protected), (0.6, false));
        assert_eq!(mixed.labels, [("team".into(), "shop".into())].into());
        reading
            .until("the other threshold", |h| h.service("fine").unwrap().protect_threshold.unwrap().get() == 0.4)
            .await;
        // Where it matters it is asked for in each round, and elsewhere not.
        fake.model().log.clear();
        reading.round().await;
        reading.round().await;
        let asked =
            |name: &str| fake.model().log.iter().filter(|l| l.ends_with(&format!("serviceName={name}"))).count();
        assert_eq!((asked("mixed") >= 1, asked("fine")), (true, 0), "{:#?}", fake.model().log);
    }
}

#[tokio::test]
async fn a_reached_threshold_is_told_where_the_server_applies_it() {
    for generation in [Generation::V1, Generation::V2Plain] {
        let fake = FakeNacos::start(generation).await;
        let mut bad = instance("10.0.0.2", 8080);
        bad["healthy"] = false.into();
        let service =
            FakeService { instances: vec![instance("10.0.0.1", 8080), bad], metadata: Value::Null, threshold: 0.6 };
        fake.model().services().insert(key("public", "DEFAULT_GROUP", "orders"), service);
        let mut reading = read(config(&[&fake]));
        reading.list().await;
        let orders = reading.service("orders").unwrap();
        assert_eq!((orders.protected, orders.protect_threshold), (true, None), "{generation:?}");
        assert!(orders.endpoints.iter().all(|e| e.health == Health::Healthy));
    }
}

/// What it says of a bad answer, and that it keeps quiet about services meanwhile, and recovers.
async fn check_fault(generation: Generation, part: &str, fault: Fault, expected: &str) {
    let fake = with_orders(generation).await;
    let mut small = config(&[&fake]);
    small.connection.max_body_bytes = 1 << 20;
    small.connection.timeout = fault.timeout();
    let mut reading = read(small);
    reading.list().await;
    fake.model().faults.push((part.into(), fault.clone()));
    let failure = reading.failure().await;
    assert!(failure.contains(expected), "{generation:?} {fault:?}: {failure}");
    let lists = reading.listed;
    reading.failure().await;
    assert_eq!(reading.listed, lists, "{generation:?} {fault:?}: an error is no list");
    fake.model().faults.clear();
    reading.list().await;
    assert_eq!(reading.endpoints(), endpoints(&[("orders", &["10.0.0.1:8080"])]));
}

#[tokio::test]
async fn every_bad_answer_is_an_error_that_says_what_and_where() {
    let bad = [
        (Fault::Text("<html><body>Sign in</body></html>"), "<html>"),
        (Fault::Text(""), "not what Nacos answers"),
        (Fault::Text("{}"), "not what Nacos answers"),
        (Fault::Text("null"), "not what Nacos answers"),
        (Fault::Text(r#"{"code":30000,"message":"no leader","data":null}"#), "code 30000: no leader"),
        (Fault::Truncated, "broke off"),
        (Fault::Redirect, "not Nacos' API"),
        (Fault::Status(403, r#"{"message":"authorization failed!"}"#), "authorization failed!"),
        (Fault::Status(404, ""), "404 Not Found"),
        (Fault::Status(410, ""), "410 Gone"),
        (Fault::Status(500, "caused: boom;"), "boom"),
        (Fault::Status(503, "server is STARTING now"), "starting"),
        (Fault::Slow, "cannot reach"),
        (Fault::Endless, "longer than"),
        (Fault::GzipBomb, "longer than"),
    ];
    let checks = bad.into_iter().flat_map(|(fault, expected)| {
        [Generation::V2, Generation::V3].map(|generation| check_fault(generation, "/", fault.clone(), expected))
    });
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn single_reading_takes_no_bad_answer_for_a_list_either() {
    let bad = [
        (Fault::Text("<html><body>Sign in</body></html>"), "<html>"),
        (Fault::Text("null"), "not what Nacos answers"),
        (Fault::Text(r#"{"code":30000,"message":"no leader","data":null}"#), "code 30000: no leader"),
        (Fault::Truncated, "broke off"),
        (Fault::Redirect, "not Nacos' API"),
        (Fault::Status(403, ""), "403"),
        (Fault::Status(503, "starting"), "starting"),
        (Fault::Busy("0"), "429"),
        (Fault::Endless, "longer than"),
        (Fault::GzipBomb, "longer than"),
        (Fault::Text(r#"{"count":7,"doms":[]}"#), "shows 0 services where it counts 7"),
        (Fault::Text(r#"{"count":7,"doms":["orders"]}"#), "shows 1 services where it counts 7"),
    ];
    let checks = bad
        .into_iter()
        .map(|(fault, expected)| check_fault(Generation::V1, "/v1/ns/service/list?namespaceId", fault, expected));
    futures_util::future::join_all(checks).await;
    let bad = [
        (Fault::Text("null"), "not what Nacos answers"),
        (Fault::Text(r#"{"code":0,"data":null}"#), "not what Nacos answers"),
        (Fault::Text(r#"{"code":0,"data":{"count":0}}"#), "not what Nacos answers"),
        (Fault::Text(r#"{"code":30000,"message":"no leader","data":null}"#), "code 30000: no leader"),
        (Fault::Text(r#"{"code":30000,"message":"no leader","data":{"count":0,"services":[]}}"#), "no leader"),
        (Fault::Text(r#"{"code":0,"data":{"count":7,"services":["orders"]}}"#), "shows 1 services where it counts 7"),
        (Fault::Status(400, r#"{"code":21008,"message":"service not exist"}"#), "service not exist"),
    ];
    let checks = bad
        .into_iter()
        .map(|(fault, expected)| check_fault(Generation::V2Plain, "/v2/ns/service/list?namespaceId", fault, expected));
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn a_bulk_list_that_lacks_what_it_counts_is_no_list() {
    let part = "/v3/admin/ns/service/list?namespaceId=public&withInstances";
    for items in ["", r#"{"serviceName":"orders","groupName":"DEFAULT_GROUP"}"#] {
        let text = format!(r#"{{"code":0,"data":{{"totalCount":1000,"pageItems":[{items}]}}}}"#);
        check_fault(Generation::V3, part, Fault::Text(text.leak()), "services where it counts 1000").await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_turn_pages_is_not_asked_for_ever() {
    let fake = with_orders(Generation::V2).await;
    let page =
        r#"[{"serviceName":"a","groupName":"g","clusterMap":{}},{"serviceName":"b","groupName":"g","clusterMap":{}}]"#;
    fake.model().faults.push(("catalog/services".into(), Fault::Text(page)));
    let mut reading = read(Config { page_size: 2, ..config(&[&fake]) });
    reading.list().await;
    assert_eq!(reading.endpoints(), endpoints(&[("a", &[]), ("b", &[])]));
    let asked = fake.model().asked("catalog/services");
    assert!(asked <= 10, "{asked} requests");
}

#[tokio::test]
async fn an_empty_list_of_namespaces_is_no_list() {
    let fake = with_orders(Generation::V3).await;
    fake.model().faults.push(("namespace/list".into(), Fault::Text(r#"{"code":0,"data":[]}"#)));
    let mut reading = read(Config { namespaces: Namespaces::All, ..config(&[&fake]) });
    let failure = reading.failure().await;
    assert!(failure.contains("list of namespaces is empty"), "{failure}");
    assert_eq!(reading.scopes, [""; 0], "nothing was named");
    fake.model().faults.clear();
    reading.list().await;
    fake.model().faults.push(("namespace/list".into(), Fault::Text(r#"{"code":0,"data":[]}"#)));
    reading.failure().await;
    assert_eq!(reading.scopes, ["public"], "its namespaces stay");
}

#[tokio::test]
async fn bulk_and_single_reading_agree() {
    let mut seen = Vec::new();
    for generation in [Generation::V1, Generation::V2, Generation::V2Plain, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        for n in 0..5 {
            let mut other = instance("10.0.0.2", 8080);
            other["metadata"] = json!({"version": "v2", "zone": "z", "gRPC_port": "9090", "cluster": "gray"});
            other["clusterName"] = "hz".into();
            other["weight"] = json!(0.5 + f64::from(n));
            fake.model().put(&format!("svc-{n}"), vec![instance("10.0.0.1", 80), other]);
        }
        let mut reading = read(config(&[&fake]));
        reading.list().await;
        // Who applies the threshold differs, and is told; with all healthy it means nothing.
        let plain = |s: &Arc<Service>| Service { protect_threshold: None, ..(**s).clone() };
        seen.push(reading.lists.values().flatten().map(plain).collect::<Vec<_>>());
    }
    assert_eq!(seen[0].len(), 5);
    assert!(seen.iter().all(|other| *other == seen[0]), "{seen:#?}");
    let clusters = |at: usize| {
        let labels = &seen[0][0].endpoints[at].labels;
        ["cluster", "nacos.cluster"].map(|key| labels.get(key).map(|cluster| cluster.to_string()))
    };
    assert_eq!(clusters(0), [Some("DEFAULT".to_owned()), None]);
    assert_eq!(clusters(1), ["gray", "hz"].map(|cluster| Some(cluster.to_owned())), "the instance's own stays");
}

#[tokio::test]
async fn a_bulk_list_that_is_taken_away_is_replaced_by_single_reading() {
    let fake = with_orders(Generation::V2).await;
    let other = FakeService { instances: vec![instance("10.0.0.2", 80)], ..Default::default() };
    fake.model().services().insert(key("public", "shop", "carts"), other);
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    fake.model().faults.push(("/v1/ns/catalog".into(), Fault::Status(403, "")));
    // No group can be listed any more, but those that were seen are asked for by name.
    reading.until("the other scopes", |h| h.scopes == ["public/DEFAULT_GROUP", "public/shop"]).await;
    let groups: Vec<String> = ["public/DEFAULT_GROUP", "public/shop"]
        .iter()
        .flat_map(|scope| reading.lists[*scope].iter().map(|s| format!("{}/{}", s.id.group, s.id.name)))
        .collect();
    assert_eq!(groups, ["DEFAULT_GROUP/orders", "shop/carts"]);
}

#[tokio::test]
async fn an_upgrade_from_2_to_3_is_noticed() {
    let fake = with_orders(Generation::V2).await;
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    fake.model().services();
    fake.model().generation = Generation::V3;
    reading.failure().await;
    reading.list().await;
    assert!(fake.model().asked("/v3/admin/ns/service/list") > 0);
}

#[tokio::test]
async fn a_server_that_asks_to_be_left_alone_is() {
    let fake = with_orders(Generation::V2).await;
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    fake.model().faults.push(("catalog".into(), Fault::Busy("2")));
    let failure = reading.failure().await;
    assert!(failure.contains("429"), "{failure}");
    fake.model().faults.clear();
    let waited = reading
        .until("a list", {
            let n = reading.listed;
            move |h| h.listed > n
        })
        .await;
    assert!(waited >= Duration::from_millis(1800), "{waited:?}");
}

#[tokio::test]
async fn one_service_that_fails_among_many_is_told_apart() {
    let fake = FakeNacos::start(Generation::V1).await;
    for n in 0..200 {
        fake.model().put(&format!("svc-{n:03}"), vec![instance("10.0.0.1", 8080)]);
    }
    fake.model().faults.push(("serviceName=svc-077".into(), Fault::Status(500, "boom")));
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    assert_eq!(reading.endpoints().len(), 199);
    let unreadable = &reading.unreadable["public/DEFAULT_GROUP"];
    assert_eq!(unreadable.len(), 1);
    assert_eq!(&*unreadable[0].0.name, "svc-077");
    assert!(unreadable[0].1.contains("boom"), "{}", unreadable[0].1);
    fake.model().faults = vec![("instance/list".into(), Fault::Status(500, "boom"))];
    let failure = reading.failure().await;
    assert!(failure.contains("none of the 200 services"), "{failure}");
}

#[tokio::test]
async fn a_service_that_moves_between_pages_is_neither_lost_nor_doubled() {
    for generation in ALL {
        let fake = FakeNacos::start(generation).await;
        for n in 0..25 {
            fake.model().put(&format!("svc-{n:02}"), vec![instance("10.0.0.1", 8080)]);
        }
        fake.model().moves = 1;
        let mut reading = read(Config { page_size: 10, ..config(&[&fake]) });
        reading.list().await;
        let names: Vec<String> = reading.lists.values().flatten().map(|s| s.id.name.to_string()).collect();
        assert_eq!(names, (0..25).map(|n| format!("svc-{n:02}")).collect::<Vec<_>>(), "{generation:?}");
    }
}

#[tokio::test]
async fn bad_entries_are_left_out_with_a_note_and_neighbours_serve() {
    for generation in [Generation::V1, Generation::V2, Generation::V2Plain, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        let with = |ip: &str, field: &str, value: Value| {
            let mut instance = instance(ip, 8080);
            instance[field] = value;
            instance
        };
        let instances = vec![
            instance("10.0.0.1", 8080),
            instance("10.0.0.1", 8080),
            with("10.0.0.1", "clusterName", json!("hz")),
            with("10.0.0.2", "port", json!(70000)),
            with("10.0.0.3", "weight", json!(-1)),
            with("10.0.0.256", "enabled", json!(true)),
            with("10.0.0.5", "port", json!("http")),
            with("10.0.0.6", "metadata", Value::Null),
            with("10.0.0.7", "metadata", json!({"gRPC_port": "none"})),
        ];
        fake.model().put("orders", instances);
        fake.model().put("neighbour", vec![instance("10.0.0.9", 8080)]);
        let mut reading = read(config(&[&fake]));
        reading.list().await;
        let expected: &[&str] = &["10.0.0.1:8080", "10.0.0.1:8080", "10.0.0.3:8080", "10.0.0.6:8080", "10.0.0.7:8080"];
        assert_eq!(reading.endpoints(), endpoints(&[("neighbour", &["10.0.0.9:8080"]), ("orders", expected)]));
        let notes = &reading.service("orders").unwrap().notes;
        assert!(notes.iter().all(|n: &Note| n.reason == Reason::EntryInvalid), "{notes:#?}");
        let subjects: Vec<&str> = notes.iter().map(|n| &*n.subject).collect();
        let noted = ["10.0.0.256:8080", "10.0.0.2:70000", "10.0.0.3:8080", "10.0.0.5:http", "10.0.0.7:8080"];
        assert_eq!(subjects, noted, "{notes:#?}");
    }
}

#[tokio::test]
async fn namespaces_are_found_by_id_and_name_and_a_missing_one_fails_alone() {
    for generation in [Generation::V2, Generation::V3] {
        let fake = with_orders(generation).await;
        fake.model().namespaces.extend([("id-1".into(), "staging".into()), ("id-2".into(), "other".into())]);
        let named = FakeService { instances: vec![instance("10.0.1.1", 80)], ..Default::default() };
        fake.model().services().insert(key("id-1", "g", "staged"), named);
        let names = ["staging", "public", "nowhere"].map(Into::into).to_vec();
        let mut reading = read(Config { namespaces: Namespaces::Named(names), ..config(&[&fake]) });
        reading.until("all", |h| h.lists.len() == 2 && h.errors.len() == 1).await;
        assert_eq!(reading.scopes, ["id-1", "nowhere", "public"]);
        assert!(reading.errors["nowhere"].contains("id-1 (staging)"), "{:?}", reading.errors);
        assert_eq!(reading.service("staged").unwrap().id.to_string(), "r/id-1/g/staged");
        // One namespace that fails touches no other.
        fake.model().faults.push(("namespaceId=id-1".into(), Fault::Status(500, "")));
        let lists = reading.listed;
        reading.until("the failure", |h| h.errors.contains_key("id-1") && h.listed > lists + 1).await;
        fake.model().faults.clear();
        let mut all = read(Config { namespaces: Namespaces::All, ..config(&[&fake]) });
        all.until("the scopes", |h| !h.scopes.is_empty()).await;
        assert_eq!(all.scopes, ["id-1", "id-2", "public"]);
    }
}

#[tokio::test]
async fn groups_are_all_or_those_that_match() {
    let fake = with_orders(Generation::V2).await;
    for (group, name) in [("shop-eu", "a"), ("shop-us", "b"), ("lab", "c")] {
        fake.model().services().insert(key("public", group, name), FakeService::default());
    }
    let names = |reading: &Reading| reading.endpoints().into_keys().collect::<Vec<_>>();
    let mut all = read(config(&[&fake]));
    assert_eq!(names(all.list().await), ["a", "b", "c", "orders"]);
    let mut some = read(Config { groups: vec!["shop-*".into()], ..config(&[&fake]) });
    assert_eq!(names(some.list().await), ["a", "b"]);
    fake.model().services();
    fake.model().generation = Generation::V1;
    let groups = vec!["lab".into(), "DEFAULT_GROUP".into()];
    let mut single = read(Config { groups, ..config(&[&fake]) });
    single.until("both groups", |h| h.lists.len() == 2).await;
    assert_eq!(
        (names(&single), single.scopes.clone()),
        (
            vec!["c".to_string(), "orders".to_string()],
            vec!["public/DEFAULT_GROUP".to_string(), "public/lab".to_string()]
        )
    );
}

#[tokio::test]
async fn the_next_server_answers_when_one_is_lost() {
    let (first, second) = (with_orders(Generation::V2).await, with_orders(Generation::V2).await);
    let mut reading = read(config(&[&first, &second]));
    reading.list().await;
    assert_eq!(second.model().log.len(), 0);
    first.model().faults.push(("/".into(), Fault::Status(503, "")));
    reading.list().await;
    reading.list().await;
    assert_eq!(reading.failed, 0);
    let asked = first.model().log.len();
    reading.round().await;
    assert_eq!(first.model().log.len(), asked, "the good one is kept");
}

#[tokio::test]
async fn a_server_that_comes_late_is_read_then() {
    let address = FakeNacos::start(Generation::V2).await.address;
    let servers = vec![Config::server(&format!("http://{address}")).unwrap()];
    let mut reading = read(Config { mode: Mode::Poll, period: Config::MIN_PERIOD, ..Config::new(servers) });
    let failure = reading.failure().await;
    assert!(failure.contains("cannot reach"), "{failure}");
    let fake = FakeNacos::start_on(address, Generation::V2).await;
    fake.model().put("orders", vec![]);
    reading.list().await;
    assert_eq!(reading.endpoints(), endpoints(&[("orders", &[])]));
}

fn with_login(fake: &FakeNacos, password: &str) -> Config {
    let login = Login { username: "reader".into(), password: Secret::new(password) };
    Config { login: Some(login), ..config(&[fake]) }
}

/// A password and a token that servers echo as they came, encoded, and where a quotation would end.
#[tokio::test]
async fn secrets_that_a_server_echoes_are_blanked() {
    const PASSWORD: &str = "p4ss/w0rd";
    const TOKEN: &str = "t0ken-abcdef";
    let long = "<html><body>This is a page of some proxy: you are p4ss/w0rd!</body></html>";
    for (part, fault, expected) in [
        ("/login", Fault::Echo(500), "username=reader"),
        (
            "/login",
            Fault::Status(403, "reader:p4ss/w0rd (cmVhZGVyOnA0c3MvdzByZA==) is unknown"),
            "reader:*** (cmVhZGVyOn***",
        ),
        ("/login", Fault::Text(r#"{"code":500,"message":"no p4ss/w0rd"}"#), "no ***"),
        ("/ns/", Fault::Echo(500), "accesstoken\": \"***"),
        ("/ns/", Fault::Text(r#"{"code":500,"message":"bad t0ken-abcdef"}"#), "bad ***"),
        ("/ns/", Fault::Text(long), "you are ***"),
        ("/ns/", Fault::Status(500, r#"{"message":"p4ss%2Fw0rd or p4ss%2fw0rd"}"#), "*** or ***"),
    ] {
        let fake = with_orders(Generation::V2).await;
        fake.model().login = Some(("reader".into(), PASSWORD.into(), 18_000));
        fake.model().token = TOKEN.into();
        fake.model().faults.push((part.into(), fault.clone()));
        let failure = read(with_login(&fake, PASSWORD)).failure().await;
        assert!(failure.contains(expected), "{fault:?}: {failure}");
        // Nor any beginning of one, nor what was asked, which may hold a signature.
        let asked = failure.contains("namespaceId=") && !matches!(fault, Fault::Echo(_));
        assert!(!failure.contains("p4ss") && !failure.contains("t0ken") && !asked, "{fault:?}: {failure}");
    }
}

#[tokio::test]
async fn one_login_serves_all_requests() {
    for generation in ALL {
        let fake = FakeNacos::start(generation).await;
        for n in 0..50 {
            fake.model().put(&format!("svc-{n}"), vec![instance("10.0.0.1", 8080)]);
        }
        fake.model().login = Some(("reader".into(), "right".into(), 18_000));
        let mut reading = read(with_login(&fake, "right"));
        reading.list().await;
        assert_eq!(reading.endpoints().len(), 50, "{generation:?}");
        let logins = fake.model().log.iter().filter(|l| l.starts_with("POST") && l.ends_with("/login")).count();
        assert!(logins <= 2, "{generation:?}: {logins} logins");
        assert_eq!(fake.model().asked("right"), 0, "no password in an address");
        assert_eq!(fake.model().asked("token-0"), 0, "no token in an address");
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let fake = with_orders(Generation::V2).await;
    fake.model().login = Some(("reader".into(), "right".into(), 1));
    let mut reading = read(with_login(&fake, "right"));
    reading.until("a second login", |_| fake.model().asked("/v1/auth/login") >= 2).await;
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn a_wrong_password_makes_no_storm_and_is_in_no_error() {
    for generation in [Generation::V2, Generation::V3] {
        let fake = with_orders(generation).await;
        fake.model().login = Some(("reader".into(), "right".into(), 18_000));
        let mut reading = read(with_login(&fake, "s3cret"));
        let failure = reading.failure().await;
        assert!(failure.contains("cannot log in as reader") && !failure.contains("s3cret"), "{failure}");
        let first = reading.errors[""].clone();
        for _ in 0..4 {
            reading.failure().await;
        }
        let logins = fake.model().log.iter().filter(|l| l.starts_with("POST")).count();
        assert!(logins <= 4, "{generation:?}: {logins} attempts in 5 rounds");
        assert_eq!(reading.errors[""], first, "waiting for the next attempt is no news");
    }
}

#[tokio::test]
async fn a_login_goes_to_the_next_server_when_one_is_lost() {
    for fault in [Fault::Status(503, ""), Fault::Truncated] {
        let (first, second) = (with_orders(Generation::V2).await, with_orders(Generation::V2).await);
        second.model().login = Some(("reader".into(), "right".into(), 18_000));
        first.model().faults.push(("/".into(), fault));
        let both = Config { servers: config(&[&first, &second]).servers, ..with_login(&first, "right") };
        let mut reading = read(both);
        reading.list().await;
        assert_eq!((reading.failed, reading.endpoints().len()), (0, 1));
    }
}

#[tokio::test]
async fn an_odd_answer_to_a_login_is_not_quoted() {
    for answer in [
        r#"{"accessToken":"t0ken"}"#,
        r#"{"accessToken":"t0ken","tokenTtl":"t0ken"}"#,
        r#"{"accessToken":"t0ken\n","tokenTtl":9}"#,
        "t0ken",
    ] {
        let fake = with_orders(Generation::V2).await;
        fake.model().login = Some(("reader".into(), "right".into(), 18_000));
        fake.model().faults.push(("/login".into(), Fault::Text(answer)));
        let failure = read(with_login(&fake, "right")).failure().await;
        assert!(failure.contains("no usable one came from the login"), "{failure}");
        assert!(!failure.contains("t0ken"), "{failure}");
    }
}
