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
    /// One in quotes, or in a block: for those who have to guess a type, it is text.
    Quoted(Box<str>),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// An alias to something large is the thing itself, not a copy of it.
    Shared(Arc<Content>),
}

/// A key of a mapping: text, whatever it looks like.
#[derive(Debug, Clone)]
pub struct Key {
    pub(super) place: Place,
    pub(super) text: Box<str>,
}

/// A value as those see it who walk the tree themselves.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// `null`, or nothing.
    Null,
    /// A single value without quotes: text, a number, or whatever the reader takes it for.
    Plain(&'a str),
    /// A single value in quotes or in a block: text.
    Quoted(&'a str),
    /// A list.
    List(&'a [Node]),
    /// A mapping in the order in which it is written; a key may be there twice.
    Map(&'a [(Key, Node)]),
}

impl Key {
    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Itself.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Node {
    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// What it is.
    pub fn shape(&self) -> Shape<'_> {
        match self.content() {
            Content::Null | Content::Shared(_) => Shape::Null,
            Content::Scalar(text) => Shape::Plain(text),
            Content::Quoted(text) => Shape::Quoted(text),
            Content::List(items) => Shape::List(items),
            Content::Map(entries) => Shape::Map(entries),
        }
    }

    pub(super) fn content(&self) -> &Content {
        match &self.content {
            Content::Shared(content) => content,
            content => content,
        }
    }

    /// What an empty text is.
    pub(super) fn nothing() -> Node {
        Node { place: Place { line: 1, column: 1 }, content: Content::Null }
    }

    /// The word for what it is.
    pub fn kind(&self) -> &'static str {
        match self.content() {
            Content::Null => "nothing",
            Content::Scalar(_) | Content::Quoted(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) | Content::Shared(_) => "a mapping",
        }
    }
}
