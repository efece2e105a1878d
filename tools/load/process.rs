//! The server's process: started, watched through /proc, ended.

use crate::stream::Target;
use anyhow::{Context, bail};
use portolan::util::tls;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_rustls::{
    TlsConnector,
    rustls::{RootCertStore, client::Resumption},
};

/// A running Portolan; killed when dropped.
pub struct Server {
    _child: Child,
    _folder: TempDir,
    pid: u32,
    target: Target,
}

impl Server {
    /// Starts the binary with the given `registries:` section and waits until it is ready. With `tls`, clients show a certificate
    /// with a SPIFFE id (those of tests).
    pub async fn start(binary: &Path, registries: String, tls: bool) -> anyhow::Result<Server> {
        let (xds, admin) = (free_address()?, free_address()?);
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("portolan.yaml");
        fs::write(
            &config,
            format!("version: 1\nxds: {{ {} }}\nadmin: {{ listen: '{admin}' }}\n{registries}", listeners(xds, tls)),
        )?;
        let log = fs::File::create(folder.path().join("log"))?;
        let child = Command::new(binary)
            .arg("--config")
            .arg(&config)
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}; build it with cargo build --release", binary.display()))?;
        let pid = child.id().context("the server has ended")?;
        let target = Target { address: xds, tls: tls.then(connector).transpose()? };
        let server = Server { _child: child, _folder: folder, pid, target };
        let client = tls::http_client().build()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_ready(&client, admin).await {
            if Instant::now() > deadline || !Path::new(&format!("/proc/{pid}")).exists() {
                let log = fs::read_to_string(server._folder.path().join("log")).unwrap_or_default();
                bail!("the server did not become ready: {log}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn xds(&self) -> SocketAddr {
        self.target.address
    }

    /// The xDS address, and TLS if the server has it.
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    /// User and system time of the process so far, also of threads that have ended; in steps of 10 ms.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // Behind the name, which may hold anything, the 12th and 13th.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    pub fn rss_mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no number in VmRSS")?.parse()?;
        Ok(kib / 1024.0)
    }
}

/// Folder of the certificates and keys for `--tls`.
const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/certificates/mesh");

fn listeners(xds: SocketAddr, tls: bool) -> String {
    if !tls {
        return format!("listen: '{xds}'");
    }
    let file = |name: &str| format!("'{CERTIFICATES}/{name}'");
    format!(
        "unmatched: all, listeners: [{{ name: load, listen: '{xds}', tls: {{ certificate: {}, key: {}, trust_domains: {{ shop.example: {} }} }} }}]",
        file("shop-server.pem"),
        file("shop-server.key"),
        file("shop.pem")
    )
}

fn connector() -> anyhow::Result<TlsConnector> {
    let text = |name: &str| fs::read_to_string(format!("{CERTIFICATES}/{name}"));
    let mut roots = RootCertStore::empty();
    tls::trust(&mut roots, &text("shop.pem")?)?;
    let mut config = tls::client(roots, Some((&text("cart.pem")?, &text("cart.key")?)))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn is_ready(client: &reqwest::Client, admin: SocketAddr) -> bool {
    let answer = client.get(format!("http://{admin}/ready")).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
