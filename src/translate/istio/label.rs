//! What Istio takes for a label. One that it does not take costs the whole entry, so those are left out before.

use crate::model::{Hostname, Labels};
use std::collections::BTreeMap;

/// The most characters of a label's key without its prefix, and of a label of DNS.
const MAX_NAME: usize = 63;

/// The most characters of a key's prefix.
const MAX_PREFIX: usize = 253;

/// Whether Istio takes the key: a name of letters, digits, `-`, `_` and `.`, perhaps after a domain and a slash.
pub(in crate::translate) fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let domain = |prefix: &str| prefix.len() <= MAX_PREFIX && prefix.split('.').all(is_domain_part);
    prefix.is_none_or(domain) && name.len() <= MAX_NAME && is_qualified(name)
}

/// Whether Istio takes the value: nothing, or letters, digits, `-`, `_` and `.`, with letters or digits at the ends. Its
/// length does not matter to Istio.
pub(in crate::translate) fn is_value(value: &str) -> bool {
    value.is_empty() || is_qualified(value)
}

/// Whether a ServiceEntry's own label may have that value. It may also have `$`, as in the names of Java's inner
/// classes: Istio checks only the labels of endpoints.
pub(super) fn is_value_of_entry(value: &str) -> bool {
    is_value(&value.replace('$', "_"))
}

/// Whether it is a label of DNS, in small or capital letters.
pub(super) fn is_dns_label(label: &str) -> bool {
    label.len() <= MAX_NAME && is_domain_part(label)
}

/// A label of DNS as Kubernetes has it, made of any text; empty if nothing is left.
pub(super) fn dns_label(text: &str) -> String {
    // Letters beyond ASCII are written as in hosts.
    if !text.is_ascii()
        && let Ok(host) = Hostname::sanitized(&text.replace('.', "-"))
    {
        return host.to_string();
    }
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = text.chars().map(safe).skip_while(|c| *c == '-').take(MAX_NAME).collect();
    label.trim_end_matches('-').to_owned()
}

pub(super) fn owned(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// The labels whose key Istio takes and whose value is `possible`; the keys of the others go to `refused`.
pub(super) fn accepted(
    labels: BTreeMap<String, String>,
    possible: impl Fn(&str) -> bool,
    refused: &mut impl FnMut(&str),
) -> BTreeMap<String, String> {
    let mut accepted = labels;
    accepted.retain(|key, value| {
        let fine = is_key(key) && possible(value);
        if !fine {
            refused(key);
        }
        fine
    });
    accepted
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
