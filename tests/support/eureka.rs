//! A real Eureka from `tests/servers`, on a free port of its own: driven by its REST interface as its clients and
//! operators drive it, killed, started again with nothing in it. Its process ends with the value, also when a test panics.

use super::{
    process::{self, Process},
    servers::{free_port, prepared},
    until,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::process::Command;

/// How long a server may take to start, on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A server; killed when dropped.
pub struct Eureka {
    process: Process,
    environment: Vec<(&'static str, String)>,
    port: u16,
    http: Client,
}

impl Eureka {
    /// Starts one whose answers are made anew ten times a second, and waits until it is ready. `None` if it is missing
    /// and not required ([`lacking`](super::servers::lacking)): the test then passes.
    pub async fn start() -> Option<Eureka> {
        Self::start_with(&[]).await
    }

    /// Like [`Eureka::start`], with variables that `tests/servers/eureka` reads.
    pub async fn start_with(environment: &[(&'static str, &str)]) -> Option<Eureka> {
        if !prepared(&["eureka"]).await {
            return None;
        }
        let eureka = Self::spawn(free_port(), environment);
        eureka.ready().await;
        Some(eureka)
    }

    /// Starts two that replicate each other. `None` as for [`Eureka::start`].
    pub async fn start_peers() -> Option<[Eureka; 2]> {
        if !prepared(&["eureka"]).await {
            return None;
        }
        let (first, second) = (free_port(), free_port());
        let url = |host: &str, port: u16| format!("http://{host}:{port}/eureka/");
        let peers = [
            Self::spawn(first, &[("EUREKA_PEER", &url("localhost", second)), ("EUREKA_HOSTNAME", "127.0.0.1")]),
            Self::spawn(second, &[("EUREKA_PEER", &url("127.0.0.1", first)), ("EUREKA_HOSTNAME", "localhost")]),
        ];
        for peer in &peers {
            peer.ready().await;
        }
        Some(peers)
    }

    fn spawn(port: u16, environment: &[(&'static str, &str)]) -> Eureka {
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.to_string())).collect();
        let folder = tempfile::tempdir().unwrap();
        let command = command(port, folder.path(), &environment);
        let http = super::http::client();
        Eureka { process: Process::start(folder, command), environment, port, http }
    }

    /// Address of its HTTP interface.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Base URL without the path `/eureka`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Sends a signal: `STOP` halts the process, `CONT` lets it go on.
    pub async fn signal(&self, signal: &str) {
        self.process.signal(signal).await;
    }

    /// Starts it again, on its port. It has forgotten everything.
    pub async fn restart(&mut self) {
        let command = command(self.port, self.process.folder(), &self.environment);
        self.process.restart(command).await;
        self.ready().await;
    }

    /// Registers an instance at `ip:port`, with that for its id, as a client does. `changes` are merged into it.
    pub async fn register(&self, app: &str, address: &str, changes: Value) {
        let (ip, port) = address.rsplit_once(':').unwrap();
        let mut instance = json!({
            "instanceId": address, "hostName": ip, "app": app, "ipAddr": ip, "status": "UP",
            "port": {"$": port.parse::<u16>().unwrap(), "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
            "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 3600}, "metadata": {},
            "vipAddress": app.to_lowercase(), "secureVipAddress": app.to_lowercase(),
            "lastDirtyTimestamp": later().to_string(),
        });
        instance.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let body = json!({"instance": instance}).to_string();
        assert_eq!(self.send(Method::POST, &format!("/apps/{app}"), body).await, Ok(StatusCode::NO_CONTENT));
    }

    /// Takes an instance out, as its client does.
    pub async fn deregister(&self, app: &str, id: &str) {
        assert_eq!(self.send(Method::DELETE, &format!("/apps/{app}/{id}"), String::new()).await, Ok(StatusCode::OK));
    }

    /// Overrides an instance's status, as an operator does.
    pub async fn set_status(&self, app: &str, id: &str, status: &str) {
        let path = format!("/apps/{app}/{id}/status?value={status}");
        assert_eq!(self.send(Method::PUT, &path, String::new()).await, Ok(StatusCode::OK));
    }

    /// Takes back what [`Eureka::set_status`] has set.
    pub async fn clear_status(&self, app: &str, id: &str) {
        let path = format!("/apps/{app}/{id}/status?value=UP");
        assert_eq!(self.send(Method::DELETE, &path, String::new()).await, Ok(StatusCode::OK));
    }

    async fn ready(&self) {
        until("Eureka to answer", START, || async {
            match self.send(Method::GET, "/apps", String::new()).await {
                Ok(StatusCode::OK | StatusCode::UNAUTHORIZED) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.process.tail())),
            }
        })
        .await;
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<StatusCode, String> {
        let request = self.http.request(method, format!("{}/eureka{path}", self.url()));
        let request = request.header("content-type", "application/json").body(body);
        request.send().await.map(|answer| answer.status()).map_err(|error| format!("{error:?}"))
    }
}

fn command(port: u16, folder: &Path, environment: &[(&'static str, String)]) -> Command {
    let mut command = process::run("eureka", port, folder);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

/// A `lastDirtyTimestamp` above all before: Eureka ignores a registration that is older than the one it has.
fn later() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1);
    LAST.fetch_add(1, Ordering::Relaxed)
}
