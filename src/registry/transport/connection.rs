//! How a server is reached: limits, headers, TLS. Plain values with defaults, read from the registry's own section.

use super::Tls;
use crate::{
    model::Text,
    util::{
        secret::Secret,
        yaml::{Section, Value},
    },
};
use reqwest::header::{HeaderName, HeaderValue};
use std::time::Duration;

/// Settings of every request to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Timeout of one request, from connecting to the last byte.
    pub timeout: Duration,
    /// The most bytes of a body after decompression; a longer one is refused.
    pub max_body_bytes: usize,
    /// Headers that are sent with every request.
    pub headers: Vec<(Text, Secret)>,
    /// Trusted authorities and client certificate, for servers that speak TLS.
    pub tls: Tls,
}

impl Default for Connection {
    fn default() -> Self {
        Connection {
            timeout: Duration::from_secs(5),
            max_body_bytes: 64 << 20,
            headers: Vec::new(),
            tls: Tls::default(),
        }
    }
}

impl Connection {
    /// Reads, from a registry's own section, `timeout`, `max_body`, `headers` and `tls`.
    pub fn read(section: &mut Section<'_>) -> Self {
        let default = Connection::default();
        let timeout = section.get("timeout", |v| v.duration(Duration::from_millis(10)..=Duration::from_secs(300)));
        let max_body_bytes = section.get("max_body", |v| v.bytes(1024..=1 << 30));
        let headers = section.get("headers", |v| {
            let entries = v.entries()?.into_iter();
            Some(entries.filter_map(|(name, v)| header(name, &v)).collect())
        });
        Connection {
            timeout: timeout.unwrap_or(default.timeout),
            max_body_bytes: max_body_bytes.unwrap_or(default.max_body_bytes),
            headers: headers.unwrap_or(default.headers),
            tls: section.section("tls", Tls::read).unwrap_or(default.tls),
        }
    }
}

fn header(name: &str, value: &Value<'_>) -> Option<(Text, Secret)> {
    let secret = value.secret()?;
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return value.problem(format!("{name:?} is no name for a header; letters, digits and '-' are"));
    }
    if HeaderValue::from_str(secret.expose()).is_err() {
        return value.problem("the value has characters that no header may have, such as an end of line");
    }
    Some((name.into(), secret))
}
