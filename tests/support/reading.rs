//! What a registry's reading reports, gathered as the catalog would, so that tests can wait for a state and compare it.

use portolan::{
    model::{Cost, Scope, Service, ServiceId, Text, Update},
    registry::{self, Kind, Metrics, Registry},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long anything may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A registry named `r` that is being read.
pub struct Reading {
    updates: mpsc::Receiver<Update>,
    stop: CancellationToken,
    /// Names of the scopes in the last `Update::Scopes`.
    pub scopes: Vec<String>,
    /// The last list of each scope.
    pub lists: BTreeMap<String, Vec<Arc<Service>>>,
    /// Services of the last list of each scope that could not be read, with the reason.
    pub unreadable: BTreeMap<String, Vec<(ServiceId, Text)>>,
    /// Errors by scope since its last list; "" for the whole registry.
    pub errors: BTreeMap<String, String>,
    /// Services that were reported as gone, beside lists.
    pub removed: Vec<String>,
    /// Lists received so far.
    pub listed: usize,
    /// Services received between lists so far.
    pub applied: usize,
    /// Failures received so far.
    pub failed: usize,
    /// Texts of the failures received so far, in order.
    pub failures: Vec<String>,
    /// Cost of the last round or look.
    pub cost: Cost,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Reading {
    /// Starts to read a registry of that kind.
    pub fn new(kind: Kind) -> Reading {
        let (out, updates) = mpsc::channel(16);
        let stop = CancellationToken::new();
        registry::spawn(Registry { name: "r".into(), kind }, out, None, Metrics::default(), stop.clone());
        let (scopes, lists, unreadable, errors, removed, cost) = Default::default();
        let (listed, applied, failed, failures) = Default::default();
        Reading { updates, stop, scopes, lists, unreadable, errors, removed, listed, applied, failed, failures, cost }
    }

    /// Waits for the next update, takes it into this value, and returns it.
    pub async fn next(&mut self) -> Update {
        let update = self.updates.recv().await.expect("the reading goes on");
        match &update {
            Update::Scopes(scopes) => {
                self.scopes = scopes.iter().map(|Scope(s)| s.to_string()).collect();
                // What is of no scope any more is gone.
                self.lists.retain(|scope, _| self.scopes.contains(scope));
            }
            Update::Listed { scope, services, unreadable } => {
                self.listed += 1;
                self.errors.remove("");
                self.errors.remove(&*scope.0);
                self.lists.insert(scope.0.to_string(), services.clone());
                self.unreadable.insert(scope.0.to_string(), unreadable.clone());
            }
            Update::Failed { scope, error } => {
                self.failed += 1;
                self.failures.push(error.to_string());
                let scope = scope.as_ref().map(|s| s.0.to_string()).unwrap_or_default();
                self.errors.insert(scope, error.to_string());
            }
            Update::Cost(cost) => self.cost = *cost,
            Update::Applied(scope, service) => {
                self.applied += 1;
                let list = self.lists.entry(scope.0.to_string()).or_default();
                match list.binary_search_by(|other| other.id.cmp(&service.id)) {
                    Ok(at) => list[at] = service.clone(),
                    Err(at) => list.insert(at, service.clone()),
                }
            }
            Update::Removed(scope, id) => {
                self.removed.push(id.name.to_string());
                self.lists.entry(scope.0.to_string()).or_default().retain(|service| service.id != *id);
            }
        }
        update
    }

    /// Waits until something holds of what was received, and gives the time that took.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Reading) -> bool) -> Duration {
        let started = Instant::now();
        while !holds(self) {
            let left = LIMIT.saturating_sub(started.elapsed());
            if timeout(left, self.next()).await.is_err() {
                panic!("waited in vain for {what}; lists {:#?}, errors {:#?}", self.lists, self.errors);
            }
        }
        started.elapsed()
    }

    /// Waits until the next round or look has reported its cost.
    pub async fn round(&mut self) {
        let wait = async { while !matches!(self.next().await, Update::Cost(_)) {} };
        timeout(LIMIT, wait).await.expect("rounds follow upon each other");
    }

    /// Waits for the next list of any scope.
    pub async fn list(&mut self) -> &mut Self {
        let before = self.listed;
        self.until("a list", |h| h.listed > before).await;
        self
    }

    /// Waits for the next failure, and gives the texts of all that fails.
    pub async fn failure(&mut self) -> String {
        let before = self.failed;
        self.until("a failure", |h| h.failed > before).await;
        self.errors.iter().map(|(scope, error)| format!("{scope}: {error}")).collect::<Vec<_>>().join("\n")
    }

    /// The services' names in all scopes, with their endpoints as `address:port`.
    pub fn endpoints(&self) -> BTreeMap<String, Vec<String>> {
        let shown = |service: &Arc<Service>| {
            let endpoint = |e: &portolan::model::Endpoint| match e.ports.first() {
                Some(port) => format!("{}:{}", e.address, port.number),
                None => e.address.to_string(),
            };
            (service.id.name.to_string(), service.endpoints.iter().map(endpoint).collect())
        };
        self.lists.values().flatten().map(shown).collect()
    }

    /// The first service of that name, in whichever scope.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.lists.values().flatten().find(|s| &*s.id.name == name)
    }
}
