//! What a client is not sent because it, or others like it, refuse it.

use crate::resource::{Kind, Name, Resource};
use std::sync::Arc;

/// A resource at one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The type that it is sent as.
    pub kind: Kind,
    /// The name by which clients ask for it.
    pub name: Name,
    /// The hash of its content.
    pub version: u64,
}

/// How it is known that a resource is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The client's words name it.
    Named,
    /// It was sent alone, or it is what was left of a search.
    Searched,
    /// Others like this client refuse it, or it did itself on an earlier stream.
    Shared,
}

impl Found {
    /// The word in logs and in the admin API's answers.
    pub const fn name(self) -> &'static str {
        match self {
            Found::Named => "named",
            Found::Searched => "searched",
            Found::Shared => "shared",
        }
    }
}

/// Something that a client is not tried with.
#[derive(Debug, Clone)]
pub struct Unwanted {
    /// The version that is refused; another one is sent.
    pub item: Item,
    /// What the client had before, where that is known and must be sent in its place.
    pub instead: Option<Arc<Resource>>,
}

/// Which refused resources are to be sent again. A field that is `None` fits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// All of this kind, unless a name is given.
    pub kind: Option<Kind>,
    /// Whatever has this name, of that kind if one is given.
    pub name: Option<Name>,
}

impl Filter {
    /// Whether a resource of that kind and name is to be sent again.
    pub fn fits(&self, kind: Kind, name: &str) -> bool {
        self.kind.is_none_or(|of| of == kind) && self.name.as_deref().is_none_or(|of| of == name)
    }
}
