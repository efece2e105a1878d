//! The server: its own accept loop, so that a single connection can be limited, aged, drained and cut from outside.
//!
//! Every connection is one task in a set that `run` owns. It ends when its client goes, when it stalls and is closed, when
//! no stream is open on it, or when it retires: at its age, or at a random moment of the drain. Retiring means that its
//! streams end with UNAVAILABLE and GOAWAY is sent; what has not ended shortly after that is cut.
//!
//! Options may change while it runs ([`Control`]): they hold for connections and streams that begin from then on.

use super::{
    Options, Views,
    activity::Activity,
    budget::Budget,
    clients::Clients,
    metrics::Metrics,
    names::Interner,
    peer::Peer,
    read_ahead::ReadAhead,
    service::{Connection, Health, Shared},
    session::Rules,
    slots::{Full, Slot},
    stalled::close_stalled,
    unread::Unread,
};
use crate::{
    resource::Readiness,
    util::{
        backoff::{jittered, random},
        descriptors,
    },
};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{debug, info, warn};

/// HTTP/2 windows for what clients send: with the default of 64 KB each 95 KB acknowledgement costs further round trips.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// What the transport takes of an answer before the client reads it: two of our frames. The default of 400 KB is what each
/// stalled reader would hold of copied resources.
const SEND_BUFFER: usize = 128 << 10;
/// Connections that wait to be accepted: a fleet reconnects at once.
const BACKLOG: i32 = 4096;
/// Bytes of a request to the health service: it has the name of a service.
const LONGEST_PROBE: usize = 4 << 10;
/// How long a retired connection has to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody else has the port.
    #[error("cannot listen on {address}: it is in use; stop what listens there, or set another address in xds.listen")]
    InUse {
        /// What `xds.listen` says.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}; set an address of this machine in xds.listen")]
    Bind {
        /// What `xds.listen` says.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A server that is bound, and runs when [`Server::run`] is called.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    control: Control,
    rules: Rules,
    views: Arc<dyn Views>,
    clients: Arc<Clients>,
    metrics: Metrics,
}

/// Changes what can be set of a running server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    options: watch::Sender<Arc<Options>>,
    budget: Arc<Budget>,
    /// File descriptors that the process may have, if that is known.
    descriptors: Option<usize>,
}

impl Control {
    /// Other options, all but the address. A connection, and a stream, keeps those of its beginning, but for its end: the
    /// drain, and an age, which counts from now.
    pub fn set(&self, options: Options) {
        if *self.options.borrow().as_ref() == fitting(options.clone(), self.descriptors) {
            return;
        }
        let options = fitted(options, self.descriptors);
        self.budget.set_limits(options.memory);
        self.options.send_replace(Arc::new(options));
    }
}

impl Server {
    /// Takes the address. Must be called within a runtime.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn bind(options: Options, views: Arc<dyn Views>, metrics: Metrics) -> Result<Server, ServerError> {
        let descriptors = descriptors::limit();
        let options = fitted(options, descriptors);
        let address = options.address;
        let (listener, address) = listen(address).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServerError::InUse { address, source },
            _ => ServerError::Bind { address, source },
        })?;
        let rules = Rules {
            identifier: concat!("portolan/", env!("CARGO_PKG_VERSION")),
            ack_patience: options.ack_patience,
            names: options.max_names,
            answer_bytes: options.answer_bytes,
            interner: Arc::new(Interner::default()),
        };
        let budget = Budget::new(options.memory, rules.interner.held(), metrics.clone());
        let control = Control { options: watch::Sender::new(Arc::new(options)), budget, descriptors };
        let clients = Arc::new(Clients::new());
        Ok(Server { listener, address, control, rules, views, clients, metrics })
    }

    /// Changes its options, also while it runs.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Where it listens; for port 0 in the options, the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The table of those who are connected.
    pub fn clients(&self) -> Arc<Clients> {
        self.clients.clone()
    }

    /// Serves until `shutdown`, then drains: within `options.drain` and a short grace it returns.
    pub async fn run(self, shutdown: CancellationToken) {
        let Server { listener, address, control, rules, views, clients, metrics } = self;
        // Kept to the end: who waits for other options waits for ever then.
        let Control { options, budget, .. } = control;
        let (reporter, health) = tonic_health::server::health_reporter();
        let health = health.max_decoding_message_size(LONGEST_PROBE);
        let mut helpers = JoinSet::new();
        let stall = options.borrow().stall_timeout;
        helpers.spawn(close_stalled(clients.clone(), budget.clone(), stall, metrics.clone()));
        helpers.spawn(report_health(reporter, views.clone()));
        info!(%address, "Serving xDS.");
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
        let shared = Shared {
            options: options.subscribe(),
            rules,
            views,
            large: Arc::new(Semaphore::new(1.max(processors / 2))),
            clients,
            metrics,
            budget,
            connections: Arc::default(),
            streams: Arc::default(),
            probes: Arc::default(),
            health,
        };
        let mut connections = accept(listener, Arc::new(shared), &shutdown).await;
        let most = options.borrow().drain + 2 * GRACE;
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(most, all).await.is_err() {
            warn!("Some connections did not end in time; they are cut.");
        }
        connections.shutdown().await;
        helpers.shutdown().await;
        info!(%address, "Stopped serving xDS.");
    }
}

/// With as many connections as are accepted. Each is a file descriptor: where the process may not have enough of them there
/// are fewer, so that registries are read and admin answers, however many clients come.
fn fitting(options: Options, descriptors: Option<usize>) -> Options {
    let most = descriptors::for_xds(descriptors);
    Options { max_connections: options.max_connections.min(most), ..options }
}

/// The same, with a warning where it is fewer than wanted.
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

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn accept<H: Health>(listener: TcpListener, shared: Arc<Shared<H>>, shutdown: &CancellationToken) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    // Trouble is logged when it begins, not for each client that comes again and again: the metric counts those.
    let mut trouble = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return connections,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "A connection's task failed.");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => match shared.connections.take(Peer::of(peer), shared.options().connections()) {
                Ok(slot) => {
                    trouble = false;
                    connections.spawn(serve(socket, peer, slot, shared.clone(), shutdown.clone()));
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

/// There is no place for a connection: it is closed.
fn refuse<H>(peer: SocketAddr, full: Full, shared: &Shared<H>) {
    shared.metrics.connections_refused.inc();
    let (limit, key) = match full {
        Full::Server { limit } => (limit, "xds.limits.connections"),
        Full::Peer { limit } => (limit, "xds.limits.connections_per_peer"),
    };
    warn!(%peer, limit, key, "Too many connections; further ones are closed.");
}

/// One connection, to its end.
async fn serve<H: Health>(
    socket: TcpStream,
    peer: SocketAddr,
    slot: Slot,
    shared: Arc<Shared<H>>,
    shutdown: CancellationToken,
) {
    let _counted = (slot, Counted::new(&shared.metrics));
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "A connection went at once.");
        return;
    }
    let (options, changes) = (shared.options(), shared.options.clone());
    let (activity, unread) = (Activity::new(), Arc::new(Unread::default()));
    let socket = ReadAhead::new(socket, unread.clone(), shared.connections.clone());
    let service = Connection {
        shared,
        peer,
        retire: CancellationToken::new(),
        close: CancellationToken::new(),
        activity: activity.clone(),
        unread,
    };
    let (retire, close) = (service.retire.clone(), service.close.clone());
    let mut connection = pin!(http(&options).serve_connection(TokioIo::new(socket), service));
    // Looked at only when one of them was woken, however busy the connection is.
    let mut signals = FuturesUnordered::<Pin<Box<dyn Future<Output = Signal> + Send + '_>>>::new();
    signals.push(Box::pin(close.cancelled().map(|()| Signal::Close)));
    signals.push(Box::pin(retirement(changes, &shutdown).map(|()| Signal::Retire)));
    signals.push(Box::pin(sleep(options.idle_timeout).map(|()| Signal::Idle)));
    loop {
        let signal = tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%peer, %error, "A connection broke.");
                }
                return;
            }
            Some(signal) = signals.next() => signal,
        };
        match signal {
            Signal::Close => return,
            Signal::Retire => {
                retire.cancel();
                connection.as_mut().graceful_shutdown();
                signals.push(Box::pin(sleep(GRACE).map(|()| Signal::Cut)));
            }
            Signal::Cut => {
                debug!(%peer, "A connection did not end by itself; it is cut.");
                return;
            }
            Signal::Idle => {
                let idle = activity.idle_since().map(|since| since + options.idle_timeout);
                if idle.is_none_or(|until| until > Instant::now()) {
                    let look = idle.unwrap_or_else(|| Instant::now() + options.idle_timeout);
                    signals.push(Box::pin(sleep_until(look).map(|()| Signal::Idle)));
                    continue;
                }
                debug!(%peer, "A connection without any stream is closed.");
                connection.as_mut().graceful_shutdown();
                signals.push(Box::pin(sleep(GRACE).map(|()| Signal::Cut)));
            }
        }
    }
}

/// What happens to a connection from our side.
enum Signal {
    /// One of its streams stalled.
    Close,
    /// It is to end, its streams first.
    Retire,
    /// It had its grace.
    Cut,
    /// It may have been without a stream for too long.
    Idle,
}

fn http(options: &Options) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(options.max_streams_per_connection)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout);
    http
}

/// Returns when a connection should end: at its age, or at a random moment of the drain, so that clients do not all come
/// to another replica at once.
async fn retirement(mut options: watch::Receiver<Arc<Options>>, shutdown: &CancellationToken) {
    loop {
        let age = options.borrow_and_update().max_connection_age;
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = aged(age) => return,
            // It counts from its change on, so that those who are older do not all end at once.
            () = other_age(&mut options, age) => {}
        }
    }
    let drain = options.borrow().drain;
    sleep(drain.mul_f64(random())).await;
}

async fn aged(age: Option<Duration>) {
    match age {
        Some(age) => sleep(jittered(age)).await,
        None => std::future::pending().await,
    }
}

async fn other_age(options: &mut watch::Receiver<Arc<Options>>, age: Option<Duration>) {
    if options.wait_for(|options| options.max_connection_age != age).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Healthy means that the first answer can be given.
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

struct Counted(prometheus_client::metrics::gauge::Gauge);

impl Counted {
    fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Counted(metrics.connections.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
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

    #[tokio::test(start_paused = true)]
    async fn another_age_counts_from_its_change_on_and_another_option_changes_nothing() {
        let changes = watch::Sender::new(Arc::new(Options::default()));
        let set = |change: &dyn Fn(&mut Options)| changes.send_modify(|options| change(Arc::make_mut(options)));
        let shutdown = CancellationToken::new();
        let mut end = pin!(retirement(changes.subscribe(), &shutdown));
        let minute = Duration::from_secs(60);
        assert!(timeout(1_000 * minute, end.as_mut()).await.is_err(), "never");
        set(&|options| options.max_connection_age = Some(minute));
        assert!(timeout(minute / 2, end.as_mut()).await.is_err());
        set(&|options| options.drain = minute);
        set(&|options| options.max_connection_age = Some(3 * minute));
        assert!(timeout(2 * minute, end.as_mut()).await.is_err());
        set(&|options| options.max_streams = 1);
        timeout(2 * minute, end.as_mut()).await.expect("after three minutes, give or take");
    }

    #[tokio::test(start_paused = true)]
    async fn the_drain_is_the_one_at_the_end() {
        let hour = Duration::from_secs(3600);
        let changes = watch::Sender::new(Arc::new(Options { drain: hour, ..Options::default() }));
        let shutdown = CancellationToken::new();
        let mut end = pin!(retirement(changes.subscribe(), &shutdown));
        assert!(timeout(hour, end.as_mut()).await.is_err());
        changes.send_modify(|options| Arc::make_mut(options).drain = Duration::ZERO);
        shutdown.cancel();
        timeout(Duration::from_secs(1), end.as_mut()).await.expect("at once");
    }
}
