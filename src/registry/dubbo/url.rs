//! Dubbo's URLs: the names of nodes, percent-encoded once as a whole, of providers and of overrides. Pure; whatever is not
//! one is an error that says why, and nothing else.

use std::collections::BTreeMap;

/// The most bytes of a name: all that Dubbo writes has some hundred bytes, with many methods some thousand.
const MAX_BYTES: usize = 256 << 10;

/// A provider's URL, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: String,
    /// An IPv6 address is without its brackets.
    pub(crate) host: String,
    pub(crate) port: i64,
    /// What is behind the first slash, without slashes at its end. SOFARPC writes none.
    pub(crate) path: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

/// Why a name is no URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("has {0} bytes, and more than {MAX_BYTES} are not read")]
    Long(usize),
    #[error("has a % that no two hexadecimal digits follow")]
    Escape,
    #[error("is not UTF-8 when it is decoded")]
    NotUtf8,
    #[error("is no URL: it has no scheme")]
    Scheme,
    #[error("is no URL: it has no host and port")]
    Authority,
    #[error("has the port {0:?}, which is no number")]
    Port(String),
}

impl Url {
    /// Reads the name of a node. It must have a port.
    pub(crate) fn parse(name: &str) -> Result<Url, UrlError> {
        Self::read(name, None)
    }

    /// Reads the URL of a rule, which may have no port: then it is 0.
    pub(crate) fn parse_rule(name: &str) -> Result<Url, UrlError> {
        Self::read(name, Some(0))
    }

    fn read(name: &str, no_port: Option<i64>) -> Result<Url, UrlError> {
        if name.len() > MAX_BYTES {
            return Err(UrlError::Long(name.len()));
        }
        let text = decode(name)?;
        let (before, query) = text.split_once('?').unwrap_or((&text, ""));
        let (scheme, rest) = before.split_once("://").ok_or(UrlError::Scheme)?;
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(known) {
            return Err(UrlError::Scheme);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // What stands before an @ may be a password.
        let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
        let is_bare = authority.ends_with(']') || !authority.contains(':');
        let (host, port) = match no_port.filter(|_| is_bare) {
            Some(port) => (authority, Ok(port)),
            None => {
                let (host, port) = authority.rsplit_once(':').ok_or(UrlError::Authority)?;
                (host, port.parse().map_err(|_| UrlError::Port(port.into())))
            }
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(UrlError::Authority);
        }
        Ok(Url {
            scheme: scheme.to_ascii_lowercase(),
            host: host.into(),
            port: port?,
            path: path.trim_end_matches('/').into(),
            parameters: parameters(query),
        })
    }

    /// A parameter, or else the one with `default.` before its name; `None` if both are absent or empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let value = |key: &str| self.parameters.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
        value(key).or_else(|| value(&format!("default.{key}")))
    }
}

/// The parameters of a query. One without `=` is empty; of two with one name the last counts, as in Dubbo.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| !key.is_empty()).map(|(key, value)| (key.into(), value.into())).collect()
}

/// Undoes Java's `URLEncoder`, which writes a space as `+`.
pub(crate) fn decode(text: &str) -> Result<String, UrlError> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).ok_or(UrlError::Escape);
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => (digit(rest.next())? * 16 + digit(rest.next())?) as u8,
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| UrlError::NotUtf8)
}
