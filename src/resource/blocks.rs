//! Blocks: runs of about 64 neighbours of a generation, whose bytes are encoded once and shared.
//!
//! An answer that holds everything is the list of its blocks' bytes. A change makes one block anew; all others are the
//! same values, with the same bytes, in every generation and every answer. Readers that are stalled at hundreds of
//! generations therefore hold the set once, and a full answer after a change costs one block. A name whose hash says so
//! starts a block, so that coming and going names move no border but their own.

use super::{Name, Resource, Variant, name_hash};
use bytes::Bytes;
use imbl::OrdMap;
use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{Arc, OnceLock},
};

/// How many neighbours a block has on average.
const RUN: u64 = 64;

/// Some neighbours, and their entries in a row.
#[derive(Debug)]
pub(super) struct Block {
    resources: Vec<Arc<Resource>>,
    encoded: [OnceLock<Bytes>; 2],
}

impl Block {
    fn new(resources: Vec<Arc<Resource>>) -> Arc<Self> {
        Arc::new(Block { resources, encoded: Default::default() })
    }

    /// The entries of all its resources, encoded at the first call.
    pub(super) fn bytes(&self, variant: Variant) -> Bytes {
        let encode = || {
            let mut bytes = Vec::with_capacity(self.resources.iter().map(|r| r.entry(variant).len()).sum());
            self.resources.iter().for_each(|r| bytes.extend_from_slice(r.entry(variant)));
            Bytes::from(bytes)
        };
        self.encoded[variant as usize].get_or_init(encode).clone()
    }

    pub(super) fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }
}

/// The blocks of a generation, by the first name that they may hold: the empty name, or one that starts a block.
pub(super) type Blocks = OrdMap<Name, Arc<Block>>;

fn starts_block(name: &str) -> bool {
    name_hash(name.as_bytes()).is_multiple_of(RUN)
}

/// Makes those blocks anew that the changed names fall into.
pub(super) fn rebuild(blocks: &mut Blocks, resources: &OrdMap<Name, Arc<Resource>>, changed: &[Name]) {
    let up_to = |name: &str| blocks.range::<_, str>((Bound::Unbounded, Bound::Included(name))).next_back();
    let dirty: BTreeSet<Name> =
        changed.iter().map(|n| up_to(n).map_or_else(|| Name::from(""), |(start, _)| start.clone())).collect();
    for start in dirty {
        let after = blocks.range::<_, str>((Bound::Excluded(&*start), Bound::Unbounded)).next();
        let end = after.map(|(name, _)| name.clone());
        blocks.remove(&start);
        let span = (Bound::Included(&*start), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
        let (mut key, mut run) = (start.clone(), Vec::new());
        for (name, resource) in resources.range::<_, str>(span) {
            if starts_block(name) {
                close(blocks, std::mem::replace(&mut key, name.clone()), &mut run);
            }
            run.push(resource.clone());
        }
        close(blocks, key, &mut run);
    }
}

fn close(blocks: &mut Blocks, key: Name, run: &mut Vec<Arc<Resource>>) {
    if !run.is_empty() {
        blocks.insert(key, Block::new(std::mem::take(run)));
    }
}
