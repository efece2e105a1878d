//! Reads the services of a registry, by polling, or where the server pushes, when it reports that something has changed.
//!
//! A round: the namespaces, the interface ([`api_probe`]), then each scope by itself: a namespace where the server has a
//! bulk list, a namespace's group where it has none. A scope that fails says so and touches no other; nothing is ever sent
//! for it but a whole list.
//!
//! **Health and protection, measured** on 2.3.2 and 3.1.0 with a threshold reached: the bulk lists (`v1/ns/catalog/services`,
//! `v3/admin/ns/service/list`) show the true health, and threshold 0.0 whatever is set, so it is read apart ([`threshold`])
//! and the rule is the catalog's to apply. v1's and v2's `instance/list` show every instance healthy and say
//! `reachProtectionThreshold`; they leave out disabled instances.

mod api_probe;
pub(super) mod convert;
mod follow;
mod levels;
mod list_bulk;
mod list_each;
mod read_one;
mod reader;
mod rules;
mod scopes;
mod spellings;
mod target;
mod threshold;

use super::{config::Config, transport::Client};
use crate::{
    model::{ManifestUpdate, Text, Update},
    registry::{
        Metrics,
        outbox::{Closed, Outbox},
        rounds::{self, Pace, Round, Rounds},
    },
};
use reader::Reader;
use rules::Rules;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// After a failed round the first retry comes within this time.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// Reads until nobody receives updates any more. `rules` are those of Dubbo, if they are applied.
pub(super) async fn run(
    registry: Text,
    config: Config,
    client: Arc<Client>,
    out: mpsc::Sender<Update>,
    rules: Option<mpsc::Receiver<ManifestUpdate>>,
    metrics: Metrics,
) {
    let period = config.period.max(Config::MIN_PERIOD);
    let outbox = Outbox::new(out).hiding(client.http.redactor());
    let mut reader = Reader::new(registry, config, client, outbox, rules.map(Rules::new), metrics);
    rounds::run(&mut reader, Pace::new(period, FIRST_RETRY, period)).await;
}

impl Rounds for Reader {
    async fn round(&mut self) -> Result<Round, Closed> {
        self.read().await
    }

    /// Waits for the next round, and reads what is pushed meanwhile.
    async fn rest(&mut self, pause: Duration) -> Result<(), Closed> {
        self.follow(pause).await
    }
}
