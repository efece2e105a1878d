//! Client status for standard tools (CSDS), with reflection: who is connected, and what each has acknowledged of what it was
//! sent. gRPC on an address of its own, for people of this machine, because it shows every client.

mod answer;
mod matcher;
mod service;

use crate::xds::Clients;
use service::ClientStatus;
use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server as Transport, server::TcpIncoming};
use tracing::{info, warn};

/// The descriptors of the served messages, encoded, for reflection.
const SCHEMA: &[u8] = include_bytes!("../pb/generated/schema.binpb");

/// At most so many requests of a connection at once; an answer may be megabytes.
const AT_ONCE: usize = 4;

/// A server of client status that is bound, and serves when [`Server::run`] is called.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    clients: Arc<Clients>,
}

/// The address of the server (`csds.listen`) cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (csds.listen): {source}; choose another address, or end what listens there")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

impl Server {
    /// Listens on an address; port 0 takes any that is free.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn bind(address: SocketAddr, clients: Arc<Clients>) -> Result<Server, BindError> {
        let taken = async {
            let listener = TcpListener::bind(address).await?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = taken.await.map_err(|source| BindError { address, source })?;
        Ok(Server { listener, address, clients })
    }

    /// As [`Server::bind`], on a socket that listens already.
    ///
    /// # Errors
    /// If the system does not say the address of the socket.
    pub fn on(listener: TcpListener, clients: Arc<Clients>) -> std::io::Result<Server> {
        Ok(Server { address: listener.local_addr()?, listener, clients })
    }

    /// The socket that it listens on, for another process.
    ///
    /// # Errors
    /// If there is no descriptor left for it.
    pub fn socket(&self) -> std::io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// The address; for port 0, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let reflection = || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(SCHEMA);
        let (Ok(v1), Ok(v1alpha)) = (reflection().build_v1(), reflection().build_v1alpha()) else {
            // The schema is ours, and a test reads it.
            warn!("Client status is not served: its descriptors cannot be read.");
            return stop.cancelled().await;
        };
        info!(address = %self.address, "Client status (CSDS) is served.");
        let serving = Transport::builder()
            .concurrency_limit_per_connection(AT_ONCE)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(ClientStatus(self.clients))
            .add_service(v1)
            .add_service(v1alpha)
            .serve_with_incoming_shutdown(TcpIncoming::from(self.listener), stop.cancelled());
        if let Err(error) = serving.await {
            warn!(%error, "Serving client status failed.");
        }
        stop.cancelled().await;
    }
}
