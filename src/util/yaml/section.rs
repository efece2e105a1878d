//! Reads a mapping key by key.

use super::{
    Value,
    node::{Content, Key, Node},
    value::{Path, whereabouts},
};
use crate::util::suggest::suggest;
use std::{collections::HashMap, rc::Rc};

const LEAVE_OUT: &str = "leave the key out if that is meant";

/// A mapping with fixed keys. It remembers the keys that were asked for, so that all others can be reported.
#[derive(Debug)]
pub struct Section<'a> {
    value: Value<'a>,
    entries: &'a [(Key, Node)],
    path: Rc<Path<'a>>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn open(value: Value<'a>) -> Option<Self> {
        // A key with nothing behind it, all of whose parts are commented out, is an empty mapping.
        let entries = match value.node.content() {
            Content::Map(entries) => entries.as_slice(),
            Content::Null => &[],
            _ => {
                let kind = value.node.kind();
                return value.problem(format!("must be a mapping of keys to values, but is {kind}"));
            }
        };
        report_duplicates(&value, entries);
        let path = Rc::new(value.path.clone());
        Some(Section { value, entries, path, known: Vec::new() })
    }

    /// The mapping itself, to report problems with the whole of it.
    pub fn value(&self) -> &Value<'a> {
        &self.value
    }

    /// The value of a key, if it is there and not `null`.
    pub fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let (name, node) = self.entries.iter().find(|(name, _)| &*name.text == key)?;
        let value = self.value.inner(node, Path::Key(self.path.clone(), &name.text));
        if value.is_null() { None } else { Some(value) }
    }

    /// Reads the value of a key; `None` if it is missing or has a mistake.
    pub fn get<T>(&mut self, key: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        read(&self.take(key)?)
    }

    /// As [`Section::take`], for a key that says who may come, or what they get: with nothing behind it, it would count as left
    /// out, and let in more than anybody meant. `opens` says what that would be.
    pub fn written(&mut self, key: &'static str, opens: &str) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() && self.has(key) {
            self.value.problem::<()>(format!("there is nothing behind `{key}`, so {opens}; {LEAVE_OUT}"));
        }
        value
    }

    /// Reads a key of [`Section::written`], for which `[]` and `{}` would count as left out, too.
    pub fn narrow<T>(
        &mut self,
        key: &'static str,
        opens: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.written(key, opens)?;
        match value.is_empty() {
            true => value.problem(format!("names nothing, so {opens}; {LEAVE_OUT}")),
            false => read(&value),
        }
    }

    /// As [`Section::get`], but a missing key is a problem.
    pub fn need<T>(&mut self, key: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        match self.take(key) {
            Some(value) => read(&value),
            None => self.value.problem(format!("the key `{key}` is missing")),
        }
    }

    /// Reads the mapping of a key; `None` if it is missing or has a mistake.
    pub fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'a>) -> Option<T>) -> Option<T> {
        self.get(key, |value| value.section(read))
    }

    /// Whether a key is written, even if there is nothing behind it.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| &*name.text == key)
    }

    /// Whether the mapping has no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reports the keys that were not asked for, with a suggestion.
    pub(super) fn end(self) {
        for entry @ (key, _) in self.entries {
            if self.known.contains(&&*key.text) {
                continue;
            }
            let remedy = match suggest(&key.text, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.value.report_key(entry, format!("unknown key `{}`; {remedy}", key.text));
        }
    }
}

pub(super) fn report_duplicates<'a>(value: &Value<'a>, entries: &'a [(Key, Node)]) {
    // Nearly all mappings are small, and there are very many of them.
    let duplicate = |(i, (key, _)): (usize, &(Key, Node))| entries[..i].iter().any(|(k, _)| k.text == key.text);
    if entries.len() <= 16 && !entries.iter().enumerate().any(duplicate) {
        return;
    }
    let mut first = HashMap::with_capacity(entries.len());
    let file = |node: &'a Node| node.file().unwrap_or(value.file);
    for entry @ (key, node) in entries {
        let (other, at, count) = first.entry(&*key.text).or_insert((file(node), key.place, 0));
        *count += 1;
        if *count > 1 {
            let other = whereabouts(file(node), other, *at);
            value.report_key(entry, format!("the key `{}` is there twice, first {other}", key.text));
        }
    }
}
