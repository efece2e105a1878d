//! Where clients come in: sockets of TCP and Unix, and what each of them asks of its clients.
//!
//! A listener's policy may change while it runs: whoever holds a [`Listener`] sees the newest one.

use super::{metrics::Metrics, peer::Remote};
use crate::{
    identity::{Identity, Policy, Refusal},
    resource::{Dialect, Family},
    util::transport::Transport,
};
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};
use tracing::warn;

/// Connections that wait to be accepted: a fleet reconnects at once.
const BACKLOG: i32 = 4096;

/// Name of the listener that `xds.listen` makes, the short form of `xds.listeners`.
pub(super) const DEFAULT: &str = "default";

/// Where to listen, and for whom.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Name in `xds.listeners`, or `default` for `xds.listen`. Logs and metrics show it.
    pub name: Arc<str>,
    /// The address as it is configured: port 0 is not replaced yet.
    pub address: Address,
    /// Who may come: Envoys and gRPC programs, or Istiods; `None`: all of them.
    pub clients: Option<Family>,
    /// The networks that clients may come from; empty: any.
    pub networks: Vec<IpNet>,
    /// The credentials that it asks of its clients at first; they may be changed while it runs.
    pub policy: Arc<Policy>,
    /// A socket that listens there already; `None`: one is made.
    pub socket: Option<Arc<OwnedFd>>,
}

/// Where a listener of xDS listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address of TCP; port 0 takes any that is free.
    Tcp(SocketAddr),
    /// A Unix socket, for processes of this machine.
    Unix {
        /// Its file. A socket that nobody listens on any more is replaced.
        path: PathBuf,
        /// Who may connect: the permissions of the file.
        mode: u32,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listen {
    /// The short form: TCP without TLS, for everybody.
    pub fn plain(address: SocketAddr) -> Self {
        let policy = Arc::default();
        Listen {
            name: DEFAULT.into(),
            address: Address::Tcp(address),
            clients: None,
            networks: Vec::new(),
            policy,
            socket: None,
        }
    }
}

/// A listener as its connections and streams know it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) name: Arc<str>,
    clients: Option<Family>,
    networks: Vec<IpNet>,
    policy: watch::Sender<Arc<Policy>>,
}

impl Listener {
    pub(super) fn new(listen: &Listen) -> Self {
        let Listen { name, clients, networks, policy, .. } = listen.clone();
        Listener { name, clients, networks, policy: watch::Sender::new(policy) }
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        self.policy.borrow().clone()
    }

    /// The policy of now, and each one that replaces it.
    pub(super) fn policies(&self) -> watch::Receiver<Arc<Policy>> {
        self.policy.subscribe()
    }

    /// Replaces the policy, also for clients that are connected.
    pub(super) fn set_policy(&self, policy: Arc<Policy>) {
        self.policy.send_replace(policy);
    }

    /// Whether the listener's networks have the peer's address. A peer on a Unix socket has none and is always
    /// admitted.
    pub(super) fn admits(&self, remote: &Remote) -> bool {
        self.networks.is_empty() || remote.ip().is_none_or(|ip| self.networks.iter().any(|net| net.contains(&ip)))
    }

    /// Notes that a client is not believed, or no longer.
    pub(super) fn refuse(&self, refusal: &Refusal, peer: Remote, metrics: &Metrics) {
        metrics.client_refused(&self.name, refusal.code());
        warn!(%peer, listener = &*self.name, reason = %refusal, "A client is refused: it is not who it must be.");
    }

    /// Whether a client of that kind may have that node here.
    pub(super) fn check(&self, identity: Option<&Identity>, dialect: Dialect, node_id: &str) -> Result<(), Unfit> {
        if self.clients.is_some_and(|family| family != dialect.family()) {
            return Err(Unfit::Kind(dialect.name()));
        }
        Ok(self.policy.borrow().check_node(identity, node_id)?)
    }
}

/// Why a client is at the wrong listener. For our log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the listener is not for clients of the kind {0}")]
    Kind(&'static str),
    #[error(transparent)]
    Node(#[from] Refusal),
}

impl Unfit {
    /// Value of the label `reason` in metrics.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Unfit::Kind(_) => "kind",
            Unfit::Node(refusal) => refusal.code(),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket; it is gone when this is dropped, if it is still the same.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Number of the file that was made here; `None` if another process owns it, so that it is not removed.
    inode: Option<u64>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_some_and(|inode| Some(inode) == self.inode) {
            // What is left behind is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|metadata| metadata.ino())
}

impl Bound {
    /// Takes an address. Must be called within a runtime.
    pub(super) fn bind(address: &Address) -> io::Result<Bound> {
        match address {
            Address::Tcp(address) => {
                let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
                socket.set_reuse_address(true)?;
                socket.set_nonblocking(true)?;
                socket.bind(&(*address).into())?;
                socket.listen(BACKLOG)?;
                let listener = TcpListener::from_std(socket.into())?;
                let address = listener.local_addr()?;
                Ok(Bound::Tcp(listener, address))
            }
            Address::Unix { path, mode } => bind_unix(path, *mode),
        }
    }

    /// Takes a socket that listens already, whoever has made it. Must be called within a runtime.
    pub(super) fn inherit(address: &Address, socket: &OwnedFd) -> io::Result<Bound> {
        let socket = Socket::from(socket.try_clone()?);
        socket.set_nonblocking(true)?;
        match address {
            Address::Tcp(_) => {
                let listener = TcpListener::from_std(socket.into())?;
                let address = listener.local_addr()?;
                Ok(Bound::Tcp(listener, address))
            }
            Address::Unix { path, .. } => {
                let listener = UnixListener::from_std(StdUnixListener::from(socket))?;
                // Its file is of whoever has made it.
                Ok(Bound::Unix(listener, SocketFile { inode: None, path: path.clone() }))
            }
        }
    }

    /// Where it listens, with the port that the system chose.
    pub(super) fn address(&self) -> Address {
        match self {
            Bound::Tcp(_, address) => Address::Tcp(*address),
            Bound::Unix(_, file) => Address::Unix { path: file.path.clone(), mode: 0 },
        }
    }

    /// The socket, for another process.
    pub(super) fn socket(&self) -> io::Result<OwnedFd> {
        match self {
            Bound::Tcp(listener, _) => listener.as_fd().try_clone_to_owned(),
            Bound::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Another process listens there, too: the file of a Unix socket is that one's from now on.
    pub(super) fn let_go(&mut self) {
        if let Bound::Unix(_, file) = self {
            file.inode = None;
        }
    }

    /// The next connection. Safe to cancel.
    pub(super) async fn accept(&self) -> io::Result<(Transport, Remote)> {
        match self {
            Bound::Tcp(listener, _) => {
                let (stream, remote) = listener.accept().await?;
                // One that has gone already is noticed when it is read.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), remote.into()))
            }
            Bound::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?;
                Ok((Box::new(stream), Remote::Unix { uid: peer.uid(), pid: peer.pid() }))
            }
        }
    }
}

/// Makes the socket under another name, with its permissions, and moves it to its place: at no moment can somebody else
/// connect, or a client find nothing there. Whoever may write to the folder is trusted.
fn bind_unix(path: &Path, mode: u32) -> io::Result<Bound> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        // Somebody answers: it is not ours to take.
        Ok(_) if StdUnixStream::connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) | Err(_) => {}
    }
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    let _ = fs::remove_file(&new);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let bound = (|| -> io::Result<UnixListener> {
        socket.bind(&socket2::SockAddr::unix(&new)?)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
        // Nobody can connect before.
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from_std(StdUnixListener::from(socket))?;
        fs::rename(&new, path)?;
        Ok(listener)
    })();
    let listener = bound.inspect_err(|_| drop(fs::remove_file(&new)))?;
    Ok(Bound::Unix(listener, SocketFile { inode: inode(path), path: path.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpStream, UnixStream};

    #[tokio::test]
    async fn a_socket_that_was_passed_is_taken_and_stays_when_it_is_let_go() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = Address::Tcp(socket.local_addr().unwrap().as_socket().unwrap());
        socket.listen(16).unwrap();
        let passed = OwnedFd::from(socket);
        let bound = Bound::inherit(&address, &passed).unwrap();
        let Bound::Tcp(_, place) = &bound else { panic!("{bound:?}") };
        let place = *place;
        let (accepted, client) = tokio::join!(bound.accept(), TcpStream::connect(place));
        drop((accepted.unwrap(), client.unwrap(), bound));
        // Whoever comes now waits for the next one.
        let waiting = TcpStream::connect(place).await.unwrap();
        let next = Bound::inherit(&address, &passed).unwrap();
        let (_, remote) = next.accept().await.unwrap();
        assert_eq!(remote.to_string(), waiting.local_addr().unwrap().to_string());
    }

    fn unix(path: &Path) -> Address {
        Address::Unix { path: path.into(), mode: 0o640 }
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xds.sock");
        let first = Bound::bind(&unix(&path)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(Bound::bind(&unix(&path)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists(), "it is gone with its listener");
        // As a crash leaves it behind.
        drop(StdUnixListener::bind(&path).unwrap());
        let second = Bound::bind(&unix(&path)).unwrap();
        let client = UnixStream::connect(&path).await.unwrap();
        let (_, remote) = second.accept().await.unwrap();
        assert!(matches!(remote, Remote::Unix { pid: Some(_), .. }), "{remote}");
        drop(client);
        // Another process has taken the place: its socket stays.
        fs::remove_file(&path).unwrap();
        let other = StdUnixListener::bind(&path).unwrap();
        drop(second);
        assert!(path.exists());
        drop(other);
        let text = folder.path().join("text");
        fs::write(&text, "mine").unwrap();
        assert_eq!(Bound::bind(&unix(&text)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&text).unwrap(), "mine");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nothing is left behind: {names:?}");
    }
}
