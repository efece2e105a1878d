//! The form of a file: a word that says what it is, a header, what it keeps, and a checksum over all before it.

use crate::pb::state::Header;
use prost::{Message, bytes::BufMut};
use xxhash_rust::xxh3::xxh3_64;

/// What a file begins with.
const MAGIC: &[u8] = b"portolan state\n";
/// The newest form that is known. One that is higher was written by a newer Portolan.
pub(super) const FORMAT: u32 = 1;
const CHECKSUM: usize = 8;

/// Why a file is no state of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It begins otherwise, ends early, or its checksum is another.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// A newer Portolan wrote it.
    #[error("Portolan {product} wrote it in form {format}; this one reads form {FORMAT}")]
    Newer {
        /// The version of its writer.
        product: String,
        /// The form of the file.
        format: u32,
    },
}

/// The bytes of the whole file. `body` is what it keeps, encoded.
pub(super) fn close(header: &Header, body: &[u8]) -> Vec<u8> {
    let header = header.encode_length_delimited_to_vec();
    let mut bytes = Vec::with_capacity(MAGIC.len() + header.len() + body.len() + CHECKSUM);
    bytes.put_slice(MAGIC);
    bytes.put_slice(&header);
    bytes.put_slice(body);
    let sum = xxh3_64(&bytes);
    bytes.put_u64_le(sum);
    bytes
}

/// The header, and the bytes of what it keeps.
///
/// # Errors
/// If it is damaged, or of a newer Portolan.
pub(super) fn open(bytes: &[u8]) -> Result<(Header, &[u8]), FrameError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(FrameError::Damaged("it does not begin as such a file does"))?;
    let (content, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(FrameError::Damaged("it is too short"))?;
    if content.len() < MAGIC.len() {
        return Err(FrameError::Damaged("it is too short"));
    }
    let mut rest = &rest[..content.len() - MAGIC.len()];
    let header = Header::decode_length_delimited(&mut rest);
    // The form is told first: a newer one may be summed up in another way.
    if let Ok(Header { format, product, .. }) = &header
        && *format > FORMAT
    {
        return Err(FrameError::Newer { product: product.clone(), format: *format });
    }
    if xxh3_64(content) != u64::from_le_bytes(*sum) {
        return Err(FrameError::Damaged("its checksum does not fit: it was not written to its end, or changed since"));
    }
    Ok((header.map_err(|_| FrameError::Damaged("its header cannot be read"))?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::state::{Registry, Scope};

    fn file(format: u32) -> Vec<u8> {
        let header = Header { format, product: "9.9.9".into(), registry: "r".into(), ..Header::default() };
        let body = Registry { scopes: vec![Scope { name: "a".into(), listed: Some(7) }], ..Registry::default() };
        close(&header, &body.encode_to_vec())
    }

    #[test]
    fn what_was_closed_is_opened() {
        let bytes = file(FORMAT);
        let (header, body) = open(&bytes).unwrap();
        assert_eq!((&*header.registry, Registry::decode(body).unwrap().scopes[0].listed), ("r", Some(7)));
        let empty = close(&header, b"");
        assert_eq!(open(&empty).unwrap().1, b"");
    }

    #[test]
    fn every_cut_and_every_changed_bit_is_noticed() {
        let bytes = file(FORMAT);
        for length in 0..bytes.len() {
            assert!(matches!(open(&bytes[..length]), Err(FrameError::Damaged(_))), "cut to {length}");
        }
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(open(&changed).is_err(), "bit {at}");
        }
        assert!(open(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_newer_form_is_told_from_a_damaged_file() {
        let newer = FrameError::Newer { product: "9.9.9".into(), format: FORMAT + 1 };
        let mut bytes = file(FORMAT + 1);
        assert_eq!(open(&bytes).unwrap_err(), newer);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(open(&bytes).unwrap_err(), newer);
    }
}
