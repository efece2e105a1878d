//! TLS handshakes: outside of the accept loop, each with a limit of time, and so many at once.
//!
//! When there are more, the one that has been waited for longest is given up: a client that means it needs milliseconds. So
//! whoever opens connections and says nothing only takes the places of his own kind.

use crate::util::{lock::lock, transport::Transport};
use rustls::{ServerConfig, pki_types::CertificateDer};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Time limit of one handshake. Over a slow line, and on a machine to which a whole fleet comes back, it may take
/// seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Handshakes that are under way.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// Those under way by number, so oldest first.
    all: BTreeMap<u64, CancellationToken>,
}

/// A handshake that is under way. Its place is free again when this is dropped.
#[derive(Debug)]
struct Place<'a> {
    all: &'a Handshakes,
    number: u64,
    given_up: CancellationToken,
}

/// Why a handshake gave no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the handshake took longer than {} s", PATIENCE.as_secs())]
    Slow,
    #[error("too many handshakes are under way, and this one was the oldest")]
    GivenUp,
    #[error("the handshake failed")]
    Failed(#[source] io::Error),
}

impl HandshakeError {
    /// Value of the label `reason` in metrics.
    pub(super) fn code(&self) -> &'static str {
        match self {
            HandshakeError::Slow => "handshake_time",
            HandshakeError::GivenUp => "handshake_room",
            HandshakeError::Failed(error) if is_about_certificate(error) => "certificate",
            HandshakeError::Failed(_) => "handshake",
        }
    }

    /// Whether the client went before it had said anything that is wrong: a probe of a port, mostly.
    pub(super) fn is_departure(&self) -> bool {
        let gone = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        matches!(self, HandshakeError::Failed(error) if gone.contains(&error.kind()))
    }
}

fn is_about_certificate(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

impl Handshakes {
    /// Shakes hands, and gives the connection in clear with the certificates that the client has shown, its own first. At most
    /// `most` shake hands at once.
    pub(super) async fn shake(
        &self,
        config: Arc<ServerConfig>,
        transport: Transport,
        most: usize,
    ) -> Result<(Transport, Vec<CertificateDer<'static>>), HandshakeError> {
        let place = self.enter(most);
        let shaken = timeout(PATIENCE, TlsAcceptor::from(config).accept(transport));
        let stream = tokio::select! {
            shaken = shaken => shaken.map_err(|_| HandshakeError::Slow)?.map_err(HandshakeError::Failed)?,
            () = place.given_up.cancelled() => return Err(HandshakeError::GivenUp),
        };
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let shown = shown.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Ok((Box::new(stream), shown))
    }

    fn enter(&self, most: usize) -> Place<'_> {
        let mut waiting = lock(&self.0);
        while waiting.all.len() >= most.max(1)
            && let Some((_, oldest)) = waiting.all.pop_first()
        {
            oldest.cancel();
        }
        let (number, given_up) = (waiting.next, CancellationToken::new());
        waiting.next += 1;
        waiting.all.insert(number, given_up.clone());
        Place { all: self, number, given_up }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.all.0).all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_there_is_room_for_takes_the_place_of_the_oldest() {
        let all = Handshakes::default();
        let places: Vec<_> = (0..3).map(|_| all.enter(3)).collect();
        let fourth = all.enter(3);
        let given_up = |place: &Place<'_>| place.given_up.is_cancelled();
        assert_eq!(places.iter().map(given_up).collect::<Vec<_>>(), [true, false, false]);
        drop(places);
        assert_eq!(lock(&all.0).all.len(), 1);
        drop((all.enter(1), given_up(&fourth)));
        assert!(given_up(&fourth));
    }
}
