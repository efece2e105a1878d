//! Reads the fields of a protobuf message where it stands, without allocating.
//!
//! Requests repeat tens of kilobytes of names with every acknowledgement; decoding them into owned values costs a
//! hundred times what looking at them does. [`super::request`] is the caller.

/// The bytes are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message at byte {at}")]
pub struct Malformed {
    /// The byte of the message at which it breaks off.
    pub at: usize,
}

/// A field's value by wire type, borrowed from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// An integer, a boolean or an enum's number.
    Varint(u64),
    /// A double, among others.
    Fixed64(u64),
    /// A float, among others.
    Fixed32,
    /// Length-delimited: a text, a message.
    Bytes(&'a [u8]),
}

/// A walk over the fields of a message.
#[derive(Debug)]
pub struct Fields<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Starts at the message's first byte.
    pub fn new(data: &'a [u8]) -> Self {
        Fields { data, at: 0 }
    }

    /// The byte of the message at which the next field starts.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Number and contents of the next length-delimited field; `None` at the end.
    ///
    /// # Errors
    /// If the rest is not protobuf.
    pub fn next(&mut self) -> Result<Option<(u64, &'a [u8])>, Malformed> {
        while let Some((number, field)) = self.next_of_any_form()? {
            if let Field::Bytes(value) = field {
                return Ok(Some((number, value)));
            }
        }
        Ok(None)
    }

    /// Number and contents of the next field, whatever its form; `None` at the end.
    ///
    /// # Errors
    /// If the rest is not protobuf.
    pub fn next_of_any_form(&mut self) -> Result<Option<(u64, Field<'a>)>, Malformed> {
        if self.at >= self.data.len() {
            return Ok(None);
        }
        let start = self.at;
        self.field().map(Some).ok_or(Malformed { at: start })
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?)),
            2 => {
                let size = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.bytes(size)?)
            }
            5 => self.bytes(4).map(|_| Field::Fixed32)?,
            _ => return None,
        };
        Some((key >> 3, field))
    }

    fn bytes(&mut self, size: usize) -> Option<&'a [u8]> {
        let value = self.data.get(self.at..self.at.checked_add(size)?)?;
        self.at += size;
        Some(value)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.data.get(self.at)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

/// The integers in fields 1 to 3 of a message; 0 where one is missing.
pub(super) fn numbers(data: &[u8]) -> Result<[u64; 3], Malformed> {
    let (mut found, mut fields) = ([0; 3], Fields::new(data));
    while fields.at < data.len() {
        let start = fields.at;
        let key = fields.varint().ok_or(Malformed { at: start })?;
        match key {
            0x08 | 0x10 | 0x18 => found[key as usize / 8 - 1] = fields.varint().ok_or(Malformed { at: start })?,
            _ => {
                fields.at = start;
                fields.field().ok_or(Malformed { at: start })?;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &[u8], expected: Result<Vec<(u64, &[u8])>, usize>) {
        let mut fields = Fields::new(data);
        let mut got = Vec::new();
        let end = loop {
            match fields.next() {
                Ok(Some(field)) => got.push(field),
                Ok(None) => break Ok(got),
                Err(malformed) => break Err(malformed.at),
            }
        };
        assert_eq!(end, expected, "{data:?}");
    }

    #[test]
    fn fields_are_read_in_order_and_numbers_passed_over() {
        check(b"", Ok(vec![]));
        check(b"\x0a\x01a\x08\x07\x0d1234\x0912345678\x1a\x00", Ok(vec![(1, b"a"), (3, b"")]));
    }

    #[test]
    fn what_is_cut_or_impossible_is_malformed() {
        check(b"\x0a", Err(0));
        check(b"\x0a\x02a", Err(0));
        check(b"\x0a\x00\x0b", Err(2));
        check(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Err(0));
        check(&[0xff; 12], Err(0));
    }
}
