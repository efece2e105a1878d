//! A real Eureka from `tests/servers`, on a free port of its own: told by its REST interface what its clients and operators
//! tell it, killed, started again with nothing in it. Its process ends with the value, also when a test panics.

use super::{
    servers::{free_port, prepared, script},
    until,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
};

/// A server on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A server; killed when dropped.
pub struct Eureka {
    child: Child,
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
    port: u16,
    http: Client,
}

impl Eureka {
    /// Starts one whose answers are made anew ten times a second, and waits until it is ready. `None` where it cannot be
    /// had and need not be: the test prints that and passes.
    pub async fn start() -> Option<Eureka> {
        Self::start_with(&[]).await
    }

    /// The same with variables that the script reads.
    pub async fn start_with(environment: &[(&'static str, &str)]) -> Option<Eureka> {
        if !prepared(&["eureka"]).await {
            return None;
        }
        let eureka = Self::spawn(free_port(), environment);
        eureka.ready().await;
        Some(eureka)
    }

    /// Two that replicate each other.
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
        let child = run(port, folder.path(), &environment);
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        Eureka { child, folder, environment, port, http }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Its address as configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().await.unwrap();
        }
    }

    /// Starts it again, on its port. It has forgotten everything.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.child = run(self.port, self.folder.path(), &self.environment);
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

    /// Takes that back.
    pub async fn clear_status(&self, app: &str, id: &str) {
        let path = format!("/apps/{app}/{id}/status?value=UP");
        assert_eq!(self.send(Method::DELETE, &path, String::new()).await, Ok(StatusCode::OK));
    }

    async fn ready(&self) {
        until("Eureka to answer", START, || async {
            match self.send(Method::GET, "/apps", String::new()).await {
                Ok(StatusCode::OK | StatusCode::UNAUTHORIZED) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.log())),
            }
        })
        .await;
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<StatusCode, String> {
        let request = self.http.request(method, format!("{}/eureka{path}", self.url()));
        let request = request.header("content-type", "application/json").body(body);
        request.send().await.map(|answer| answer.status()).map_err(|error| format!("{error:?}"))
    }

    /// The end of what it has printed.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Eureka {
    /// Waits for the end, so that the folder is removed from under nobody.
    #[expect(clippy::disallowed_methods, reason = "nothing can be awaited here, and nothing else is to run meanwhile")]
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A wire to a server that remembers what was asked on it.
pub struct Recorder {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<u8>>>,
    accepting: JoinHandle<()>,
}

impl Recorder {
    /// To that address.
    pub async fn to(target: SocketAddr) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let remembered = asked.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, target, remembered.clone()));
            }
        });
        Recorder { address, asked, accepting }
    }

    /// Its address as configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first line of each request.
    pub fn requests(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.asked.lock().unwrap()).into_owned();
        text.lines().filter_map(|line| Some(line.strip_suffix(" HTTP/1.1")?.to_owned())).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, asked: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let mut buffer = vec![0; 1 << 14];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            asked.lock().unwrap().extend_from_slice(&buffer[..length]);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

fn run(port: u16, folder: &Path, environment: &[(&'static str, String)]) -> Child {
    let log = fs::File::options().append(true).create(true).open(folder.join("log")).unwrap();
    Command::new(script("eureka"))
        .args(["run", &port.to_string()])
        .arg(folder)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A registration counts only if it is not older than the one that is there.
fn later() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1);
    LAST.fetch_add(1, Ordering::Relaxed)
}
