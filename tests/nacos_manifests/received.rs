//! What a registry sends of its manifests, gathered as the store would, so that tests can wait for a state and compare it.

use portolan::{
    model::{Manifest, ManifestUpdate, Scope, Text},
    registry::{self, Kind, Metrics, Registry, nacos},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// A registry named `r` whose manifests are being read.
pub struct Received {
    updates: mpsc::Receiver<ManifestUpdate>,
    stop: CancellationToken,
    /// Names of the scopes that the registry named last.
    pub scopes: Vec<String>,
    /// The last list of each scope.
    pub lists: BTreeMap<String, Vec<Arc<Manifest>>>,
    /// Errors by scope since its last list; "" for the whole registry.
    pub errors: BTreeMap<String, String>,
    /// Lists received so far.
    pub listed: usize,
    /// Failures received so far.
    pub failed: usize,
}

impl Drop for Received {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Received {
    /// Starts reading; what is received of services is thrown away.
    pub fn new(config: nacos::Config) -> Received {
        let (services, mut thrown_away) = mpsc::channel(16);
        tokio::spawn(async move { while thrown_away.recv().await.is_some() {} });
        let (out, updates) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let registry = Registry { name: "r".into(), kind: Kind::Nacos(config) };
        registry::spawn(registry, services, Some(out), Metrics::default(), stop.clone());
        let (scopes, lists, errors) = Default::default();
        Received { updates, stop, scopes, lists, errors, listed: 0, failed: 0 }
    }

    /// Waits for the next update, and takes it in.
    pub async fn next(&mut self) {
        match self.updates.recv().await.expect("the reading goes on") {
            ManifestUpdate::Scopes(scopes) => {
                self.scopes = scopes.iter().map(|Scope(scope)| scope.to_string()).collect();
                self.lists.retain(|scope, _| self.scopes.contains(scope));
            }
            ManifestUpdate::Listed(Scope(scope), manifests) => {
                self.listed += 1;
                self.errors.remove("");
                self.errors.remove(&*scope);
                self.lists.insert(scope.to_string(), manifests);
            }
            ManifestUpdate::Failed(scope, error) => {
                self.failed += 1;
                self.errors.insert(scope.map(|Scope(scope)| scope.to_string()).unwrap_or_default(), error.to_string());
            }
        }
    }

    /// Waits until something holds of what was received, and gives the time that took.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Received) -> bool) -> Duration {
        let started = Instant::now();
        while !holds(self) {
            let left = Duration::from_secs(30).saturating_sub(started.elapsed());
            if left.is_zero() || timeout(left, self.next()).await.is_err() {
                panic!("waited in vain for {what}; texts {:#?}, errors {:#?}", self.texts(), self.errors);
            }
        }
        started.elapsed()
    }

    /// Waits for the next list of any scope.
    pub async fn list(&mut self) -> &mut Self {
        let before = self.listed;
        self.until("a list", |received| received.listed > before).await;
        self
    }

    /// Waits until nothing more is received for a while: what was on its way has been read.
    pub async fn quiet(&mut self) {
        while timeout(Duration::from_secs(1), self.next()).await.is_ok() {}
    }

    /// Waits for the next failure, and gives the texts of all that fails.
    pub async fn failure(&mut self) -> String {
        let before = self.failed;
        self.until("a failure", |received| received.failed > before).await;
        self.errors.iter().map(|(scope, error)| format!("{scope}: {error}")).collect::<Vec<_>>().join("\n")
    }

    /// All texts, by namespace and dataId.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let all = self.lists.values().flatten();
        all.map(|m| (format!("{}/{}", m.id.namespace, m.id.name), m.text.as_deref().unwrap_or_default().to_owned()))
            .collect()
    }

    /// One text of the public namespace.
    pub fn text(&self, name: &str) -> Option<&Text> {
        self.manifest(name).and_then(|manifest| manifest.text.as_ref().ok())
    }

    /// One manifest of the public namespace.
    pub fn manifest(&self, name: &str) -> Option<&Arc<Manifest>> {
        self.lists.get("public")?.iter().find(|manifest| &*manifest.id.name == name)
    }
}
