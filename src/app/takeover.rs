//! One process takes over from another: both run for a moment, and the port is never closed.
//!
//! The process that serves waits at a Unix socket, `--takeover`. A new process with the same path asks there before it
//! reads state from disk and takes its ports. The old one takes no more changes from people and programs, has what it knows
//! written to disk, and gives its listening sockets. The new one reads its registries; as soon as it can answer, it says so
//! and accepts connections. The old process then accepts no more, lets its streams end over `xds.drain`, and ends.
//! Connections that wait in the queue belong to the socket, which both have: none is refused or reset.
//!
//! If the new process ends before it can answer, nothing changes, and the old one takes changes again.
//!
//! Invariant: a change that was acknowledged by the old process is known to the new one, if both have one folder of state.

use super::sockets::{ADMIN, CSDS};
use crate::{
    admin, csds,
    registry::Written,
    resource::Dialect,
    state,
    util::{passing, systemd::Inherited},
    views, xds,
};
use anyhow::Context;
use socket2::SockRef;
use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener as StdListener, net::UnixStream as StdStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The message of the new process when it can answer.
const READY: &[u8] = b"ready\n";

/// How long the old process may take to give its sockets: more than all that it waits for before.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long changes under way may take until the sockets are given.
const SOON: Duration = Duration::from_secs(5);

/// How long the writing of state may take.
const WRITING: Duration = Duration::from_secs(15);

/// The process that serves until this one can.
#[derive(Debug)]
pub(super) struct Predecessor {
    stream: UnixStream,
}

impl Predecessor {
    /// Asks the process that serves for its sockets; when this returns, what it knows is on disk. `None`: there is none.
    /// Must be called within a runtime.
    pub(super) fn ask(path: &Path) -> anyhow::Result<Option<(Predecessor, Vec<Inherited>)>> {
        let stream = match StdStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot ask for sockets at {}", path.display())),
        };
        let taken = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| passing::take(&stream));
        let (names, sockets) = taken.with_context(|| format!("got no sockets at {}", path.display()))?;
        info!(sockets = sockets.len(), "Another process serves; this one takes over as soon as it can answer.");
        // By their addresses: a listener of the same name may have another one by now. Those of Unix have the one of a moment
        // before they got their place.
        let inherited = |(name, socket): (&str, OwnedFd)| {
            let is_unix = SockRef::from(&socket).local_addr().is_ok_and(|address| address.is_unix());
            let name = if is_unix { name.into() } else { String::new() };
            Inherited { name, socket: Arc::new(socket) }
        };
        let sockets = names.lines().zip(sockets).map(inherited).collect();
        stream.set_nonblocking(true)?;
        Ok(Some((Predecessor { stream: UnixStream::from_std(stream)? }, sockets)))
    }

    /// Waits until Envoys can be answered, or the old process has ended by itself; then this process serves.
    pub(super) async fn relieve(mut self, views: &views::Set) {
        let mut readiness = views.readiness(Dialect::Envoy);
        let mut word = [0; 1];
        while !views.is_ready(Dialect::Envoy) {
            tokio::select! {
                changed = readiness.changed() => if changed.is_err() { return },
                // It says nothing: its end is all that there is to be read.
                _ = self.stream.read(&mut word) => break,
            }
        }
        match self.stream.write_all(READY).await {
            Ok(()) => info!("Took over from the process before this one."),
            Err(error) => info!(%error, "The process before this one has ended by itself."),
        }
    }
}

/// What people and programs change in this process: services that they write, overrides, holds. A process that takes over must
/// know of it.
#[derive(Debug, Clone)]
pub(super) struct Changing {
    pub(super) changes: admin::Changes,
    pub(super) written: Written,
    pub(super) state: state::Control,
}

impl Changing {
    /// Takes no more changes, and waits until the catalog has those that were made. False: some may be missing.
    pub(super) async fn end(&self) -> bool {
        // What is still being sent after that time, such as a long list, is refused by its store.
        self.written.pause();
        let closed = timeout(SOON, self.changes.close()).await.is_ok();
        let told = timeout(SOON, self.written.told()).await.is_ok();
        closed && told
    }

    /// Takes no more changes, and has everything written that was made.
    async fn pause(&self) {
        let ended = self.end().await;
        if !timeout(WRITING, self.state.write()).await.unwrap_or(false) || !ended {
            warn!("Cannot write what has changed last; the process that takes over may not know of it.");
        }
    }

    /// Takes changes again, or for the first time; times to live of what was written begin anew.
    pub(super) fn resume(&self) {
        self.written.resume(Instant::now());
        self.changes.open();
    }
}

/// Waits for a process that takes over from this one.
#[derive(Debug)]
pub(super) struct Successors {
    path: PathBuf,
    changing: Changing,
    /// The sockets to hand over, each with its name.
    sockets: Vec<(String, OwnedFd)>,
}

impl Successors {
    /// Takes copies of all listening sockets.
    pub(super) fn new(
        path: PathBuf,
        changing: Changing,
        xds: &xds::Server,
        admin: &admin::Server,
        csds: Option<&csds::Server>,
    ) -> io::Result<Self> {
        let mut sockets = xds.sockets()?;
        sockets.push((ADMIN.into(), admin.socket()?));
        if let Some(csds) = csds {
            sockets.push((CSDS.into(), csds.socket()?));
        }
        Ok(Successors { path, changing, sockets })
    }

    /// Waits for a process that takes over, or for `stop`. Returns whether one has.
    pub(super) async fn wait(self, stop: CancellationToken) -> bool {
        let listener = match listen(&self.path) {
            Ok(listener) => listener,
            Err(error) => {
                warn!(%error, path = %self.path.display(), "No process can take over from this one: cannot listen there.");
                stop.cancelled().await;
                return false;
            }
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return false,
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    tokio::select! {
                        () = stop.cancelled() => return false,
                        relieved = self.hand_out(stream) => {
                            match relieved {
                                Ok(true) => return true,
                                Ok(false) => warn!("The process that was to take over has ended; this one goes on."),
                                Err(error) => {
                                    warn!(%error, "Cannot give the sockets to another process; this one goes on.");
                                }
                            }
                            self.changing.resume();
                        }
                    }
                }
            }
        }
    }

    /// Hands the sockets to a process, which then reads what is on disk, and waits for [`READY`]. False: it has ended
    /// without it. Changes are not taken meanwhile.
    async fn hand_out(&self, stream: UnixStream) -> io::Result<bool> {
        self.changing.pause().await;
        let names: String = self.sockets.iter().map(|(name, _)| format!("{name}\n")).collect();
        let sockets: Vec<BorrowedFd<'_>> = self.sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
        // A small message on a socket that is new: it does not wait.
        let stream = stream.into_std()?;
        passing::give(&stream, &names, &sockets)?;
        info!("Another process is about to take over.");
        let mut word = [0; READY.len()];
        let read = UnixStream::from_std(stream)?.read_exact(&mut word).await;
        Ok(read.is_ok() && word == *READY)
    }
}

/// Listens at the path, in the place of any former socket. Only the owner may connect, from the first moment on.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    let _ = fs::remove_file(&new);
    let bound = (|| {
        let listener = StdListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        fs::rename(&new, path)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    })();
    bound.inspect_err(|_| drop(fs::remove_file(&new)))
}
