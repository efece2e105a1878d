//! ZooKeeper, watched or polled: the registry of Dubbo's interfaces, and of Spring Cloud through Curator.
//! `registry::spawn` runs it.
//!
//! A registry has one layout (`dubbo` or `spring`) and any number of roots; each root is a scope. All ways of noticing a
//! change lead to one way of reading (`read`), so that all have the same result; `tree` turns what was read into changes.
//! Nothing is ever written, and a session is never joined again once its connection is lost (`client`, and why in
//! `docs/adr/0007-zookeeper-is-read-again-after-every-loss.md`).

mod client;
mod config;
mod convert;
mod curator;
mod dubbo;
mod error;
mod read;
mod reader;
#[cfg(feature = "zk-tls")]
mod tls;
mod tree;
mod url;
mod watch;

#[cfg(test)]
mod tests;

pub use config::{Config, Layout, Login, Mode};

use super::{Metrics, Update};
use crate::model::Text;
use reader::{Closed, Reader};
use tokio::sync::mpsc;

/// Reads the registry until nobody listens.
pub(super) async fn run(
    registry: Text,
    config: Config,
    out: mpsc::Sender<Update>,
    metrics: Metrics,
) -> Result<(), Text> {
    let Closed = Reader::new(registry, config, out, metrics).run().await;
    Ok(())
}
