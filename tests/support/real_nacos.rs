//! A real Nacos from `tests/servers`, on ports of its own, ended with the value.

use super::until;
use reqwest::{Client, Method, Url};
use std::{
    net::TcpListener,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    sync::{Semaphore, SemaphorePermit},
};

/// A running server.
pub struct RealNacos {
    child: Child,
    folder: TempDir,
    script: &'static str,
    environment: Vec<(&'static str, &'static str)>,
    port: u16,
    token: Option<String>,
    _turn: SemaphorePermit<'static>,
}

/// Servers at the same time: each takes half a GiB and, while it starts, a core.
static TURNS: Semaphore = Semaphore::const_new(2);

impl RealNacos {
    /// Starts one and waits until it is ready; `None` where it cannot be had and need not be.
    pub async fn start(script: &'static str, environment: &[(&'static str, &'static str)]) -> Option<RealNacos> {
        let prepared = Command::new(path(script)).arg("prepare").output().await.unwrap();
        if !prepared.status.success() {
            let why = String::from_utf8_lossy(&prepared.stderr).into_owned();
            assert!(std::env::var("PORTOLAN_REAL_SERVERS").as_deref() != Ok("required"), "{script}: {why}");
            println!("SKIP: {script} cannot be had: {why}");
            return None;
        }
        let turn = TURNS.acquire().await.unwrap();
        let (port, folder) = (free_ports(), tempfile::tempdir().unwrap());
        let child = spawn(script, environment, port, &folder);
        let environment = environment.to_vec();
        let server = RealNacos { child, folder, script, environment, port, token: None, _turn: turn };
        server.ready().await;
        Some(server)
    }

    /// Its address as configuration has it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it and starts it on the same port with nothing in it.
    pub async fn restart_empty(&mut self) {
        self.child.kill().await.unwrap();
        self.folder = tempfile::tempdir().unwrap();
        self.child = spawn(self.script, &self.environment, self.port, &self.folder);
        self.ready().await;
    }

    /// Registers an instance, or changes it. More may be said as a query.
    pub async fn put(&self, service: &str, address: &str, more: &str) {
        self.send(Method::POST, "/v1/ns/instance", "/v3/client/ns/instance", &instance(service, address, more)).await;
    }

    /// Takes an instance out.
    pub async fn remove(&self, service: &str, address: &str) {
        self.send(Method::DELETE, "/v1/ns/instance", "/v3/client/ns/instance", &instance(service, address, "")).await;
    }

    /// Sets a service's threshold.
    pub async fn set_threshold(&self, service: &str, threshold: f64) {
        let query = format!("serviceName={service}&protectThreshold={threshold}&ephemeral=false");
        self.send(Method::PUT, "/v1/ns/service", "/v3/admin/ns/service", &query).await;
    }

    /// Makes a namespace.
    pub async fn create_namespace(&self, id: &str, name: &str) {
        let query = format!("customNamespaceId={id}&namespaceId={id}&namespaceName={name}&namespaceDesc=test");
        self.send(Method::POST, "/v1/console/namespaces", "/v3/admin/core/namespace", &query).await;
    }

    /// Makes the first user, and acts as it from then on.
    pub async fn create_admin(&mut self, password: &str) {
        self.send(Method::POST, "", "/v3/auth/user/admin", &format!("password={password}")).await;
        let query = format!("username=nacos&password={password}");
        let answer = self.send(Method::POST, "", "/v3/auth/user/login", &query).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        self.token = Some(answer["accessToken"].as_str().unwrap().to_owned());
    }

    /// Makes a user that may read one resource.
    pub async fn create_user(&self, name: &str, password: &str, resource: &str) {
        let send = async |path: &str, query: String| drop(self.send(Method::POST, "", path, &query).await);
        send("/v3/auth/user", format!("username={name}&password={password}")).await;
        send("/v3/auth/role", format!("username={name}&role={name}-role")).await;
        send("/v3/auth/permission", format!("role={name}-role&resource={resource}&action=r")).await;
    }

    async fn send(&self, method: Method, v1: &str, v3: &str, query: &str) -> String {
        let path = if self.script == "nacos2" { v1 } else { v3 };
        let mut url = Url::parse(&format!("{}/nacos{path}", self.url())).unwrap();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap();
            url.query_pairs_mut().append_pair(key, value);
        }
        let mut request = Client::new().request(method, url.clone());
        if let Some(token) = &self.token {
            request = request.header("accessToken", token);
        }
        let answer = request.send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{url}: {status} {body}");
        body
    }

    async fn ready(&self) {
        let path =
            if self.script == "nacos2" { "v1/console/health/readiness" } else { "v3/admin/core/state/readiness" };
        let url = format!("{}/nacos/{path}", self.url());
        let log = self.folder.path().join("log");
        until(self.script, Duration::from_secs(240), || async {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(10).collect();
            match reqwest::get(&url).await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer.status().to_string()),
                Err(error) => Err(format!("{error}; its log, last line first: {tail:#?}")),
            }
        })
        .await;
    }
}

fn instance(service: &str, address: &str, more: &str) -> String {
    let (ip, port) = address.rsplit_once(':').unwrap();
    let mut query = format!("serviceName={service}&ip={ip}&port={port}");
    for pair in more.split('&').filter(|pair| !pair.is_empty()) {
        query += &format!("&{pair}");
    }
    query
}

fn path(script: &str) -> String {
    format!("{}/tests/servers/{script}", env!("CARGO_MANIFEST_DIR"))
}

fn spawn(script: &str, environment: &[(&str, &str)], port: u16, folder: &TempDir) -> Child {
    let folder: &Path = folder.path();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    Command::new(path(script))
        .args(["run", &port.to_string()])
        .arg(folder)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A port such that all four that Nacos takes are free, and no other server of this process has any of them.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 100) as u16 * 40;
    loop {
        let port = base + NEXT.fetch_add(2, Ordering::Relaxed);
        let free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok();
        if [port, port + 1000, port + 1001, port - 1000].into_iter().all(free) {
            return port;
        }
    }
}
