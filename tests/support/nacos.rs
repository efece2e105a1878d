//! A real Nacos from `tests/servers`, on four free ports of its own: driven by HTTP as its clients and operators drive it,
//! killed, started again with its data or without. Its process ends with the value, also when a test panics.

use super::{
    process::{self, Process},
    servers::prepared,
    until,
};
use reqwest::{Client, Method, Url};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::{process::Command, task::JoinHandle};

/// How long Nacos may take to start; a fresh server on a busy machine may take most of it.
const START: Duration = Duration::from_secs(120);
/// How often it is started before that is a failure.
const STARTS: usize = 3;
/// Time between beats. An ephemeral instance counts as unhealthy 15 s after its last beat.
const BEAT: Duration = Duration::from_secs(3);

/// A server; killed when dropped.
pub struct Nacos {
    process: Process,
    environment: Vec<(&'static str, &'static str)>,
    api: Api,
}

/// Port and HTTP client of a server, and the script, which tells its generation.
#[derive(Clone)]
struct Api {
    script: &'static str,
    port: u16,
    http: Client,
    token: Option<String>,
}

/// Beats for ephemeral instances, until dropped.
pub struct Beats(JoinHandle<()>);

impl Nacos {
    /// Starts what `tests/servers/<script>` runs, and waits until it is ready. `None` if it is missing and not required
    /// ([`lacking`](super::servers::lacking)): the test then passes.
    pub async fn start(script: &'static str) -> Option<Nacos> {
        Self::start_with(script, &[]).await
    }

    /// Like [`Nacos::start`], with variables that the script reads.
    pub async fn start_with(script: &'static str, environment: &[(&'static str, &'static str)]) -> Option<Nacos> {
        if !prepared(&[script]).await {
            return None;
        }
        let (port, folder) = (free_ports(), tempfile::tempdir().unwrap());
        let http = super::http::client();
        let api = Api { script, port, http, token: None };
        let command = api.command(folder.path(), environment);
        let process = Process::start(folder, command);
        let mut nacos = Nacos { process, environment: environment.to_vec(), api };
        nacos.ready(true).await;
        Some(nacos)
    }

    /// Base URL without the path `/nacos`.
    pub fn url(&self) -> String {
        self.api.url()
    }

    /// Address of its HTTP interface.
    pub fn http(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.api.port).into()
    }

    /// Address of its gRPC interface: the HTTP port plus 1000.
    pub fn grpc(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.api.port + 1000).into()
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Sends a signal: `STOP` halts the process, `CONT` lets it go on.
    pub async fn signal(&self, signal: &str) {
        self.process.signal(signal).await;
    }

    /// Starts it again, with its data, on its ports.
    pub async fn restart(&mut self) {
        let command = self.api.command(self.process.folder(), &self.environment);
        self.process.restart(command).await;
        self.ready(false).await;
    }

    /// Starts it again with nothing in it, on its ports.
    pub async fn restart_empty(&mut self) {
        self.process.empty().await;
        let command = self.api.command(self.process.folder(), &self.environment);
        self.process.restart(command).await;
        self.ready(true).await;
    }

    /// Starts it again, with its data, on its ports, with other variables that the script reads.
    pub async fn restart_with(&mut self, environment: &[(&'static str, &'static str)]) {
        self.environment = environment.to_vec();
        self.restart().await;
    }

    /// Registers an instance as a client does. `more` is a query: `weight=2&ephemeral=false`.
    pub async fn register(&self, service: &str, address: &str, more: &str) {
        let query = instance(service, address, more);
        self.api.send(Method::POST, "/v1/ns/instance", "/v3/client/ns/instance", &query).await.unwrap();
    }

    /// Like [`Nacos::register`], again and again while the server refuses, as one does that has just started empty.
    pub async fn register_patiently(&self, service: &str, address: &str, more: &str) {
        let query = instance(service, address, more);
        until("the server to take a registration", START, || {
            self.api.send(Method::POST, "/v1/ns/instance", "/v3/client/ns/instance", &query)
        })
        .await;
    }

    /// Changes an instance as an operator does.
    pub async fn change(&self, service: &str, address: &str, more: &str) {
        let query = instance(service, address, more);
        self.api.send(Method::PUT, "/v1/ns/instance", "/v3/admin/ns/instance", &query).await.unwrap();
    }

    /// Takes an instance out, as its client does.
    pub async fn deregister(&self, service: &str, address: &str, more: &str) {
        let query = instance(service, address, more);
        self.api.send(Method::DELETE, "/v1/ns/instance", "/v3/client/ns/instance", &query).await.unwrap();
    }

    /// A service's instances as the server lists them to its clients.
    pub async fn instances(&self, service: &str) -> Vec<serde_json::Value> {
        let query = format!("serviceName={service}");
        let (v1, v3) = ("/v1/ns/instance/list", "/v3/client/ns/instance/list");
        let answer = self.api.send(Method::GET, v1, v3, &query).await.unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer.get("hosts").unwrap_or(&answer["data"]).as_array().unwrap().clone()
    }

    /// Sets a service's protection threshold.
    pub async fn protect(&self, group: &str, service: &str, threshold: f64) {
        let query = format!("groupName={group}&serviceName={service}&protectThreshold={threshold}&ephemeral=false");
        self.api.send(Method::PUT, "/v1/ns/service", "/v3/admin/ns/service", &query).await.unwrap();
    }

    /// Takes out a service that has no instances; otherwise the server does so by itself after a minute.
    pub async fn remove_service(&self, service: &str) {
        let query = format!("serviceName={service}&groupName=DEFAULT_GROUP");
        self.api.send(Method::DELETE, "/v1/ns/service", "/v3/admin/ns/service", &query).await.unwrap();
    }

    /// Sends its clients by gRPC to another server, as an operator does who balances a cluster.
    pub async fn send_away(&self, to: &Nacos) {
        let shown: serde_json::Value = serde_json::from_str(&self.connections().await).unwrap();
        let connections = shown.get("data").unwrap_or(&shown).as_object().unwrap();
        for connection in connections.keys() {
            let query = format!("connectionId={connection}&redirectAddress={}", to.http());
            let (v2, v3) = ("/v2/core/loader/reloadClient", "/v3/admin/core/loader/reloadClient");
            let method = if self.api.script == "nacos2" { Method::GET } else { Method::POST };
            self.api.send(method, v2, v3, &query).await.unwrap();
        }
    }

    /// The JSON in which the server shows its gRPC clients, by connection id.
    pub async fn connections(&self) -> String {
        let (v2, v3) = ("/v2/core/loader/current", "/v3/admin/core/loader/current");
        self.api.send(Method::GET, v2, v3, "").await.unwrap()
    }

    /// Keeps ephemeral instances of a group alive, which nothing else does for those registered by HTTP.
    pub fn beats(&self, group: &str, instances: &[(&str, &str)]) -> Beats {
        let queries: Vec<String> = instances
            .iter()
            .map(|(service, address)| instance(service, address, &format!("groupName={group}&heartBeat=true")))
            .collect();
        let api = self.api.clone();
        Beats(tokio::spawn(async move {
            loop {
                for query in &queries {
                    // One that is lost is made up for by the next.
                    let _ = match api.script {
                        "nacos2" => api.send(Method::PUT, "/v1/ns/instance/beat", "", query).await,
                        _ => api.send(Method::POST, "", "/v3/client/ns/instance", query).await,
                    };
                }
                tokio::time::sleep(BEAT).await;
            }
        }))
    }

    /// Makes a namespace; `name` is the one that the console shows.
    pub async fn create_namespace(&self, id: &str, name: &str) {
        let query = format!("customNamespaceId={id}&namespaceId={id}&namespaceName={name}&namespaceDesc=test");
        self.api.send(Method::POST, "/v1/console/namespaces", "/v3/admin/core/namespace", &query).await.unwrap();
    }

    /// Removes a namespace, which leaves its services.
    pub async fn delete_namespace(&self, id: &str) {
        let query = format!("namespaceId={id}");
        self.api.send(Method::DELETE, "/v1/console/namespaces", "/v3/admin/core/namespace", &query).await.unwrap();
    }

    /// Publishes a text of its configuration, again and again while the server refuses, as one does that has just started.
    pub async fn put_config(&self, namespace: &str, group: &str, name: &str, text: &str) {
        let query = format!("{}&content={}&type=yaml", self.config(namespace, group, name), escaped(text));
        until("the server to take a text", START, || {
            self.api.send(Method::POST, "/v1/cs/configs", "/v3/admin/cs/config", &query)
        })
        .await;
    }

    /// Deletes a text of its configuration.
    pub async fn remove_config(&self, namespace: &str, group: &str, name: &str) {
        let query = self.config(namespace, group, name);
        self.api.send(Method::DELETE, "/v1/cs/configs", "/v3/admin/cs/config", &query).await.unwrap();
    }

    fn config(&self, namespace: &str, group: &str, name: &str) -> String {
        let (group, name) = (escaped(group), escaped(name));
        // 2.x calls the public namespace "".
        match (self.api.script, namespace) {
            ("nacos2", "public") => format!("tenant=&group={group}&dataId={name}"),
            ("nacos2", _) => format!("tenant={namespace}&group={group}&dataId={name}"),
            _ => format!("namespaceId={namespace}&groupName={group}&dataId={name}"),
        }
    }

    /// Makes the first user of a Nacos 3, and acts as it from then on.
    pub async fn create_admin(&mut self, password: &str) {
        let query = format!("password={password}");
        self.api.send(Method::POST, "", "/v3/auth/user/admin", &query).await.unwrap();
        let query = format!("username=nacos&password={password}");
        let answer = self.api.send(Method::POST, "", "/v3/auth/user/login", &query).await.unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        self.api.token = Some(answer["accessToken"].as_str().unwrap().to_owned());
    }

    /// Makes a user that may read one resource.
    pub async fn create_user(&self, name: &str, password: &str, resource: &str) {
        self.add_user(name, password).await;
        let query = format!("username={name}&role={name}-role");
        self.api.send(Method::POST, "/v1/auth/roles", "/v3/auth/role", &query).await.unwrap();
        self.permit(name, resource).await;
    }

    /// Makes a user, with the rights of one of that name that was removed.
    pub async fn add_user(&self, name: &str, password: &str) {
        let query = format!("username={name}&password={password}");
        self.api.send(Method::POST, "/v1/auth/users", "/v3/auth/user", &query).await.unwrap();
    }

    /// Removes a user; its role and the rights of that stay.
    pub async fn delete_user(&self, name: &str) {
        let query = format!("username={name}");
        self.api.send(Method::DELETE, "/v1/auth/users", "/v3/auth/user", &query).await.unwrap();
    }

    /// Gives the role of a user the right to read a resource.
    pub async fn permit(&self, user: &str, resource: &str) {
        self.permission(Method::POST, user, resource).await;
    }

    /// Takes away the right that [`Nacos::permit`] gave.
    pub async fn forbid(&self, user: &str, resource: &str) {
        self.permission(Method::DELETE, user, resource).await;
    }

    async fn permission(&self, method: Method, user: &str, resource: &str) {
        // 2.x calls the public namespace "".
        let resource = match (self.api.script, resource.strip_prefix("public:")) {
            ("nacos2", Some(rest)) => format!(":{rest}"),
            _ => resource.to_owned(),
        };
        let query = format!("role={user}-role&resource={resource}&action=r");
        self.api.send(method, "/v1/auth/permissions", "/v3/auth/permission", &query).await.unwrap();
    }

    /// Waits until it answers. On a busy machine its database may not be there in the time that it allows; then it ends by
    /// itself, and is started again: on what it has made, which may go on, and where it is to be `empty` each second time anew,
    /// since it may not.
    async fn ready(&mut self, empty: bool) {
        let (v1, v3) = ("/v1/console/health/readiness", "/v3/admin/core/state/readiness");
        for starts_left in (0..STARTS).rev() {
            let (api, process) = (&self.api, &mut self.process);
            let answered = until(api.script, START, || {
                let (ended, tail) = (process.ended().is_some() && starts_left > 0, process.tail());
                async move {
                    match api.send(Method::GET, v1, v3, "").await {
                        Ok(_) => Ok(true),
                        Err(_) if ended => Ok(false),
                        Err(why) => Err(format!("{why}\n{tail}")),
                    }
                }
            })
            .await;
            if answered {
                return;
            }
            if empty && starts_left % 2 == 1 {
                self.process.empty().await;
            }
            let command = self.api.command(self.process.folder(), &self.environment);
            self.process.restart(command).await;
        }
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Api {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What runs it, with its data in a folder.
    fn command(&self, folder: &Path, environment: &[(&'static str, &'static str)]) -> Command {
        let mut command = process::run(self.script, self.port, folder);
        command.envs(environment.iter().copied());
        command
    }

    /// Sends a request to the path of the server's generation. Returns the body, or why it was refused.
    async fn send(&self, method: Method, v1: &str, v3: &str, query: &str) -> Result<String, String> {
        let path = if self.script == "nacos2" { v1 } else { v3 };
        let mut url = Url::parse(&format!("{}/nacos{path}", self.url())).unwrap();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap();
            url.query_pairs_mut().append_pair(key, &value.replace("%26", "&").replace("%25", "%"));
        }
        // By this header servers know one another. It serves tests instead of a token, which would soon end.
        let mut request = self.http.request(method, url.clone()).header("tests", "tests");
        if let Some(token) = &self.token {
            request = request.header("accessToken", token);
        }
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let (status, body) = (answer.status(), answer.text().await.map_err(|error| format!("{error:?}"))?);
        if status.is_success() { Ok(body) } else { Err(format!("{url}: {status} {body}")) }
    }
}

fn instance(service: &str, address: &str, more: &str) -> String {
    let (ip, port) = address.rsplit_once(':').unwrap();
    format!("serviceName={}&ip={ip}&port={port}&{more}", escaped(service))
}

/// A value of a query, which may hold `&`.
pub fn escaped(value: &str) -> String {
    value.replace('%', "%25").replace('&', "%26")
}

/// A port such that all four that Nacos takes are free. Below the range from which the system gives ports by itself.
fn free_ports() -> u16 {
    super::servers::free_ports(27_000..30_000, &[0, 1000, 1001, -1000])
}
