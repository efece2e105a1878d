//! Labels of DNS, as Kubernetes and Istio have them.

/// The longest label of DNS, in bytes (RFC 1035, 2.3.4).
pub const MAX_LABEL: usize = 63;

/// Whether it is a label of DNS in small letters, as every namespace is: 1 to 63 of `a-z`, `0-9` and `-`, the latter only
/// inside.
pub fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
