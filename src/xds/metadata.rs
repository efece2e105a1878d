//! A node's metadata, as it came: a `google.protobuf.Struct` that is read where it stands.
//!
//! It is kept whole or not at all: what was cut must not decide what a client sees.

use super::fields::{Field, Fields, Malformed};
use std::{fmt, sync::Arc};

/// Longest metadata that is kept, in bytes; what is longer is dropped whole. An Istio proxy sends some 5 KiB, ten
/// thousand names of services some 350 KiB.
pub const LONGEST_METADATA: usize = 512 << 10;

/// Deepest nesting of structs and lists; what is deeper is malformed.
const DEPTH: usize = 16;

/// What a client says of itself besides id, cluster and locality.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The encoded `google.protobuf.Struct`, checked when it was read; empty if it was too long.
    wire: Arc<[u8]>,
    /// It was longer than [`LONGEST_METADATA`], so nothing of it is known.
    too_long: bool,
}

/// A value of a node's metadata.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `null_value`; also a value without a kind.
    Null,
    /// `number_value`: always a double, as in JSON.
    Number(f64),
    /// `string_value`, checked to be UTF-8.
    Text(&'a str),
    /// `bool_value`.
    Bool(bool),
    /// `struct_value`: values by key.
    Struct(Struct<'a>),
    /// `list_value`: values in their order.
    List(List<'a>),
}

/// An encoded `google.protobuf.Struct`, which is read each time that it is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Struct<'a>(&'a [u8]);

/// An encoded `google.protobuf.ListValue`, which is read each time that it is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct List<'a>(&'a [u8]);

impl Metadata {
    /// Keeps a `google.protobuf.Struct`.
    ///
    /// # Errors
    /// Where the bytes are no such message, at any depth.
    pub fn read(wire: &[u8]) -> Result<Metadata, Malformed> {
        if wire.len() > LONGEST_METADATA {
            return Ok(Metadata { wire: Arc::default(), too_long: true });
        }
        check_struct(wire, 0)?;
        Ok(Metadata { wire: wire.into(), too_long: false })
    }

    /// Whether it was too long to be kept, so that nothing of it is known.
    pub fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// The message, as it came; empty if it was too long.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Memory that it holds, in bytes. The stream's account is charged with it.
    pub fn size(&self) -> usize {
        self.wire.len()
    }

    /// Metadata with a text value at each of these keys, for tests.
    #[cfg(test)]
    pub fn of(texts: &[(&str, &str)]) -> Metadata {
        use prost_of_xds_api::Message;
        use xds_api::pb::google::protobuf::{Struct, Value, value::Kind};
        let value = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
        let fields = texts.iter().map(|(key, text)| (key.to_string(), value(text))).collect();
        Metadata::read(&Struct { fields }.encode_to_vec()).expect("a message")
    }

    /// The value at a path of keys from the top level down; `None` if a key is missing or what is on the way is no
    /// struct.
    pub fn get<'k>(&self, way: impl IntoIterator<Item = &'k str>) -> Option<Value<'_>> {
        let mut value = Value::Struct(Struct(&self.wire));
        for key in way {
            let Value::Struct(fields) = value else { return None };
            value = fields.get(key)?;
        }
        Some(value)
    }

    /// The text at a key of the top level.
    pub fn text(&self, key: &str) -> Option<&str> {
        match Struct(&self.wire).get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.too_long {
            true => f.write_str("too long"),
            false => f.debug_map().entries(Struct(&self.wire).iter()).finish(),
        }
    }
}

impl<'a> Struct<'a> {
    /// The value of a key; of several the last, as protobuf has it.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.iter().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// Keys and values, as they were sent.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        parts(self.0, 1).map(entry)
    }
}

impl<'a> List<'a> {
    /// The values in their order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        parts(self.0, 1).map(value)
    }
}

/// The messages in one field of a message that was checked.
fn parts(wire: &[u8], field: u64) -> impl Iterator<Item = &[u8]> {
    let mut fields = Fields::new(wire);
    std::iter::from_fn(move || {
        loop {
            match fields.next().ok()?? {
                (number, part) if number == field => return Some(part),
                _ => {}
            }
        }
    })
}

/// A map's entry: key and value.
fn entry(wire: &[u8]) -> (&str, Value<'_>) {
    let key = parts(wire, 1).last().map(text).unwrap_or_default();
    (key, parts(wire, 2).last().map_or(Value::Null, value))
}

/// A `google.protobuf.Value`: the last of its fields counts.
fn value(wire: &[u8]) -> Value<'_> {
    let (mut fields, mut found) = (Fields::new(wire), Value::Null);
    while let Ok(Some(field)) = fields.next_of_any_form() {
        found = match field {
            (2, Field::Fixed64(bits)) => Value::Number(f64::from_bits(bits)),
            (3, Field::Bytes(bytes)) => Value::Text(text(bytes)),
            (4, Field::Varint(number)) => Value::Bool(number != 0),
            (5, Field::Bytes(bytes)) => Value::Struct(Struct(bytes)),
            (6, Field::Bytes(bytes)) => Value::List(List(bytes)),
            (1, _) => Value::Null,
            _ => found,
        };
    }
    found
}

/// The bytes as text. They were checked to be UTF-8 when the metadata was read.
fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

fn check_struct(wire: &[u8], depth: usize) -> Result<(), Malformed> {
    let mut entries = Fields::new(wire);
    while let Some((number, entry)) = entries.next()? {
        if number != 1 {
            continue;
        }
        let mut fields = Fields::new(entry);
        while let Some((number, part)) = fields.next()? {
            match number {
                1 => check_text(part)?,
                2 => check_value(part, depth)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn check_value(wire: &[u8], depth: usize) -> Result<(), Malformed> {
    let mut fields = Fields::new(wire);
    while let Some((number, part)) = fields.next()? {
        let at = fields.at();
        match number {
            3 => check_text(part)?,
            5 | 6 if depth >= DEPTH => return Err(Malformed { at }),
            5 => check_struct(part, depth + 1)?,
            6 => {
                let mut items = Fields::new(part);
                while let Some((number, item)) = items.next()? {
                    if number == 1 {
                        check_value(item, depth + 1)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_text(bytes: &[u8]) -> Result<(), Malformed> {
    str::from_utf8(bytes).map(drop).map_err(|error| Malformed { at: error.valid_up_to() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_of_xds_api::Message;
    use xds_api::pb::google::protobuf::{ListValue, Struct as WireStruct, Value as WireValue, value::Kind};

    fn value(kind: Kind) -> WireValue {
        WireValue { kind: Some(kind) }
    }

    fn map<const N: usize>(fields: [(&str, Kind); N]) -> WireStruct {
        WireStruct { fields: fields.into_iter().map(|(key, kind)| (key.to_owned(), value(kind))).collect() }
    }

    fn read(wire: &WireStruct) -> Metadata {
        Metadata::read(&wire.encode_to_vec()).unwrap()
    }

    #[test]
    fn values_are_found_by_their_way() {
        let services = ListValue { values: vec![value(Kind::StringValue("a".into())), value(Kind::NumberValue(2.5))] };
        let inner = map([("services", Kind::ListValue(services)), ("on", Kind::BoolValue(true))]);
        let metadata = read(&map([
            ("team", Kind::StringValue("shop".into())),
            ("proxy", Kind::StructValue(inner)),
            ("n", Kind::NullValue(0)),
        ]));
        let at = |way: &str| metadata.get(way.split('.').collect::<Vec<_>>());
        assert_eq!(at("team"), Some(Value::Text("shop")));
        assert_eq!(metadata.text("team"), Some("shop"));
        assert_eq!(at("proxy.on"), Some(Value::Bool(true)));
        assert_eq!(at("n"), Some(Value::Null));
        let Some(Value::List(services)) = at("proxy.services") else { panic!("a list") };
        assert_eq!(services.iter().collect::<Vec<_>>(), [Value::Text("a"), Value::Number(2.5)]);
        for missing in ["", "x", "team.x", "proxy.on.x", "proxy.x"] {
            assert_eq!(at(missing), None, "{missing}");
        }
        assert_eq!(metadata.text("proxy"), None);
    }

    #[test]
    fn what_is_too_long_is_not_known_at_all() {
        let long = read(&map([("team", Kind::StringValue("x".repeat(LONGEST_METADATA)))]));
        assert!(long.too_long && long.wire.is_empty());
        assert_eq!(long.text("team"), None);
        let short = read(&map([("team", Kind::StringValue("x".repeat(LONGEST_METADATA - 64)))]));
        assert!(!short.too_long && short.text("team").is_some_and(|text| text.len() == LONGEST_METADATA - 64));
    }

    #[test]
    fn what_is_no_metadata_is_malformed() {
        let mut deep = map([("end", Kind::BoolValue(true))]);
        for _ in 0..DEPTH {
            deep = map([("in", Kind::StructValue(deep))]);
        }
        assert!(Metadata::read(&deep.encode_to_vec()).is_ok());
        let deeper = map([("in", Kind::StructValue(deep))]);
        assert!(Metadata::read(&deeper.encode_to_vec()).is_err());
        assert!(Metadata::read(b"\x0b").is_err());
        assert!(Metadata::read(b"\x0a\x03\x0a\x01\xff").is_err(), "a key that is no UTF-8");
    }
}
