//! A running Portolan and its folder: the configuration, and catalogue files beside it.

use crate::support::{http::client, until};
use portolan::{
    app::{App, Start},
    config::Sources,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What every configuration here begins with.
pub const HEAD: &str = "version: 1\nxds: { listen: '127.0.0.1:0', drain: 0s }\nadmin: { listen: '127.0.0.1:0' }\n";

/// A Portolan in this process.
pub struct World {
    pub folder: TempDir,
    pub xds: SocketAddr,
    pub admin: SocketAddr,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<anyhow::Result<()>>,
}

/// What `/api/v1/reload` answers.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub result: String,
    /// `<action> <key> (<detail>)`.
    pub changes: Vec<String>,
    /// `<file>:<line>: <key>: <text>`, the file without its folder.
    pub problems: Vec<String>,
    pub held: Vec<String>,
}

impl World {
    /// Starts one in a folder that has its files already. `follow`: it reads its configuration again when that changes,
    /// not on request only.
    pub async fn start(folder: TempDir, config: &str, follow: bool) -> World {
        let path = folder.path().join("portolan.yaml");
        fs::write(&path, format!("{HEAD}{config}")).unwrap();
        World::of(folder, Sources::new(Some(path)), follow).await
    }

    /// Like [`World::start`], with these sources of the configuration.
    pub async fn of(folder: TempDir, sources: Sources, follow: bool) -> World {
        let start = Start { follow, ..Start::read(sources).unwrap() };
        let app = App::bind(start).await.unwrap();
        let (xds, admin, shutdown) = (app.xds_addr().unwrap(), app.admin_addr(), CancellationToken::new());
        let running = tokio::spawn(app.run(shutdown.clone()));
        World { folder, xds, admin, shutdown, running }
    }

    /// Writes a catalogue file of hosts with their endpoints, in the place of a former one in one step.
    pub fn catalogue(folder: &Path, name: &str, services: &[(&str, &[&str])]) {
        let mut text = "services:\n".to_owned();
        for (host, endpoints) in services {
            text += &format!("- {{ host: {host}, endpoints: [{}] }}\n", endpoints.join(", "));
        }
        if services.is_empty() {
            text = "services: []\n".into();
        }
        World::replace(&folder.join(name), &text);
    }

    /// Replaces a file in one step: it is written under another name, and renamed.
    pub fn replace(path: &Path, text: &str) {
        let other = path.with_extension("new");
        fs::write(&other, text).unwrap();
        fs::rename(other, path).unwrap();
    }

    /// Replaces the configuration by [`HEAD`] and this text.
    pub fn write(&self, config: &str) {
        World::replace(&self.folder.path().join("portolan.yaml"), &format!("{HEAD}{config}"));
    }

    /// Asks for a reload; `query` is `""`, `?force` or `?dry_run`.
    pub async fn reload(&self, query: &str) -> Answer {
        let post = client().post(format!("http://{}/api/v1/reload{query}", self.admin));
        let answer = post.header("content-type", "application/json").send().await.unwrap();
        let status = answer.status().as_u16();
        let body = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        Answer::of(status, &body, self.folder.path())
    }

    /// Writes another configuration and asks for a reload, which must succeed.
    pub async fn change(&self, config: &str, query: &str) -> Answer {
        self.write(config);
        let answer = self.reload(query).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// The JSON of an admin page, whatever its status.
    pub async fn json(&self, page: &str) -> Value {
        let answer = client().get(format!("http://{}{page}", self.admin)).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = client().get(format!("http://{}/metrics", self.admin)).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
    }

    /// The status of `/ready`: 200 if Portolan is ready, otherwise 503.
    pub async fn ready(&self) -> u16 {
        client().get(format!("http://{}/ready", self.admin)).send().await.unwrap().status().as_u16()
    }

    /// The endpoints (`address:port`) of each cluster that is served, by its name.
    pub async fn endpoints(&self) -> BTreeMap<String, Vec<String>> {
        let (clusters, assignments) =
            (self.json("/api/v1/resources/clusters").await, self.json("/api/v1/resources/endpoints").await);
        let items = |list: &Value| list["resources"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let assigned = |item: &Value| {
            let mut found = Vec::new();
            sockets(&item["resource"], &mut found);
            found.sort();
            (text(&item["name"]), found)
        };
        let assignments: BTreeMap<String, Vec<String>> = items(&assignments).iter().map(assigned).collect();
        let cluster = |item: &Value| {
            let (name, service) = (text(&item["name"]), text(&item["resource"]["edsClusterConfig"]["serviceName"]));
            let service = if service.is_empty() { name.clone() } else { service };
            (name, assignments.get(&service).cloned().unwrap_or_default())
        };
        items(&clusters).iter().map(cluster).collect()
    }

    /// Waits until exactly these are served: host to addresses.
    pub async fn serves(&self, expected: &[(&str, &[&str])]) {
        let expected: BTreeMap<String, Vec<String>> = expected
            .iter()
            .map(|(host, all)| ((*host).to_owned(), all.iter().map(ToString::to_string).collect()))
            .collect();
        until(&format!("{expected:?} to be served"), LIMIT, || async {
            let served: BTreeMap<String, Vec<String>> =
                self.endpoints().await.into_iter().map(|(name, all)| (host(&name).to_owned(), all)).collect();
            if served == expected { Ok(()) } else { Err(served) }
        })
        .await;
    }

    /// Waits until `/api/v1/config` fulfils `holds`, and returns it.
    pub async fn status(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(what, LIMIT, || async {
            let status = self.json("/api/v1/config").await;
            if holds(&status) { Ok(status) } else { Err(status) }
        })
        .await
    }

    /// The digests of all that is served, by kind.
    pub async fn digests(&self) -> Value {
        self.json("/api/v1/digests").await
    }

    /// Ends it, which must succeed.
    pub async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(LIMIT, self.running).await.expect("it ends").unwrap().unwrap();
    }
}

/// Collects each `socketAddress` in a JSON value, as `address:port`.
fn sockets(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(socket) = fields.get("socketAddress") {
                found.push(format!("{}:{}", socket["address"].as_str().unwrap_or_default(), socket["portValue"]));
            }
            fields.values().for_each(|inner| sockets(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| sockets(inner, found)),
        _ => {}
    }
}

/// The host in a cluster's name: what follows the last `||`.
pub fn host(cluster: &str) -> &str {
    cluster.rsplit("||").next().unwrap_or(cluster)
}

impl Answer {
    fn of(status: u16, json: &Value, folder: &Path) -> Answer {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let change = |c: &Value| {
            let detail = text(&c["detail"]);
            let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
            format!("{} {}{detail}", text(&c["action"]), text(&c["key"]))
        };
        let folder = format!("{}/", folder.display());
        let problem = |p: &Value| {
            let line = p["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
            format!("{}{line}: {}: {}", text(&p["source"]), text(&p["key"]), text(&p["text"])).replace(&folder, "")
        };
        Answer {
            status,
            result: if json["error"].is_string() { text(&json["error"]) } else { text(&json["result"]) },
            changes: list(&json["changes"]).iter().map(change).collect(),
            problems: list(&json["problems"]).iter().map(problem).collect(),
            held: list(&json["held"]).iter().map(|h| text(&h["registry"])).collect(),
        }
    }
}
