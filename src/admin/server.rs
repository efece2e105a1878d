//! The listener: its own, apart from clients', and bounded in everything that a visitor could take.

use super::{Sources, routes};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::registry::Registry;
use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// At once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 64;

/// For the head of a request, and for the next request on a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Of one connection, so that none of the few is kept for ever.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(300);

/// For answers under way when we stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// After a failed accept, which mostly means that there are no files left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no admin HTTP.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address} for admin: {source}; end the program that has it, or set admin.listen to another"
    )]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Admin HTTP on its port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl Server {
    /// Takes the port.
    pub async fn bind(
        address: SocketAddr,
        sources: Arc<dyn Sources>,
        metrics: Arc<Registry>,
    ) -> Result<Self, ServerError> {
        let refused = |source| ServerError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Server { listener, address, router: routes::router(sources, metrics) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`, and lets the answers under way end.
    pub async fn run(self, shutdown: CancellationToken) {
        let (permits, connections) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), TaskTracker::new());
        // Both are safe to cancel: neither a permit nor a connection is lost.
        let accept = async {
            loop {
                let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
                match self.listener.accept().await {
                    Ok((socket, _)) => {
                        let serve = serve(socket, self.router.clone(), shutdown.clone());
                        connections.spawn(async move {
                            serve.await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "Cannot accept an admin connection; trying again.");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = accept => {}
        }
        connections.close();
        if timeout(STOP_TIMEOUT, connections.wait()).await.is_err() {
            tracing::debug!(left = connections.len(), "Left admin connections behind.");
        }
    }
}

async fn serve(socket: TcpStream, router: Router, shutdown: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
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
