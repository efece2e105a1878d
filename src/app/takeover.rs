//! One process takes over from another: both are there for a moment, and the port is never closed.
//!
//! Who serves waits at a Unix socket, `--takeover`. A process that starts with the same asks there before it takes its ports, and
//! is given the sockets that listen. It reads its registries; as soon as it can answer, it says so and accepts connections.
//! Whoever had them until then accepts no more, lets its streams end over `xds.drain`, and ends. Connections that wait in the
//! queue are of the socket, and the socket is of both: none is refused or reset.
//!
//! A process that ends before it could answer has taken nothing over.

use super::sockets::{ADMIN, CSDS};
use crate::{
    admin, csds,
    resource::Dialect,
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
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What is said by who can answer from now on.
const READY: &[u8] = b"ready\n";

/// How long the other may take to give its sockets.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who serves, as long as we do not.
#[derive(Debug)]
pub(super) struct Predecessor {
    stream: UnixStream,
}

impl Predecessor {
    /// Asks who serves for its sockets; `None`: nobody does. Must be called within a runtime.
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

    /// Waits until Envoys can be answered, or the other has ended by itself; then this process is the one that serves.
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

/// Waits for a process that takes over from this one.
#[derive(Debug)]
pub(super) struct Successors {
    path: PathBuf,
    /// With what each of them is called.
    sockets: Vec<(String, OwnedFd)>,
}

impl Successors {
    /// Gives away all that is listened on.
    pub(super) fn new(
        path: PathBuf,
        xds: &xds::Server,
        admin: &admin::Server,
        csds: Option<&csds::Server>,
    ) -> io::Result<Self> {
        let mut sockets = xds.sockets()?;
        sockets.push((ADMIN.into(), admin.socket()?));
        if let Some(csds) = csds {
            sockets.push((CSDS.into(), csds.socket()?));
        }
        Ok(Successors { path, sockets })
    }

    /// Waits until one can answer, or `stop`. Whether one can.
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
                        relieved = self.hand_out(stream) => match relieved {
                            Ok(true) => return true,
                            Ok(false) => warn!("The process that was to take over has ended; this one goes on."),
                            Err(error) => warn!(%error, "Cannot give the sockets to another process; this one goes on."),
                        },
                    }
                }
            }
        }
    }

    /// Gives the sockets away, and waits for the word. Whether it comes.
    async fn hand_out(&self, stream: UnixStream) -> io::Result<bool> {
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

/// In the place of whoever listened there, for the owner alone from the first moment on.
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
