//! The HTTP server of the admin API: apart from that of xDS, and with limits on everything that a connection can use.

use super::{
    Sources,
    changes::Changes,
    guard::{Hosts, Local},
    reserve::Reserve,
    routes::{self, Settings},
    slots::Slots,
    socket::Socket,
    tokens::Tokens,
};
use crate::{
    identity::Tls,
    util::{descriptors, transport::Transport},
};
use arc_swap::ArcSwapOption;
use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use socket2::SockRef;
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

/// How long the head of a request may take, and how long a connection may wait for its next request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may last: one that reads its answer slowly keeps old snapshots in memory.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(300);

/// The most bytes of a request's head, and of an answer that waits for the peer.
const BUFFER: usize = 64 << 10;

/// The most bytes of an answer that wait in the system for the peer: its default is megabytes for each connection.
const SEND_BUFFER: usize = 64 << 10;

/// How long answers under way may take when Portolan stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause after a failed accept, which mostly means that there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the admin API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be bound.
    #[error(
        "cannot listen on {address} for admin: {source}; end the program that has it, or set admin.listen to another"
    )]
    Bind {
        /// The address of `admin.listen`, with the port that is taken.
        address: SocketAddr,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// The access control of the admin API. All of it may change while it serves; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    /// The hosts that requests may name.
    pub hosts: Hosts,
    /// The tokens for reading and for changes.
    pub tokens: Tokens,
    /// Whether changes are taken at all.
    pub changes: Changes,
    pub(super) tls: Arc<ArcSwapOption<Tls>>,
}

impl Protection {
    /// The TLS settings of new connections. `None`: plain text.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.load_full()
    }

    /// Sets the TLS settings of connections that begin from now on.
    pub fn set_tls(&self, tls: Option<Arc<Tls>>) {
        self.tls.store(tls);
    }
}

/// The admin API on its port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    slots: Arc<Slots>,
    reserve: Arc<Reserve>,
    protection: Protection,
}

impl Server {
    /// Binds the port.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        protection: Protection,
        sources: Arc<dyn Sources>,
        metrics: Arc<Registry>,
    ) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address).await.map_err(|source| ServerError::Bind { address, source })?;
        Self::on(listener, protection, sources, metrics)
    }

    /// The same on a socket that listens already, such as one from systemd.
    ///
    /// # Errors
    /// If the socket has no address.
    pub fn on(
        listener: TcpListener,
        protection: Protection,
        sources: Arc<dyn Sources>,
        metrics: Arc<Registry>,
    ) -> Result<Self, ServerError> {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = listener.local_addr().map_err(|source| ServerError::Bind { address: nowhere, source })?;
        let Protection { hosts, tokens, changes, .. } = protection.clone();
        let router = routes::router(sources, metrics, Settings { listen: address, hosts, tokens, changes });
        // One more gets the slot of the one that has been idle for the longest time.
        let slots = Arc::new(Slots::new(descriptors::for_admin(descriptors::limit())));
        Ok(Server { listener, address, router, slots, reserve: Arc::default(), protection })
    }

    /// Where it listens; for port 0 in the configuration, the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A copy of the socket that it listens on, for the next process.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Answers until `shutdown`, and lets the answers under way end.
    pub async fn run(self, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        // Safe to cancel: no connection is lost.
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.accept(&connections, &shutdown) => {}
        }
        connections.close();
        if timeout(STOP_TIMEOUT, connections.wait()).await.is_err() {
            tracing::debug!(left = connections.len(), "Left admin connections behind.");
        }
    }

    async fn accept(&self, connections: &TaskTracker, shutdown: &CancellationToken) {
        let mut failed = false;
        self.reserve.fill();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    failed = false;
                    connections.spawn(self.connection(stream, shutdown.clone()));
                }
                Err(error) if self.reserve.yield_to(&error) => {}
                Err(error) => {
                    if !failed {
                        tracing::warn!(%error, "Cannot accept an admin connection; trying again.");
                    }
                    failed = true;
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection from its acceptance to its end, in a slot.
    fn connection(&self, stream: TcpStream, shutdown: CancellationToken) -> impl Future<Output = ()> + use<> {
        let (slots, reserve, router) = (self.slots.clone(), self.reserve.clone(), self.router.clone());
        let tls = self.protection.tls();
        async move {
            let slot = slots.acquire();
            let local = stream.local_addr();
            if let Err(error) = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER) {
                tracing::debug!(%error, "Cannot limit the send buffer of an admin connection.");
            }
            let socket = Socket::new(stream, slot.clone());
            tokio::select! {
                () = open(socket, tls, local.ok(), router, shutdown) => {}
                () = slot.lost.cancelled() => tracing::debug!("Closed the longest idle admin connection for a new one."),
            }
            slots.release(&slot);
            reserve.fill();
        }
    }
}

/// Serves a connection, after a TLS handshake if `tls` is set.
async fn open(
    socket: Socket,
    tls: Option<Arc<Tls>>,
    local: Option<SocketAddr>,
    router: Router,
    shutdown: CancellationToken,
) {
    let Some(tls) = tls else { return serve(Box::new(socket), local, router, shutdown).await };
    match timeout(HEADER_TIMEOUT, TlsAcceptor::from(tls.config.clone()).accept(socket)).await {
        Ok(Ok(stream)) => serve(Box::new(stream), local, router, shutdown).await,
        Ok(Err(error)) => tracing::debug!(%error, "An admin connection speaks no TLS, or does not believe ours."),
        Err(_) => tracing::debug!("An admin connection did not begin TLS in time."),
    }
}

async fn serve(socket: Transport, local: Option<SocketAddr>, router: Router, shutdown: CancellationToken) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(local) = local {
            request.extensions_mut().insert(Local(local));
        }
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => Some(served),
        () = shutdown.cancelled() => None,
        () = sleep(MAX_CONNECTION_AGE) => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(HEADER_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "An admin connection ended early.");
    }
}
