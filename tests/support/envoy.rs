//! A real Envoy 1.40, as a process of its own: started on a bootstrap with free ports, asked over its admin page, ended by
//! its process id.

use super::{process::Process, servers::lacking, until};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{net::TcpStream, process::Command};

/// The address of the xDS server in `envoy-examples/`.
pub const XDS: Port = Port("127.0.0.1", 16_010);
/// The address of Envoy's listener in `envoy-examples/`.
pub const LISTENER: Port = Port("127.0.0.1", 10_000);
/// The address of Envoy's admin page in `envoy-examples/`.
pub const ADMIN: Port = Port("127.0.0.1", 9901);

/// An address in a bootstrap that a test replaces.
#[derive(Clone, Copy)]
pub struct Port(&'static str, u16);

impl Port {
    /// The text with another address instead. Panics if it is not there: then the test would reach something else.
    pub fn replaced(self, bootstrap: &str, by: SocketAddr) -> String {
        let socket = |ip: &str, port: u16| format!("{{ address: {ip}, port_value: {port} }}");
        let old = socket(self.0, self.1);
        assert!(bootstrap.contains(&old), "the bootstrap has no {old}");
        bootstrap.replace(&old, &socket(&by.ip().to_string(), by.port()))
    }
}

/// A running Envoy; killed when dropped.
pub struct Envoy {
    process: Process,
    client: reqwest::Client,
    /// Address of its admin page.
    pub admin: SocketAddr,
    /// Address of the listener that [`Envoy::get`] asks.
    pub listener: SocketAddr,
}

impl Envoy {
    /// The text of a file in `envoy-examples/`.
    pub fn example(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy-examples").join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The sidecar with a listener that hands bytes to one cluster of Portolan's.
    pub fn tcp(cluster: &str) -> String {
        sidecar(&format!(
            r#"envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: bytes
          cluster: "{cluster}"
"#
        ))
    }

    /// The sidecar with a listener that routes all requests of HTTP/2 without TLS to one cluster of Portolan's.
    pub fn http2(cluster: &str) -> String {
        sidecar(&format!(
            r#"envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http2
          codec_type: HTTP2
          route_config:
            validate_clusters: false
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: "{cluster}", timeout: 0s }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#
        ))
    }

    /// Starts on an example's text whose xDS server is at that address, on other ports for admin page and listener.
    /// `None` if there is no Envoy and none is required ([`lacking`]): the test then passes.
    pub async fn start(example: &str, xds: SocketAddr) -> Option<Envoy> {
        Self::start_on(&XDS.replaced(example, xds)).await
    }

    /// Starts on a bootstrap that has the examples' addresses of admin page and listener.
    pub async fn start_on(bootstrap: &str) -> Option<Envoy> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self::run(&LISTENER.replaced(&ADMIN.replaced(bootstrap, any), any)).await?;
        envoy.listener = until("Envoy to bind its listener", Duration::from_secs(60), async || {
            let listeners = envoy.page("/listeners?format=json").await;
            listener_of(&listeners).ok_or_else(|| format!("{listeners}\n{}", envoy.log()))
        })
        .await;
        Some(envoy)
    }

    /// Like [`Envoy::start`], but the listener stays where the example has it: at the address `listener`.
    pub async fn start_at(example: &str, xds: SocketAddr, listener: SocketAddr) -> Option<Envoy> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self::run(&ADMIN.replaced(&XDS.replaced(example, xds), any)).await?;
        envoy.listener = listener;
        Some(envoy)
    }

    /// Starts on what `portolan bootstrap envoy` prints with these arguments, and waits until the listener that Portolan
    /// gives it there takes connections: requests go to that one. Envoy may know all clusters before.
    pub async fn start_dynamic(arguments: &[&str], xds: SocketAddr, listener: SocketAddr) -> Option<Envoy> {
        let (xds, admin) = (xds.to_string(), "127.0.0.1:0");
        let head = ["bootstrap", "envoy", "--xds", &xds, "--admin-bind", admin];
        let output = Command::new(env!("CARGO_BIN_EXE_portolan")).args(head).args(arguments).output().await.unwrap();
        let bootstrap = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{bootstrap}");
        let mut envoy = Self::run(&bootstrap).await?;
        envoy.listener = listener;
        envoy
            .wait_until(&format!("Envoy to listen at {listener}"), Duration::from_secs(60), async || {
                TcpStream::connect(listener).await.map(drop).map_err(|error| error.to_string())
            })
            .await;
        Some(envoy)
    }

    /// Starts on a bootstrap as it is, and waits for the admin page. The caller sets `listener`.
    async fn run(bootstrap: &str) -> Option<Envoy> {
        let binary = binary()?;
        let folder = tempfile::tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let path = |name: &str| folder.path().join(name);
        fs::write(path("envoy.yaml"), bootstrap).unwrap();
        let mut command = Command::new(binary);
        command
            .arg("-c")
            .arg(path("envoy.yaml"))
            .arg("--admin-address-path")
            .arg(path("admin"))
            .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"])
            .args(["--component-log-level", "upstream:info,config:info"]);
        let client = super::http::client();
        let mut envoy = Envoy { process: Process::start(folder, command), client, admin: any, listener: any };
        envoy.admin = until("Envoy to open its admin page", Duration::from_secs(60), async || {
            let admin = fs::read_to_string(envoy.process.folder().join("admin")).unwrap_or_default();
            admin.trim().parse().map_err(|_| envoy.log())
        })
        .await;
        Some(envoy)
    }

    /// A page of its admin interface.
    pub async fn page(&self, path: &str) -> String {
        match self.client.get(format!("http://{}{path}", self.admin)).send().await {
            Ok(answer) => answer.text().await.unwrap_or_else(|e| e.to_string()),
            Err(error) => format!("{error:?}"),
        }
    }

    /// A counter or gauge; `None` if it does not exist.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let stats = self.page("/stats").await;
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        value.parse().ok()
    }

    /// All counters and gauges that are not 0 and whose name ends with `end`.
    pub async fn stats_ending(&self, end: &str) -> Vec<(String, u64)> {
        let stats = self.page("/stats").await;
        let pairs = stats.lines().filter_map(|line| line.split_once(": "));
        let numbers = pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse::<u64>().ok()?)));
        numbers.filter(|(name, value)| name.ends_with(end) && *value != 0).collect()
    }

    /// What proves that something was refused, timed out or is still awaited; empty if all is well.
    pub async fn complaints(&self) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        for end in ["update_rejected", "init_fetch_timeout", "warming_clusters"] {
            all.extend(self.stats_ending(end).await);
        }
        all
    }

    /// A part of its configuration: `dynamic_active_clusters`, `dynamic_warming_clusters`, ...
    pub async fn config_dump(&self, resource: &str) -> serde_json::Value {
        let dump = self.page(&format!("/config_dump?resource={resource}&include_eds")).await;
        serde_json::from_str(&dump).unwrap_or_else(|e| panic!("{e}: {dump}"))
    }

    /// The endpoints of a cluster as `/clusters` shows them: `address` and its properties.
    pub async fn hosts(&self, cluster: &str) -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_str(&self.page("/clusters?format=json").await).unwrap();
        let statuses = all["cluster_statuses"].as_array().cloned().unwrap_or_default();
        let found = statuses.into_iter().find(|status| status["name"] == cluster);
        found.map_or(serde_json::Value::Null, |status| status["host_statuses"].clone())
    }

    /// Sends a GET through its listener. Returns status and body; status 0 if there was no answer.
    pub async fn get(&self, host: &str, path: &str) -> (u16, String) {
        let request = self.client.get(format!("http://{}{path}", self.listener)).header("host", host);
        match request.send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_else(|e| e.to_string())),
            Err(error) => (0, format!("{error:?}")),
        }
    }

    /// Sends a GET with these headers to a URL of one of its listeners. Returns status and body; status 0 if there was
    /// no answer.
    pub async fn ask(&self, url: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let request = headers.iter().fold(self.client.get(url), |request, (name, value)| request.header(*name, *value));
        match request.send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_else(|e| e.to_string())),
            Err(error) => (0, format!("{error:?}")),
        }
    }

    /// Asks until the answer is `Ok`; after the limit it panics with the last `Err` and Envoy's log.
    pub async fn wait_until<T, F>(&self, what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<T, String>>,
    {
        until(what, limit, || {
            let answer = ask();
            async { answer.await.map_err(|last| format!("{last}\nEnvoy's log:\n{}", self.log())) }
        })
        .await
    }

    /// Waits until `product-service.example` answers with that body through the listener.
    pub async fn until_answered(&self, limit: Duration, expected: &str) {
        self.wait_until(&format!("an answer of {expected}"), limit, async || {
            match self.get("product-service.example", "/").await {
                (200, body) if body == expected => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// Waits until it has so many clusters, its own included.
    pub async fn until_clusters(&self, limit: Duration, expected: u64) {
        self.wait_until("the number of active clusters", limit, async || {
            match self.stat("cluster_manager.active_clusters").await {
                Some(count) if count == expected => Ok(()),
                other => Err(format!("{other:?}, expected {expected}")),
            }
        })
        .await
    }

    /// The last lines of Envoy's log.
    pub fn log(&self) -> String {
        self.process.tail()
    }
}

/// Asks Envoy whether it would start on a bootstrap. `None` as for [`Envoy::start`].
pub async fn validate(bootstrap: &str) -> Option<Result<(), String>> {
    let binary = binary()?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.yaml");
    fs::write(&file, bootstrap).unwrap();
    let output = Command::new(binary)
        .args(["--mode", "validate", "--use-dynamic-base-id", "--log-level", "warning", "-c"])
        .arg(&file)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Some(if output.status.success() && !text.contains("[warning]") { Ok(()) } else { Err(text) })
}

/// `sidecar.yaml` with one listener at [`LISTENER`], which has this filter.
fn sidecar(filter: &str) -> String {
    let example = Envoy::example("sidecar.yaml");
    let (head, _) = example.split_once("  listeners:\n").expect("the example has listeners");
    format!(
        r#"{head}  listeners:
  - name: outbound
    address:
      socket_address: {{ address: 127.0.0.1, port_value: 10000 }}
    filter_chains:
    - filters:
      - name: {filter}"#
    )
}

fn listener_of(listeners: &str) -> Option<SocketAddr> {
    let listeners: serde_json::Value = serde_json::from_str(listeners).ok()?;
    let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
    let text = format!("{}:{}", address["address"].as_str()?, address["port_value"]);
    text.parse().ok().filter(|address: &SocketAddr| address.port() != 0)
}

/// The binary that `tests/servers/envoy` has fetched, or the one that `ENVOY` names.
fn binary() -> Option<PathBuf> {
    let cache = std::env::var_os("PORTOLAN_SERVERS_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers"));
    let fetched = cache.join("envoy/envoy");
    let named = std::env::var_os("ENVOY").map(PathBuf::from);
    let found = named.or_else(|| fetched.exists().then_some(fetched));
    if found.is_none() {
        lacking("Envoy", "tests/servers/envoy fetches one");
    }
    found
}
