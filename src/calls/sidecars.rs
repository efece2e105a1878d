//! Istio's `Sidecar`s from the call model: for each application one that has the hosts of the services that it needs, as a
//! text among the manifests.
//!
//! Until the call model was read once, and as long as Istiods are told of no services because some are not known
//! ([`Catalog::known`]), nothing is told: a `Sidecar` without a host that is merely not known yet would cut its application off.

use super::{Handle, Model};
use crate::{
    catalog::{self, Catalog},
    model::{
        CALLS, Hostname, Manifest, ManifestId, ManifestUpdate, PublishedService, Readiness, Scope, ServiceId,
        ServicePort, Text, needed_as,
    },
    util::label::is_label,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

/// The pause between two looks at the models, since services come and go together.
const SETTLE: Duration = Duration::from_secs(1);

/// The end of the names of all `Sidecar`s that are made here.
const SUFFIX: &str = "dubbo";

/// How `Sidecar`s are made, from `calls.sidecars` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecars {
    /// The label of workloads whose value is the name of their application.
    pub label: Text,
    /// Istio's namespaces in which the workloads are: a `Sidecar` holds in its own namespace only.
    pub namespaces: Vec<Text>,
    /// Hosts that every `Sidecar` has besides those of needed services, as Istio writes egress hosts, such as
    /// `istio-system/*`.
    pub hosts: Vec<Text>,
}

/// The channel of manifests, and the manifests that were last sent through it.
type Feed = (mpsc::Sender<ManifestUpdate>, Option<Vec<Arc<Manifest>>>);

/// Hosts by the names by which services are needed.
#[derive(Debug, Default)]
struct Index {
    hosts: BTreeMap<Text, BTreeSet<Hostname>>,
    known: imbl::OrdMap<ServiceId, Arc<catalog::Record>>,
}

/// Sends `Sidecar`s as manifests, and again when they change, until `stop` is cancelled. `out` gives the channel for a
/// new start, or `None`.
pub async fn follow(
    calls: Handle,
    catalog: catalog::Handle,
    out: impl Fn() -> Option<mpsc::Sender<ManifestUpdate>>,
    stop: CancellationToken,
) {
    let (mut models, mut catalogs, mut options) = (calls.subscribe(), catalog.changed(), calls.options());
    let mut index = Index::default();
    let mut feed: Option<Feed> = None;
    let work = async {
        loop {
            let wanted = options.borrow_and_update().sidecars.clone();
            if wanted.is_none() || feed.as_ref().is_some_and(|(out, _)| out.is_closed()) {
                feed = None;
            }
            if wanted.is_some() && feed.is_none() {
                feed = out().map(|out| (out, None));
            }
            let (model, catalog) = (models.borrow_and_update().clone(), catalog.load());
            catalogs.mark_unchanged();
            if let (Some(wanted), Some((out, told))) = (&wanted, &mut feed)
                && model.is_complete()
                && catalog.known == Readiness::Complete
            {
                index.follow(&catalog);
                let manifests = wanted.make(&model, &index, &catalog);
                if told.as_ref().is_none_or(|told| *told != manifests) && !tell(out, told, manifests).await {
                    feed = None;
                }
            }
            // While there are none, services may come and go without waking anybody.
            tokio::select! {
                changed = models.changed() => if changed.is_err() { return },
                changed = options.changed() => if changed.is_err() { return },
                changed = catalogs.changed(), if wanted.is_some() => if changed.is_err() { return },
            }
            sleep(SETTLE).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => stop.cancelled().await,
    }
}

/// Sends the manifests; equal ones keep their `Arc`. Returns `false` if nobody receives them any more.
async fn tell(
    out: &mpsc::Sender<ManifestUpdate>,
    told: &mut Option<Vec<Arc<Manifest>>>,
    manifests: Vec<Arc<Manifest>>,
) -> bool {
    if told.is_none() && out.send(ManifestUpdate::Scopes(vec![Scope::whole()])).await.is_err() {
        return false;
    }
    let before: BTreeMap<&ManifestId, &Arc<Manifest>> = told.iter().flatten().map(|known| (&known.id, known)).collect();
    let same =
        |new: Arc<Manifest>| before.get(&new.id).filter(|known| ***known == new).map_or(new, |known| (*known).clone());
    let manifests: Vec<Arc<Manifest>> = manifests.into_iter().map(same).collect();
    *told = Some(manifests.clone());
    out.send(ManifestUpdate::Listed(Scope::whole(), manifests)).await.is_ok()
}

impl Index {
    /// Brings the index up to this catalog, by the records that differ from the last one.
    fn follow(&mut self, catalog: &Catalog) {
        use imbl::ordmap::DiffItem;
        let known = std::mem::replace(&mut self.known, catalog.records.clone());
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for item in known.diff(&catalog.records) {
            match item {
                DiffItem::Add(_, new) => come.push(new.clone()),
                DiffItem::Update { old, new } => {
                    gone.push(old.1.clone());
                    come.push(new.1.clone());
                }
                DiffItem::Remove(_, old) => gone.push(old.clone()),
            }
        }
        // A host may have several services: whoever still has it puts it back.
        let mut again = BTreeSet::new();
        for record in gone {
            for (name, host) in pairs(&record) {
                if let Some(hosts) = self.hosts.get_mut(&name) {
                    hosts.remove(&host);
                    if hosts.is_empty() {
                        self.hosts.remove(&name);
                    }
                }
                again.insert(host);
            }
        }
        let of_others = again.iter().filter_map(|host| catalog.services.get(host)).flat_map(|service| &service.sources);
        come.extend(of_others.filter_map(|id| catalog.records.get(id)).cloned());
        for (name, host) in come.iter().flat_map(|record| pairs(record)) {
            self.hosts.entry(name).or_default().insert(host);
        }
    }
}

/// Each host of a service with each name by which consumers need it.
fn pairs(record: &catalog::Record) -> Vec<(Text, Hostname)> {
    let names = needed_as(&record.service.labels).into_iter();
    names.flat_map(|name| record.hosts.iter().map(move |host| (name.clone(), host.clone()))).collect()
}

impl Sidecars {
    /// One `Sidecar` for each application in each namespace, sorted by id.
    fn make(&self, model: &Model, index: &Index, catalog: &Catalog) -> Vec<Arc<Manifest>> {
        let mut manifests = Vec::new();
        for application in model.applications.keys() {
            let Some(needs) = model.names(application) else { continue };
            let hosts: BTreeSet<&Hostname> = needs.iter().filter_map(|name| index.hosts.get(name)).flatten().collect();
            let services = hosts.into_iter().filter_map(|host| catalog.services.get(host));
            let needed: BTreeSet<String> = services.flat_map(|service| egress(service)).collect();
            let mut hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).chain(needed).collect();
            if hosts.is_empty() {
                // Istio's word for none; a list without any is refused.
                hosts.push("~/*".to_owned());
            }
            let texts = self.namespaces.iter().map(|namespace| (namespace, self.text(application, namespace, &hosts)));
            manifests.extend(texts.map(|(namespace, text)| {
                let (registry, group, name) = (CALLS.into(), Text::default(), application.clone());
                Arc::new(Manifest { id: ManifestId { registry, namespace: namespace.clone(), group, name }, text })
            }));
        }
        manifests.sort_by(|a, b| a.id.cmp(&b.id));
        manifests
    }

    fn text(&self, application: &str, namespace: &str, hosts: &[String]) -> Result<Text, Text> {
        if !is_label_value(application) {
            return Err(format!("{application:?} cannot be the value of a label, so no workload has it").into());
        }
        let labels = BTreeMap::from([(&*self.label, application)]);
        let sidecar = json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": { "name": resource_name(application), "namespace": namespace },
            "spec": { "workloadSelector": { "labels": labels }, "egress": [{ "hosts": hosts }] },
        });
        Ok(sidecar.to_string().into())
    }
}

/// The hosts of a service's entries as Istio writes egress hosts, in any namespace (`*/HOST`).
fn egress(service: &PublishedService) -> Vec<String> {
    let names = std::iter::once(&service.host).chain(&service.aliases);
    let of_port = |name: &Hostname, port: &ServicePort| {
        let before = port.host.as_str().strip_suffix(service.host.as_str()).unwrap_or_default();
        format!("*/{before}{}", service.spelled(name))
    };
    names.flat_map(|name| service.ports.iter().map(move |port| of_port(name, port))).collect()
}

/// True if Kubernetes accepts the name as the value of a label.
fn is_label_value(name: &str) -> bool {
    let ends = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// A resource name that Kubernetes accepts. If the application's name is not one, it gets a hash, so that two never
/// meet.
fn resource_name(application: &str) -> String {
    if application.split('.').all(is_label) {
        return format!("{application}.{SUFFIX}");
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = application.chars().map(plain).collect();
    format!("{}-{:08x}.{SUFFIX}", text.trim_matches('-'), xxh3_64(application.as_bytes()) as u32)
}
