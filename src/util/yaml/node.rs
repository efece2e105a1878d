//! The tree that parsing makes.

use std::sync::Arc;

/// A position in a text; both numbers count from 1. The default, with line 0, is for values that are in no file, such
/// as a variable's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line, from 1; 0 if there is no text.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
}

/// A value and its place; its type is decided by the reader.
#[derive(Debug, Clone)]
pub struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Null,
    /// A single value without quotes. The reader decides the type: `"80"` is a good port, and `80` a good name.
    Scalar(Box<str>),
    /// A single value in quotes or in a block: text, for a reader that must guess the type.
    Quoted(Box<str>),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// Content that is shared: behind an alias; or from another file, whose name it has.
    Shared(Option<Arc<str>>, Arc<Content>),
}

/// A key of a mapping: text, whatever it looks like.
#[derive(Debug, Clone)]
pub struct Key {
    pub(super) place: Place,
    pub(super) text: Box<str>,
}

/// The content of a node, for readers that walk the tree themselves.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// `null`, `~`, or nothing behind the key.
    Null,
    /// A single value without quotes: text, a number, or whatever the reader takes it for.
    Plain(&'a str),
    /// A single value in quotes or in a block: text.
    Quoted(&'a str),
    /// The items of a list, in order.
    List(&'a [Node]),
    /// A mapping in the order in which it is written; a key may be there twice.
    Map(&'a [(Key, Node)]),
}

impl Key {
    /// Where its first character stands in the text.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The key as it is written, without quotes.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Node {
    /// Where its first character stands in the text.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether it is a scalar, a list or a mapping, with what is in it.
    pub fn shape(&self) -> Shape<'_> {
        match self.content() {
            Content::Null | Content::Shared(..) => Shape::Null,
            Content::Scalar(text) => Shape::Plain(text),
            Content::Quoted(text) => Shape::Quoted(text),
            Content::List(items) => Shape::List(items),
            Content::Map(entries) => Shape::Map(entries),
        }
    }

    pub(super) fn content(&self) -> &Content {
        match &self.content {
            Content::Shared(_, content) => content,
            content => content,
        }
    }

    /// The same, mutable. Shared content is copied first.
    pub(super) fn content_mut(&mut self) -> &mut Content {
        match &mut self.content {
            Content::Shared(_, content) => Arc::make_mut(content),
            content => content,
        }
    }

    /// The name of its file. `None`: the same as its parent's.
    pub(super) fn file(&self) -> Option<&Arc<str>> {
        match &self.content {
            Content::Shared(file, _) => file.as_ref(),
            _ => None,
        }
    }

    /// The same value, marked as coming from this file unless it names another one.
    pub(super) fn of_file(self, file: &Arc<str>) -> Node {
        let Node { place, content } = self;
        let content = match content {
            Content::Shared(own, content) => Content::Shared(own.or_else(|| Some(file.clone())), content),
            content => Content::Shared(Some(file.clone()), Arc::new(content)),
        };
        Node { place, content }
    }

    /// The root of an empty text: null.
    pub(super) fn nothing() -> Node {
        Node { place: Place { line: 1, column: 1 }, content: Content::Null }
    }

    /// Its kind in words, for problems: `a list`, `a mapping`, `a single value` or `nothing`.
    pub fn kind(&self) -> &'static str {
        match self.content() {
            Content::Null => "nothing",
            Content::Scalar(_) | Content::Quoted(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) | Content::Shared(..) => "a mapping",
        }
    }
}
