//! The little of protobuf's encoding that is written by hand: length-delimited fields.
//!
//! Resources and the heads of answers are put together from them, because what is shared between streams must be
//! encoded once, and a message type's encoder only knows whole messages.

use bytes::BufMut;

/// Writes a number as a varint: seven bits to a byte, the lowest first.
pub fn put_varint(out: &mut impl BufMut, mut number: u64) {
    while number > 0x7f {
        out.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// Writes a length-delimited field: a string, bytes or a message.
pub fn put_field(out: &mut impl BufMut, number: u32, value: &[u8]) {
    put_varint(out, u64::from(number << 3 | 2));
    put_varint(out, value.len() as u64);
    out.put_slice(value);
}

/// How many bytes [`put_field`] writes for a value of that length, for field numbers below 16.
pub fn field_size(length: usize) -> usize {
    let bits = usize::BITS - (length | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize + length
}
