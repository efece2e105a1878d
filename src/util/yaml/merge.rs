//! Merges the trees of several files, and sets single values in them. Every value keeps the name and the line of where
//! it was written.

use super::{
    Document, Place, Problem,
    node::{Content, Key, Node},
};
use std::sync::Arc;

/// Rules for the top keys of two files. Mappings are merged key by key at every level; a key that both have and that is
/// no mapping is kept twice, which reading reports with both places.
#[derive(Debug, Clone, Copy)]
pub struct Merge {
    /// Keys that every file states for itself; they must be equal.
    pub stated: &'static [&'static str],
    /// Keys whose lists are appended in the order of the files.
    pub appended: &'static [&'static str],
}

/// A step of the path to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// The item of a list whose key `name` has this value.
    Named(String),
}

impl Document {
    /// Merges another file into this document.
    pub fn merge(&mut self, other: Document, rules: &Merge) {
        let Document { file, root } = other;
        merge_root(&mut self.root, root.of_file(&file), &file, rules);
    }

    /// Sets the value at the end of a path, and makes mappings on the path that are missing. `origin` is its source, as
    /// problems show it.
    ///
    /// # Errors
    /// If something on the path is neither a mapping nor a list with an item of that name.
    pub fn set(&mut self, way: &[Step], value: Document, origin: &str) -> Result<(), Problem> {
        let origin: Arc<str> = origin.into();
        let mut node = &mut self.root;
        for (i, step) in way.iter().enumerate() {
            node = enter(node, step, &origin).map_err(|text| {
                let path = text_of(&way[..i]);
                Problem { file: origin.clone(), place: Place::default(), path, text }
            })?;
        }
        *node = Node { place: Place::default(), content: value.root.content }.of_file(&origin);
        clear_places(node);
        Ok(())
    }

    /// The file and place of the value of a key, or if it is missing of the nearest mapping that could hold it.
    pub fn locate(&self, way: &[&str]) -> (Arc<str>, Place) {
        let (mut node, mut file, mut place) = (&self.root, &self.file, self.root.place);
        for key in way {
            let Content::Map(entries) = node.content() else { break };
            let Some((_, inner)) = entries.iter().find(|(name, _)| *name.text == **key) else { break };
            (node, file, place) = (inner, inner.file().unwrap_or(file), inner.place);
        }
        (file.clone(), place)
    }

    /// A document that is a single text; `file` is its name in problems.
    pub fn text(file: &str, text: &str) -> Self {
        Document { file: file.into(), root: Node { place: Place::default(), content: Content::Quoted(text.into()) } }
    }

    /// A problem with the whole document.
    pub fn problem(&self, text: &str) -> Problem {
        Problem { file: self.file.clone(), place: self.root.place, path: String::new(), text: text.into() }
    }

    /// Whether the root is a mapping with this key.
    pub fn has(&self, key: &str) -> bool {
        matches!(self.root.content(), Content::Map(entries) if entries.iter().any(|(name, _)| &*name.text == key))
    }
}

fn merge_root(into: &mut Node, from: Node, file: &Arc<str>, rules: &Merge) {
    let Some(entries) = mergeable(into, &from) else {
        // Nothing can be added to what is no mapping; reading reports what there is.
        if !matches!(from.content(), Content::Null) {
            *into = from;
        }
        return;
    };
    for (key, node) in owned(from) {
        let node = node.of_file(file);
        let rest = match entries.iter_mut().find(|(name, _)| name.text == key.text) {
            None => Some(node),
            Some((_, known)) if rules.stated.contains(&&*key.text) => (!is_equal(known, &node)).then_some(node),
            Some((_, known)) if rules.appended.contains(&&*key.text) => append(known, node, file),
            Some((_, known)) => merge(known, node, file),
        };
        entries.extend(rest.map(|node| (key, node)));
    }
}

/// Merges mappings; anything else is returned, to be kept beside the former value.
fn merge(into: &mut Node, from: Node, file: &Arc<str>) -> Option<Node> {
    let Some(entries) = mergeable(into, &from) else { return Some(from) };
    for (key, node) in owned(from) {
        let node = node.of_file(file);
        let rest = match entries.iter_mut().find(|(name, _)| name.text == key.text) {
            None => Some(node),
            Some((_, known)) => merge(known, node, file),
        };
        entries.extend(rest.map(|node| (key, node)));
    }
    None
}

/// The entries of `into`, if both are mappings or null.
fn mergeable<'n>(into: &'n mut Node, from: &Node) -> Option<&'n mut Vec<(Key, Node)>> {
    if !matches!(from.content(), Content::Map(_) | Content::Null) {
        return None;
    }
    let content = into.content_mut();
    if matches!(content, Content::Null) && matches!(from.content(), Content::Map(_)) {
        *content = Content::Map(Vec::new());
    }
    match content {
        Content::Map(entries) => Some(entries),
        _ => None,
    }
}

fn owned(node: Node) -> Vec<(Key, Node)> {
    match node.content() {
        Content::Map(entries) => entries.clone(),
        _ => Vec::new(),
    }
}

/// Appends a list to a list; anything else is returned.
fn append(into: &mut Node, from: Node, file: &Arc<str>) -> Option<Node> {
    match (into.content_mut(), from.content()) {
        (Content::List(items), Content::List(more)) => {
            items.extend(more.iter().map(|node| node.clone().of_file(file)));
            None
        }
        _ => Some(from),
    }
}

fn is_equal(one: &Node, other: &Node) -> bool {
    let text = |node: &Node| match node.content() {
        Content::Scalar(text) | Content::Quoted(text) => Some(text.clone()),
        _ => None,
    };
    text(one).is_some() && text(one) == text(other)
}

/// The node behind a step. A key that is missing is added with null.
fn enter<'n>(node: &'n mut Node, step: &Step, origin: &Arc<str>) -> Result<&'n mut Node, String> {
    let kind = node.kind();
    let content = node.content_mut();
    match step {
        Step::Key(key) => {
            if matches!(content, Content::Null) {
                *content = Content::Map(Vec::new());
            }
            let Content::Map(entries) = content else {
                return Err(format!("`{key}` cannot be set: this is {kind}, and has no keys"));
            };
            let at = entries.iter().position(|(name, _)| *name.text == **key).unwrap_or_else(|| {
                let nothing = Node { place: Place::default(), content: Content::Null };
                let key = Key { place: Place::default(), text: key.as_str().into() };
                entries.push((key, nothing.of_file(origin)));
                entries.len() - 1
            });
            Ok(&mut entries[at].1)
        }
        Step::Named(wanted) => {
            let Content::List(items) = content else {
                return Err(format!("`[{wanted}]` cannot be set: this is {kind}, not a list"));
            };
            let names: Vec<String> = items.iter().filter_map(name_of).collect();
            let at = items.iter().position(|item| name_of(item).as_ref() == Some(wanted));
            match at {
                Some(at) => Ok(&mut items[at]),
                None => Err(format!("nothing here is named {wanted:?}; there are {}", names.join(", "))),
            }
        }
    }
}

/// The value of the key `name` of an item.
fn name_of(item: &Node) -> Option<String> {
    let Content::Map(entries) = item.content() else { return None };
    let (_, node) = entries.iter().find(|(key, _)| &*key.text == "name")?;
    match node.content() {
        Content::Scalar(text) | Content::Quoted(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Removes line and column from all values, because they would be those inside a variable's value.
fn clear_places(node: &mut Node) {
    node.place = Place::default();
    match node.content_mut() {
        Content::List(items) => items.iter_mut().for_each(clear_places),
        Content::Map(entries) => entries.iter_mut().for_each(|(key, node)| {
            key.place = Place::default();
            clear_places(node);
        }),
        _ => {}
    }
}

/// A path as problems show it: `registries[nacos].publish`.
fn text_of(way: &[Step]) -> String {
    let mut text = String::new();
    for step in way {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Named(name) => text.extend(["[", name, "]"]),
        }
    }
    text
}
