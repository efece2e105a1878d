//! Who calls whom, as `/api/v1/calls` shows it, and which clusters the Envoys of applications have.

use super::{envoy::Envoy, http, until};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

/// Lines `APPLICATION SERVICE -> HOSTS`, with `gone` behind what no consumer says any more; then the notes.
async fn calls(admin: SocketAddr) -> Vec<String> {
    let answer = http::json(admin, "/api/v1/calls").await;
    let mut lines = Vec::new();
    for application in answer["applications"].as_array().unwrap() {
        for need in application["needs"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let hosts: Vec<String> = need["hosts"].as_array().unwrap().iter().map(text).collect();
            let gone = if need["gone_since"].is_null() { "" } else { " gone" };
            let (name, service) = (text(&application["application"]), text(&need["service"]));
            lines.push(format!("{name} {service} -> {}{gone}", hosts.join(" ")));
        }
    }
    let notes = answer["notes"].as_array().unwrap().iter();
    lines.extend(
        notes.map(|note| format!("{}: {}", note["subject"].as_str().unwrap(), note["detail"].as_str().unwrap())),
    );
    lines
}

/// Waits until the Portolan with that admin address shows exactly these lines, in the form of [`calls`].
pub async fn until_calls(admin: SocketAddr, what: &str, expected: &[&str]) {
    until(what, LIMIT, async || match calls(admin).await {
        found if found == expected => Ok(()),
        found => Err(format!("{found:#?}")),
    })
    .await;
}

/// The YAML of a page that Slime reads, such as `/meshregistry/dubboCallModel`, as JSON.
pub fn value_of(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"))
}

/// Starts an Envoy whose node has that `cluster`, with a listener that leads to the Portolan cluster `leads_to`.
pub async fn envoy_of(cluster: &str, leads_to: &str, xds: SocketAddr) -> Option<Envoy> {
    let example = Envoy::tcp(leads_to);
    let node = example.lines().find(|line| line.trim_start().starts_with("cluster: ")).expect("it names itself");
    let indent = &node[..node.len() - node.trim_start().len()];
    Envoy::start(&example.replacen(node, &format!("{indent}cluster: {cluster}"), 1), xds).await
}

/// Waits until an Envoy has exactly these dynamic clusters, sorted by name.
pub async fn until_clusters(envoy: &Envoy, expected: &[String]) {
    envoy
        .wait_until(&format!("{expected:?}"), LIMIT, async || {
            let dump = envoy.config_dump("dynamic_active_clusters").await;
            let name = |config: &Value| config["cluster"]["name"].as_str().map(ToOwned::to_owned);
            let mut names: Vec<String> = dump["configs"].as_array().into_iter().flatten().filter_map(name).collect();
            names.sort();
            if names == expected { Ok(()) } else { Err(format!("{names:?}")) }
        })
        .await;
}
