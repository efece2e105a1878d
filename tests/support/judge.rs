//! Istio's own client of config sources (`tests/istio-judge`), as a process of its own: what it holds after its own
//! subscriptions, validation and rules of deletion is what an Istiod would hold.

use super::{process::Process, until};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncWriteExt, process::Command};

/// The type by which the judge asks for ServiceEntries.
pub const ENTRIES: &str = "networking.istio.io/v1/ServiceEntry";
/// Types that the judge asks each source for when it connects.
pub const TYPES: usize = 16;

/// A running judge; killed when dropped.
pub struct Judge {
    process: Process,
    client: reqwest::Client,
    page: String,
}

/// A response that the judge got, as its page `/answers` shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Answer {
    pub source: String,
    pub r#type: String,
    pub resources: usize,
    pub bytes: usize,
    pub nonce: String,
    pub seconds: f64,
}

/// A change of a ServiceEntry in its store.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub event: String,
    pub name: String,
    pub version: String,
    pub endpoints_only: bool,
    pub seconds: f64,
}

impl Judge {
    /// Starts one with these config sources. `None` where it cannot be had and need not be.
    pub async fn start(sources: &[SocketAddr]) -> Option<Judge> {
        Self::of_revision(sources, "").await
    }

    /// Like [`Judge::start`], over TLS. `authority` is a PEM file with the CA.
    pub async fn over_tls(sources: &[SocketAddr], authority: &Path) -> Option<Judge> {
        Self::launched(sources, &["--ca", authority.to_str().unwrap()]).await
    }

    /// Like [`Judge::start`], as an Istiod of that revision; `""` is none.
    pub async fn of_revision(sources: &[SocketAddr], revision: &str) -> Option<Judge> {
        Self::launched(sources, &["--revision", revision]).await
    }

    async fn launched(sources: &[SocketAddr], arguments: &[&str]) -> Option<Judge> {
        let mut judge = Self::launch(sources, arguments).await?;
        judge.page = until("the judge to connect", Duration::from_secs(60), async || {
            let log = judge.log();
            log.lines().find_map(|line| line.strip_prefix("judging on ")).map(str::to_owned).ok_or(log.clone())
        })
        .await;
        Some(judge)
    }

    /// Starts the process, without waiting until it is connected.
    async fn launch(sources: &[SocketAddr], arguments: &[&str]) -> Option<Judge> {
        let binary = binary().await?;
        let mut command = Command::new(binary);
        command.args(arguments).args(sources.iter().map(|source| format!("--source={source}")));
        let process = Process::start(tempfile::tempdir().unwrap(), command);
        let client = super::http::client();
        Some(Judge { process, client, page: String::new() })
    }

    /// What it has printed: refused entries stand here, as in Istiod's log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Whether every type of every source was answered: then an Istiod opens its port.
    pub async fn synced(&self) -> bool {
        self.get("/synced").await.0 == 200
    }

    /// Waits until [`Judge::synced`] is true, for 30 s at most.
    pub async fn in_sync(&self) -> &Self {
        until("the judge to be in sync", Duration::from_secs(60), || async {
            if self.synced().await { Ok(()) } else { Err(format!("{:?}", self.answers().await)) }
        })
        .await;
        self
    }

    /// The objects in its store, in the shape of Istiod's `/debug/configz`.
    pub async fn configz(&self) -> Vec<Value> {
        self.json("/configz").await
    }

    /// The ServiceEntries of its store, by namespace and name.
    pub async fn entries(&self) -> BTreeMap<String, Value> {
        let all = self.configz().await.into_iter().filter(|object| object["kind"] == "ServiceEntry");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.map(|o| (format!("{}/{}", text(&o["metadata"]["namespace"]), text(&o["metadata"]["name"])), o)).collect()
    }

    /// Waits until its ServiceEntries are as they should be; returns them.
    pub async fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        right: impl Fn(&BTreeMap<String, Value>) -> bool,
    ) -> BTreeMap<String, Value> {
        until(what, limit, || async {
            let entries = self.entries().await;
            if right(&entries) { Ok(entries) } else { Err(format!("{} entries: {entries:?}", entries.len())) }
        })
        .await
    }

    /// Every answer so far.
    pub async fn answers(&self) -> Vec<Answer> {
        self.json("/answers").await
    }

    /// The answers so far that are of the type [`ENTRIES`].
    pub async fn lists(&self) -> Vec<Answer> {
        self.answers().await.into_iter().filter(|answer| answer.r#type == ENTRIES).collect()
    }

    /// Every change of a ServiceEntry so far.
    pub async fn events(&self) -> Vec<Event> {
        self.json("/events").await
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.page)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// Runs the judge without any server (see `offline.go`), with `input` on its standard input. Returns what it prints;
/// panics if it fails.
pub async fn says(words: &[&str], input: &str) -> Option<Vec<u8>> {
    let (success, output) = judges(words, input).await?;
    assert!(success, "{words:?}: {}", String::from_utf8_lossy(&output));
    Some(output)
}

/// Runs the judge with these arguments. Returns true if it succeeded, and what it prints on both outputs.
pub async fn report(words: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(binary().await?).args(words).kill_on_drop(true).output().await.unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Some((output.status.success(), text))
}

/// Like [`says`], but it may fail. Returns true and its output, or false and its error output.
pub async fn judges(words: &[&str], input: &str) -> Option<(bool, Vec<u8>)> {
    let mut child = Command::new(binary().await?)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may end without having read everything.
    let writing = tokio::spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
    let output = child.wait_with_output().await.unwrap();
    writing.await.unwrap();
    let success = output.status.success();
    Some((success, if success { output.stdout } else { output.stderr }))
}

async fn binary() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/istio-judge");
    let output = Command::new(script).output().await.unwrap();
    if output.status.success() {
        return Some(String::from_utf8(output.stdout).unwrap().trim().into());
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(std::env::var("PORTOLAN_REAL_SERVERS").as_deref() != Ok("required"), "istio-judge: {why}");
    eprintln!("SKIP: the judge cannot be built: {why}");
    None
}
