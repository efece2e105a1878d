//! What Istio takes for a label. One that it does not take costs the whole entry, so those are left out before.

use crate::model::Labels;
use std::collections::BTreeMap;

/// Of a label's key without its prefix, and of a DNS label.
const MAX_NAME: usize = 63;

/// Of a key's prefix.
const MAX_PREFIX: usize = 253;

/// Whether Istio takes the key: a name of letters, digits, `-`, `_` and `.`, perhaps after a domain and a slash.
pub(super) fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let domain = |prefix: &str| prefix.len() <= MAX_PREFIX && prefix.split('.').all(is_domain_part);
    prefix.is_none_or(domain) && name.len() <= MAX_NAME && is_qualified(name)
}

/// Whether Istio takes the value: nothing, or letters, digits, `-`, `_` and `.`, with letters or digits at the ends.
pub(super) fn is_value(value: &str) -> bool {
    value.is_empty() || is_qualified(value)
}

/// Whether it is a DNS label, in any case.
pub(super) fn is_dns_label(label: &str) -> bool {
    label.len() <= MAX_NAME && is_domain_part(label)
}

/// The labels that Istio takes; the keys of the others go to `refused`.
pub(super) fn taken(labels: &Labels, mut refused: impl FnMut(&str)) -> BTreeMap<String, String> {
    let mut taken = BTreeMap::new();
    for (key, value) in labels {
        if is_key(key) && is_value(value) {
            taken.insert(key.to_string(), value.to_string());
        } else {
            refused(key);
        }
    }
    taken
}

fn is_qualified(text: &str) -> bool {
    delimited(text, |c| matches!(c, b'-' | b'_' | b'.'))
}

fn is_domain_part(text: &str) -> bool {
    delimited(text, |c| c == b'-')
}

/// Letters and digits, with others between them only.
fn delimited(text: &str, between: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()].into_iter().all(|b| b.is_some_and(u8::is_ascii_alphanumeric));
    ends && bytes.iter().all(|b| b.is_ascii_alphanumeric() || between(*b))
}
