//! Eureka, by Spring Cloud or Netflix, read over HTTP. `registry::spawn` runs it.
//!
//! A round asks one server once: for what has changed, or for everything. One that fails is followed by the next; those of
//! the own zone go first. The registry is one scope: it is told whole or not at all. Nothing but GETs is sent.
//!
//! **Whom to believe.** A server's answer is made anew every 30 s (stock), and lists instances until their lease is over or,
//! in self-preservation, for as long as too many are silent: that judgement is the server's, and is followed. What it no
//! longer lists is judged by the catalog; what it says in a delta to be deleted is gone.

mod apps;
mod client;
mod config;
mod convert;
mod error;
mod reader;
mod wire;

#[cfg(test)]
mod tests;

pub use super::http::Login;
pub use config::{AddressError, AddressOf, Config, Server};

use super::{
    Metrics, Update,
    backoff::{Backoff, jittered},
    chain,
};
use crate::model::Text;
use reader::{Closed, Reader};
use std::time::Duration;
use tokio::{sync::mpsc, time::sleep};

/// Reads the registry until nobody listens.
pub(super) async fn run(
    registry: Text,
    config: Config,
    out: mpsc::Sender<Update>,
    metrics: Metrics,
) -> Result<(), Text> {
    let period = config.period.max(Config::MIN_PERIOD);
    let mut backoff = Backoff::new(Duration::from_millis(500), period);
    let mut reader = Reader::new(registry, config, out, metrics).map_err(|error| chain(&error))?;
    loop {
        let wait = match reader.round().await {
            Ok(round) if round.good => {
                backoff.reset();
                jittered(period).max(round.asked_to_wait)
            }
            Ok(round) => backoff.next().max(round.asked_to_wait),
            Err(Closed) => return Ok(()),
        };
        sleep(wait).await;
    }
}
