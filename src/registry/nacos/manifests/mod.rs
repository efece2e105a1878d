//! Manifests: texts that are kept in Nacos' configuration for Istio, told as [`ManifestUpdate`]s; and in the same way the rules
//! of Dubbo, told to `services`. [`super::run`] runs it beside the reading of services, with the same client, where they are
//! configured.
//!
//! **A round**: the namespaces, and of each the list of one group, with what is new or other in it. It comes each `period`,
//! and at once when the server says that something has changed: what it says is never looked at, only the list is read
//! again. A namespace is told whole, or as failed.
//!
//! **A deletion is proved**: what a list lacks is asked for by itself, and only "does not exist" lets it go.
//!
//! **Measured** on 2.3.2 and 3.1.0:
//! - 3.x lists by `v3/admin/cs/config/list` (names and md5, no content; the right to read the group is enough) and gives a
//!   text by `v3/client/cs/config`; its old list (`v1/cs/configs?search=`) is gone (410), unless
//!   `nacos.core.api.compatibility.console.enabled` is set. What does not exist is code 20004, with status 200 from the
//!   client's interface and 404 from the administrator's.
//! - 2.x (and 1.x) list by `v1/cs/configs?search=accurate`, with contents and without md5 (null), and say status 404 with
//!   `config data not exist`. `v2/cs/config` has no list by group; `v1/cs/history/configs` lists names without md5.
//! - The public namespace is `tenant=` on 2.x: its lists know another one of the id `public`, which its other requests take
//!   for the public one. 3.x takes both words for the same. A namespace that does not exist has an empty list.
//! - A list is sorted by the database's id; its `totalCount` is that of the group, and a page past the end is empty.
//! - By gRPC the server judges who may listen by the first text's `tenant` and by the `group` of the request itself: without
//!   that a user who may read one group only is refused. `labels.module` of the connection makes no difference. A change is
//!   said within 0.2 s, a deletion as well, and fuzzy watch (3.x) tells a new text as fast.
//! - `v1/cs/configs/listener` holds a request for 10 s at least (asked for 1 s: 10.0 s; for 15 s: 14.5 s). It judges by
//!   `tenant` and `group` of the query. 3.x has it while `nacos.core.api.compatibility.client.enabled` is set.
//! - Without the plugin that encrypts them, texts of `cipher-` dataIds are kept as they are; lists of 2.x never tell which.

mod config_listen;
mod list;
mod meant;
mod read;
mod watched;
mod wire;

use super::{
    api::{
        budget::{Budget, Limits},
        namespaces::Namespaces,
    },
    config::Config,
    error::Error,
    transport::Client,
};
use crate::{
    model::{ManifestUpdate, Scope, Text},
    registry::{
        Metrics,
        outbox::{Closed, Outbox},
    },
    util::backoff::{Backoff, jittered},
};
use config_listen::Listener;
use list::Source;
pub(crate) use meant::Meant;
use read::{Known, Reading};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::sleep};
use wildmatch::WildMatch;

/// The longest time until the next try after a failure, even if the period is long.
const MAX_RETRY: Duration = Duration::from_secs(5);
/// The shortest pause between two rounds; many changes at once are read together.
const REST: Duration = Duration::from_millis(100);
/// The longest of these pauses, for a server that says again and again that something has changed, and nothing has.
const MAX_REST: Duration = Duration::from_secs(2);
/// The first pause until something is read again about which the server contradicts itself.
const UNSETTLED: Duration = Duration::from_millis(500);

/// How a round went.
#[derive(Debug, Default)]
struct Round {
    /// At least one namespace was read.
    good: bool,
    /// Nothing is to be looked at again soon.
    settled: bool,
    /// Some text is other than before.
    changed: bool,
    /// The pause that the server asks for.
    asked_to_wait: Duration,
}

/// Reads the manifests of one registry.
struct Reader {
    registry: Text,
    config: Config,
    meant: Meant,
    patterns: Vec<WildMatch>,
    client: Arc<Client>,
    outbox: Outbox<ManifestUpdate>,
    namespaces: Namespaces,
    known: BTreeMap<Text, Known>,
    /// What is left to be read in this round.
    budget: Budget,
}

/// Reads the texts that are `meant`, and sends them, until nobody receives them any more.
pub(crate) async fn run(
    registry: Text,
    config: Config,
    meant: Meant,
    client: Arc<Client>,
    out: mpsc::Sender<ManifestUpdate>,
    metrics: Metrics,
) {
    let (listened, settings, asking) = (meant.clone(), config.clone(), client.clone());
    let listener = Listener::start(registry.clone(), listened, settings, asking, metrics);
    let mut pace = Pace::new(config.period.max(Config::MIN_PERIOD));
    let patterns = meant.data_ids.iter().map(|pattern| WildMatch::new(pattern)).collect();
    let (namespaces, known) = Default::default();
    let budget = Budget::new(Limits::of(&config.connection));
    let outbox = Outbox::new(out).hiding(client.http.redactor());
    let mut reader = Reader { registry, config, meant, patterns, client, outbox, namespaces, known, budget };
    let mut called = false;
    loop {
        let Ok(round) = reader.round().await else { return };
        listener.watch(reader.known.iter().map(|(id, known)| (id.clone(), known.texts(id))).collect());
        let (wait, rest) = pace.after(&round, called);
        let word = async {
            sleep(rest).await;
            listener.changed().await;
        };
        called = tokio::select! {
            () = sleep(wait) => false,
            // A server that fails is left alone, whatever it says.
            () = word, if round.good => true,
            () = reader.outbox.closed() => return,
        };
    }
}

/// The pauses between rounds.
struct Pace {
    period: Duration,
    failing: Backoff,
    unsettled: Backoff,
    /// The pauses after reports of changes that meant nothing.
    vain: Backoff,
}

impl Pace {
    fn new(period: Duration) -> Self {
        let failing = Backoff::new(Duration::from_millis(500), period.min(MAX_RETRY));
        Pace {
            period,
            failing,
            unsettled: Backoff::new(UNSETTLED, period),
            vain: Backoff::new(REST, MAX_REST.min(period)),
        }
    }

    /// The time until the next round, and the time before which a report of a change is not followed. `called` is true
    /// if such a report has led to this round.
    fn after(&mut self, round: &Round, called: bool) -> (Duration, Duration) {
        if !round.good {
            return (self.failing.next().max(round.asked_to_wait), Duration::ZERO);
        }
        self.failing.reset();
        let wait = if round.settled {
            self.unsettled.reset();
            jittered(self.period)
        } else {
            self.unsettled.next().min(self.period)
        };
        let rest = if called && !round.changed {
            self.vain.next()
        } else {
            self.vain.reset();
            REST
        };
        (wait.max(round.asked_to_wait), rest.max(round.asked_to_wait))
    }
}

impl Reader {
    /// Reads everything once and sends it.
    async fn round(&mut self) -> Result<Round, Closed> {
        let mut round = Round { settled: true, ..Round::default() };
        self.budget = Budget::new(Limits::of(&self.config.connection));
        let namespaces = match self.namespaces().await {
            Ok(namespaces) => namespaces,
            Err(error) => {
                round.note(&error);
                self.outbox.failed(None, &error).await?;
                return Ok(round);
            }
        };
        self.send_scopes(&namespaces).await?;
        for (namespace, wrong) in namespaces {
            let mut known = self.known.remove(&namespace).unwrap_or_default();
            let outcome = match wrong {
                Some(error) => Err(error),
                None => self.source(&namespace).read(&mut known).await,
            };
            let scope = Scope(namespace.clone());
            match outcome {
                Ok(Reading { settled, changed }) => {
                    round.good = true;
                    round.settled &= settled;
                    round.changed |= changed;
                    self.outbox.send(ManifestUpdate::Listed(scope, known.manifests())).await?;
                }
                Err(error) => {
                    round.note(&error);
                    self.outbox.failed(Some(scope), &error).await?;
                }
            }
            self.known.insert(namespace, known);
        }
        Ok(round)
    }

    async fn namespaces(&mut self) -> Result<Vec<(Text, Option<Error>)>, Error> {
        self.client.http.find_servers().await?;
        self.namespaces.wanted(&self.config, &self.client).await
    }

    fn source<'a>(&'a self, namespace: &'a Text) -> Source<'a> {
        let Reader { registry, client, meant, patterns, budget, .. } = self;
        let Config { page_size, concurrency, .. } = self.config;
        Source { registry, client, namespace, meant, patterns, page_size, concurrency, budget }
    }

    /// Sends the scopes, and forgets namespaces that are no longer meant.
    async fn send_scopes(&mut self, namespaces: &[(Text, Option<Error>)]) -> Result<(), Closed> {
        let mut scopes: Vec<Scope> = namespaces.iter().map(|(id, _)| Scope(id.clone())).collect();
        scopes.sort();
        self.known.retain(|id, _| scopes.iter().any(|Scope(scope)| scope == id));
        self.outbox.scopes(scopes).await
    }
}

impl Round {
    fn note(&mut self, error: &Error) {
        self.asked_to_wait = self.asked_to_wait.max(error.retry_after().unwrap_or_default());
    }
}
