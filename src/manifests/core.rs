//! What stands of all that was heard, as a value: no task, no clock.
//!
//! Each scope of a registry is told as a whole list. What a list lacks is deleted; but a scope that had [`MANY`] or more
//! and lists none is held, until it has been listed so for [`HOLD`]: a server that lost its data must not take the mesh's
//! configuration with it. A failure in between begins that time anew.

use super::{Metrics, Snapshot, Source, State, Status};
use crate::{
    model::{Manifest, ManifestId, ManifestUpdate, Scope, Text},
    resource::{Kind, Name, Readiness, Resource},
    translate::istio::manifest,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// So long a loss of everything must last, and so long services' entries wait for manifests' at most.
pub(super) const HOLD: Duration = Duration::from_secs(60);

/// So many manifests are not deleted at once by hand.
const MANY: usize = 2;

/// All that was heard.
#[derive(Debug)]
pub(super) struct Core {
    sources: Vec<Heads>,
    create_time: i64,
    metrics: Metrics,
    /// Until when services' entries wait.
    patience: Instant,
    overdue: bool,
    conflicts: BTreeSet<(ManifestId, Text)>,
}

/// One registry's scopes.
#[derive(Debug)]
struct Heads {
    source: Source,
    /// Whether its scopes are known.
    scoped: bool,
    scopes: BTreeMap<Scope, Listing>,
}

#[derive(Debug, Default)]
struct Listing {
    /// Whether it is one of the registry's scopes now.
    named: bool,
    listed: bool,
    manifests: BTreeMap<ManifestId, Kept>,
    /// Since when it lists nothing, though it had many.
    empty_since: Option<Instant>,
}

/// A manifest, and what its last good text gave.
#[derive(Debug)]
struct Kept {
    manifest: Arc<Manifest>,
    resources: Vec<(Kind, Resource)>,
    problems: Option<Text>,
}

impl Core {
    pub(super) fn new(sources: Vec<Source>, create_time: i64, metrics: Metrics, now: Instant) -> Self {
        let heads = |source| Heads { source, scoped: false, scopes: BTreeMap::new() };
        Core {
            sources: sources.into_iter().map(heads).collect(),
            create_time,
            metrics,
            patience: now + HOLD,
            overdue: false,
            conflicts: BTreeSet::new(),
        }
    }

    /// Takes what a registry says.
    pub(super) fn apply(&mut self, source: usize, update: ManifestUpdate, now: Instant) {
        let (heads, metrics) = (&mut self.sources[source], &self.metrics);
        let Heads { source, scoped, scopes } = heads;
        match update {
            ManifestUpdate::Scopes(names) => {
                *scoped = true;
                let names: BTreeSet<Scope> = names.into_iter().collect();
                for (scope, listing) in scopes.iter_mut().filter(|(scope, _)| !names.contains(scope)) {
                    listing.named = false;
                    listing.list(Vec::new(), source, scope, self.create_time, metrics, now);
                }
                names.into_iter().for_each(|scope| scopes.entry(scope).or_default().named = true);
                scopes.retain(|_, listing| listing.named || !listing.manifests.is_empty());
            }
            ManifestUpdate::Listed(scope, manifests) => {
                let listing = scopes.entry(scope.clone()).or_default();
                (listing.named, listing.listed) = (true, true);
                listing.list(manifests, source, &scope, self.create_time, metrics, now);
            }
            ManifestUpdate::Failed(scope, error) => {
                metrics.failed(&source.registry, scope.as_ref(), &error);
                let concerned = |name: &Scope| scope.as_ref().is_none_or(|scope| scope == name);
                let failed = scopes.iter_mut().filter(|(name, listing)| listing.named && concerned(name));
                failed.for_each(|(_, listing)| listing.empty_since = None);
            }
        }
    }

    /// When [`Core::tick`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let listings = self.sources.iter().flat_map(|heads| heads.scopes.values());
        let held = listings.filter_map(|listing| Some(listing.empty_since? + HOLD));
        let patience = (!self.overdue && !self.is_heard()).then_some(self.patience);
        held.chain(patience).min()
    }

    /// Lets go what was held for long enough.
    pub(super) fn tick(&mut self, now: Instant) {
        if !self.overdue && !self.is_heard() && self.patience <= now {
            self.overdue = true;
            self.metrics.overdue();
        }
        for heads in &mut self.sources {
            for (scope, listing) in &mut heads.scopes {
                if listing.empty_since.is_some_and(|since| since + HOLD <= now) {
                    self.metrics.let_go(&heads.source.registry, scope, listing.manifests.len());
                    listing.manifests.clear();
                    listing.empty_since = None;
                }
            }
            heads.scopes.retain(|_, listing| listing.named || !listing.manifests.is_empty());
        }
    }

    /// What stands now. Whoever hands it out numbers it.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        let listings = self.sources.iter().flat_map(|heads| heads.scopes.values());
        let all = listings.flat_map(|listing| listing.manifests.iter().map(move |kept| (kept, listing)));
        let all: BTreeMap<&ManifestId, (&Kept, &Listing)> = all.map(|((id, kept), l)| (id, (kept, l))).collect();
        let mut owners: BTreeMap<(Kind, Name), &ManifestId> = BTreeMap::new();
        let (mut resources, mut manifests, mut conflicts) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        for (id, (kept, listing)) in all {
            let (mut served, mut errors) = (Vec::new(), Vec::from_iter(kept.problems.clone()));
            for (kind, resource) in &kept.resources {
                let key = (*kind, resource.name().clone());
                match owners.get(&key) {
                    None => {
                        owners.insert(key.clone(), id);
                        resources.insert(key.clone(), resource.clone());
                        served.push(key);
                    }
                    Some(owner) => {
                        let error: Text = format!("{} {} stands in {owner} already", word(*kind), key.1).into();
                        conflicts.insert((id.clone(), error.clone()));
                        errors.push(error);
                    }
                }
            }
            let state = match kept.problems {
                Some(_) => State::Wrong,
                None if listing.empty_since.is_some() => State::Held,
                None if !errors.is_empty() => State::Conflicting,
                None => State::Good,
            };
            let error = (!errors.is_empty()).then(|| errors.join("\n").into());
            manifests.push(Status { id: id.clone(), state, resources: served, error });
        }
        conflicts.difference(&self.conflicts).for_each(|(id, error)| self.metrics.conflicts(id, error));
        self.conflicts = conflicts;
        let registries: Vec<&Text> = self.sources.iter().map(|heads| &heads.source.registry).collect();
        self.metrics.stands(&registries, &manifests);
        Snapshot { number: 0, readiness: self.readiness(), resources, manifests }
    }

    fn readiness(&self) -> Option<Readiness> {
        match (self.sources.is_empty(), self.is_heard()) {
            (true, _) => None,
            (_, true) => Some(Readiness::Complete),
            _ if self.overdue => Some(Readiness::Partial),
            _ => Some(Readiness::Waiting),
        }
    }

    /// Whether every registry has listed all its scopes once.
    fn is_heard(&self) -> bool {
        let heard = |heads: &Heads| heads.scoped && heads.scopes.values().all(|l| l.listed || !l.named);
        self.sources.iter().all(heard)
    }
}

impl Listing {
    fn list(
        &mut self,
        manifests: Vec<Arc<Manifest>>,
        source: &Source,
        scope: &Scope,
        create_time: i64,
        metrics: &Metrics,
        now: Instant,
    ) {
        if manifests.is_empty() && self.manifests.len() >= MANY {
            if self.empty_since.is_none() {
                self.empty_since = Some(now);
                metrics.held(&source.registry, scope, self.manifests.len());
            }
            return;
        }
        self.empty_since = None;
        let mut before = std::mem::take(&mut self.manifests);
        for manifest in manifests {
            let kept = match before.remove(&manifest.id) {
                Some(kept) if Arc::ptr_eq(&kept.manifest, &manifest) || kept.manifest == manifest => kept,
                old => Kept::read(manifest, old, source, create_time, metrics),
            };
            self.manifests.insert(kept.manifest.id.clone(), kept);
        }
    }
}

impl Kept {
    /// Reads a new text; where it is wrong, what the old one gave stays.
    fn read(manifest: Arc<Manifest>, old: Option<Kept>, source: &Source, create_time: i64, metrics: &Metrics) -> Kept {
        let Manifest { id, text } = &*manifest;
        let wrong_before = old.as_ref().is_some_and(|old| old.problems.is_some());
        let (resources, problems) = match manifest::read(&id.name, text, &source.namespace, create_time) {
            Ok(resources) => {
                metrics.read(id, resources.len(), wrong_before);
                (resources, None)
            }
            Err(problems) => {
                let stays = old.map(|old| old.resources).unwrap_or_default();
                let first = problems.iter().next().map(ToString::to_string).unwrap_or_default();
                metrics.wrong(id, &first, problems.iter().count(), stays.len());
                (stays, Some(problems.to_string().into()))
            }
        };
        Kept { manifest, resources, problems }
    }
}

/// Istio's word for a kind.
fn word(kind: Kind) -> &'static str {
    kind.group_and_word().map_or(kind.name(), |(_, word)| word)
}
