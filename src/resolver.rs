//! Resolves the host names that registries have for addresses, and reports to the catalog.
//!
//! Follows the set of names that the catalog wants, asks for each again when its answer's time to live is over (within
//! bounds), and reports answers, and that a name has no addresses: a failure, of a name or of one family, leaves the last
//! answer in force, and is tried again with backoff.
//! The system's configuration and `/etc/hosts` are respected. Started by the app beside the catalog's writer.

mod system;

use crate::{catalog::Handle, model::Text, util::resolv::Family};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use system::System;

/// An answer is good for at least so long, whatever its time to live: 0 is common, and would make a query per packet.
const TTL_MIN: Duration = Duration::from_secs(5);
/// An answer is good for at most so long: a move must be seen in bounded time, and entries of the hosts file live for
/// ever.
const TTL_MAX: Duration = Duration::from_secs(300);
/// The first pause after a failure; doubled by each further one, up to one of the following two.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest pause after a failure of a name that had an answer: its instances take traffic, and may have moved.
const RETRY_KNOWN_MAX: Duration = Duration::from_secs(10);
/// The longest pause after a failure of a name that never had an answer.
const RETRY_UNKNOWN_MAX: Duration = Duration::from_secs(300);
/// The most queries that are under way at once.
const CONCURRENCY: usize = 32;
/// The longest time for one name: for both families and all retries together.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What a name resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// IPv4 and IPv6 addresses, in the order of the answer; if it is empty, the name counts as without addresses.
    pub addresses: Vec<IpAddr>,
    /// The time to live of the answer; it is asked again then, within bounds.
    pub ttl: Duration,
    /// The family of which nothing is known now, so that its last addresses stay, and why.
    pub unknown: Option<(Family, Text)>,
}

/// Why a name has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No name server gave an answer that says anything of the name.
    #[error("cannot resolve {name:?}; check the name in the registry, and this machine's resolv.conf")]
    Query {
        /// The host name that an instance has for an address.
        name: Text,
        /// What the resolver says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer came in time.
    #[error("no answer for {name:?} within {TIMEOUT:?}; check this machine's name servers")]
    Timeout {
        /// The host name that an instance has for an address.
        name: Text,
    },
}

/// Asks name servers for addresses; tests have one that does not.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of a name, of both families.
    fn lookup(&self, name: Text) -> impl Future<Output = Result<Answer, LookupError>> + Send;
}

/// Resolves what the catalog wants, until told to stop.
pub async fn run(lookup: impl Lookup, catalog: Handle, shutdown: CancellationToken) {
    let mut wanted = catalog.wanted_names();
    let mut resolver = Resolver {
        lookup: Arc::new(lookup),
        names: HashMap::new(),
        queue: BTreeSet::new(),
        queries: JoinSet::new(),
        spread: RandomState::new(),
    };
    resolver.want(&wanted.borrow_and_update());
    loop {
        resolver.ask();
        let due = resolver.due();
        // Safe to cancel: a query that ends stays in its set until it is taken out.
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = wanted.changed() => match changed {
                Ok(()) => resolver.want(&wanted.borrow_and_update()),
                Err(_writer_ended) => return,
            },
            Some(ended) = resolver.queries.join_next() => {
                if let Some((name, addresses)) = ended.ok().and_then(|(name, result)| resolver.answered(name, result)) {
                    catalog.resolved(name, addresses).await;
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

struct Resolver<L> {
    lookup: Arc<L>,
    names: HashMap<Text, Schedule>,
    /// Each name whose [`Schedule::next`] is set, under that moment.
    queue: BTreeSet<(Instant, Text)>,
    queries: JoinSet<(Text, Result<Answer, LookupError>)>,
    spread: RandomState,
}

#[derive(Debug, Default)]
struct Schedule {
    /// When to ask; `None` while a query is under way.
    next: Option<Instant>,
    failures: u32,
    /// Its last good answer, perhaps of before a restart. If it has one, failures are tried again sooner.
    last: Arc<[IpAddr]>,
    /// One family of its last answer is of before.
    partly: bool,
}

impl<L: Lookup> Resolver<L> {
    /// Follows which names are wanted, each with the answer that the catalog has.
    fn want(&mut self, wanted: &BTreeMap<Text, Arc<[IpAddr]>>) {
        self.names.retain(|name, _| wanted.contains_key(name));
        self.queue.retain(|(_, name)| wanted.contains_key(name));
        let now = Instant::now();
        for (name, last) in wanted {
            if !self.names.contains_key(name) {
                self.names.insert(name.clone(), Schedule { last: last.clone(), ..Schedule::default() });
                self.plan(name, now);
            }
        }
    }

    /// Sets when to ask for a name.
    fn plan(&mut self, name: &Text, next: Instant) {
        let Some(schedule) = self.names.get_mut(name) else { return };
        if let Some(before) = schedule.next.replace(next) {
            self.queue.remove(&(before, name.clone()));
        }
        self.queue.insert((next, name.clone()));
    }

    /// The next moment to ask for something, unless as much as possible is under way.
    fn due(&self) -> Option<Instant> {
        let free = self.queries.len() < CONCURRENCY;
        self.queue.first().filter(|_| free).map(|(next, _)| *next)
    }

    /// Asks for the names that are due, the longest waiting first.
    fn ask(&mut self) {
        let now = Instant::now();
        while self.due().is_some_and(|next| next <= now)
            && let Some((_, name)) = self.queue.pop_first()
        {
            if let Some(schedule) = self.names.get_mut(&name) {
                schedule.next = None;
            }
            let lookup = self.lookup.clone();
            self.queries.spawn(async move {
                let answer = timeout(TIMEOUT, lookup.lookup(name.clone())).await;
                let answer = answer.unwrap_or_else(|_elapsed| Err(LookupError::Timeout { name: name.clone() }));
                (name, answer)
            });
        }
    }

    /// Notes how a query ended. Returns what is to be reported, if anything: addresses, or none for a name that never
    /// had any and certainly has none.
    fn answered(&mut self, name: Text, result: Result<Answer, LookupError>) -> Option<(Text, Vec<IpAddr>)> {
        let jitter = self.spread.hash_one((&name, self.names.get(&name).map(|s| s.failures))) % 256;
        let schedule = self.names.get_mut(&name)?;
        match result {
            Ok(mut answer) if !answer.addresses.is_empty() => {
                let unknown = |ip: &IpAddr| answer.unknown.as_ref().is_some_and(|(family, _)| family.has(*ip));
                let stay: Vec<IpAddr> = schedule.last.iter().copied().filter(unknown).collect();
                let before = std::mem::replace(&mut schedule.partly, !stay.is_empty());
                if let Some((family, cause)) = answer.unknown.as_ref().filter(|_| schedule.partly && !before) {
                    let family = family.name();
                    warn!(%name, family, %cause, "Cannot resolve one family of an instance's host name; its last addresses stay.");
                }
                let longest = if stay.is_empty() { TTL_MAX } else { RETRY_KNOWN_MAX };
                let next = Instant::now() + answer.ttl.clamp(TTL_MIN, longest);
                answer.addresses.extend(stay);
                answer.addresses.sort();
                answer.addresses.dedup();
                (schedule.failures, schedule.last) = (0, answer.addresses.as_slice().into());
                self.plan(&name, next);
                Some((name, answer.addresses))
            }
            failed => {
                let known = !schedule.last.is_empty();
                let longest = if known { RETRY_KNOWN_MAX } else { RETRY_UNKNOWN_MAX };
                let pause = (RETRY_MIN * 2_u32.saturating_pow(schedule.failures.min(16))).min(longest);
                schedule.failures += 1;
                let none = !known && failed.is_ok();
                failure_seen(&name, schedule.failures, failed.err());
                // Between half the pause and the whole, so that names that failed together do not stay together.
                self.plan(&name, Instant::now() + pause / 2 + pause / 512 * u32::try_from(jitter).unwrap_or(0));
                none.then(|| (name, Vec::new()))
            }
        }
    }
}

/// The first failure is worth a line; the notes on the service tell of the rest.
fn failure_seen(name: &str, failures: u32, error: Option<LookupError>) {
    use std::error::Error;
    let cause = error.as_ref().and_then(Error::source).map(ToString::to_string).unwrap_or_default();
    let none = || format!("{name:?} does not exist, or has no addresses; check the name in the registry");
    let error = error.map_or_else(none, |error| error.to_string());
    if failures == 1 {
        warn!(%error, %cause, "Cannot resolve an instance's host name; its last addresses stay.");
    } else {
        debug!(%error, %cause, failures, "Still cannot resolve an instance's host name.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::{Desired, Memory, Metrics, Options, Policy, Registry, ScopeMemory, ServiceMemory, Template, Writer},
        model::{Address, Endpoint, Port, Readiness, Scope, Service, ServiceId, Update},
    };
    use std::sync::Mutex;

    /// Answers in order, per name; the last one for ever. Notes when it was asked for what.
    #[derive(Default, Clone)]
    struct Fake {
        answers: Arc<Mutex<HashMap<Text, Vec<Option<Answer>>>>>,
        asked: Arc<Mutex<Vec<(Text, Instant)>>>,
        under_way: Arc<Mutex<(usize, usize)>>,
    }

    impl Lookup for Fake {
        async fn lookup(&self, name: Text) -> Result<Answer, LookupError> {
            self.asked.lock().unwrap().push((name.clone(), Instant::now()));
            {
                let mut under_way = self.under_way.lock().unwrap();
                under_way.0 += 1;
                under_way.1 = under_way.1.max(under_way.0);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.under_way.lock().unwrap().0 -= 1;
            let mut answers = self.answers.lock().unwrap();
            let answers = answers.get_mut(&name).expect("the test gives an answer");
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            answer.ok_or_else(|| LookupError::Query { name, source: "SERVFAIL".into() })
        }
    }

    fn answer(address: &str, ttl: u64) -> Option<Answer> {
        let addresses = address.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        Some(Answer { addresses, ttl: Duration::from_secs(ttl), unknown: None })
    }

    impl Fake {
        fn gives(&self, name: &str, answers: Vec<Option<Answer>>) {
            self.answers.lock().unwrap().insert(name.into(), answers);
        }

        /// Seconds between the questions.
        fn pauses(&self) -> Vec<f64> {
            let asked = self.asked.lock().unwrap();
            asked.windows(2).map(|pair| (pair[1].1 - pair[0].1).as_secs_f64()).collect()
        }
    }

    fn service(name: &str, instances: &[String]) -> Arc<Service> {
        let endpoint = |name: &String| Endpoint::new(Address::parse(name).unwrap(), Port::new(80).unwrap());
        Arc::new(Service::new(ServiceId::new("r", "", "", name), instances.iter().map(endpoint).collect()))
    }

    /// A catalog whose one service has instances of these names, and the resolver on it.
    async fn start(fake: &Fake, names: &[String]) -> (Handle, tokio_util::sync::DropGuard) {
        start_with(fake, None, vec![service("a", names)]).await
    }

    /// A catalog of what is known from before a restart, the resolver on it, and then a list of its registry. Nothing is
    /// listed where there are no services.
    async fn start_with(
        fake: &Fake,
        memory: Option<Memory>,
        services: Vec<Arc<Service>>,
    ) -> (Handle, tokio_util::sync::DropGuard) {
        let policy = Policy::new("r", "test", Template::parse("{service}").unwrap());
        let (mut writer, handle) = Writer::new(Options::default(), Metrics::default());
        let registry = Registry { memory: memory.map(Arc::new), ..policy.into() };
        let desired = Desired { registries: vec![registry], ..Desired::default() };
        let feed = writer.configure(desired, false).feeds.remove(0).updates;
        let shutdown = CancellationToken::new();
        tokio::spawn(writer.run(shutdown.clone()));
        tokio::spawn(run(fake.clone(), handle.clone(), shutdown.clone()));
        if !services.is_empty() {
            let listed = Update::Listed { scope: Scope::whole(), services, unreadable: Vec::new() };
            feed.send(listed).await.unwrap();
        }
        (handle, shutdown.drop_guard())
    }

    fn served(handle: &Handle) -> Vec<String> {
        let catalog = handle.load();
        catalog.services.values().flat_map(|s| s.endpoints.iter().map(|e| e.address.to_string())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_asked_for_again_within_bounds_and_the_last_good_one_stays() {
        let fake = Fake::default();
        fake.gives("n", vec![answer("10.0.0.1", 0), answer("10.0.0.2", 100), answer("10.0.0.3", 9999), None]);
        let (handle, _guard) = start(&fake, &["n".into()]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(served(&handle), ["10.0.0.1"]);
        tokio::time::sleep(Duration::from_secs(420)).await;
        assert_eq!(served(&handle), ["10.0.0.3"], "a failure tells nothing");
        tokio::time::sleep(Duration::from_secs(300)).await;
        let pauses = fake.pauses();
        for (pause, expected) in pauses.iter().zip([5.01, 100.01, 300.01]) {
            assert!((pause - expected).abs() < 0.01, "{pauses:?}");
        }
        // Then failures: each pause is between half of its bound and the whole.
        for (failure, pause) in pauses[3..].iter().enumerate() {
            let bound = f64::from(1 << failure.min(8)).min(10.0);
            assert!((bound / 2.0..bound + 0.1).contains(pause), "{pauses:?}");
        }
        assert!(pauses.len() >= 20, "a name that had an answer is asked for again soon: {pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_fails_keeps_its_last_addresses() {
        let fake = Fake::default();
        let lacking = |address: &str, family| {
            Some(Answer { unknown: Some((family, "SERVFAIL".into())), ..answer(address, 100).unwrap() })
        };
        let (both, moved) = (answer("10.0.0.1 2001:db8::1", 100), lacking("10.0.0.2", Family::V6));
        fake.gives("n", vec![both, moved, lacking("2001:db8::3", Family::V4), answer("10.0.0.4", 100)]);
        let (handle, _guard) = start(&fake, &["n".into()]).await;
        // What failed is asked for again after ten seconds.
        for (seconds, expected) in [
            (2, &["10.0.0.1", "2001:db8::1"][..]),
            (100, &["10.0.0.2", "2001:db8::1"]),
            (10, &["10.0.0.2", "2001:db8::3"]),
            (10, &["10.0.0.4"]),
        ] {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            assert_eq!(served(&handle), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_addresses_is_not_waited_for() {
        let fake = Fake::default();
        fake.gives("none", vec![answer("", 0)]);
        fake.gives("n", vec![answer("10.0.0.1", 60)]);
        let (handle, _guard) = start(&fake, &["none".into(), "n".into()]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((served(&handle), handle.load().sync), (vec!["10.0.0.1".into()], Readiness::Complete));
    }

    #[tokio::test(start_paused = true)]
    async fn many_names_are_asked_for_at_once_but_not_all() {
        let fake = Fake::default();
        let names: Vec<String> = (0..100).map(|i| format!("n{i}")).collect();
        for (i, name) in names.iter().enumerate() {
            fake.gives(name, vec![answer(&format!("10.0.0.{i}"), 60)]);
        }
        let (handle, _guard) = start(&fake, &names).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(served(&handle).len(), 100);
        assert_eq!(*fake.under_way.lock().unwrap(), (0, CONCURRENCY));
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_names_are_asked_for_once_each() {
        const NAMES: usize = 10_000;
        let fake = Fake::default();
        let names: Vec<String> = (0..NAMES).map(|i| format!("n{i}")).collect();
        names.iter().for_each(|name| fake.gives(name, vec![answer("10.0.0.1", 300)]));
        let services = names.iter().map(|name| service(name, std::slice::from_ref(name))).collect();
        let (handle, _guard) = start_with(&fake, None, services).await;
        // By the square of their number this would take minutes.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(served(&handle).len(), NAMES);
        let asked: BTreeSet<Text> = fake.asked.lock().unwrap().iter().map(|(name, _)| name.clone()).collect();
        assert_eq!((asked.len(), fake.asked.lock().unwrap().len()), (NAMES, NAMES));
    }

    /// Its answer of before the restart is served meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_name_that_had_an_answer_before_a_restart_is_asked_for_again_soon() {
        let fake = Fake::default();
        fake.gives("n", vec![None]);
        let memory = Memory {
            scopes: vec![ScopeMemory { scope: Scope::whole(), listed_at: Some(std::time::SystemTime::now()) }],
            services: vec![ServiceMemory {
                scope: 0,
                service: service("a", &["n".into()]),
                read: true,
                unreadable: None,
                absent: 0,
                gone: None,
            }],
            names: vec![("n".into(), vec!["10.0.0.1".parse().unwrap()])],
            ..Memory::default()
        };
        let (handle, _guard) = start_with(&fake, Some(memory), Vec::new()).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(served(&handle), ["10.0.0.1"]);
        let pauses = fake.pauses();
        assert!(pauses.len() >= 60 && pauses.iter().all(|pause| *pause < 10.1), "{pauses:?}");
    }
}
