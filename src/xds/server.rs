//! The server: its own accept loop for each listener, so that a single connection can be limited, aged, drained and cut from
//! outside.
//!
//! Every connection is one task in a set that its listener's loop owns, and `run` at the end. What becomes of it is in
//! [`super::connection`].
//!
//! Options may change while it runs ([`Control`]): they hold for connections and streams that begin from then on. So may what
//! a listener asks of its clients, and that holds for all of them.

use super::{
    Options, Views,
    admission::Admission,
    budget::Budget,
    clients::Clients,
    connection::{self, Accepted, GRACE},
    listener::{Address, Bound, DEFAULT, Listen, Listener},
    metrics::Metrics,
    names::Interner,
    peer::{Peer, Remote},
    quarantine::Quarantine,
    service::{Health, Shared},
    session::Rules,
    slots::Full,
    stalled::close_stalled,
};
use crate::{
    identity::Policy,
    resource::Readiness,
    util::{descriptors, processors::processors},
};
use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{debug, info, warn};

/// Longest request to the health service, in bytes. It holds only the name of a service.
const LONGEST_PROBE: usize = 4 << 10;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody else has the address.
    #[error(
        "cannot listen on {address}: it is in use; stop what listens there, or set another address in {}",
        key(.listener)
    )]
    InUse {
        /// Name of the listener in the configuration.
        listener: Arc<str>,
        /// Where it would listen.
        address: Address,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}; set an address of this machine in {}", key(.listener))]
    Bind {
        /// Name of the listener in the configuration.
        listener: Arc<str>,
        /// Where it would listen.
        address: Address,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The configuration key of a listener's address, for error messages.
fn key(listener: &str) -> String {
    if listener == DEFAULT { "xds.listen".into() } else { format!("xds.listeners[{listener}].listen") }
}

/// A server that is bound, and runs when [`Server::run`] is called.
pub struct Server {
    listeners: Vec<(Bound, Arc<Listener>)>,
    control: Control,
    rules: Rules,
    views: Arc<dyn Views>,
    clients: Arc<Clients>,
    quarantine: Arc<Quarantine>,
    metrics: Metrics,
}

/// Changes what can be set of a running server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    options: watch::Sender<Arc<Options>>,
    budget: Arc<Budget>,
    admission: Arc<Admission>,
    listeners: Arc<[Arc<Listener>]>,
    /// File descriptors that the process may have, if that is known.
    descriptors: Option<usize>,
    /// True once another process listens on the same sockets: the files of Unix sockets then stay when this one ends.
    let_go: Arc<AtomicBool>,
}

impl Control {
    /// Replaces the options. Open connections and streams keep those of their beginning, except for the drain and for
    /// the age, which counts from now.
    pub fn set(&self, options: Options) {
        if *self.options.borrow().as_ref() == fitting(options.clone(), self.descriptors) {
            return;
        }
        let options = fitted(options, self.descriptors);
        self.budget.set_limits(options.memory);
        self.admission.set_most(options.first_answers);
        self.options.send_replace(Arc::new(options));
    }

    /// What a listener asks of its clients now; `None`: there is no such listener.
    pub fn policy(&self, listener: &str) -> Option<Arc<Policy>> {
        self.listener(listener).map(|listener| listener.policy())
    }

    /// From now on a listener asks this of its clients, also of those that are connected: who no longer fits is cut off.
    pub fn set_policy(&self, listener: &str, policy: Arc<Policy>) {
        if let Some(listener) = self.listener(listener) {
            listener.set_policy(policy);
        }
    }

    /// Tells the server that another process listens on the same sockets and goes on when this one ends.
    pub fn let_go(&self) {
        self.let_go.store(true, Ordering::Relaxed);
    }

    fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| *listener.name == *name)
    }
}

impl Server {
    /// Takes the addresses. Must be called within a runtime.
    ///
    /// # Errors
    /// If an address cannot be listened on.
    pub fn bind(
        options: Options,
        listeners: &[Listen],
        views: Arc<dyn Views>,
        metrics: Metrics,
    ) -> Result<Server, ServerError> {
        let descriptors = descriptors::limit();
        let options = fitted(options, descriptors);
        let bind = |listen: &Listen| {
            let bound = match &listen.socket {
                Some(socket) => Bound::inherit(&listen.address, socket),
                None => Bound::bind(&listen.address),
            };
            let bound = bound.map_err(|source| {
                let (listener, address) = (listen.name.clone(), listen.address.clone());
                match source.kind() {
                    io::ErrorKind::AddrInUse => ServerError::InUse { listener, address, source },
                    _ => ServerError::Bind { listener, address, source },
                }
            })?;
            Ok::<_, ServerError>((bound, Arc::new(Listener::new(listen))))
        };
        let listeners = listeners.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let rules = Rules {
            identifier: concat!("portolan/", env!("CARGO_PKG_VERSION")),
            ack_patience: options.ack_patience,
            names: options.max_names,
            answer_bytes: options.answer_bytes,
            interner: Arc::new(Interner::default()),
        };
        let budget = Budget::new(options.memory, rules.interner.held(), metrics.clone());
        let admission = Admission::new(options.first_answers, metrics.clone());
        let all = listeners.iter().map(|(_, listener)| listener.clone()).collect();
        let control = Control {
            options: watch::Sender::new(Arc::new(options)),
            budget,
            admission,
            listeners: all,
            descriptors,
            let_go: Arc::default(),
        };
        let clients = Arc::new(Clients::new());
        let quarantine = Arc::new(Quarantine::new(metrics.clone()));
        Ok(Server { listeners, control, rules, views, clients, quarantine, metrics })
    }

    /// A handle that changes options and policies, also while the server runs.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The sockets that it listens on, for another process, by the names of the listeners.
    ///
    /// # Errors
    /// If there are no descriptors left for them.
    pub fn sockets(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        self.listeners.iter().map(|(bound, listener)| Ok((listener.name.to_string(), bound.socket()?))).collect()
    }

    /// Where it listens, by the names of the listeners; for port 0 with the port that the system chose.
    pub fn addresses(&self) -> Vec<(Arc<str>, Address)> {
        self.listeners.iter().map(|(bound, listener)| (listener.name.clone(), bound.address())).collect()
    }

    /// The address of its first listener of TCP; `None` if all are Unix sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses().into_iter().find_map(|(_, address)| match address {
            Address::Tcp(address) => Some(address),
            Address::Unix { .. } => None,
        })
    }

    /// The table of those who are connected.
    pub fn clients(&self) -> Arc<Clients> {
        self.clients.clone()
    }

    /// The table of resources that clients refuse; it outlives their streams.
    pub fn quarantine(&self) -> Arc<Quarantine> {
        self.quarantine.clone()
    }

    /// Serves until `shutdown`, then drains: within `options.drain` and a short grace it returns.
    pub async fn run(self, shutdown: CancellationToken) {
        let Server { listeners, control, rules, views, clients, quarantine, metrics } = self;
        // Kept to the end: who waits for other options waits for ever then.
        let Control { options, budget, admission, let_go, .. } = control;
        let (reporter, health) = tonic_health::server::health_reporter();
        let health = health.max_decoding_message_size(LONGEST_PROBE);
        let mut helpers = JoinSet::new();
        let stall = options.borrow().stall_timeout;
        helpers.spawn(close_stalled(clients.clone(), budget.clone(), stall, metrics.clone()));
        helpers.spawn(admission.clone().pass_over());
        helpers.spawn(report_health(reporter, views.clone()));
        let shared = Shared {
            options: options.subscribe(),
            rules,
            views,
            large: Arc::new(Semaphore::new(1.max(processors() / 2))),
            admission,
            clients,
            quarantine,
            metrics,
            budget,
            connections: Arc::default(),
            waiting: Arc::default(),
            streams: Arc::default(),
            probes: Arc::default(),
            handshakes: Arc::default(),
            health,
        };
        let (shared, mut accepting) = (Arc::new(shared), JoinSet::new());
        for (bound, listener) in listeners {
            accepting.spawn(accept(bound, listener, shared.clone(), shutdown.clone(), let_go.clone()));
        }
        let mut connections = accepting.join_all().await;
        let most = options.borrow().drain + 2 * GRACE;
        let all = async {
            for connections in &mut connections {
                while connections.join_next().await.is_some() {}
            }
        };
        if timeout(most, all).await.is_err() {
            warn!("Some connections did not end in time; they are cut.");
        }
        for connections in &mut connections {
            connections.shutdown().await;
        }
        helpers.shutdown().await;
        info!("Stopped serving xDS.");
    }
}

/// Lowers `max_connections` where the process may not open enough files. Each connection is a file descriptor, and
/// enough must be left that registries are read and admin answers, however many clients come.
fn fitting(options: Options, descriptors: Option<usize>) -> Options {
    let most = descriptors::for_xds(descriptors);
    Options { max_connections: options.max_connections.min(most), ..options }
}

/// As [`fitting`], with a warning in the log where the number is lowered.
fn fitted(options: Options, descriptors: Option<usize>) -> Options {
    let wanted = options.max_connections;
    let options = fitting(options, descriptors);
    if options.max_connections < wanted {
        warn!(
            ?descriptors,
            wanted,
            accepted = options.max_connections,
            "Fewer connections are accepted than xds.limits.connections allows: the process may not open more files; raise its hard limit (ulimit -Hn, LimitNOFILE=)."
        );
    }
    options
}

/// Accepts until `shutdown`, then returns the connections that are still open.
async fn accept<H: Health>(
    mut bound: Bound,
    listener: Arc<Listener>,
    shared: Arc<Shared<H>>,
    shutdown: CancellationToken,
    let_go: Arc<AtomicBool>,
) -> JoinSet<()> {
    info!(listener = &*listener.name, address = %bound.address(), "Serving xDS.");
    let mut connections = JoinSet::new();
    // Trouble is logged when it begins, not for each client that comes again and again: the metric counts those.
    let mut trouble = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                if let_go.load(Ordering::Relaxed) {
                    bound.let_go();
                }
                return connections;
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "A connection's task failed.");
                }
                continue;
            }
            accepted = bound.accept() => accepted,
        };
        match accepted {
            Ok((_, peer)) if !listener.admits(&peer) => {
                shared.metrics.client_refused(&listener.name, "network");
                debug!(%peer, listener = &*listener.name, "A client comes from a network that the listener is not for.");
            }
            Ok((transport, peer)) => match shared.connections.take(Peer::from(peer), shared.options().connections()) {
                Ok(slot) => {
                    trouble = false;
                    let (listener, shared, shutdown) = (listener.clone(), shared.clone(), shutdown.clone());
                    let accepted = Accepted { transport, peer, slot, listener, shared, shutdown };
                    connections.spawn(connection::serve(accepted));
                }
                Err(full) => refuse(peer, full, &shared),
            },
            Err(error) => {
                // Out of descriptors, mostly: one that closes makes room.
                if !std::mem::replace(&mut trouble, true) {
                    warn!(%error, "Cannot accept connections; trying again.");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Counts and logs a connection that is closed because there is no place for it.
fn refuse<H>(peer: Remote, full: Full, shared: &Shared<H>) {
    shared.metrics.connections_refused.inc();
    let (limit, key) = match full {
        Full::Server { limit } => (limit, "xds.limits.connections"),
        Full::Peer { limit } => (limit, "xds.limits.connections_per_peer"),
    };
    warn!(%peer, limit, key, "Too many connections; further ones are closed.");
}

/// Keeps the health service up to date: it says SERVING once first answers can be given.
async fn report_health(reporter: HealthReporter, views: Arc<dyn Views>) {
    let mut readiness = views.readiness();
    loop {
        let status = match *readiness.borrow_and_update() {
            Readiness::Waiting => ServingStatus::NotServing,
            Readiness::Partial | Readiness::Complete => ServingStatus::Serving,
        };
        reporter.set_service_status("", status).await;
        if readiness.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        for (descriptors, expected) in [(None, 20_000), (Some(20_640), 20_000), (Some(1_024), 768)] {
            assert_eq!(fitted(Options::default(), descriptors).max_connections, expected, "{descriptors:?}");
        }
    }
}
