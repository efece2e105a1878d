//! One connection, from the moment that it is accepted to its end.
//!
//! It ends when its client goes, when it stalls and is closed, when no stream is open on it, when its client's certificate no
//! longer holds, or when it retires: at its age, or at a random moment of the drain. Retiring means that its streams end with
//! UNAVAILABLE and GOAWAY is sent; what has not ended shortly after that is cut.

use super::{
    Options,
    activity::Activity,
    handshake::HandshakeError,
    listener::Listener,
    metrics::Metrics,
    peer::Remote,
    read_ahead::ReadAhead,
    service::{Connection, Health, Shared},
    signals::Signals,
    slots::Slot,
    unread::Unread,
};
use crate::{
    identity::{Identity, Policy, Refusal},
    util::{
        backoff::{jittered, random},
        transport::Transport,
    },
};
use futures_util::FutureExt;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// HTTP/2 windows for what clients send: with the default of 64 KB each 95 KB acknowledgement costs further round trips.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// What the transport takes of an answer before the client reads it: two of our frames. The default of 400 KB is what each
/// stalled reader would hold of copied resources.
const SEND_BUFFER: usize = 128 << 10;
/// How long a retired connection has to end by itself.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How often the end of a certificate is compared with the machine's clock, which may be set meanwhile.
const CLOCK: Duration = Duration::from_secs(60);

/// An accepted connection, and what [`serve`] needs for it.
pub(super) struct Accepted<H> {
    pub(super) transport: Transport,
    pub(super) peer: Remote,
    pub(super) slot: Slot,
    pub(super) listener: Arc<Listener>,
    pub(super) shared: Arc<Shared<H>>,
    pub(super) shutdown: CancellationToken,
}

/// What happens to a connection from our side.
enum Signal {
    /// One of its streams stalled, or holds too much memory and does not end.
    Close,
    /// It is to end, its streams first.
    Retire,
    /// Its client's certificate is no longer accepted.
    Disbelieved(Refusal),
    /// Its grace ([`GRACE`]) is over.
    Cut,
    /// It may have been without a stream for too long.
    Idle,
}

/// Serves a connection until it ends, or until it was told to go and had its grace.
pub(super) async fn serve<H: Health>(accepted: Accepted<H>) {
    let Accepted { transport, peer, slot, listener, shared, shutdown } = accepted;
    let _counted = (slot, Counted::new(&shared.metrics));
    let policy = listener.policy();
    let opened = tokio::select! {
        opened = open(transport, peer, &policy, &listener, &shared) => opened,
        () = shutdown.cancelled() => return,
    };
    let Some((transport, certificate)) = opened else { return };
    let (options, changes) = (shared.options(), shared.options.clone());
    let (activity, unread) = (Activity::new(), Arc::new(Unread::new(shared.waiting.clone())));
    let transport = ReadAhead::new(transport, unread.clone(), shared.waiting.clone(), shared.connections.clone());
    let service = Connection {
        shared: shared.clone(),
        listener: listener.clone(),
        peer,
        certificate: certificate.clone(),
        retire: CancellationToken::new(),
        close: CancellationToken::new(),
        activity: activity.clone(),
        unread,
    };
    let (retire, close) = (service.retire.clone(), service.close.clone());
    let mut connection = pin!(http(&options).serve_connection(TokioIo::new(transport), service));
    let mut signals = Signals::new();
    signals.push(close.cancelled().map(|()| Signal::Close));
    signals.push(retirement(changes, &shutdown).map(|()| Signal::Retire));
    signals.push(sleep(options.idle_timeout).map(|()| Signal::Idle));
    if let Some(certificate) = certificate {
        signals.push(disbelief(listener.policies(), policy, certificate).map(Signal::Disbelieved));
    }
    loop {
        let signal = tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    debug!(%peer, %error, cause, "A connection broke.");
                }
                return;
            }
            signal = signals.next() => signal,
        };
        match signal {
            Signal::Close => return,
            Signal::Retire => {
                retire.cancel();
                connection.as_mut().graceful_shutdown();
                signals.push(sleep(GRACE).map(|()| Signal::Cut));
            }
            Signal::Disbelieved(refusal) => {
                listener.refuse(&refusal, peer, &shared.metrics);
                retire.cancel();
                connection.as_mut().graceful_shutdown();
                signals.push(sleep(GRACE).map(|()| Signal::Cut));
            }
            Signal::Cut => {
                debug!(%peer, "A connection did not end by itself; it is cut.");
                return;
            }
            Signal::Idle => {
                let idle = activity.idle_since().map(|since| since + options.idle_timeout);
                if idle.is_none_or(|until| until > Instant::now()) {
                    let look = idle.unwrap_or_else(|| Instant::now() + options.idle_timeout);
                    signals.push(sleep_until(look).map(|()| Signal::Idle));
                    continue;
                }
                debug!(%peer, "A connection without any stream is closed.");
                connection.as_mut().graceful_shutdown();
                signals.push(sleep(GRACE).map(|()| Signal::Cut));
            }
        }
    }
}

/// Does the TLS handshake that the policy asks for, if any. Returns the connection in clear and the identity in its
/// client's certificate; `None`: it is not to be served.
async fn open<H>(
    transport: Transport,
    peer: Remote,
    policy: &Policy,
    listener: &Listener,
    shared: &Shared<H>,
) -> Option<(Transport, Option<Arc<Identity>>)> {
    let Some(tls) = &policy.tls else { return Some((transport, None)) };
    let most = shared.options().handshakes();
    let (transport, chain) = match shared.handshakes.shake(tls.config.clone(), transport, most).await {
        Ok(shaken) => shaken,
        Err(error) => {
            refuse_handshake(&error, peer, listener, &shared.metrics);
            return None;
        }
    };
    if chain.is_empty() {
        return Some((transport, None));
    }
    match policy.identity_of(chain) {
        Ok(identity) => Some((transport, Some(Arc::new(identity)))),
        Err(refusal) => {
            listener.refuse(&refusal, peer, &shared.metrics);
            None
        }
    }
}

fn refuse_handshake(error: &HandshakeError, peer: Remote, listener: &Listener, metrics: &Metrics) {
    metrics.client_refused(&listener.name, error.code());
    let cause = std::error::Error::source(error).map(ToString::to_string);
    // Probes of a port come and go; whoever shows a wrong certificate is to be known.
    match error.is_departure() {
        true => debug!(%peer, listener = &*listener.name, %error, cause, "A client went before TLS was agreed on."),
        false => warn!(%peer, listener = &*listener.name, %error, cause, "A client is refused: no TLS."),
    }
}

/// Returns when a client's certificate no longer holds: it has ended, or the authorities or lists of revoked certificates of
/// now do not accept it.
async fn disbelief(
    mut policies: watch::Receiver<Arc<Policy>>,
    verified_by: Arc<Policy>,
    identity: Arc<Identity>,
) -> Refusal {
    let mut known = verified_by;
    loop {
        let policy = policies.borrow_and_update().clone();
        let now = SystemTime::now();
        if !Arc::ptr_eq(&policy, &known) || identity.until().is_some_and(|until| until <= now) {
            if let Err(refusal) = policy.recheck(&identity, now) {
                return refusal;
            }
            known = policy;
        }
        let left = identity.until().map_or(CLOCK, |until| until.duration_since(now).unwrap_or_default());
        tokio::select! {
            changed = policies.changed() => if changed.is_err() { std::future::pending::<()>().await },
            () = sleep(left.min(CLOCK)) => {}
        }
    }
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
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_certificate_is_believed_until_it_ends_or_another_policy_does_not_believe_it() {
        let policies = watch::Sender::new(Arc::new(Policy::default()));
        let believed = |until| {
            let identity = Arc::new(Identity::of_tests("a", Some(SystemTime::now() + until)));
            disbelief(policies.subscribe(), policies.borrow().clone(), identity)
        };
        let ends = believed(Duration::from_millis(50)).await;
        assert_eq!(ends.code(), "expired");
        let mut stays = pin!(believed(Duration::from_secs(3600)));
        assert!(timeout(Duration::from_millis(50), stays.as_mut()).await.is_err());
        policies.send_replace(Arc::new(Policy::default()));
        // It asks for no certificates: nobody vouches for this one.
        assert_eq!(stays.await.code(), "no_credentials");
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
