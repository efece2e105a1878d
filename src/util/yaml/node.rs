//! The tree that parsing makes.

use std::sync::Arc;

/// Where something stands; both count from 1. The default, with line 0, is that of what stands in no file, such as a
/// variable's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line in its text, from 1; 0 where there is no text.
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
    /// What stands elsewhere: behind an alias, which is the thing itself and not a copy of it; or in another file, whose
    /// name it has.
    Shared(Option<Arc<str>>, Arc<Content>),
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

    /// The same, to be changed. What others share stays as it is for them.
    pub(super) fn content_mut(&mut self) -> &mut Content {
        match &mut self.content {
            Content::Shared(_, content) => Arc::make_mut(content),
            content => content,
        }
    }

    /// The name of the file that it stands in, where that is another one than its parent's.
    pub(super) fn file(&self) -> Option<&Arc<str>> {
        match &self.content {
            Content::Shared(file, _) => file.as_ref(),
            _ => None,
        }
    }

    /// The same value as a part of another file's tree.
    pub(super) fn of_file(self, file: &Arc<str>) -> Node {
        let Node { place, content } = self;
        let content = match content {
            Content::Shared(own, content) => Content::Shared(own.or_else(|| Some(file.clone())), content),
            content => Content::Shared(Some(file.clone()), Arc::new(content)),
        };
        Node { place, content }
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
            Content::Map(_) | Content::Shared(..) => "a mapping",
        }
    }
}
