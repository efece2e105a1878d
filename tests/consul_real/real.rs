//! What only a real Consul shows: agents' own checks and maintenance, ACLs, TLS, datacenters, proxies of its mesh, restarts.

use crate::{
    config, read,
    support::{
        consul::{Consul, Writer},
        reading::Reading,
        tcp_proxy::TcpProxy,
        tls,
    },
};
use portolan::{
    model::Health,
    registry::{
        consul::{AddressOf, Config, Consistency, Rules, server},
        transport::{Connection, Identity, Tls},
    },
    util::secret::Secret,
};
use serde_json::{Value, json};
use std::time::Duration;

const MANAGEMENT: &str = "11111111-2222-3333-4444-555555555555";

/// The state of the one instance of a service.
fn state(reading: &Reading, name: &str) -> Option<(Health, bool)> {
    reading.service(name).map(|service| (service.endpoints[0].health, service.endpoints[0].enabled))
}

#[tokio::test]
async fn an_agents_checks_and_maintenance_are_followed_by_reading_only() {
    let Some(consul) = Consul::start().await else { return };
    let recorder = TcpProxy::start(consul.address()).await;
    let mut reading = read(config(&recorder.url()));
    reading.list().await;
    let to = &consul.writer;
    let service = json!({"ID": "web-1", "Name": "web", "Address": "10.0.0.1", "Port": 80, "Check": {"CheckID": "ttl", "TTL": "60s"}});
    to.put("/v1/agent/service/register", service).await;
    reading
        .until("the instance, whose check has not passed", |h| state(h, "web") == Some((Health::Unhealthy, true)))
        .await;
    for (way, expected) in [("pass", Health::Healthy), ("fail", Health::Unhealthy), ("warn", Health::Healthy)] {
        to.put(&format!("/v1/agent/check/{way}/ttl"), json!(null)).await;
        reading.until(way, |h| state(h, "web") == Some((expected, true))).await;
    }
    to.put("/v1/agent/service/maintenance/web-1?enable=true&reason=tests", json!(null)).await;
    reading.until("maintenance", |h| state(h, "web") == Some((Health::Healthy, false))).await;
    to.put("/v1/agent/service/maintenance/web-1?enable=false", json!(null)).await;
    reading.until("its end", |h| state(h, "web") == Some((Health::Healthy, true))).await;
    to.put("/v1/agent/maintenance?enable=true", json!(null)).await;
    reading.until("the agent's maintenance", |h| state(h, "web") == Some((Health::Healthy, false))).await;
    to.put("/v1/agent/maintenance?enable=false", json!(null)).await;
    let proxy = json!({"Name": "web-sidecar-proxy", "Kind": "connect-proxy", "Port": 21000, "Proxy": {"DestinationServiceName": "web"}});
    to.put("/v1/agent/service/register", proxy).await;
    let rules = Rules { proxies: true, ..Rules::default() };
    let mut all = read(Config { rules, ..config(&consul.url()) });
    all.until("the sidecar, for who wants it", |h| h.service("web-sidecar-proxy").is_some()).await;
    to.put("/v1/agent/service/deregister/web-1", json!(null)).await;
    reading.until("it to be gone", |h| h.service("web").is_none()).await;
    assert!(reading.service("web-sidecar-proxy").is_none() && reading.failed == 0, "{:?}", reading.failures);
    assert!(recorder.asked().iter().all(|line| line.starts_with("GET /v1/")), "{:?}", recorder.asked());
}

#[tokio::test]
async fn a_server_that_forgets_everything_has_forgotten_it() {
    let Some(mut consul) = Consul::start().await else { return };
    let instance = |port: u16| json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "web", "Port": port}});
    for port in 1..40 {
        consul.writer.register(instance(port)).await;
    }
    let mut reading = read(config(&consul.url()));
    reading.list().await;
    consul.kill().await;
    let failure = reading.failure().await;
    assert!(failure.contains("cannot reach") || failure.contains("broke off"), "{failure}");
    assert!(reading.service("web").is_some());
    consul.restart().await;
    consul.writer.register(instance(99)).await;
    reading.until("what is there now", |h| h.endpoints().get("web").is_some_and(|all| *all == ["10.0.0.1:99"])).await;
}

/// A server that asks for tokens, with one that may manage all.
async fn with_acls() -> Option<(Consul, Writer)> {
    let tokens = json!({"initial_management": MANAGEMENT, "agent": MANAGEMENT});
    let acl = json!({"enabled": true, "default_policy": "deny", "tokens": tokens});
    let consul = Consul::start_with(json!({"acl": acl, "primary_datacenter": "dc1"})).await?;
    let manager = consul.writer.with_token(MANAGEMENT);
    Some((consul, manager))
}

async fn policy(manager: &Writer, name: &str, rules: &str) -> String {
    let made = manager.put("/v1/acl/policy", json!({"Name": name, "Rules": rules})).await;
    serde_json::from_str::<Value>(&made).unwrap()["ID"].as_str().unwrap().to_owned()
}

async fn token(manager: &Writer, policies: &[&str]) -> (String, String) {
    let policies: Vec<Value> = policies.iter().map(|name| json!({"Name": name})).collect();
    let made = manager.put("/v1/acl/token", json!({"Policies": policies})).await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let part = |key: &str| made[key].as_str().unwrap().to_owned();
    (part("SecretID"), part("AccessorID"))
}

#[tokio::test]
async fn what_acls_hide_is_not_gone() {
    let Some((consul, manager)) = with_acls().await else { return };
    for name in ["web", "users"] {
        let instance = json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": name, "Port": 80}});
        manager.register(instance).await;
    }
    let all = "service_prefix \"\" { policy = \"read\" }\nnode_prefix \"\" { policy = \"read\" }";
    let id = policy(&manager, "all", all).await;
    let (secret, accessor) = token(&manager, &["all"]).await;
    // No token is one that may read nothing.
    let error = read(config(&consul.url())).failure().await;
    assert!(error.contains("lists no service at all"), "{error}");
    let unknown = Some(Secret::new("22222222-0000-0000-0000-000000000000"));
    let error = read(Config { token: unknown, ..config(&consul.url()) }).failure().await;
    assert!(error.contains("403") && error.contains("check `token`") && !error.contains("22222222"), "{error}");
    // Denied by changes of what it is held for: tokens of policies are looked up again within seconds.
    let mut reading =
        read(Config { token: Some(Secret::new(&*secret)), wait: Duration::from_secs(1), ..config(&consul.url()) });
    reading.until("both", |h| h.endpoints().len() == 2).await;
    let narrow = "service \"users\" { policy = \"read\" }\nnode_prefix \"\" { policy = \"read\" }";
    manager.put(&format!("/v1/acl/policy/{id}"), json!({"Name": "all", "Rules": narrow})).await;
    reading.until("that one is hidden", |h| !h.unreadable.get("").is_none_or(Vec::is_empty)).await;
    let (service, why) = &reading.unreadable[""][0];
    assert!(&*service.name == "web" && why.contains("hidden by ACLs"), "{service} {why}");
    assert!(reading.removed.is_empty());
    manager.put(&format!("/v1/acl/policy/{id}"), json!({"Name": "all", "Rules": all})).await;
    reading.until("both again", |h| h.unreadable[""].is_empty() && h.endpoints().len() == 2).await;
    // The token itself is deleted.
    let gone = format!("/v1/acl/token/{accessor}");
    let http = crate::support::http::client();
    let deleted =
        http.delete(format!("{}{gone}", consul.url())).header("x-consul-token", MANAGEMENT).send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    let error = reading.failure().await;
    assert!(error.contains("403"), "{error}");
    assert!(reading.removed.is_empty() && reading.endpoints().len() == 2);
}

#[tokio::test]
async fn tls_with_a_client_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = tls::ONE;
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let port = crate::support::servers::free_ports(11_500..13_000, &[0]);
    let defaults = json!({
        "ca_file": write("ca.pem", authority.pem), "cert_file": write("server.pem", authority.server.cert),
        "key_file": write("server.key", authority.server.key), "verify_incoming": false,
    });
    let settings = json!({"tls": {"defaults": defaults, "https": {"verify_incoming": true}}, "ports": {"https": port}});
    let Some(consul) = Consul::start_with(settings).await else { return };
    consul
        .writer
        .register(json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "web", "Port": 80}}))
        .await;
    let with = |identity: Option<Identity>| {
        let tls = Tls { ca: Some(authority.pem.into()), identity };
        let connection = Connection { tls, ..Connection::default() };
        Config { connection, ..Config::new(vec![server(&format!("https://localhost:{port}")).unwrap()]) }
    };
    let identity = Identity { cert: authority.client.cert.into(), key: Secret::new(authority.client.key) };
    let mut reading = read(with(Some(identity)));
    reading.until("the service", |h| h.service("web").is_some()).await;
    assert!(!read(with(None)).failure().await.is_empty(), "without a certificate");
}

#[tokio::test]
async fn two_datacenters_that_are_joined() {
    let Some(first) = Consul::start().await else { return };
    let other = json!({"datacenter": "dc2", "retry_join_wan": [first.wan()]});
    let Some(mut second) = Consul::start_with(other).await else { return };
    for (consul, port) in [(&first, 1), (&second, 2)] {
        let instance = json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "web", "Port": port}});
        consul.writer.register(instance).await;
    }
    let datacenters = vec!["dc1".into(), "dc2".into()];
    let mut reading = read(Config { datacenters, ..config(&first.url()) });
    let port = |h: &Reading, dc: &str| Some(h.lists.get(dc)?.first()?.endpoints.first()?.ports[0].number.get());
    reading.until("both", |h| port(h, "dc1") == Some(1) && port(h, "dc2") == Some(2)).await;
    second.kill().await;
    reading.until("one to fail alone", |h| h.errors.contains_key("dc2")).await;
    assert!(!reading.errors.contains_key("dc1") && port(&reading, "dc2") == Some(2));
    let again = json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "web", "Port": 7}});
    first.writer.register(again).await;
    reading.until("the other to go on", |h| port(h, "dc1") == Some(7)).await;
}

#[tokio::test]
async fn a_token_that_may_see_half_of_it_has_that_half() {
    let Some((consul, manager)) = with_acls().await else { return };
    let put = async |name: &str, port: u16| {
        let instance = json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": name, "Port": port}});
        manager.register(instance).await;
    };
    for name in ["shop-web", "shop-users", "bank-web", "bank-users"] {
        put(name, 80).await;
    }
    let rules = "service_prefix \"shop-\" { policy = \"read\" }\nnode_prefix \"\" { policy = \"read\" }";
    policy(&manager, "shop", rules).await;
    let (secret, _) = token(&manager, &["shop"]).await;
    let mut reading = read(Config { token: Some(Secret::new(&*secret)), ..config(&consul.url()) });
    reading.list().await;
    let names = |h: &Reading| h.endpoints().into_keys().collect::<Vec<_>>();
    assert_eq!(names(&reading), ["shop-users", "shop-web"]);
    // In a list from which something is always hidden changes are seen, and what is gone is.
    put("shop-web", 81).await;
    reading.until("another port", |h| h.endpoints()["shop-web"] == ["10.0.0.1:81"]).await;
    put("shop-jobs", 1).await;
    reading.until("a new one", |h| names(h) == ["shop-jobs", "shop-users", "shop-web"]).await;
    manager.deregister(json!({"Node": "n", "ServiceID": "shop-users"})).await;
    reading.until("one to be gone", |h| names(h) == ["shop-jobs", "shop-web"]).await;
    put("bank-jobs", 1).await;
    put("shop-last", 1).await;
    reading.until("the last", |h| names(h) == ["shop-jobs", "shop-last", "shop-web"]).await;
    assert_eq!((reading.failed, reading.unreadable[""].len()), (0, 0), "{:?}", reading.failures);
}

#[tokio::test]
async fn an_agent_is_read_by_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}/consul.sock", folder.path().display());
    let settings = json!({"addresses": {"http": format!("127.0.0.1 {socket}")}});
    let Some(consul) = Consul::start_with(settings).await else { return };
    let mut reading = read(Config::new(vec![server(&socket).unwrap()]));
    reading.list().await;
    let instance = |port: u16| json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "web", "Port": port}});
    for port in [80, 81] {
        consul.writer.register(instance(port)).await;
        let place = format!("10.0.0.1:{port}");
        reading.until("the change", |h| h.endpoints().get("web").is_some_and(|all| *all == [&*place])).await;
    }
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn each_consistency_and_tagged_address_is_had_from_a_real_one() {
    let Some(consul) = Consul::start().await else { return };
    let tagged = json!({"lan_ipv4": {"Address": "10.9.0.1", "Port": 1}, "wan": {"Address": "192.0.2.1", "Port": 2}});
    let nodes = json!({"wan_ipv6": "2001:db8::1"});
    consul
        .writer
        .register(json!({
            "Node": "n", "Address": "10.0.0.1", "TaggedAddresses": nodes,
            "Service": {"Service": "web", "Port": 80, "TaggedAddresses": tagged},
        }))
        .await;
    for (consistency, address, expected) in [
        (Consistency::Default, AddressOf::Plain, "10.0.0.1:80"),
        (Consistency::Stale, AddressOf::Tagged("lan_ipv4"), "10.9.0.1:1"),
        (Consistency::Consistent, AddressOf::Tagged("wan"), "192.0.2.1:2"),
        (Consistency::Stale, AddressOf::Tagged("wan_ipv6"), "2001:db8::1:80"),
    ] {
        let rules = Rules { address, ..Rules::default() };
        let mut reading = read(Config { consistency, rules, ..config(&consul.url()) });
        reading.until(expected, |h| h.endpoints().get("web").is_some_and(|all| *all == [expected])).await;
    }
}
