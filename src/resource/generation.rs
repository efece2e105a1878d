//! All resources of one kind at one moment.

use super::{
    Name, Resource, Variant,
    blocks::{Blocks, rebuild},
    name_hash, version_hash, version_text,
};
use bytes::Bytes;
use imbl::{OrdMap, ordmap::DiffItem};
use std::sync::Arc;

/// All resources of one kind at one moment. It never changes; the next one shares with it all that stays.
///
/// Two persistent maps have the same keys: resources, and versions alone. A stream keeps the latter of what it has sent,
/// so that it holds no old bodies; [`Generation::changes_since`] says what it must send next. The digests are sums, kept
/// up with each change, so they depend on the content and not on the way to it.
#[derive(Debug, Clone)]
pub struct Generation {
    resources: OrdMap<Name, Arc<Resource>>,
    versions: OrdMap<Name, u64>,
    digest: u64,
    names_digest: u64,
    /// The encoded neighbours that answers share; `None`: it is loose.
    blocks: Option<Blocks>,
    /// How it follows the one before; `None`: it is the first, has few resources, or too much differs.
    change: Option<Arc<Change>>,
}

/// How one follows another: what a stream must send that has sent all of the one before, as nearly all have. Found once, not by
/// each of them.
#[derive(Debug)]
struct Change {
    before: OrdMap<Name, u64>,
    /// What differs, in the order of names; `None`: the resource is gone.
    resources: Vec<(Name, Option<Arc<Resource>>)>,
}

/// A change of more resources is not kept: each stream finds it by itself.
const MOST_CHANGED: usize = 64;
/// With fewer resources a change is not kept either: it is found fast, and not worth the memory.
const FEW: usize = 256;

impl Default for Generation {
    fn default() -> Self {
        Generation { blocks: Some(Blocks::new()), ..Generation::loose() }
    }
}

impl Generation {
    /// Without resources and without blocks, as all that follow it: for few readers, for each of which its entries are
    /// copied.
    pub fn loose() -> Self {
        let (resources, versions) = (OrdMap::new(), OrdMap::new());
        Generation { resources, versions, digest: 0, names_digest: 0, blocks: None, change: None }
    }

    /// The next generation, or `None` if the changes change nothing. Of several changes of one name the last counts.
    pub fn next(&self, changes: impl IntoIterator<Item = (Name, Option<Resource>)>) -> Option<Generation> {
        self.next_shared(changes.into_iter().map(|(name, change)| (name, change.map(Arc::new))))
    }

    /// As [`Generation::next`], with resources that others hold, too.
    pub(super) fn next_shared(
        &self,
        changes: impl IntoIterator<Item = (Name, Option<Arc<Resource>>)>,
    ) -> Option<Generation> {
        let mut next = self.clone();
        let mut changed = Vec::new();
        for (name, change) in changes {
            if next.replace(&name, change) {
                changed.push(name);
            }
        }
        // By versions: what was changed there and back is no change.
        let differing = self.versions.diff(&next.versions).map(|item| name_of(&item).clone());
        let differing: Vec<Name> = differing.take(MOST_CHANGED + 1).collect();
        if differing.is_empty() {
            return None;
        }
        next.change = next.change_from(&self.versions, differing);
        if let Some(blocks) = &mut next.blocks {
            rebuild(blocks, &next.resources, &changed);
        }
        Some(next)
    }

    /// How this one follows that of these versions, of which so many names differ; `None`: each stream finds it.
    fn change_from(&self, before: &OrdMap<Name, u64>, names: Vec<Name>) -> Option<Arc<Change>> {
        if self.len() < FEW || names.len() > MOST_CHANGED {
            return None;
        }
        let named = |name: Name| {
            let resource = self.resources.get(&name).cloned();
            (name, resource)
        };
        Some(Arc::new(Change { before: before.clone(), resources: names.into_iter().map(named).collect() }))
    }

    /// What differs from what a stream was sent, in the order of names; `None`: it is gone.
    pub fn changes_since<'a>(
        &'a self,
        sent: &'a OrdMap<Name, u64>,
    ) -> impl Iterator<Item = (&'a Name, Option<&'a Arc<Resource>>)> {
        let followed = self.change.as_deref().filter(|change| change.before.ptr_eq(sent));
        let compared = followed.is_none().then(|| sent.diff(&self.versions)).into_iter().flatten();
        let found = compared.map(|item| name_of(&item)).map(|name| (name, self.resources.get(name)));
        let known = followed.map_or(&[][..], |change| &change.resources).iter();
        known.map(|(name, resource)| (name, resource.as_ref())).chain(found)
    }

    /// The same with these resources instead, without those that are `None`; for a reader who is served something else.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = (Name, Option<Arc<Resource>>)>) -> Generation {
        self.next_shared(changes).unwrap_or_else(|| self.clone())
    }

    fn replace(&mut self, name: &Name, change: Option<Arc<Resource>>) -> bool {
        let old = self.versions.get(name).copied();
        if old == change.as_ref().map(|resource| resource.version()) {
            return false;
        }
        if let Some(old) = old {
            self.digest = self.digest.wrapping_sub(version_hash(name.as_bytes(), old));
            self.names_digest = self.names_digest.wrapping_sub(name_hash(name.as_bytes()));
        }
        match change {
            Some(resource) => {
                self.digest = self.digest.wrapping_add(version_hash(name.as_bytes(), resource.version()));
                self.names_digest = self.names_digest.wrapping_add(name_hash(name.as_bytes()));
                self.versions.insert(name.clone(), resource.version());
                self.resources.insert(name.clone(), resource);
            }
            None => {
                self.versions.remove(name);
                self.resources.remove(name);
            }
        }
        true
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The resource of that name; `None`: the generation has none.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.resources.get(name)
    }

    /// The shared name equal to this one, if there is such a resource.
    pub fn name(&self, name: &str) -> Option<&Name> {
        self.resources.get_key_value(name).map(|(name, _)| name)
    }

    /// All resources, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// The version of each resource, by name. Streams keep such a map of what they have sent.
    pub fn versions(&self) -> &OrdMap<Name, u64> {
        &self.versions
    }

    /// The sum of [`version_hash`] over all resources: equal content has equal digests.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The sum of [`name_hash`] over all names.
    pub fn names_digest(&self) -> u64 {
        self.names_digest
    }

    /// The version of the whole set, as clients see it: the digest in 16 hexadecimal digits.
    pub fn version(&self) -> String {
        version_text(self.digest)
    }

    /// Everything, as the entries of an answer, in pieces that are shared by all generations which have them; `None` of a
    /// loose one.
    pub fn blocks(&self, variant: Variant) -> Option<impl Iterator<Item = (Bytes, &[Arc<Resource>])>> {
        let blocks = self.blocks.as_ref()?;
        Some(blocks.values().map(move |b| (b.bytes(variant), b.resources())))
    }
}

fn name_of<'a>(item: &DiffItem<'a, 'a, Name, u64>) -> &'a Name {
    match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => name,
    }
}
