//! Nacos 2 and 3 push by gRPC: a client of our own, on tonic (`docs/adr/0008-own-client-for-nacos-push.md`). The reader
//! starts it, tells it which services it has, and hears which of them may have changed.
//!
//! **A push says that a service has changed, and the reader reads what it is.** What is pushed is what a client should
//! call: without disabled instances and the service's own metadata, and with every instance healthy once the protection
//! threshold is reached. The bulk list has the truth, for one small request. So push and polling cannot differ: both end
//! with the same reading. A push that is lost, or comes twice, costs nothing but time or a request.
//!
//! Nacos 3 also says which services come and go (`watching`). One that comes is read as if it had changed; one that goes makes
//! the next list come early.

mod asker;
mod board;
mod configs;
mod connection;
mod error;
mod names;
mod watching;
mod wire;
mod worker;

pub(super) use asker::Asker;
pub(super) use configs::{Listening, Texts, Watched};
pub(super) use error::Error;
pub(super) use names::patterns;

use super::{client::Client, config::Config};
use crate::{
    model::{ServiceId, Text},
    registry::{Metrics, transport::Tls},
};
use board::{Board, Changes};
use reqwest::Url;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tracing::Instrument;
use worker::Worker;

/// From one question whether the server is there to the next, and how long its answer may take. Together they are far
/// below the half minute within which a cut connection is to be noticed.
const HEALTH_PERIOD: Duration = Duration::from_secs(5);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Of the gRPC port above that of HTTP, in every Nacos.
const PORT_OFFSET: u16 = 1000;

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    services: Arc<BTreeSet<ServiceId>>,
    /// Of names, as [`patterns`] makes them.
    patterns: Arc<BTreeSet<Text>>,
}

/// A push connection; it ends with the value.
#[derive(Debug)]
pub(super) struct Push {
    wanted: watch::Sender<Wanted>,
    board: Arc<Board>,
    _task: AbortOnDropHandle<()>,
}

impl Push {
    /// Starts connecting.
    pub(super) fn start(registry: Text, config: Config, client: Arc<Client>, metrics: Metrics) -> Self {
        let (sender, wanted) = watch::channel(Wanted::default());
        let board = Arc::new(Board::new(registry.clone()));
        let worker = Worker { registry, config, client, wanted, board: board.clone(), metrics, told: None };
        let task = tokio::spawn(worker.run().in_current_span());
        Push { wanted: sender, board, _task: AbortOnDropHandle::new(task) }
    }

    /// Changes of these services are to be told, and names that fit these patterns; and no others.
    pub(super) fn want(&self, services: BTreeSet<ServiceId>, patterns: BTreeSet<Text>) {
        self.wanted.send_if_modified(|wanted| {
            let other = *wanted.services != services || *wanted.patterns != patterns;
            if other {
                *wanted = Wanted { services: Arc::new(services), patterns: Arc::new(patterns) };
                self.board.wants(wanted.clone());
            }
            other
        });
    }

    /// Waits until services may have changed or are new or gone, and gives all of that.
    pub(super) async fn changed(&self) -> Changes {
        self.board.changed().await
    }

    /// Whether every change of what is wanted is told.
    pub(super) fn covers(&self) -> bool {
        self.board.covers()
    }

    /// Whether new services are told of at once.
    pub(super) fn covers_names(&self) -> bool {
        self.board.covers_names()
    }

    /// Why not every change is told, if that is known.
    pub(super) fn trouble(&self) -> Option<Text> {
        self.board.trouble()
    }
}

/// Where a server speaks gRPC; by TLS if it speaks HTTP so.
fn endpoint(server: &Url, config: &Config) -> Result<Endpoint, Error> {
    let port = config.grpc_port.unwrap_or_else(|| {
        let http = server.port_or_known_default().unwrap_or_default();
        http.saturating_add(PORT_OFFSET)
    });
    let refused = |source| Error::Address { server: server.to_string(), source };
    let address = format!("{}://{}:{port}", server.scheme(), server.host_str().unwrap_or_default());
    let connection = &config.connection;
    let endpoint = Endpoint::from_shared(address).map_err(refused)?;
    let endpoint = endpoint.connect_timeout(connection.timeout).tcp_nodelay(true);
    if server.scheme() == "https" {
        return endpoint.tls_config(tls(&connection.tls)).map_err(refused);
    }
    Ok(endpoint)
}

fn tls(tls: &Tls) -> ClientTlsConfig {
    // A front that only takes TLS off need not know what is spoken within.
    let mut config = ClientTlsConfig::new().with_native_roots().assume_http2(true);
    if let Some(ca) = &tls.ca {
        config = config.ca_certificate(Certificate::from_pem(ca.as_bytes()));
    }
    if let Some(identity) = &tls.identity {
        config = config.identity(Identity::from_pem(identity.cert.as_bytes(), identity.key.expose().as_bytes()));
    }
    config
}
