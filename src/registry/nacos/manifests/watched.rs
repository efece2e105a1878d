//! What the server is asked to watch: the texts that are known, with the md5s under which they are known.

use crate::model::Text;
use std::collections::BTreeMap;

/// The texts that are watched, by namespace.
pub(super) type Watched = BTreeMap<Text, Texts>;

/// The texts of one namespace, with their md5s.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Texts {
    /// What the server calls the namespace: up to 2.x the public one has no name, and what one may read follows from it.
    pub(super) tenant: Text,
    /// The md5 of each text that was read, by `dataId`.
    pub(super) md5s: BTreeMap<Text, Text>,
}
