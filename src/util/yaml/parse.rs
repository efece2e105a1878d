//! From text to tree, within limits: a hostile file costs no more than a good one of the largest size.

use super::{
    Place, Problem,
    node::{Content, Key, Node},
};
use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Tag};
use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// The limits of a text; one that exceeds any of them is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text. 64 MiB by default.
    pub bytes: usize,
    /// Values in the tree, those behind aliases counted each time, and long ones once more for each 64 bytes. 4 million
    /// by default.
    pub nodes: usize,
    /// Lists and mappings in each other. 64 by default.
    pub depth: usize,
}

/// A text counts as one more node for each so many bytes: that bounds a long text behind many aliases.
const BYTES_PER_NODE: usize = 64;

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 64 << 20, nodes: 4_000_000, depth: 64 }
    }
}

/// The trees of all documents, of which there may be `most`.
pub(super) fn parse(file: &Arc<str>, text: &[u8], limits: &Limits, most: usize) -> Result<Vec<Node>, Problem> {
    let fail = |place, text| Problem { file: file.clone(), place, path: String::new(), text };
    let start = Place { line: 1, column: 1 };
    if text.len() > limits.bytes {
        let text = format!("the file has {} bytes; at most {} are read", text.len(), limits.bytes);
        return Err(fail(start, text));
    }
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|error| {
        let line = 1 + text[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        fail(Place { line: line as u32, column: 1 }, "not UTF-8; save the file as UTF-8 text".into())
    })?;
    let mut options = Options::default();
    options.emit_comments = false;
    let mut tree =
        Tree { limits, open: Vec::new(), roots: Vec::new(), anchors: HashMap::new(), nodes: 0, documents: 0, most };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            event.map_err(|error| fail(place(error.marker()), format!("not YAML: {}", error.kind())))?;
        tree.event(event, place(&span.start)).map_err(|text| fail(place(&span.start), text))?;
    }
    Ok(tree.roots)
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line() as u32, column: marker.col() as u32 + 1 }
}

/// The tree as far as it is built: the open collections, outermost first.
struct Tree<'a> {
    limits: &'a Limits,
    open: Vec<Open>,
    roots: Vec<Node>,
    /// By anchor: its content, and how many nodes it counts for.
    anchors: HashMap<usize, (Content, usize)>,
    nodes: usize,
    documents: usize,
    most: usize,
}

struct Open {
    place: Place,
    anchor: usize,
    /// The number of nodes before this collection.
    before: usize,
    content: Children,
}

enum Children {
    List(Vec<Node>),
    Map(Vec<(Key, Node)>, Option<Key>),
}

impl Tree<'_> {
    fn event(&mut self, event: Event<'_>, place: Place) -> Result<(), String> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > self.most {
                    return Err(match self.most {
                        1 => "a second document; write one document into one file".into(),
                        most => format!("more than {most} documents"),
                    });
                }
                // An alias means something of its own document.
                self.anchors.clear();
            }
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag)?;
                let weight = 1 + text.len() / BYTES_PER_NODE;
                self.count(weight)?;
                let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                // A key is text whatever it looks like.
                let content = match style {
                    _ if null && !self.wants_key() => Content::Null,
                    ScalarStyle::Plain => Content::Scalar(text.into()),
                    _ => Content::Quoted(text.into()),
                };
                self.remember(anchor, &content, weight);
                self.add(Node { place, content })?;
            }
            Event::Alias(id) => {
                let (content, nodes) = self.anchors.get(&id).cloned().ok_or("an alias inside of what it stands for")?;
                self.count(nodes)?;
                self.add(Node { place, content })?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag)?;
                self.begin(place, anchor, Children::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag)?;
                self.begin(place, anchor, Children::Map(Vec::new(), None))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, place: Place, anchor: usize, content: Children) -> Result<(), String> {
        if self.wants_key() {
            return Err("a list or mapping as a key; keys are text".into());
        }
        if self.open.len() >= self.limits.depth {
            return Err(format!("more than {} lists and mappings in each other", self.limits.depth));
        }
        self.count(1)?;
        self.open.push(Open { place, anchor, before: self.nodes, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Open { place, anchor, before, content } = self.open.pop().expect("the parser ends what it began");
        let mut content = match content {
            Children::List(items) => Content::List(items),
            Children::Map(entries, _) => Content::Map(entries),
        };
        if anchor != 0 {
            content = Content::Shared(None, Arc::new(content));
            self.remember(anchor, &content, self.nodes - before + 1);
        }
        self.add(Node { place, content })
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Children::Map(_, None), .. }))
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes += nodes;
        if self.nodes > self.limits.nodes {
            return Err(format!("more than {} values, those behind aliases counted each time", self.limits.nodes));
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, content: &Content, nodes: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (content.clone(), nodes));
        }
    }

    fn add(&mut self, node: Node) -> Result<(), String> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.roots.push(node),
            Some(Children::List(items)) => items.push(node),
            Some(Children::Map(entries, key)) => match (key.take(), node) {
                (Some(key), node) => entries.push((key, node)),
                (None, Node { place, content: Content::Scalar(text) | Content::Quoted(text) }) => {
                    *key = Some(Key { place, text })
                }
                (None, _) => return Err("a key that is no text".into()),
            },
        }
        Ok(())
    }
}

/// Refuses tags: they could change the meaning of a value, and none is known here.
fn check_tag(tag: Option<Cow<'_, Tag>>) -> Result<(), String> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(format!("the tag {tag}; remove it, tags have no meaning here")),
        _ => Ok(()),
    }
}
