//! A walk through a value along the message that it should be: problems with their places, and the message's bytes.
//!
//! The rules are those of protobuf's JSON, as Istio reads it: a field has the name of its JSON form or its own, `null` is
//! nothing, numbers may be texts, enumerations are names or numbers, and times are Go's (`1h30m`). Unlike Istio, which
//! skips what it does not know, every field must exist. The bytes are deterministic: fields by number, maps by key.

use super::{duration, number, scalar::Scalar};
use crate::{
    resource::{put_field, put_varint},
    util::{
        suggest::suggest,
        yaml::{Key, Node, Place, Problem, Problems, Shape},
    },
};
use base64::{Engine, engine::general_purpose};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The most problems that are reported for one manifest.
const MOST_PROBLEMS: usize = 100;

/// The most characters of a problem's text and path, because they go to logs and answers; longer ones are cut.
const LONGEST_TEXT: usize = 500;

/// The wire types of protobuf.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

/// The problems found so far, and the path of the value that is read now.
#[derive(Debug)]
pub(super) struct Walk {
    file: Arc<str>,
    path: String,
    /// The name of the kind whose spec is read, for texts of problems; empty before [`Walk::spec`].
    kind: String,
    problems: Vec<Problem>,
}

impl Walk {
    pub(super) fn new(file: &str) -> Self {
        Walk { file: file.into(), path: String::new(), kind: String::new(), problems: Vec::new() }
    }

    /// Whether there is no problem so far.
    pub(super) fn is_right(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn finish(self) -> Result<(), Problems> {
        if self.problems.is_empty() { Ok(()) } else { Err(Problems::new(self.problems)) }
    }

    /// Notes a mistake. `None`, so that readers can end with it.
    pub(super) fn problem<T>(&mut self, place: Place, text: impl Into<String>) -> Option<T> {
        if self.problems.len() < MOST_PROBLEMS {
            let (file, path, text) = (self.file.clone(), cut(&self.path), cut(&text.into()));
            self.problems.push(Problem { file, place, path, text });
        }
        None
    }

    /// Reads the value of a key: problems inside get the key in their path.
    pub(super) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let value = read(self);
        self.path.truncate(before);
        value
    }

    fn at<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        let value = read(self);
        self.path.truncate(before);
        value
    }

    /// The entries of a mapping, each key once; `None` if it is none.
    pub(super) fn entries<'a>(&mut self, node: &'a Node, what: &str) -> Option<Vec<(&'a Key, &'a Node)>> {
        let Shape::Map(entries) = node.shape() else {
            let text = format!("{what} must be a mapping of keys to values, but is {}", node.kind());
            return self.problem(node.place(), text);
        };
        let (mut known, mut kept) = (BTreeSet::new(), Vec::with_capacity(entries.len()));
        for (key, value) in entries {
            match known.insert(key.text()) {
                true => kept.push((key, value)),
                false => drop(self.problem::<()>(key.place(), format!("{:?} is there twice", key.text()))),
            }
        }
        Some(kept)
    }

    pub(super) fn text(&mut self, node: &Node) -> Option<String> {
        match Scalar::of(node) {
            Some(Scalar::Text(text)) => Some(text.to_owned()),
            Some(other) => {
                self.problem(node.place(), format!("must be text, but {}; put it in quotes", other.described()))
            }
            None => self.problem(node.place(), format!("must be text, but is {}", node.kind())),
        }
    }

    /// The bytes of the spec of a resource; `message` is the message of its kind.
    pub(super) fn spec(&mut self, node: &Node, message: &MessageDescriptor) -> Vec<u8> {
        message.name().clone_into(&mut self.kind);
        self.message(node, message)
    }

    /// The bytes of a message, without tag and length. A part with a problem is left out.
    fn message(&mut self, node: &Node, message: &MessageDescriptor) -> Vec<u8> {
        if let Some(known) = self.well_known(node, message) {
            return known;
        }
        let mut fields: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut chosen: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in self.entries(node, message.name()).into_iter().flatten() {
            let name = key.text();
            let Some(field) = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name)) else {
                self.unknown(key, message);
                continue;
            };
            let is_value = |kind: Kind| matches!(kind, Kind::Message(m) if m.full_name() == "google.protobuf.Value");
            if matches!(value.shape(), Shape::Null) && (field.is_list() || field.is_map() || !is_value(field.kind())) {
                continue;
            }
            if let Some(group) = field.containing_oneof().filter(|_| !is_optional(&field))
                && let Some(other) = chosen.insert(group.name().to_owned(), name.to_owned())
            {
                let text = format!("{} has either {other:?} or {name:?}, not both", message.name());
                self.problem::<()>(key.place(), text);
            }
            let bytes = self.within(name, |walk| walk.field(value, &field));
            if fields.insert(field.number(), bytes).is_some() {
                self.problem::<()>(key.place(), format!("{name:?} is there twice, under both of its names"));
            }
        }
        fields.into_values().flatten().collect()
    }

    fn unknown(&mut self, key: &Key, message: &MessageDescriptor) {
        if self.problems.len() >= MOST_PROBLEMS {
            return;
        }
        let fields: Vec<FieldDescriptor> = message.fields().collect();
        let near = hint(key.text(), fields.iter().map(FieldDescriptor::json_name));
        let (owner, name) = (self.owner(message), key.text());
        self.within(name, |walk| {
            walk.problem::<()>(key.place(), format!("{owner} has no field {name:?}{near}"));
        });
    }

    /// The name of a message in problems: `VirtualService's HTTPRoute`.
    fn owner(&self, message: &MessageDescriptor) -> String {
        if self.kind == message.name() { self.kind.clone() } else { format!("{}'s {}", self.kind, message.name()) }
    }

    /// A field with its tag; an unpacked list has the tag for each of its items.
    fn field(&mut self, node: &Node, field: &FieldDescriptor) -> Vec<u8> {
        if field.is_map() {
            return self.map(node, field);
        }
        let (number, kind) = (field.number(), field.kind());
        if !field.is_list() {
            let value = self.value(node, &kind);
            return match field.supports_presence() || value.iter().any(|b| *b != 0) {
                true => tagged(number, &kind, &value),
                false => Vec::new(),
            };
        }
        let Shape::List(items) = node.shape() else {
            self.problem::<()>(node.place(), format!("must be a list, but is {}", node.kind()));
            return Vec::new();
        };
        let mut bytes = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let value = self.at(index, |walk| match item.shape() {
                Shape::Null => walk.problem(item.place(), "an item of a list must not be empty").unwrap_or_default(),
                _ => walk.value(item, &kind),
            });
            match field.is_packed() {
                true => bytes.extend(value),
                false => bytes.extend(tagged(number, &kind, &value)),
            }
        }
        if field.is_packed() && !bytes.is_empty() {
            let mut packed = Vec::new();
            put_field(&mut packed, number, &bytes);
            return packed;
        }
        bytes
    }

    fn map(&mut self, node: &Node, field: &FieldDescriptor) -> Vec<u8> {
        let Kind::Message(entry) = field.kind() else { return Vec::new() };
        let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let mut entries = BTreeMap::new();
        for (key, value) in self.entries(node, field.json_name()).into_iter().flatten() {
            let bytes = self.within(key.text(), |walk| match value.shape() {
                Shape::Null => walk.problem(value.place(), "a value must not be empty").unwrap_or_default(),
                _ => walk.value(value, &value_kind),
            });
            let Some(order) = self.key(key, &key_kind) else { continue };
            if entries.insert(order, bytes).is_some() {
                self.problem::<()>(key.place(), format!("{:?} is there twice", key.text()));
            }
        }
        let mut out = Vec::new();
        for ((number, text), value) in entries {
            let mut entry = match key_kind {
                Kind::String => tagged(1, &key_kind, text.as_bytes()),
                _ => tagged(1, &key_kind, &varint(number as u64)),
            };
            entry.extend(tagged(2, &value_kind, &value));
            put_field(&mut out, field.number(), &entry);
        }
        out
    }

    /// A map's key: a number, or a text. Istio's maps have no others; a test holds the schema to that.
    fn key<'a>(&mut self, key: &'a Key, kind: &Kind) -> Option<(i128, &'a str)> {
        match kind {
            Kind::String => Some((0, key.text())),
            _ => match number::integer(key.text(), kind) {
                Ok(number) => Some((number, "")),
                Err(text) => self.problem(key.place(), format!("as a key, {text}")),
            },
        }
    }

    /// A value without its tag, and for texts and messages without their length.
    fn value(&mut self, node: &Node, kind: &Kind) -> Vec<u8> {
        let mut out = Vec::new();
        match kind {
            Kind::Message(message) => return self.message(node, message),
            Kind::String => return self.text(node).unwrap_or_default().into_bytes(),
            Kind::Bytes => return self.binary(node).unwrap_or_default(),
            Kind::Bool => put_varint(&mut out, self.boolean(node).unwrap_or_default().into()),
            Kind::Enum(names) => put_varint(&mut out, self.enumerated(node, names).unwrap_or_default() as i64 as u64),
            Kind::Double => out.extend(self.float(node, false).unwrap_or_default().to_le_bytes()),
            Kind::Float => out.extend((self.float(node, true).unwrap_or_default() as f32).to_le_bytes()),
            _ => {
                let value = self.integer(node, kind).unwrap_or_default();
                match kind {
                    Kind::Sint32 | Kind::Sint64 => put_varint(&mut out, ((value << 1) ^ (value >> 127)) as u64),
                    Kind::Fixed32 | Kind::Sfixed32 => out.extend((value as u32).to_le_bytes()),
                    Kind::Fixed64 | Kind::Sfixed64 => out.extend((value as u64).to_le_bytes()),
                    _ => put_varint(&mut out, value as u64),
                }
            }
        }
        out
    }

    /// The value as a scalar; `None`, with a problem that names what is `wanted`, if it is none or doubtful.
    fn single<'a>(&mut self, node: &'a Node, wanted: &str) -> Option<Scalar<'a>> {
        match Scalar::of(node) {
            None => self.problem(node.place(), format!("must be {wanted}, but is {}", node.kind())),
            Some(scalar @ Scalar::Doubtful(_)) => {
                let text = format!("{}; write a plain number, true or false, or put it in quotes", scalar.described());
                self.problem(node.place(), text)
            }
            scalar => scalar,
        }
    }

    fn not<T>(&mut self, node: &Node, wanted: &str, is: Scalar<'_>) -> Option<T> {
        self.problem(node.place(), format!("must be {wanted}, but {}", is.described()))
    }

    fn outcome<T>(&mut self, node: &Node, result: Result<T, String>) -> Option<T> {
        result.map_or_else(|text| self.problem(node.place(), text), Some)
    }

    fn boolean(&mut self, node: &Node) -> Option<bool> {
        match self.single(node, "true or false")? {
            Scalar::Bool(value) => Some(value),
            other => self.not(node, "true or false", other),
        }
    }

    fn integer(&mut self, node: &Node, kind: &Kind) -> Option<i128> {
        match self.single(node, "a whole number")? {
            Scalar::Number(text) | Scalar::Text(text) => self.outcome(node, number::integer(text, kind)),
            other => self.not(node, "a whole number", other),
        }
    }

    fn float(&mut self, node: &Node, single: bool) -> Option<f64> {
        match self.single(node, "a number")? {
            Scalar::Number(text) => self.outcome(node, number::float(text, false, single)),
            Scalar::Text(text) => self.outcome(node, number::float(text, true, single)),
            other => self.not(node, "a number", other),
        }
    }

    fn enumerated(&mut self, node: &Node, names: &EnumDescriptor) -> Option<i32> {
        match self.single(node, "a word")? {
            Scalar::Text(text) => match names.get_value_by_name(text) {
                Some(value) => Some(value.number()),
                None => {
                    let all: Vec<_> = names.values().map(|value| value.name().to_owned()).collect();
                    let text = format!("must be one of {}, not {text:?}", all.join(", "));
                    self.problem(node.place(), text)
                }
            },
            Scalar::Number(text) => {
                let value = self.outcome(node, number::integer(text, &Kind::Int32))?;
                Some(value as i32)
            }
            other => self.not(node, "a word", other),
        }
    }

    fn binary(&mut self, node: &Node) -> Option<Vec<u8>> {
        let text = self.text(node)?;
        let decoded = general_purpose::STANDARD.decode(&text).or_else(|_| general_purpose::URL_SAFE.decode(&text));
        decoded.ok().or_else(|| self.problem(node.place(), "must be base64, with its padding"))
    }

    /// The bytes of a `google.protobuf` message, which JSON writes in a form of its own. `None`: it is another message.
    fn well_known(&mut self, node: &Node, message: &MessageDescriptor) -> Option<Vec<u8>> {
        match message.full_name().strip_prefix("google.protobuf.")? {
            "Duration" => Some(self.duration(node).unwrap_or_default()),
            "Struct" => Some(self.structure(node)),
            "ListValue" => Some(self.list_value(node)),
            "Value" => Some(self.any_value(node).unwrap_or_default()),
            // A wrapper is the value that it wraps.
            _ => message.get_field_by_name("value").map(|field| self.field(node, &field)),
        }
    }

    fn duration(&mut self, node: &Node) -> Option<Vec<u8>> {
        let wanted = "a time with its unit, such as 5s, 100ms or 1h30m";
        let nanoseconds = match self.single(node, wanted)? {
            Scalar::Text(text) => match duration::nanoseconds(text) {
                Some(nanoseconds) => nanoseconds,
                None => return self.problem(node.place(), format!("must be {wanted}, not {text:?}")),
            },
            other => return self.not(node, wanted, other),
        };
        let mut out = Vec::new();
        for (number, part) in [(1, nanoseconds / 1_000_000_000), (2, nanoseconds % 1_000_000_000)] {
            if part != 0 {
                out.extend(tagged(number, &Kind::Int64, &varint(part as u64)));
            }
        }
        Some(out)
    }

    fn structure(&mut self, node: &Node) -> Vec<u8> {
        let mut fields = BTreeMap::new();
        for (key, value) in self.entries(node, "it").into_iter().flatten() {
            let bytes = self.within(key.text(), |walk| walk.any_value(value));
            fields.insert(key.text(), bytes.unwrap_or_default());
        }
        let mut out = Vec::new();
        for (key, value) in fields {
            let mut entry = Vec::new();
            put_field(&mut entry, 1, key.as_bytes());
            put_field(&mut entry, 2, &value);
            put_field(&mut out, 1, &entry);
        }
        out
    }

    fn list_value(&mut self, node: &Node) -> Vec<u8> {
        let Shape::List(items) = node.shape() else {
            self.problem::<()>(node.place(), format!("must be a list, but is {}", node.kind()));
            return Vec::new();
        };
        let mut out = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let value = self.at(index, |walk| walk.any_value(item)).unwrap_or_default();
            put_field(&mut out, 1, &value);
        }
        out
    }

    /// A `google.protobuf.Value`: any shape is allowed.
    fn any_value(&mut self, node: &Node) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match node.shape() {
            Shape::Null => out.extend(tagged(1, &Kind::Bool, &[0])),
            Shape::Map(_) => put_field(&mut out, 5, &self.structure(node)),
            Shape::List(_) => put_field(&mut out, 6, &self.list_value(node)),
            Shape::Plain(_) | Shape::Quoted(_) => match self.single(node, "a value")? {
                Scalar::Text(text) => put_field(&mut out, 3, text.as_bytes()),
                Scalar::Bool(value) => out.extend(tagged(4, &Kind::Bool, &[value.into()])),
                Scalar::Number(text) => {
                    let value = self.outcome(node, number::float(text, false, false))?;
                    out.extend(tagged(2, &Kind::Double, &value.to_le_bytes()));
                }
                Scalar::Doubtful(_) => return None,
            },
        }
        Some(out)
    }
}

/// A value with its tag, and for texts, bytes and messages with its length.
fn tagged(number: u32, kind: &Kind, value: &[u8]) -> Vec<u8> {
    let wire = match kind {
        Kind::String | Kind::Bytes | Kind::Message(_) => BYTES,
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED_64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FIXED_32,
        _ => VARINT,
    };
    let mut out = Vec::with_capacity(value.len() + 6);
    put_varint(&mut out, u64::from(number) << 3 | wire);
    if wire == BYTES {
        put_varint(&mut out, value.len() as u64);
    }
    out.extend(value);
    out
}

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    out
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether the field is `optional`: its descriptor then has a oneof with this one field.
fn is_optional(field: &FieldDescriptor) -> bool {
    field.field_descriptor_proto().proto3_optional()
}

/// `; did you mean ...?` for the known name that is most like this one; empty if none is.
pub(super) fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    suggest(name, known).map(|known| format!("; did you mean {known:?}?")).unwrap_or_default()
}
