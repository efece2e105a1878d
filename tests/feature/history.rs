//! A bad change, and one command that takes it back.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::{portolan::Portolan, until},
};
use portolan::resource::Kind;
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use tokio::process::Command;
use tonic::transport::Endpoint;

const GOOD: &str = "
services:
- host: orders.example
  endpoints: [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\"]
- host: users.example
  endpoints: [\"10.0.0.4:80\"]
";

fn config(folder: &Path) -> String {
    format!(
        "registries: [{{ name: shop, file: {{ path: '{0}/catalogue.yaml', poll: 100ms }} }}]\n\
         traffic: {{ path: '{0}/rules.yaml' }}\nstate: {{ dir: '{0}/state', quiet: 100ms }}\n",
        folder.display()
    )
}

fn rules(to: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: orders, namespace: shop}}\n\
         spec: {{hosts: [orders.example], http: [{{route: [{{destination: {{host: {to}}}}}]}}]}}\n"
    )
}

fn put(folder: &Path, name: &str, text: &str) {
    let new = folder.join("new.tmp");
    fs::write(&new, text).unwrap();
    fs::rename(new, folder.join(name)).unwrap();
}

/// Runs a command of the binary against a running Portolan; what it prints, or its error.
pub async fn command(portolan: &Portolan, words: &str) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(words.split(' ')).env("PORTOLAN_ADMIN", format!("http://{}", portolan.admin)).env("USER", "ann");
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Names and versions of the assignments that a new Envoy is given.
async fn endpoints(portolan: &Portolan) -> BTreeMap<String, String> {
    let channel = Endpoint::from_shared(format!("http://{}", portolan.xds)).unwrap().connect().await.unwrap();
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    stream.request(delta_request(Kind::Endpoint, &["*"], &[])).await;
    let answer = stream.message().await.unwrap().unwrap();
    answer.resources.into_iter().map(|resource| (resource.name, resource.version)).collect()
}

/// What [`endpoints`] gives, and the VirtualServices that an Istiod is given.
async fn served(portolan: &Portolan) -> (BTreeMap<String, String>, String) {
    let rules = portolan.json("/api/v1/resources/virtualservices?view=istio").await;
    (endpoints(portolan).await, rules["resources"].to_string())
}

async fn becomes(portolan: &Portolan, what: &str, is: impl Fn(&serde_json::Value) -> bool) {
    until(what, Duration::from_secs(60), async || {
        let history = portolan.json("/api/v1/history").await;
        if history.as_array().unwrap().iter().any(&is) { Ok(()) } else { Err(history) }
    })
    .await;
}

#[tokio::test]
async fn a_bad_change_of_a_registry_and_of_rules_is_taken_back_by_one_command() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "catalogue.yaml", GOOD);
    put(folder.path(), "rules.yaml", &rules("users.example"));
    let portolan = Portolan::start(&config(folder.path())).await;
    portolan.ready().await;
    becomes(&portolan, "the rules", |entry| entry["difference"]["manifests_total"] == 1).await;
    becomes(&portolan, "the services", |entry| entry["difference"]["hosts_total"] == 2).await;
    // Somebody has pinned something in between, so that what follows is another generation, however soon.
    command(&portolan, "pin users.example --for 1m").await.unwrap();
    let lifted = command(&portolan, "unpin users.example").await.unwrap();
    assert!(lifted.contains("users.example"), "{lifted}");
    let before = served(&portolan).await;
    let good = portolan.json("/api/v1/history").await.as_array().unwrap().last().unwrap()["number"].as_u64().unwrap();

    // Half of it is lost, and a rule sends everything astray.
    put(folder.path(), "catalogue.yaml", &GOOD.replace("\"10.0.0.1:80\", ", "").replace("10.0.0.4", "10.9.9.9"));
    put(folder.path(), "rules.yaml", &rules("nowhere.example"));
    becomes(&portolan, "the bad services", |entry| entry["difference"]["endpoints_removed"] == 2).await;
    becomes(&portolan, "the bad rules", |entry| {
        entry["difference"]["manifests"][0] == "changed virtualservices/shop/orders"
    })
    .await;
    let differs = command(&portolan, &format!("diff {good}")).await.unwrap();
    for line in ["changed orders.example", "  - 10.0.0.1:80", "  + 10.9.9.9:80", "changed virtualservices/shop/orders"]
    {
        assert!(differs.lines().any(|l| l == line), "{line:?} in {differs}");
    }
    let bad = served(&portolan).await;
    assert!(bad.0 != before.0 && bad.1 != before.1, "{bad:?}");

    let answer = command(&portolan, &format!("rollback {good} --why astray --for 10m")).await.unwrap();
    assert!(answer.contains("pin") && answer.contains("everything") && answer.contains("ann"), "{answer}");
    until("what was served before", Duration::from_secs(60), async || {
        let now = served(&portolan).await;
        if now == before { Ok(()) } else { Err(now) }
    })
    .await;
    let ready = portolan.json("/ready").await;
    assert!(ready["pinned"][0].as_str().is_some_and(|pin| pin.starts_with("everything until ")), "{ready}");
    let (_, metrics) = portolan.get("/metrics").await;
    assert!(metrics.contains("portolan_catalog_overrides{deed=\"pin\"} 1"), "{metrics}");
    assert!(portolan.log().contains("Something was laid over what is published."), "{}", portolan.log());
    let audit = command(&portolan, "history").await.unwrap();
    let line = audit.lines().find(|line| line.contains("rollback")).unwrap_or_default().to_owned();
    assert!(line.contains("ann") && line.contains("astray") && line.contains("everything"), "{audit}");

    // Who did what outlives the process.
    let ended = portolan.terminate().await;
    assert!(ended.success(), "{ended}");
    let portolan = Portolan::start(&config(folder.path())).await;
    portolan.ready().await;
    assert_eq!(served(&portolan).await, before, "what is pinned outlives it, too");
    let again = command(&portolan, "history").await.unwrap();
    assert!(again.contains(&line), "{line} in {again}");
    let old = command(&portolan, &format!("rollback {good}")).await.unwrap_err();
    assert!(old.contains("too old, or of before a restart"), "{old}");
    command(&portolan, "unpin").await.unwrap();
    until("the registry to be followed", Duration::from_secs(60), async || {
        let now = served(&portolan).await;
        if now == bad { Ok(()) } else { Err(now) }
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_drained_by_hand_until_that_is_lifted() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "catalogue.yaml", GOOD);
    put(folder.path(), "rules.yaml", &rules("users.example"));
    let portolan = Portolan::start(&config(folder.path())).await;
    portolan.ready().await;
    let laid = command(&portolan, "override drain orders.example 10.0.0.2 --why broken").await.unwrap();
    assert!(laid.contains("drain") && laid.contains("orders.example at 10.0.0.2"), "{laid}");
    let health = async || {
        let service = portolan.json("/api/v1/services/orders.example").await;
        let instances = service["instances"].as_array().unwrap().clone();
        instances.into_iter().map(|instance| instance["health"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(health().await, ["healthy", "draining", "healthy"]);
    let refused = command(&portolan, "override weight 2 orders.example 10.0.0.9").await.unwrap_err();
    assert!(refused.contains("orders.example has no instance 10.0.0.9"), "{refused}");
    let id = portolan.json("/api/v1/overrides").await[0]["id"].to_string();
    command(&portolan, &format!("override lift {id}")).await.unwrap();
    assert_eq!(health().await, ["healthy"; 3]);
    let list = command(&portolan, "override list").await.unwrap();
    assert_eq!(list.lines().count(), 1, "{list}");
    let audit = command(&portolan, "history --host orders.example").await.unwrap();
    assert!(audit.contains("drain") && audit.contains("broken"), "{audit}");
}

#[tokio::test]
async fn the_history_has_configurations_too_and_is_asked_by_time_by_host_and_between_two() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "catalogue.yaml", GOOD);
    put(folder.path(), "rules.yaml", &rules("users.example"));
    let portolan = Portolan::start(&config(folder.path())).await;
    portolan.ready().await;
    becomes(&portolan, "the services", |entry| entry["difference"]["hosts_total"] == 2).await;
    becomes(&portolan, "the rules", |entry| entry["difference"]["manifests_total"] == 1).await;
    portolan.configure(&format!("{}catalog: {{ debounce: 11ms }}\n", config(folder.path())));
    becomes(&portolan, "the configuration", |entry| {
        entry["kind"] == "configuration" && entry["cause"] == "file" && entry["changes"][0] == "update catalog"
    })
    .await;
    put(folder.path(), "catalogue.yaml", &GOOD.replace("10.0.0.4", "10.0.0.5"));
    becomes(&portolan, "the change", |entry| entry["difference"]["hosts"][0]["host"] == "users.example").await;

    let entries = portolan.json("/api/v1/history").await;
    let number = |is: &dyn Fn(&serde_json::Value) -> bool| {
        entries
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .find(|entry| is(entry))
            .map(|entry| entry["number"].to_string())
            .unwrap()
    };
    let first = number(&|entry| entry["difference"]["hosts_total"] == 2);
    let last = number(&|entry| entry["kind"] == "published");
    let differs = command(&portolan, &format!("diff {first} {last}")).await.unwrap();
    assert!(differs.contains("- 10.0.0.4:80") && differs.contains("+ 10.0.0.5:80"), "{differs}");
    let differs = command(&portolan, &format!("diff {last} {first}")).await.unwrap();
    assert!(differs.contains("+ 10.0.0.4:80") && differs.contains("- 10.0.0.5:80"), "{differs}");

    let lines = async |words: &str| command(&portolan, words).await.unwrap().lines().count();
    let all = lines("history").await;
    assert_eq!(lines("history --since 1h").await, all);
    assert_eq!(lines("history --since 2999-01-01T00:00:00Z").await, 1, "the head alone");
    let of_users = command(&portolan, "history --host users.example").await.unwrap();
    assert!(of_users.lines().count() >= 3 && !of_users.contains("update catalog"), "{of_users}");
    assert_eq!(lines("history --host nobody.example").await, 1);
}
