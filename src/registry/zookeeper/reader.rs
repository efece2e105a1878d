//! Reads session after session: what is to be read, and what of it is sent.
//!
//! Within a session every root is read whole and sent as a list. Then, when watching, only what the watches touch is read
//! and sent by itself; when polling, everything is read again. A root or node that cannot be read keeps what was last
//! known of it, and is tried again each period. The trees outlive sessions: after a reconnection equal services are the
//! same pointers.

use super::{
    client::Client,
    config::{Config, Mode},
    consumers::Consumers,
    error::{End, Error},
    layout::{Around, Layout},
    levels::Levels,
    read::Source,
    tree::{Change, Changed, Tree},
    watch::{Touched, Watches},
};
use crate::{
    model::{Text, Update},
    registry::{
        Feed, Metrics,
        outbox::{Closed, Outbox},
        rounds::{self, Pace, Round, Rounds},
    },
    util::backoff::jittered,
};
use std::{
    collections::BTreeSet,
    pin::pin,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info};

/// The pause after a session that lasted, and the first pause after one that failed early.
const RETRY: Duration = Duration::from_millis(200);
/// The longest pause after a session that failed early.
const LAST_RETRY: Duration = Duration::from_secs(5);
/// A session that lasted this long had succeeded: losing it is a new failure.
const SETTLED: Duration = Duration::from_secs(10);

/// What is to be read of one root in one go.
#[derive(Debug, Default)]
struct Looks {
    /// The list of the root's nodes is to be read.
    root: bool,
    nodes: BTreeSet<String>,
    /// All nodes are to be read, and the result is sent as a list.
    whole: bool,
}

impl Looks {
    const ALL: Looks = Looks { root: true, nodes: BTreeSet::new(), whole: true };

    fn is_empty(&self) -> bool {
        !self.root && self.nodes.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Reader {
    registry: Text,
    config: Config,
    metrics: Metrics,
    outbox: Outbox<Update>,
    trees: Vec<Tree>,
    /// Puts Dubbo's interfaces, applications and rules together; `None` if only one level is read as it is.
    levels: Option<Levels>,
    /// Reads consumers; `None` if nobody wants them.
    consumers: Option<Consumers>,
    /// The servers are older than 3.6, as far as is known.
    old: bool,
}

/// Reads until nobody receives the updates.
pub(super) async fn run(config: Config, feed: Feed) -> Result<(), Text> {
    let consumers = Consumers::of(&config, feed.calls);
    let mut reader =
        Reader { consumers, ..Reader::new(feed.registry, config, Outbox::new(feed.updates), feed.metrics) };
    rounds::run(&mut reader, Pace::new(RETRY, RETRY, LAST_RETRY)).await;
    Ok(())
}

impl Rounds for Reader {
    /// A round is a session, from its beginning to its loss.
    async fn round(&mut self) -> Result<Round, Closed> {
        self.outbox.scopes(self.trees.iter().map(Tree::scope).collect()).await?;
        loop {
            let started = Instant::now();
            let error = match self.session().await {
                End::Closed => return Err(Closed),
                // Not a failure: the next session asks for nothing that such a server does not know.
                End::Lost(Error::Old) if !self.old => {
                    self.old = true;
                    continue;
                }
                End::Lost(error) => error,
            };
            self.outbox.failed(None, &error).await?;
            if started.elapsed() < SETTLED {
                return Ok(Round::FAILED);
            }
            // The next server may be a newer one.
            self.old = false;
            return Ok(Round::GOOD);
        }
    }
}

impl Reader {
    pub(super) fn new(registry: Text, config: Config, outbox: Outbox<Update>, metrics: Metrics) -> Self {
        let tree = |layout, root: &Text| Tree::new(registry.clone(), layout, root.clone());
        let levels = Levels::of(&config, &registry);
        let is_read = |_: &&Text| levels.as_ref().is_none_or(Levels::reads_interfaces);
        let mut trees: Vec<Tree> = config.roots.iter().filter(is_read).map(|root| tree(config.layout, root)).collect();
        trees.extend(config.applications.iter().map(|applications| tree(Layout::Applications, &applications.root)));
        Reader { registry, config, metrics, outbox, trees, levels, consumers: None, old: false }
    }

    /// One session, from its beginning to its loss.
    async fn session(&mut self) -> End {
        let client = match Client::connect(self.registry.clone(), &self.config, self.metrics.clone(), self.old).await {
            Ok(client) => client,
            Err(error) => return End::Lost(error),
        };
        // An update that is dropped halfway is made up for by the lists of the next session. Why a reading ended says more
        // than that the connection is lost behind it.
        tokio::select! {
            biased;
            end = self.follow(&client) => match end {
                Ok(never) => match never {},
                Err(end) => end,
            },
            error = client.lost() => End::Lost(error),
        }
    }

    async fn follow(&mut self, client: &Client) -> Result<std::convert::Infallible, End> {
        let mut watches = Watches::new(self.trees.iter().map(|tree| (tree.layout, tree.root.clone())).collect());
        for Tree { root, .. } in &self.trees {
            client.sync(root).await.map_err(End::Lost)?;
        }
        if self.config.mode == Mode::Watch {
            self.watch(client, &mut watches).await.map_err(End::Lost)?;
        }
        self.read_all(client, &mut watches).await?;
        match self.config.mode {
            Mode::Poll => loop {
                self.rest(client, jittered(self.config.period)).await?;
                self.read_all(client, &mut watches).await?;
            },
            Mode::Watch => self.keep_up(client, &mut watches).await,
        }
    }

    /// Waits until the next reading is due. Answers of providers are taken in meanwhile.
    async fn rest(&mut self, client: &Client, pause: Duration) -> Result<(), End> {
        let mut over = pin!(sleep(pause));
        loop {
            tokio::select! {
                () = hear(&mut self.levels) => self.heard(client).await?,
                () = &mut over => return Ok(()),
            }
        }
    }

    /// Takes in the answers of providers, and sends what they change.
    async fn heard(&mut self, client: &Client) -> Result<(), End> {
        let Some(levels) = &mut self.levels else { return Ok(()) };
        levels.report(client, &self.outbox, &self.trees, None).await
    }

    /// Watches before anything is read, so that no change falls in between.
    async fn watch(&self, client: &Client, watches: &mut Watches) -> Result<(), Error> {
        for Tree { root, .. } in &self.trees {
            match client.watch_tree(root).await? {
                Some(watcher) => watches.add_tree(watcher),
                None => {
                    watches.watch_nodes();
                    break;
                }
            }
        }
        info!(registry = %self.registry, one_by_one = watches.fires_once(), "Watching ZooKeeper.");
        Ok(())
    }

    async fn keep_up(&mut self, client: &Client, watches: &mut Watches) -> Result<std::convert::Infallible, End> {
        let mut again = Instant::now() + self.config.period;
        let mut resync = Instant::now() + jittered(self.config.resync);
        loop {
            let mut looks: Vec<Looks> = self.trees.iter().map(|_| Looks::default()).collect();
            let mut around = BTreeSet::new();
            let wake = again.min(resync).min(self.grows().unwrap_or(again));
            tokio::select! {
                touched = watches.next() => {
                    let mut touched = Some(touched);
                    while let Some(place) = touched {
                        match place {
                            Touched::Root(index) => looks[index].root = true,
                            Touched::Node(index, name) => drop(looks[index].nodes.insert(name)),
                            Touched::Around(place) => drop(around.insert(place)),
                        }
                        touched = watches.ready();
                    }
                }
                () = hear(&mut self.levels) => self.heard(client).await?,
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            let due = again <= now;
            if resync <= now {
                resync = now + jittered(self.config.resync);
                self.read_all(client, watches).await?;
                continue;
            }
            if due {
                again = now + self.config.period;
                self.try_again(&mut looks).await?;
            }
            for (tree, looks) in self.trees.iter().zip(&mut looks) {
                looks.nodes.extend(tree.grown(SystemTime::now()).cloned());
            }
            for (index, looks) in looks.into_iter().enumerate() {
                self.look(client, watches, index, looks).await?;
            }
            self.look_around(client, around, (due, due && watches.fires_once())).await?;
        }
    }

    /// Reads what stands beside the services: what has changed, and if it is `due` what could not be read.
    async fn look_around(&mut self, client: &Client, around: BTreeSet<Around>, due: (bool, bool)) -> Result<(), End> {
        if let Some(consumers) = &mut self.consumers {
            if due.0 && (due.1 || consumers.is_lacking()) {
                consumers.read_all(client).await?;
            } else {
                let node = |place: &Around| if let Around::Consumers(node) = place { Some(node.clone()) } else { None };
                consumers.read_some(client, around.iter().filter_map(node).collect()).await?;
            }
        }
        let Some(levels) = &mut self.levels else { return Ok(()) };
        let read = levels.look_around(client, &self.outbox, &self.trees, around, due).await?;
        if read | levels.grown(SystemTime::now()) {
            levels.report(client, &self.outbox, &self.trees, None).await?;
        }
        Ok(())
    }

    /// When the next weight grows by itself; `None` if none does.
    fn grows(&self) -> Option<Instant> {
        let levels = self.levels.as_ref().and_then(Levels::until);
        let until = self.trees.iter().filter_map(Tree::until).chain(levels).min()?;
        Some(Instant::now() + until.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// Marks what could not be read, to be read again. The rest is sent once more as a list, so that what is absent
    /// from one list is absent from the next, too: the catalog may want two.
    async fn try_again(&self, looks: &mut [Looks]) -> Result<(), Closed> {
        for (tree, looks) in self.trees.iter().zip(looks) {
            if tree.failed {
                *looks = Looks::ALL;
            } else {
                looks.nodes.extend(tree.unreadable().cloned());
                match &self.levels {
                    Some(levels) => levels.list(&self.outbox, &self.trees, tree.layout).await?,
                    None => self.outbox.send(tree.list()).await?,
                }
            }
        }
        Ok(())
    }

    async fn read_all(&mut self, client: &Client, watches: &mut Watches) -> Result<(), End> {
        let started = Instant::now();
        if let Some(levels) = &mut self.levels {
            levels.read_rules(client, &self.outbox, &self.trees).await?;
        }
        // First: who comes as soon as there are services finds out what it needs of them.
        if let Some(consumers) = &mut self.consumers {
            consumers.read_all(client).await?;
        }
        for index in 0..self.trees.len() {
            self.look(client, watches, index, Looks::ALL).await?;
        }
        self.outbox.send(Update::Cost(client.take_cost(started.elapsed()))).await?;
        Ok(())
    }

    /// Reads the parts of one root that `looks` names, and sends what is new.
    async fn look(
        &mut self,
        client: &Client,
        watches: &mut Watches,
        index: usize,
        mut looks: Looks,
    ) -> Result<(), End> {
        if looks.is_empty() {
            return Ok(());
        }
        let (layout, concurrency) = (self.trees[index].layout, self.config.concurrency);
        let others: usize = self.trees.iter().map(Tree::len).sum::<usize>() - self.trees[index].len();
        let tree = &mut self.trees[index];
        let root = tree.root.clone();
        let source = Source { client, layout, root: &root, concurrency };
        let exceeded = |limit| Error::Exceeded { path: root.to_string(), limit };
        client.begin();
        let mut changes = Vec::new();
        if looks.root {
            let names = match source.names(watches).await {
                Ok(names) => names,
                Err(error) if error.is_lost() => return Err(End::Lost(error)),
                Err(error) => {
                    tree.failed = true;
                    let scope = tree.scope();
                    return Ok(self.outbox.failed(Some(scope), &error).await?);
                }
            };
            if names.is_none() {
                debug!(registry = %self.registry, %root, "The root does not exist; it has no services.");
            }
            let count = names.as_ref().map_or(0, Vec::len);
            if let Err(error) = self.config.limits.check_services(others + count).map_err(exceeded) {
                tree.failed = true;
                let scope = tree.scope();
                return Ok(self.outbox.failed(Some(scope), &error).await?);
            }
            looks.whole |= std::mem::take(&mut tree.failed);
            let names: BTreeSet<String> = names.into_iter().flatten().collect();
            let gone: Vec<String> = tree.names().filter(|name| !names.contains(*name)).cloned().collect();
            for name in gone {
                watches.disarm(&layout.folder(&root, &name));
                let removed = tree.forget(&name);
                // A list shows it by not having it.
                if !looks.whole {
                    changes.extend(removed);
                }
            }
            let whole = looks.whole;
            looks.nodes.extend(names.into_iter().filter(|name| whole || !tree.knows(name)));
        }
        let reading = source.nodes(looks.nodes.into_iter().collect(), watches);
        let read = self.config.limits.in_time(reading).await.map_err(exceeded).flatten().map_err(End::Lost)?;
        let now = SystemTime::now();
        for (name, entries) in read {
            changes.extend(tree.update(&name, entries, now));
        }
        let changed = Changed { index, changes, whole: looks.whole };
        match &mut self.levels {
            Some(levels) => levels.report(client, &self.outbox, &self.trees, Some(changed)).await,
            None => Ok(self.report(changed).await?),
        }
    }

    /// Sends changes one by one, or as a list where only a list can show them.
    async fn report(&self, Changed { index, changes, whole }: Changed) -> Result<(), Closed> {
        let tree = &self.trees[index];
        let listed = whole || changes.contains(&Change::Readable);
        for change in changes {
            // A list does not show that a service has no instance left; it would seem to be absent only.
            if listed && !matches!(change, Change::Removed(_)) {
                continue;
            }
            if let Some(update) = tree.message(change) {
                self.outbox.send(update).await?;
            }
        }
        if listed { self.outbox.send(tree.list()).await } else { Ok(()) }
    }
}

/// Waits for an answer of a provider that is asked for its metadata; forever if none is asked.
async fn hear(levels: &mut Option<Levels>) {
    match levels {
        Some(levels) => levels.hear().await,
        None => std::future::pending().await,
    }
}
