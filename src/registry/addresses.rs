//! Addresses of servers as configuration has them, one reader for all registries.

use crate::util::{host_port::HostPort, redact, yaml::Value};
use reqwest::Url;
use std::{cell::Cell, fmt::Display};

/// Refusal of a list of addresses with an `@` in it: a comma in a password would split it, and its parts would be
/// shown.
const HIDDEN: &str = "an address with a user name among several is none; write each by itself, with % codes for other \
    characters than letters and digits, or `username` and `password` apart from them";

/// Reads a list of servers: one text or several, each with commas between addresses, as the registries' own clients take
/// them. `None` after reporting each mistake once.
pub(super) fn read<T, E: Display>(value: &Value<'_>, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
    let wrong = Cell::new(false);
    let parts = |text: &str| {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        let refused = |error: E| match (parts.len(), text.contains('@')) {
            (0 | 1, _) => error.to_string(),
            (_, false) => format!("{error} (in {:?} a comma begins another server)", redact::address(text)),
            // A comma in a password makes parts without an @ that show some of it.
            (_, true) => HIDDEN.into(),
        };
        parts.iter().map(|part| parse(part).map_err(refused)).collect::<Result<Vec<T>, String>>()
    };
    let read = |value: &Value<'_>| {
        let read = value.parse(parts);
        wrong.set(wrong.get() || read.is_none());
        read
    };
    let servers: Vec<T> = value.one_or_each(read)?.into_iter().flatten().collect();
    match servers.is_empty() {
        // The mistake is reported already.
        true if wrong.get() => None,
        true => value.problem("names no server"),
        false => Some(servers),
    }
}

/// The address of a server by HTTP, which may have a user and a path, and nothing behind that.
///
/// # Errors
/// If it is no such address; the text says why, and shows nothing before an `@`.
pub(super) fn http(address: &str) -> Result<Url, String> {
    let scheme = |scheme: &&str| address.get(..scheme.len()).is_some_and(|text| text.eq_ignore_ascii_case(scheme));
    let Some(scheme) = ["http://", "https://"].iter().find(|known| scheme(known)) else {
        return Err("it does not begin with http:// or https://".into());
    };
    let rest = &address[scheme.len()..];
    if rest.contains(['?', '#']) {
        return Err("it has a query or a fragment".into());
    }
    let authority = rest.split('/').next().unwrap_or_default();
    // A library that reads URLs takes `127.0.0` for an address, and much else for a name.
    let host = authority.rsplit('@').next().unwrap_or_default();
    HostPort::parse(host).map_err(|error| error.to_string())?;
    Url::parse(address).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_by_http_have_a_host_and_nothing_behind_their_path() {
        for text in ["http://a", "HTTPS://a:443", "http://[::1]:8848/nacos", "http://u:p@10.0.0.1:1/a/b"] {
            assert!(http(text).is_ok(), "{text}");
        }
        for (text, why) in [
            ("a:8848", "does not begin with http://"),
            ("ftp://a", "does not begin with http://"),
            ("https//a", "does not begin with http://"),
            ("http://", "it has no host"),
            ("http:///nacos", "it has no host"),
            ("http://127.0.0,1:8848", "\"127.0.0,1\" is neither"),
            ("http://127.0.0:8848", "\"127.0.0\" is neither"),
            ("http://::1:8848", "such as [::1:8848] or [::1]:8848"),
            ("http://a:80800", "\"80800\" is no port"),
            ("http://a\\b", "is neither"),
            ("http://a?token=t", "a query or a fragment"),
            ("http://u:p@b@c d", "\"c d\" is neither"),
        ] {
            let error = http(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("u:p"), "{text}: {error}");
        }
    }
}
