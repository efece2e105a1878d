//! Hessian 2, as far as answers of Dubbo need it: bytes to JSON. Pure.
//!
//! The bytes come from whoever listens where a registry says that a provider is: they are bounded in depth and in what they
//! amount to. A reference stands for something that was read before, and could make more of few bytes at each level: so what
//! is kept for that is counted, and what a reference gives, too.

use serde_json::{Map, Number, Value};
use std::sync::Arc;

/// The deepest nesting of values. Metadata nests an object, a map, an object and a map.
const MAX_DEPTH: usize = 32;
/// The most values of an answer, with those that references repeat. A thousand interfaces with twenty parameters each
/// have some 50,000, and are kept at four levels for references.
const MAX_VALUES: usize = 1_000_000;
/// The length of a text that counts as one value more.
const TEXT: usize = 16;
/// The most classes of an answer, and the most fields of a class.
const MAX_FIELDS: usize = 1_000;

/// Why bytes are no Hessian.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("it ends in the middle of a value")]
    Short,
    #[error("it has the byte {0:#04x} where a value begins")]
    Tag(u8),
    #[error("it has a text that is none")]
    Text,
    #[error("it has a reference to what is not there")]
    Reference,
    #[error("it has more than {MAX_VALUES} values, or they are nested too deeply")]
    Large,
}

/// Reads values one after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The names of the fields of each class, in the order in which classes are defined.
    classes: Vec<Arc<[String]>>,
    types: usize,
    /// The values that references can name, in the order in which they begin, each with the number of values in it;
    /// `None` while it is read.
    read: Vec<Option<(Value, usize)>>,
    values: usize,
}

/// Writes a text, cut to 65,535 UTF-16 units.
pub(super) fn text(to: &mut Vec<u8>, text: &str) {
    let length = text.encode_utf16().count().min(usize::from(u16::MAX));
    match length {
        0..32 => to.push(length as u8),
        32..1024 => to.extend([0x30 + (length >> 8) as u8, length as u8]),
        _ => to.extend([b'S', (length >> 8) as u8, length as u8]),
    }
    let mut left = length;
    for character in text.chars() {
        if left < character.len_utf16() {
            break;
        }
        left -= character.len_utf16();
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            unit_bytes(to, *unit);
        }
    }
}

/// Java's `char`, as UTF-8 has it; halves of a pair are written one by one.
fn unit_bytes(to: &mut Vec<u8>, unit: u16) {
    match unit {
        0..0x80 => to.push(unit as u8),
        0x80..0x800 => to.extend([0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
        _ => to.extend([0xe0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]),
    }
}

/// Writes a map from texts to texts.
pub(super) fn map(to: &mut Vec<u8>, entries: &[(&str, &str)]) {
    to.push(b'H');
    for (key, value) in entries {
        text(to, key);
        text(to, value);
    }
    to.push(b'Z');
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, classes: Vec::new(), types: 0, read: Vec::new(), values: 0 }
    }

    /// The next value as JSON. Bytes are read as `null`.
    pub(super) fn value(&mut self) -> Result<Value, Error> {
        self.at(0)
    }

    fn at(&mut self, depth: usize) -> Result<Value, Error> {
        self.count(1)?;
        if depth > MAX_DEPTH {
            return Err(Error::Large);
        }
        let tag = self.byte()?;
        if let Some(number) = self.number(tag)? {
            return Ok(number);
        }
        if let Some(length) = self.list(tag)? {
            return self.items(length, depth);
        }
        match tag {
            b'N' => Ok(Value::Null),
            b'T' => Ok(Value::Bool(true)),
            b'F' => Ok(Value::Bool(false)),
            0x00..=0x1f | 0x30..=0x33 | b'R' | b'S' => self.text(tag).map(Value::String),
            0x20..=0x2f | 0x34..=0x37 | b'A' | b'B' => self.binary(tag),
            b'H' => self.map(depth),
            b'M' => {
                self.type_name()?;
                self.map(depth)
            }
            b'C' => {
                self.class()?;
                self.at(depth + 1)
            }
            b'O' => {
                let class = self.integer()?;
                self.object(class, depth)
            }
            0x60..=0x6f => self.object(i64::from(tag - 0x60), depth),
            b'Q' => self.reference(),
            _ => Err(Error::Tag(tag)),
        }
    }

    fn count(&mut self, values: usize) -> Result<(), Error> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES { Err(Error::Large) } else { Ok(()) }
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let (first, rest) = self.rest.split_first().ok_or(Error::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (first, rest) = self.rest.split_at_checked(count).ok_or(Error::Short)?;
        self.rest = rest;
        Ok(first)
    }

    /// An integer of `count` bytes; `above` has the bits before them, which are in its tag.
    fn signed(&mut self, above: i64, count: usize) -> Result<i64, Error> {
        let bytes = self.bytes(count)?;
        Ok(bytes.iter().fold(above, |number, byte| number << 8 | i64::from(*byte)))
    }

    fn word(&mut self) -> Result<i32, Error> {
        Ok(self.signed(0, 4)? as i32)
    }

    /// The number that begins with that tag; `None` if no number does.
    fn number(&mut self, tag: u8) -> Result<Option<Value>, Error> {
        let of = |tag: u8, zero: u8| i64::from(tag) - i64::from(zero);
        let whole = match tag {
            0x80..=0xbf => of(tag, 0x90),
            0xc0..=0xcf => self.signed(of(tag, 0xc8), 1)?,
            0xd0..=0xd7 => self.signed(of(tag, 0xd4), 2)?,
            b'I' | b'Y' => i64::from(self.word()?),
            0xd8..=0xef => of(tag, 0xe0),
            0xf0..=0xff => self.signed(of(tag, 0xf8), 1)?,
            0x38..=0x3f => self.signed(of(tag, 0x3c), 2)?,
            b'L' | b'J' => self.signed(0, 8)?,
            b'K' => i64::from(self.word()?).saturating_mul(60_000),
            _ => return self.double(tag),
        };
        Ok(Some(whole.into()))
    }

    fn double(&mut self, tag: u8) -> Result<Option<Value>, Error> {
        let double = match tag {
            0x5b => 0.0,
            0x5c => 1.0,
            0x5d => f64::from(self.byte()? as i8),
            0x5e => f64::from(self.signed(0, 2)? as i16),
            0x5f => f64::from(self.word()?) / 1000.0,
            b'D' => f64::from_bits(self.signed(0, 8)? as u64),
            _ => return Ok(None),
        };
        Ok(Some(Number::from_f64(double).map_or(Value::Null, Value::Number)))
    }

    fn integer(&mut self) -> Result<i64, Error> {
        let tag = self.byte()?;
        self.number(tag)?.as_ref().and_then(Value::as_i64).ok_or(Error::Tag(tag))
    }

    /// A text in one or several pieces, whose lengths are counted as Java counts.
    fn text(&mut self, mut tag: u8) -> Result<String, Error> {
        let mut units = Vec::new();
        loop {
            let (length, is_last) = match tag {
                0x00..=0x1f => (usize::from(tag), true),
                0x30..=0x33 => (usize::from(tag - 0x30) << 8 | usize::from(self.byte()?), true),
                b'S' | b'R' => (self.signed(0, 2)? as usize, tag == b'S'),
                _ => return Err(Error::Tag(tag)),
            };
            for _ in 0..length {
                let unit = self.unit()?;
                units.extend(unit);
            }
            if is_last {
                self.count(units.len() / TEXT)?;
                return String::from_utf16(&units).map_err(|_| Error::Text);
            }
            tag = self.byte()?;
        }
    }

    /// One UTF-16 unit; two where a pair is written as one character.
    fn unit(&mut self) -> Result<impl Iterator<Item = u16> + use<>, Error> {
        let first = u32::from(self.byte()?);
        let (bits, more) = match first {
            0x00..=0x7f => (first, 0),
            0xc0..=0xdf => (first & 0x1f, 1),
            0xe0..=0xef => (first & 0x0f, 2),
            0xf0..=0xf7 => (first & 0x07, 3),
            _ => return Err(Error::Text),
        };
        let mut point = bits;
        for byte in self.bytes(more)? {
            if byte & 0xc0 != 0x80 {
                return Err(Error::Text);
            }
            point = point << 6 | u32::from(byte & 0x3f);
        }
        let pair = point.checked_sub(0x1_0000);
        let (high, low) = match pair {
            None => (point as u16, None),
            Some(above) if above <= 0xf_ffff => (0xd800 + (above >> 10) as u16, Some(0xdc00 + (above & 0x3ff) as u16)),
            Some(_) => return Err(Error::Text),
        };
        Ok([Some(high), low].into_iter().flatten())
    }

    /// Skips bytes and gives `null`, since metadata has no bytes.
    fn binary(&mut self, mut tag: u8) -> Result<Value, Error> {
        loop {
            let (length, is_last) = match tag {
                0x20..=0x2f => (usize::from(tag - 0x20), true),
                0x34..=0x37 => (usize::from(tag - 0x34) << 8 | usize::from(self.byte()?), true),
                b'B' | b'A' => (self.signed(0, 2)? as usize, tag == b'B'),
                _ => return Err(Error::Tag(tag)),
            };
            self.bytes(length)?;
            if is_last {
                return Ok(Value::Null);
            }
            tag = self.byte()?;
        }
    }

    /// The length of a list that begins with that tag; `None` if no list does. `Some(None)` is a list that ends with a
    /// mark.
    fn list(&mut self, tag: u8) -> Result<Option<Option<usize>>, Error> {
        if matches!(tag, b'U' | b'V' | 0x70..=0x77) {
            self.type_name()?;
        }
        Ok(match tag {
            b'U' | b'W' => Some(None),
            b'V' | b'X' => Some(Some(usize::try_from(self.integer()?).map_err(|_| Error::Large)?)),
            0x70..=0x77 => Some(Some(usize::from(tag - 0x70))),
            0x78..=0x7f => Some(Some(usize::from(tag - 0x78))),
            _ => None,
        })
    }

    fn items(&mut self, length: Option<usize>, depth: usize) -> Result<Value, Error> {
        let place = self.begin();
        let mut items = Vec::new();
        while !self.is_over(length, items.len()) {
            items.push(self.at(depth + 1)?);
        }
        self.end(place, Value::Array(items))
    }

    fn map(&mut self, depth: usize) -> Result<Value, Error> {
        let place = self.begin();
        let mut map = Map::new();
        while !self.is_over(None, 0) {
            let key = self.at(depth + 1)?;
            let value = self.at(depth + 1)?;
            if let Value::String(key) = key {
                map.insert(key, value);
            }
        }
        self.end(place, Value::Object(map))
    }

    fn object(&mut self, class: i64, depth: usize) -> Result<Value, Error> {
        let place = self.begin();
        let class = usize::try_from(class).ok().and_then(|class| self.classes.get(class)).ok_or(Error::Reference)?;
        let fields = class.clone();
        let mut map = Map::new();
        for field in fields.iter() {
            self.count(field.len() / TEXT)?;
            let value = self.at(depth + 1)?;
            map.insert(field.clone(), value);
        }
        self.end(place, Value::Object(map))
    }

    /// True if `read` items are all of a list. If a mark ends the list, it is skipped then.
    fn is_over(&mut self, length: Option<usize>, read: usize) -> bool {
        match length {
            Some(length) => read >= length,
            None => {
                let is_over = self.rest.first() == Some(&b'Z');
                self.rest = &self.rest[usize::from(is_over)..];
                is_over
            }
        }
    }

    fn begin(&mut self) -> (usize, usize) {
        self.read.push(None);
        (self.read.len() - 1, self.values)
    }

    fn end(&mut self, (place, before): (usize, usize), value: Value) -> Result<Value, Error> {
        let values = self.values - before + 1;
        self.count(values)?;
        self.read[place] = Some((value.clone(), values));
        Ok(value)
    }

    fn reference(&mut self) -> Result<Value, Error> {
        let place = usize::try_from(self.integer()?).map_err(|_| Error::Reference)?;
        // What contains itself is no metadata.
        let (value, values) = self.read.get(place).cloned().flatten().ok_or(Error::Reference)?;
        self.count(values)?;
        Ok(value)
    }

    fn class(&mut self) -> Result<(), Error> {
        let tag = self.byte()?;
        self.text(tag)?;
        let count = usize::try_from(self.integer()?).ok().filter(|count| *count <= MAX_FIELDS).ok_or(Error::Large)?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let tag = self.byte()?;
            fields.push(self.text(tag)?);
        }
        self.classes.push(fields.into());
        if self.classes.len() > MAX_FIELDS { Err(Error::Large) } else { Ok(()) }
    }

    /// Skips the name of a type, or the number of one that was named before.
    fn type_name(&mut self) -> Result<(), Error> {
        let tag = self.byte()?;
        if let Some(number) = self.number(tag)? {
            let is_known = number.as_u64().is_some_and(|number| number < self.types as u64);
            return if is_known { Ok(()) } else { Err(Error::Reference) };
        }
        self.text(tag)?;
        self.types += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(bytes: &[u8]) -> Result<Value, Error> {
        Reader::new(bytes).value()
    }

    #[test]
    fn values_of_every_form_are_read() {
        for (bytes, expected) in [
            (&b"N"[..], json!(null)),
            (b"T", json!(true)),
            (b"\x90", json!(0)),
            (b"\x80", json!(-16)),
            (b"\xc7\xff", json!(-257 + 256)),
            (b"\xcf\xff", json!(2047)),
            (b"\xd7\xff\xff", json!(262_143)),
            (b"I\xff\xff\xff\xff", json!(-1)),
            (b"\xd8", json!(-8)),
            (b"\xf0\x00", json!(-2048)),
            (b"\x38\x00\x00", json!(-262_144)),
            (b"L\x00\x00\x00\x00\x80\x00\x00\x00", json!(2_147_483_648_u64)),
            (b"Y\x00\x00\x00\x07", json!(7)),
            (b"\x5b", json!(0.0)),
            (b"\x5d\x80", json!(-128.0)),
            (b"\x5f\x00\x00\x2f\xda", json!(12.25)),
            (b"\x05hello", json!("hello")),
            (b"\x01\xc3\x83", json!("Ã")),
            (b"\x02\xed\xa0\xbd\xed\xb8\x80", json!("😀")),
            (b"R\x00\x02heS\x00\x03llo", json!("hello")),
            (b"\x30\x01x", json!("x")),
            (b"\x23abc", json!(null)),
            (b"H\x01a\x91\x01b\x04abcdZ", json!({"a": 1, "b": "abcd"})),
            (b"M\x13java.util.SortedMap\x01a\x91Z", json!({"a": 1})),
            (b"\x7a\x91\x92", json!([1, 2])),
            (b"V\x04[int\x92\x91\x92", json!([1, 2])),
            (b"W\x91W\x92ZZ", json!([1, [2]])),
            (b"\x7aC\x01P\x92\x01a\x01b`\x91\x92`\x93\x94", json!([{"a": 1, "b": 2}, {"a": 3, "b": 4}])),
            (b"\x7aH\x01a\x91ZQ\x91", json!([{"a": 1}, {"a": 1}])),
            (b"\x7aV\x01t\x90V\x90\x90", json!([[], []])),
        ] {
            assert_eq!(read(bytes), Ok(expected), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 31, 32, 1023, 1024, 40_000] {
            let long = "é😀".repeat(length).chars().take(length).collect::<String>();
            let mut bytes = Vec::new();
            map(&mut bytes, &[("key", &long)]);
            assert_eq!(read(&bytes), Ok(json!({"key": long})), "{length}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_never_grows() {
        for (bytes, expected) in [
            (&b""[..], Error::Short),
            (b"\x40", Error::Tag(0x40)),
            (b"\x05hell", Error::Short),
            (b"\x01\xff", Error::Text),
            (b"\x01\xed\xa0", Error::Short),
            (b"\x01\xed\xa0\xbd", Error::Text),
            (b"I\x00", Error::Short),
            (b"Q\x90", Error::Reference),
            (b"\x79Q\x90", Error::Reference),
            (b"`", Error::Reference),
            (b"O\x95", Error::Reference),
            (b"M\x90Z", Error::Reference),
            (b"X\x8f", Error::Large),
            (b"XI\x7f\xff\xff\xff", Error::Short),
            (b"C\x01PI\x7f\xff\xff\xff", Error::Large),
        ] {
            assert_eq!(read(bytes), Err(expected), "{bytes:?}");
        }
        assert_eq!(read(&[0x79; 100_000]), Err(Error::Large), "nested");
        // Each list has the one before it twice: two to the power of forty of the first.
        let mut laughs = vec![0x58, 0xa9];
        laughs.extend(b"\x79\x91");
        for number in 1..40 {
            laughs.extend([0x7a, b'Q', 0x90 + number as u8, b'Q', 0x90 + number as u8]);
        }
        assert!(matches!(read(&laughs), Err(Error::Large | Error::Reference)), "{:?}", read(&laughs).map(|_| ()));
    }
}
