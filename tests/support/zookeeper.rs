//! A real ZooKeeper from `tests/servers`, on a free port of its own: written to as providers write, killed, stopped for a
//! while, started again with its data or without. Its process ends with the value, also when a test panics.

use super::{
    process::{self, Process},
    servers::{free_port, prepared},
    until,
};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::process::Command;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error};

/// How long a server may take to start, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A server; killed when dropped.
pub struct ZooKeeper {
    process: Process,
    name: &'static str,
    settings: String,
    port: u16,
}

impl ZooKeeper {
    /// Starts what `tests/servers/<name>` runs, and waits until it is ready. `None` if it is missing and not required
    /// ([`lacking`](super::servers::lacking)): the test then passes.
    pub async fn start(name: &'static str) -> Option<ZooKeeper> {
        Self::start_with(name, "").await
    }

    /// Like [`ZooKeeper::start`], with further lines of the server's configuration.
    pub async fn start_with(name: &'static str, settings: &str) -> Option<ZooKeeper> {
        if !prepared(&[name]).await {
            return None;
        }
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let command = command(name, settings, port, folder.path());
        let process = Process::start(folder, command);
        let server = ZooKeeper { process, name, settings: settings.into(), port };
        server.writer().await;
        Some(server)
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again, with its data, on its port.
    pub async fn restart(&mut self) {
        let command = command(self.name, &self.settings, self.port, self.process.folder());
        self.process.restart(command).await;
        self.writer().await;
    }

    /// Starts it again with nothing in it, on its port.
    pub async fn restart_empty(&mut self) {
        self.process.empty().await;
        self.restart().await;
    }

    /// Sends a signal: `STOP` halts the process, `CONT` lets it go on.
    pub async fn signal(&self, signal: &str) {
        self.process.signal(signal).await;
    }

    /// Sends a four-letter word, such as `mntr`, and returns the answer.
    pub async fn ask(&self, word: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut connection = tokio::net::TcpStream::connect(self.address()).await.unwrap();
        connection.write_all(word.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Opens a session without a user.
    pub async fn writer(&self) -> Writer {
        self.writer_as(None).await
    }

    /// Opens a session, with a user if there is one, as `name:password`.
    pub async fn writer_as(&self, user: Option<&str>) -> Writer {
        until("ZooKeeper to take a session", START, || async {
            let mut connector = Client::connector().with_session_timeout(Duration::from_secs(60)).with_fail_eagerly();
            if self.name == "zookeeper35" {
                connector = connector.with_server_version(3, 5, 10);
            }
            if let Some(user) = user {
                connector = connector.with_auth("digest", user.as_bytes());
            }
            let session = connector.connect(&self.address().to_string()).await;
            session.map(Writer).map_err(|error| format!("{error}\n{}", self.process.tail()))
        })
        .await
    }
}

/// A session that writes.
pub struct Writer(pub Client);

impl Writer {
    /// Creates a node with its parents, open to all. A node that is there already is left as it is.
    pub async fn create(&self, path: &str, data: &str) {
        self.create_as(path, data.as_bytes(), CreateMode::Persistent, Acls::anyone_all()).await;
    }

    /// Creates an ephemeral node, which lives as long as this session; its parents stay.
    pub async fn create_ephemeral(&self, path: &str, data: &str) {
        self.create_as(path, data.as_bytes(), CreateMode::Ephemeral, Acls::anyone_all()).await;
    }

    /// Creates a node with rights of its own; its parents are open to all.
    pub async fn create_as(&self, path: &str, data: &[u8], mode: CreateMode, acls: Acls<'_>) {
        let parent = path.rsplit_once('/').unwrap().0;
        if !parent.is_empty() {
            self.0.mkdir(parent, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await.unwrap();
        }
        let options: CreateOptions<'_> = mode.with_acls(acls);
        match self.0.create(path, data, &options).await {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Replaces the data of a node.
    pub async fn set(&self, path: &str, data: &str) {
        self.0.set_data(path, data.as_bytes(), None).await.unwrap();
    }

    /// Removes a node and all below it, from below.
    pub async fn delete(&self, path: &str) {
        let children = match self.0.list_children(path).await {
            Ok(children) => children,
            Err(Error::NoNode) => return,
            Err(error) => panic!("{path}: {error}"),
        };
        for child in children {
            Box::pin(self.delete(&format!("{path}/{child}"))).await;
        }
        match self.0.delete(path, None).await {
            Ok(()) | Err(Error::NoNode) => {}
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Creates a provider's node of an interface, below `/dubbo`, and returns its path.
    pub async fn provide(&self, interface: &str, url: &str) -> String {
        let path = provider("/dubbo", interface, url);
        self.create(&path, "").await;
        path
    }
}

/// Path of a provider's node below `root`.
pub fn provider(root: &str, interface: &str, url: &str) -> String {
    format!("{root}/{interface}/providers/{}", encoded(url))
}

/// Percent-encodes as Java's `URLEncoder` does; but a blank becomes `%20`.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'*' | b'_');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn command(name: &str, settings: &str, port: u16, folder: &Path) -> Command {
    let mut command = process::run(name, port, folder);
    command.env("ZOOKEEPER_SETTINGS", settings);
    command
}
