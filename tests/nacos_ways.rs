//! The ways to a Nacos: who names its servers, who we say that we are, which namespaces are meant.

mod support;

use axum::{Router, routing::get};
use portolan::{
    registry::{
        Kind,
        nacos::{AccessKey, Config, Login, Mode, Namespaces},
    },
    util::secret::Secret,
};
use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{
    fake_nacos::{FakeNacos, FakeService, Fault, Generation, instance, key},
    portolan::Portolan,
    reading::Reading,
};
use tokio::net::TcpListener;

fn config(servers: &[&FakeNacos]) -> Config {
    let servers = servers.iter().map(|s| Config::server(&s.url()).unwrap()).collect();
    Config { mode: Mode::Poll, period: Config::MIN_PERIOD, ..Config::new(servers) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Nacos(config))
}

async fn with_orders() -> FakeNacos {
    let fake = FakeNacos::start(Generation::V2).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
    fake
}

/// Answers every question with the text.
async fn address_server(text: Arc<Mutex<String>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(get(move || async move { text.lock().unwrap().clone() }));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

#[tokio::test]
async fn an_address_server_names_the_servers() {
    let fake = with_orders().await;
    let lines = Arc::new(Mutex::new("<html>Sign in</html>".to_owned()));
    let address = format!("http://{}/nacos/serverlist", address_server(lines.clone()).await);
    let named = Config { address_server: Some(address.parse().unwrap()), ..config(&[]) };
    let mut reading = read(named);
    let failure = reading.failure().await;
    assert!(failure.contains("is no list of servers: \"<html>Sign in</html>\""), "{failure}");
    *lines.lock().unwrap() = String::new();
    reading.failure().await;
    *lines.lock().unwrap() = format!("127.0.0.1:1\n\n {} \n", fake.address);
    reading.list().await;
    assert_eq!(reading.endpoints().len(), 1);
}

#[tokio::test]
async fn requests_are_signed_and_errors_do_not_show_it() {
    let fake = with_orders().await;
    let access_key = AccessKey { access_key: "my-key".into(), secret_key: Secret::new("s3cr3t") };
    let mut reading = read(Config { access_key: Some(access_key), ..config(&[&fake]) });
    reading.list().await;
    let log = fake.model().log.clone();
    assert!(log.iter().all(|line| line.contains("ak=my-key&data=") && line.contains("&signature=")), "{log:#?}");
    assert!(log.iter().all(|line| !line.contains("s3cr3t")), "{log:#?}");
    fake.model().faults.push(("/".into(), Fault::Status(403, "")));
    let failure = reading.failure().await;
    assert!(failure.contains("403") && !failure.contains("signature="), "{failure}");
    // What has been signed for one service is what Nacos' own client signs.
    let asked = log.iter().find(|line| line.contains("serviceName=orders")).unwrap();
    let url = reqwest::Url::parse(&format!("http://n{}", asked.trim_start_matches("GET "))).unwrap();
    let sent: HashMap<_, _> = url.query_pairs().into_owned().collect();
    let (millis, service) = sent["data"].split_once("@@").unwrap();
    assert_eq!((millis.len(), service), (13, "DEFAULT_GROUP@@orders"));
    let Some(theirs) = java(&["my-key", "s3cr3t", "DEFAULT_GROUP", "orders"]) else { return };
    let [ak, data, _] = &theirs[theirs.len() - 3..] else { panic!("{theirs:?}") };
    assert_eq!((&**ak, data.split_once("@@").unwrap().1), (&*sent["ak"], service));
    let theirs = java(&["my-key", "s3cr3t", &sent["data"]]).unwrap();
    assert_eq!(theirs.last(), Some(&sent["signature"]));
}

/// What Nacos' own Java client says. `None` where it cannot be had and need not be.
fn java(arguments: &[&str]) -> Option<Vec<String>> {
    let script = format!("{}/tests/servers/nacos-signature", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(script).args(arguments).output().unwrap();
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        assert!(std::env::var("PORTOLAN_REAL_SERVERS").as_deref() != Ok("required"), "{why}");
        eprintln!("SKIP: Nacos' Java client cannot be had: {why}");
        return None;
    }
    Some(said.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn namespaces_are_meant_by_pattern_and_followed_as_they_come_and_go() {
    let fake = with_orders().await;
    let named = |id: &str, name: &str| (id.to_owned(), name.to_owned());
    fake.model().namespaces.extend([named("id-1", "team-a"), named("id-2", "lab")]);
    let namespaces = Namespaces::Named(vec!["team-*".into()]);
    let mut reading = read(Config { namespaces, ..config(&[&fake]) });
    reading.list().await;
    assert_eq!(reading.scopes, ["id-1"]);
    let service = FakeService { instances: vec![instance("10.0.1.1", 80)], ..Default::default() };
    fake.model().services().insert(key("id-3", "g", "late"), service);
    fake.model().namespaces.push(named("id-3", "team-b"));
    reading.until("the namespace that came", |h| h.service("late").is_some()).await;
    assert_eq!(reading.scopes, ["id-1", "id-3"]);
    fake.model().namespaces.retain(|(id, _)| id != "id-1");
    fake.model().services();
    reading.until("the namespace that went", |h| h.scopes == ["id-3"]).await;
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn without_push_the_services_are_polled() {
    let fake = with_orders().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut reading = read(Config { mode: Mode::Auto, grpc_port: Some(closed), ..config(&[&fake]) });
    reading.list().await;
    fake.model().put("late", vec![]);
    reading.until("the change", |h| h.service("late").is_some()).await;
    assert_eq!(reading.failed, 0);
    // Who has asked for push is told that there is none; what is there is served.
    let push = Config { mode: Mode::Push, grpc_port: Some(closed), ..config(&[&fake]) };
    let mut reading = read(Config { resync: Duration::from_secs(1), ..push });
    reading.list().await;
    let failure = reading.failure().await;
    assert!(failure.contains("nothing is pushed") && failure.contains("cannot reach"), "{failure}");
    reading.list().await;
    assert_eq!(reading.endpoints().len(), 2);
}

#[tokio::test]
async fn what_registers_to_call_others_is_no_service() {
    for generation in [Generation::V1, Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        fake.model().put("providers:com.acme.Pay:1.0:", vec![instance("10.0.0.1", 20880)]);
        fake.model().put("consumers:com.acme.Pay:1.0:", vec![instance("10.0.0.9", 0)]);
        let mut bridged = instance("10.0.0.2", 80);
        bridged["metadata"] = serde_json::json!({"register-resource": "mcp-bridge"});
        fake.model().put("mixed", vec![bridged, instance("10.0.0.3", 80)]);
        let mut reading = read(config(&[&fake]));
        reading.list().await;
        let shown: Vec<(String, Vec<String>)> = reading.endpoints().into_iter().collect();
        let expected = [("mixed", "10.0.0.3:80"), ("providers:com.acme.Pay:1.0:", "10.0.0.1:20880")];
        assert_eq!(
            shown,
            expected.map(|(name, address)| (name.to_owned(), vec![address.to_owned()])),
            "{generation:?}"
        );
    }
}

#[tokio::test]
async fn a_restart_that_forgets_all_tokens_costs_one_login_and_no_service() {
    let fake = with_orders().await;
    fake.model().login = Some(("reader".into(), "right".into(), 18_000));
    let login = Login { username: "reader".into(), password: Secret::new("right") };
    let mut reading = read(Config { login: Some(login), ..config(&[&fake]) });
    reading.list().await;
    fake.model().token = "of-another-key".into();
    reading.failure().await;
    let listed = reading.listed;
    reading.until("a list by another token", |h| h.listed > listed).await;
    assert_eq!(reading.endpoints().len(), 1);
    let logins = fake.model().log.iter().filter(|line| line.starts_with("POST")).count();
    assert!(logins <= 4, "{logins} attempts");
}

#[tokio::test]
async fn a_service_may_have_thousands_of_instances_and_any_name() {
    for generation in [Generation::V1, Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        let address = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
        fake.model().put("huge", (0..5000).map(|n| instance(&address(n), 80)).collect());
        let odd = "a&b=c d%2F+ü?#@@x";
        fake.model().put(odd, vec![instance("10.0.0.1", 80)]);
        let mut reading = read(config(&[&fake]));
        reading.list().await;
        let counts: Vec<usize> = reading.endpoints().values().map(Vec::len).collect();
        assert_eq!(counts.iter().max(), Some(&5000), "{generation:?}");
        assert_eq!(counts.len(), 2, "{generation:?}: {:?}", reading.endpoints().keys());
    }
}

/// The names in the lists of the scopes that are named: what the catalog does not let go.
fn held(reading: &Reading) -> BTreeSet<&str> {
    let lists = reading.scopes.iter().filter_map(|scope| reading.lists.get(scope));
    lists.flatten().map(|service| &*service.id.name).collect()
}

/// Waits until it is read by these scopes alone; all the time all services are held.
async fn hand_over(reading: &mut Reading, scopes: &[&str], services: &[&str]) {
    let all: BTreeSet<&str> = services.iter().copied().collect();
    assert_eq!(held(reading), all);
    let whole = |h: &Reading| {
        assert_eq!(held(h), all, "{:?}", h.scopes);
        h.scopes == scopes && scopes.iter().all(|scope| h.lists.contains_key(*scope))
    };
    reading.until(&format!("{scopes:?}"), whole).await;
    let listed = reading.listed;
    reading.until("more lists", |h| whole(h) && h.listed > listed + scopes.len()).await;
}

fn in_group(fake: &FakeNacos, group: &str, name: &str) {
    let service = FakeService { instances: vec![instance("10.0.0.2", 80)], ..Default::default() };
    fake.model().services().insert(key("public", group, name), service);
}

#[tokio::test]
async fn a_better_interface_is_found_later_and_no_service_is_missed_meanwhile() {
    for (worse, better) in
        [(Generation::V1, Generation::V2), (Generation::V2Plain, Generation::V2), (Generation::V3Plain, Generation::V3)]
    {
        let fake = FakeNacos::start(worse).await;
        fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
        in_group(&fake, "shop", "carts");
        let groups = vec!["shop".into(), "DEFAULT_GROUP".into()];
        let resync = Duration::from_secs(1);
        let mut reading = read(Config { groups, resync, ..config(&[&fake]) });
        reading.until("both groups", |h| h.lists.len() == 2).await;
        fake.model().services();
        fake.model().generation = better;
        hand_over(&mut reading, &["public"], &["carts", "orders"]).await;
        // And down again, as soon as it is refused.
        fake.model().services();
        fake.model().generation = worse;
        hand_over(&mut reading, &["public/DEFAULT_GROUP", "public/shop"], &["carts", "orders"]).await;
        assert_eq!(reading.removed, [""; 0]);
    }
}

#[tokio::test]
async fn an_interface_that_is_refused_for_a_moment_is_the_one_that_is_used() {
    let fake = FakeNacos::start(Generation::V2).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
    fake.model().faults.push(("/v1/ns/catalog/services".into(), Fault::Once(403)));
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    assert_eq!(reading.scopes, ["public"]);
    assert_eq!((reading.failed, held(&reading).len()), (0, 1), "{:?}", reading.errors);
}

#[tokio::test]
async fn a_better_interface_is_looked_for_seldom() {
    let fake = FakeNacos::start(Generation::V3Plain).await;
    let mut reading = read(Config { resync: Duration::from_millis(500), ..config(&[&fake]) });
    let lists = 20;
    reading.until("many lists", |h| h.listed > lists).await;
    // After half a second, then each time twice as late.
    let asked = fake.model().asked("/v3/admin/ns/service/list");
    assert!((2..=8).contains(&asked), "{asked} looks in {} lists", reading.listed);
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn an_interface_that_is_better_for_one_namespace_and_bad_for_another_is_not_taken() {
    let fake = FakeNacos::start(Generation::V3Plain).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
    let namespaces = Namespaces::Named(vec!["public".into(), "public-2".into()]);
    fake.model().faults.push(("core/namespace".into(), Fault::Status(403, "")));
    let mut reading = read(Config { namespaces, resync: Duration::from_millis(500), ..config(&[&fake]) });
    reading.until("both namespaces", |h| h.lists.len() == 2).await;
    let list = "/v3/admin/ns/service/list?namespaceId=public&";
    let page = r#"{"code":0,"data":{"totalCount":0,"pageItems":[]}}"#;
    fake.model().faults.push((list.into(), Fault::Text(page)));
    let asked = || fake.model().asked("/v3/admin/ns/service/list?namespaceId=public-2");
    let before = asked();
    reading.until("a look", |_| asked() > before).await;
    let listed = reading.listed;
    reading.until("more lists", |h| h.listed > listed + 2).await;
    assert_eq!(reading.scopes, ["public-2/DEFAULT_GROUP", "public/DEFAULT_GROUP"]);
    assert_eq!((reading.failed, held(&reading).len()), (0, 1), "{:?}", reading.errors);
}

#[tokio::test]
async fn groups_that_a_worse_interface_cannot_read_stay_as_they_were() {
    let fake = with_orders().await;
    in_group(&fake, "shop", "carts");
    let mut reading = read(config(&[&fake]));
    reading.list().await;
    fake.model().faults.push(("/v1/ns/catalog".into(), Fault::Status(403, "")));
    fake.model().faults.push(("groupName=shop".into(), Fault::Status(403, "")));
    let scopes = ["public", "public/DEFAULT_GROUP", "public/shop"];
    reading.until("one group", |h| h.lists.contains_key("public/DEFAULT_GROUP")).await;
    reading.until("the failure of the other", |h| h.errors.contains_key("public/shop")).await;
    let listed = reading.listed;
    reading.until("more lists", |h| h.listed > listed + 2).await;
    assert_eq!(reading.scopes, scopes);
    assert!(reading.errors["public"].contains("403"), "who stands in is as stale: {:?}", reading.errors);
    assert_eq!(held(&reading), ["carts", "orders"].into());
    fake.model().faults.truncate(1);
    hand_over(&mut reading, &scopes[1..], &["carts", "orders"]).await;
}

#[tokio::test]
async fn the_right_to_one_group_is_enough_where_it_is_named() {
    for generation in [Generation::V1, Generation::V2Plain, Generation::V3Plain] {
        let fake = FakeNacos::start(generation).await;
        in_group(&fake, "shop", "carts");
        fake.model().faults.push(("groupName=DEFAULT_GROUP".into(), Fault::Status(403, "")));
        let mut reading = read(Config { groups: vec!["shop".into()], ..config(&[&fake]) });
        reading.list().await;
        assert_eq!((reading.scopes.clone(), reading.failed), (vec!["public/shop".to_owned()], 0), "{generation:?}");
        assert_eq!(held(&reading), ["carts"].into());
    }
}

#[tokio::test]
async fn patterns_of_groups_are_no_empty_list_where_groups_cannot_be_listed() {
    let fake = FakeNacos::start(Generation::V1).await;
    in_group(&fake, "shop-eu", "carts");
    let mut reading = read(Config { groups: vec!["shop-*".into()], ..config(&[&fake]) });
    let failure = reading.failure().await;
    assert!(failure.contains("name them in full"), "{failure}");
    reading.failure().await;
    assert_eq!(reading.listed, 0);
}

#[tokio::test]
async fn a_namespace_named_by_its_name_keeps_its_services_when_it_cannot_be_found_any_more() {
    for generation in [Generation::V2, Generation::V2Plain, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        fake.model().namespaces.push(("id-1".into(), "staging".into()));
        let service = FakeService { instances: vec![instance("10.0.1.1", 80)], ..Default::default() };
        fake.model().services().insert(key("id-1", "DEFAULT_GROUP", "staged"), service);
        let namespaces = Namespaces::Named(vec!["staging".into()]);
        let mut reading = read(Config { namespaces, ..config(&[&fake]) });
        reading.list().await;
        let scopes = reading.scopes.clone();
        fake.model().services();
        fake.model().namespaces.pop();
        let failure = reading.failure().await;
        assert!(failure.contains("namespace \"staging\" does not exist"), "{failure}");
        reading.failure().await;
        assert!(scopes.iter().all(|scope| reading.scopes.contains(scope)), "{scopes:?} {:?}", reading.scopes);
        assert!(scopes.iter().all(|scope| reading.errors.contains_key(scope)), "{generation:?} {:?}", reading.errors);
        assert_eq!(held(&reading), ["staged"].into());
        fake.model().services();
        fake.model().namespaces.push(("id-1".into(), "staging".into()));
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        hand_over(&mut reading, &scopes, &["staged"]).await;
        // The list is not for us any more: what the name meant is known.
        for path in ["/v1/console/namespaces", "namespace/list"] {
            fake.model().faults.push((path.into(), Fault::Status(403, "")));
        }
        let failed = reading.failed;
        hand_over(&mut reading, &scopes, &["staged"]).await;
        assert_eq!(reading.failed, failed, "{:?}", reading.errors);
    }
}

/// Dubbo's consumers are no services: they are read apart, and an answer that fails leaves what they said.
#[tokio::test]
async fn consumers_of_dubbo_say_what_they_need_and_are_no_services() {
    let fake = with_orders().await;
    let consumer = |application: Option<&str>| {
        let mut instance = instance("10.0.9.1", 0);
        instance["metadata"] = serde_json::json!({ "side": "consumer", "interface": "a.B$C", "protocol": "consumer" });
        if let Some(application) = application {
            instance["metadata"]["application"] = application.into();
        }
        instance
    };
    fake.model().put("consumers:a.B___C:1.0:*", vec![consumer(Some("cart")), consumer(None)]);
    let portolan = support::local::Local::start(&format!(
        "registries:\n- name: n\n  nacos: {{ servers: ['{}'], mode: poll, period: 200ms, resync: 200ms, dubbo: {{ consumers: true }} }}\n",
        fake.url()
    ))
    .await;
    portolan.ready().await;
    let until_said = async |what: &str, expected: &[&str]| {
        support::until(what, Duration::from_secs(60), async || {
            let calls = portolan.json("/api/v1/calls").await;
            let of = |a: &serde_json::Value| {
                let needs = a["needs"].as_array().unwrap().iter();
                let gone = |need: &serde_json::Value| if need["gone_since"].is_null() { "" } else { " gone" };
                let needs: Vec<String> =
                    needs.map(|n| format!("{}{}", n["service"].as_str().unwrap(), gone(n))).collect();
                format!("{}: {}", a["application"].as_str().unwrap(), needs.join(" "))
            };
            let mut found: Vec<String> = calls["applications"].as_array().unwrap().iter().map(of).collect();
            found.extend(calls["notes"].as_array().unwrap().iter().map(|note| note["detail"].to_string()));
            if found == expected { Ok(()) } else { Err(calls.to_string()) }
        })
        .await;
    };
    let note = "\"10.0.9.1 says no application, so nobody knows who needs it\"";
    until_said("what is there", &["cart: a.B$C:*:1.0", note]).await;
    let services = portolan.json("/api/v1/services").await;
    assert_eq!(services["total"], 1, "{services}");
    fake.model().put("consumers:a.C::", vec![consumer(Some("late"))]);
    fake.model().put("consumers:a.B___C:1.0:*", vec![]);
    until_said("what has changed", &["cart: a.B$C:*:1.0 gone", "late: a.B$C"]).await;
}

fn consumer_of(application: &str) -> serde_json::Value {
    let mut instance = instance("10.0.9.1", 0);
    instance["metadata"] =
        serde_json::json!({ "side": "consumer", "protocol": "consumer", "application": application });
    instance
}

/// What nobody says any more keeps its age; what is said is there before it is read again, and nobody is narrowed meanwhile.
#[tokio::test]
async fn what_consumers_needed_keeps_its_age_over_a_restart() {
    let fake = with_orders().await;
    fake.model().put("consumers:a.A::", vec![consumer_of("cart")]);
    fake.model().put("consumers:a.B::", vec![consumer_of("cart")]);
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "registries:\n- name: n\n  nacos: {{ servers: ['{}'], mode: poll, period: 200ms, resync: 200ms, dubbo: {{ consumers: true }} }}\n\
         state: {{ dir: '{}', quiet: 100ms }}\n",
        fake.url(),
        folder.path().display()
    );
    let needs = async |portolan: &Portolan, said: usize, gone: usize| {
        support::until("the needs", Duration::from_secs(60), async || {
            let calls = portolan.json("/api/v1/calls").await;
            let needs = calls["applications"][0]["needs"].as_array().cloned().unwrap_or_default();
            let (over, still): (Vec<_>, Vec<_>) = needs.into_iter().partition(|need| !need["gone_since"].is_null());
            if (still.len(), over.len()) == (said, gone) { Ok(over) } else { Err(calls.to_string()) }
        })
        .await
    };
    let first = Portolan::start(&config).await;
    needs(&first, 2, 0).await;
    fake.model().put("consumers:a.B::", vec![]);
    let over = needs(&first, 1, 1).await;
    let (_, metrics) = first.get("/metrics").await;
    for line in ["calls_applications 1", "calls_needs{state=\"said\"} 1", "calls_needs{state=\"kept\"} 1"] {
        assert!(metrics.contains(&format!("portolan_{line}\n")), "{line} in {metrics}");
    }
    assert!(metrics.contains("portolan_calls_registry_read{registry=\"n\"} 1\n"), "{metrics}");
    assert!(first.terminate().await.success());

    // Nothing can be read: all is known, and all of it is as old as it was, or as this start.
    fake.model().faults.push(("/".into(), Fault::Status(500, "")));
    let second = Portolan::start(&config).await;
    let both = needs(&second, 0, 2).await;
    assert_eq!(both.iter().filter(|need| over.contains(need)).count(), 1, "{both:?}");
    let failing = "portolan_calls_registry_read{registry=\"n\"} 0\n";
    support::until("the failure to be counted", Duration::from_secs(60), async || {
        let (_, metrics) = second.get("/metrics").await;
        let is_told = metrics.contains(failing) && metrics.contains("portolan_calls_failures_total{registry=\"n\"}");
        if is_told { Ok(()) } else { Err(metrics) }
    })
    .await;
    fake.model().faults.clear();
    assert_eq!(needs(&second, 1, 1).await, over);
    assert!(second.terminate().await.success());

    // What is damaged costs what it had.
    std::fs::write(folder.path().join("all.calls"), "portolan state\nnonsense").unwrap();
    let third = Portolan::start(&config).await;
    needs(&third, 1, 0).await;
    assert!(folder.path().join("all.calls.damaged").exists(), "{}", third.log());
}

/// A rule that has become too long is told where other rules are, and what it said before holds.
#[tokio::test]
async fn a_rule_that_is_too_long_is_told_and_holds_as_it_was() {
    for generation in [Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        fake.model().put("providers:a.A::", vec![instance("10.0.0.1", 20880)]);
        let rule = |weight: u32, more: usize| {
            let long = "x".repeat(more);
            let item = format!("side: provider\n  parameters: {{ weight: {weight}, x: '{long}' }}");
            support::landing::dubbo_rule("service", "a.A", &item)
        };
        let put = |text: &str| {
            let id = support::fake_nacos::key("public", "dubbo", "a.A::.configurators");
            fake.model().configs.texts.insert(id, text.into());
        };
        put(&rule(50, 0));
        let portolan = support::local::Local::start(&format!(
            "registries:\n- name: n\n  nacos: {{ servers: ['{}'], mode: poll, period: 200ms, dubbo: {{ overrides: true }} }}\n  \
             publish: {{ linger: 0s, host: '{{label:interface}}.dubbo' }}\n",
            fake.url()
        ))
        .await;
        let until_weight = async |what: &str, weight: f64, told: &str| {
            support::until(what, Duration::from_secs(60), async || {
                let detail = portolan.get("/api/v1/services/a.a.dubbo").await.1;
                let shown = portolan.get("/api/v1/services?q=configurators").await.1;
                let detail: serde_json::Value = serde_json::from_str(&detail).map_err(|_| detail.clone())?;
                let is_told = if told.is_empty() { !shown.contains("1 MiB") } else { shown.contains(told) };
                if detail["instances"][0]["weight"] == weight && is_told {
                    Ok(())
                } else {
                    Err(format!("{detail} {shown}"))
                }
            })
            .await;
        };
        until_weight("the rule", 0.5, "").await;
        put(&rule(70, 1 << 20));
        until_weight("too long", 0.5, "what it said before stays in force: it is longer than 1 MiB").await;
        put(&rule(80, 0));
        until_weight("short again", 0.8, "").await;
    }
}
