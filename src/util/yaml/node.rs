//! The tree that parsing makes.

use std::sync::Arc;

/// Where something stands; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// A value as it is written.
#[derive(Debug, Clone)]
pub struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Null,
    /// Types are given by who reads, not by how it is written: `"80"` is a good port, and `80` a good name.
    Scalar(Box<str>),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// An alias to something large is the thing itself, not a copy of it.
    Shared(Arc<Content>),
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: Box<str>,
}

impl Node {
    pub(super) fn content(&self) -> &Content {
        match &self.content {
            Content::Shared(content) => content,
            content => content,
        }
    }

    /// The word for what it is.
    pub(super) fn kind(&self) -> &'static str {
        match self.content() {
            Content::Null => "nothing",
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) | Content::Shared(_) => "a mapping",
        }
    }
}
