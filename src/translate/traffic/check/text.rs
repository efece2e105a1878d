//! Checks of single values: hosts, labels, headers, ports, times.

use super::Check;
use crate::{
    pb::google::protobuf::Duration,
    translate::istio::{is_key, is_value},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The longest domain name that Istio takes, in characters.
const LONGEST_DOMAIN: usize = 255;

/// The prefix of a name that stands for a claim of a token, where a header is expected.
const CLAIM: &str = "@request.auth.claims";

/// Whether it is a label of DNS, in small or capital letters.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn labels(domain: &str) -> Result<(), String> {
    let parts: Vec<&str> = domain.split('.').collect();
    let last = parts.last().copied().unwrap_or_default();
    if last.parse::<i64>().is_ok() {
        return Err(format!("{domain:?} is no domain name: its last part is a number"));
    }
    // A dot at the end is fine.
    let parts = if last.is_empty() { &parts[..parts.len() - 1] } else { &parts[..] };
    match parts.iter().find(|part| !is_label(part)) {
        Some(part) => Err(format!("{domain:?} is no domain name: its part {part:?} is no label")),
        None => Ok(()),
    }
}

fn length(domain: &str) -> Result<(), String> {
    match domain.len() {
        0 => Err("a domain name must not be empty".into()),
        1..=LONGEST_DOMAIN => Ok(()),
        length => Err(format!("a domain name has at most {LONGEST_DOMAIN} characters, not {length}")),
    }
}

/// Checks a domain name without a wildcard.
pub(super) fn domain(text: &str) -> Result<(), String> {
    length(text).and_then(|()| labels(text))
}

/// Checks a domain name, of which the first part may be, or begin with, `*`.
pub(super) fn wildcard_domain(text: &str) -> Result<(), String> {
    length(text)?;
    let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let plain = first.strip_prefix("*-").or_else(|| first.strip_prefix('*')).unwrap_or(first);
    if first.len() > 63 || first != "*" && !is_label(plain) {
        return Err(format!("{text:?} is no domain name: its part {first:?} is no label"));
    }
    rest.map_or(Ok(()), labels)
}

/// Whether it is a header's name: a token of HTTP (RFC 9110).
pub(super) fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Whether the name stands for a claim of a token and not for a header.
pub(super) fn is_claim(name: &str) -> bool {
    let rest = name.get(..CLAIM.len()).filter(|start| start.eq_ignore_ascii_case(CLAIM)).map(|_| &name[CLAIM.len()..]);
    rest.is_some_and(|rest| {
        rest.len() > 1 && rest.starts_with('.') || rest.len() > 2 && rest.starts_with('[') && rest.ends_with(']')
    })
}

/// Whether it is `:authority` or `host`, in small or capital letters.
pub(in crate::translate::traffic) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// Checks a header's value: Envoy's commands in it, between percent signs, must be complete.
pub(super) fn header_value(value: &str) -> Result<(), String> {
    if value.chars().any(|c| c.is_ascii_control() && c != '\t') {
        return Err(format!("{value:?} is no header's value: it has control characters"));
    }
    let wrong = |what: &str| Err(format!("{value:?} is no header's value: {what}; write %% for a percent sign"));
    let mut state = Value::Literal;
    let mut bytes = value.bytes().peekable();
    while let Some(byte) = bytes.next() {
        state = match (state, byte) {
            (Value::Literal, b'%') => match bytes.peek() {
                None => return wrong("a percent sign stands at its end"),
                Some(b'%') => {
                    bytes.next();
                    Value::Literal
                }
                Some(_) => Value::Name,
            },
            (Value::Name | Value::End, b'%') => Value::Literal,
            (Value::Name, b'(') => Value::Arguments,
            (Value::Arguments, b'[') => Value::Quote,
            (Value::Quote, b'"') | (Value::Arguments, _) if byte != b' ' => Value::Text,
            (Value::Text, b'\\') => match bytes.next() {
                None => return wrong("a backslash stands at its end"),
                Some(_) => Value::Text,
            },
            (Value::Text | Value::Close, b')') => Value::End,
            (Value::Text, b'"') => Value::Comma,
            (Value::Comma, b',') => Value::Quote,
            (Value::Comma, b']') => Value::Close,
            (Value::Comma | Value::Quote | Value::Close | Value::End, byte) if byte != b' ' => {
                return wrong("a command in it is not written as Envoy reads commands");
            }
            (state, _) => state,
        };
    }
    if state == Value::Literal { Ok(()) } else { wrong("a command in it does not end") }
}

/// The names of the commands in a value that [`header_value`] takes.
fn commands(value: &str) -> Vec<&str> {
    let (mut names, mut rest) = (Vec::new(), value);
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(after) = after.strip_prefix('%') {
            rest = after;
            continue;
        }
        let end = after.find(['(', ':', '%']).unwrap_or(after.len());
        names.push(&after[..end]);
        let after =
            if after[end..].starts_with('(') { after.split_once(')').map_or("", |(_, after)| after) } else { after };
        rest = after.split_once('%').map_or("", |(_, after)| after);
    }
    names
}

/// Whether Envoy has a command of that name, as far as they are known here.
fn is_command(name: &str) -> bool {
    const STARTS: [&str; 8] =
        ["UPSTREAM_", "DOWNSTREAM_", "RESPONSE_", "REQUEST_", "BYTES_", "CONNECTION_", "GRPC_STATUS", "START_TIME"];
    const NAMES: [&str; 25] = [
        "REQ",
        "RESP",
        "TRAILER",
        "EMIT_TIME",
        "PACKETS_RETRANSMITTED",
        "PROTOCOL",
        "DURATION",
        "COMMON_DURATION",
        "ROUNDTRIP_DURATION",
        "ROUTE_NAME",
        "VIRTUAL_CLUSTER_NAME",
        "DYNAMIC_METADATA",
        "CLUSTER_METADATA",
        "METADATA",
        "FILTER_STATE",
        "REQUESTED_SERVER_NAME",
        "HOSTNAME",
        "LOCAL_REPLY_BODY",
        "ENVIRONMENT",
        "STREAM_ID",
        "TRACE_ID",
        "QUERY_PARAM",
        "PATH",
        "UNIQUE_ID",
        "CUSTOM_FLAGS",
    ];
    NAMES.contains(&name) || STARTS.iter().any(|start| name.starts_with(start))
}

/// The state of reading a header's value such as `%DYNAMIC_METADATA(["a", "b"])%`.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    Literal,
    /// In the name of a command, behind its `%`.
    Name,
    /// Behind the `(` of a command.
    Arguments,
    /// Before the `"` of an argument in a list.
    Quote,
    Text,
    /// Behind the closing `"` of an argument.
    Comma,
    /// Before the `)` of a command whose list of arguments has ended.
    Close,
    /// Before the `%` that ends a command.
    End,
}

impl Check<'_> {
    pub(super) fn port(&mut self, number: u32) {
        self.require((1..=65_535).contains(&number), || format!("a port is 1 to 65535, not {number}"));
    }

    /// Checks that a time is at least a millisecond, and in whole milliseconds. `None` is fine.
    pub(super) fn duration(&mut self, key: &str, duration: Option<&Duration>) {
        let Some(duration) = duration else { return };
        let nanos = i128::from(duration.seconds) * 1_000_000_000 + i128::from(duration.nanos);
        self.at(key, |c| c.require(nanos >= 1_000_000, || "a time must be at least 1ms".into()));
        self.at(key, |c| c.require(nanos % 1_000_000 == 0, || "a time must be in whole milliseconds".into()));
    }

    /// Checks that keys and values are labels as in Kubernetes.
    pub(super) fn labels(&mut self, key: &str, labels: &BTreeMap<String, String>) {
        self.at(key, |c| {
            for (key, value) in labels {
                c.require(is_key(key), || format!("{key:?} is no label's name"));
                c.require(is_value(value), || format!("{value:?} is no label's value"));
            }
        });
    }

    pub(super) fn subnets(&mut self, subnets: &[String]) {
        self.each("destinationSubnets", subnets, |c, subnet| {
            let fine = subnet.parse::<IpAddr>().is_ok() || subnet.parse::<ipnet::IpNet>().is_ok();
            c.require(fine, || format!("{subnet:?} is no address and no block of addresses"));
        });
    }

    /// Checks names of gateways: `name`, `namespace/name` or `mesh`.
    pub(super) fn gateways(&mut self, gateways: &[String]) {
        self.each("gateways", gateways, |c, name| match name.split_once('/') {
            None => c.outcome(domain(name)),
            Some((namespace, gateway)) => {
                // `./name` is not what Istio's validation takes, though it says that it reads it.
                c.require(is_label(namespace), || format!("{namespace:?} is no namespace"));
                c.require(is_label(gateway), || format!("{gateway:?} is no gateway's name"));
            }
        });
    }

    /// Checks `exportTo` of a resource in this namespace. `own_only`: no other namespace may stand there.
    pub(super) fn export_to(&mut self, namespace: &str, export_to: &[String], own_only: bool) {
        let resolved: Vec<&str> = export_to.iter().map(|to| if to == "." { namespace } else { to }).collect();
        self.at("exportTo", |c| {
            let mut seen = BTreeSet::new();
            for to in &resolved {
                c.require(seen.insert(*to), || format!("{to:?} is there twice"));
                let fine = *to == "*" || is_label(to);
                c.require(fine, || format!("{to:?} is neither a namespace nor `.` nor `*`"));
            }
            c.require(resolved.len() < 2 || !resolved.contains(&"*"), || "`*` stands alone or not at all".into());
            let own = resolved.iter().all(|to| *to == namespace);
            c.require(!own_only || own, || "with a `workloadSelector` only the own namespace is possible".into());
        });
    }

    /// Checks the name of a header that is set or added in requests; the one that names the host is allowed.
    pub(super) fn request_header(&mut self, name: &str) {
        self.require(!name.is_empty(), || "a header's name must not be empty".into());
        let internal = name.starts_with(':') && !is_authority(name);
        self.require(!internal, || format!("the header {name:?} cannot be changed"));
        if !name.is_empty() && !is_authority(name) && !internal && !is_header(name) {
            // Istio lets it pass, and Envoy refuses all routes for it.
            self.refused(no_header(name));
        }
    }

    /// Checks the name of a header of an answer, or of one that is removed.
    pub(super) fn plain_header(&mut self, name: &str) {
        self.require(!name.is_empty(), || "a header's name must not be empty".into());
        let internal = name.starts_with(':') || is_authority(name);
        self.require(!internal, || format!("the header {name:?} cannot be changed here"));
        if !name.is_empty() && !internal && !is_header(name) {
            self.refused(no_header(name));
        }
    }

    /// Checks a header's value: complete commands, and only such as Envoy has.
    pub(super) fn header_value(&mut self, value: &str) {
        match header_value(value) {
            Err(text) => self.invalid(text),
            Ok(()) => {
                if let Some(command) = commands(value).into_iter().find(|command| !is_command(command)) {
                    self.refused(format!("Envoy has no command %{command}%, and would refuse all routes for it"));
                }
            }
        }
    }
}

pub(super) fn no_header(name: &str) -> String {
    format!("{name:?} is no header's name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_what_istio_takes() {
        for (text, plain, wild) in [
            ("a.example", true, true),
            ("Orders", true, true),
            ("a.example.", true, true),
            ("*", false, true),
            ("*.example", false, true),
            ("*-a.example", false, true),
            ("*a.example", false, true),
            ("a.*.example", false, false),
            ("a_b.example", false, false),
            ("10.0.0.1", false, false),
            ("", false, false),
            ("a..b", false, false),
        ] {
            assert_eq!((domain(text).is_ok(), wildcard_domain(text).is_ok()), (plain, wild), "{text}");
        }
    }

    #[test]
    fn values_of_headers_have_whole_commands() {
        for (value, fine) in [
            ("", true),
            ("foo", true),
            ("%HOSTNAME%", true),
            ("100%%", true),
            ("a %REQ(x-a)% b", true),
            ("%DYNAMIC_METADATA([\"a\", \"b\"])%", true),
            ("100%", false),
            ("abc%123", false),
            ("%START_TIME%%", false),
            ("%REQ(x%", false),
            ("a\nb", false),
        ] {
            assert_eq!(header_value(value).is_ok(), fine, "{value}");
        }
    }

    #[test]
    fn claims_are_no_headers() {
        assert!(is_claim("@request.auth.claims.group") && is_claim("@Request.auth.claims[group]"));
        assert!(!is_claim("@request.auth.claims") && !is_claim("x-group") && !is_header("@request.auth.claims"));
    }
}
