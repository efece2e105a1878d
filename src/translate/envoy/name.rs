//! How clusters are named.

use crate::model::{ServicePort, Text};
use std::fmt;

/// Istio's own rule, so that routes stay valid when a proxy moves between Istiod and Portolan.
const DEFAULT: &str = "outbound|{port}||{host}";

/// Why a rule for names is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterNameError {
    /// A `{` without its `}`, or the reverse.
    #[error("cluster name {0:?} has a brace without its partner")]
    Brace(Text),
    /// The rule, and a placeholder in it that is none of `{host}`, `{port}` and `{port_name}`.
    #[error("cluster name {0:?} has the unknown placeholder {{{1}}}; known are {{host}}, {{port}} and {{port_name}}")]
    Unknown(Text, Text),
    /// All services would have one cluster.
    #[error("cluster name {0:?} gives every service the same name; put {{host}} into it")]
    NoHost(Text),
}

/// The rule by which clusters are named: text with the placeholders `{host}`, `{port}` and `{port_name}`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterName {
    source: Text,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(Text),
    Host,
    Port,
    PortName,
}

impl ClusterName {
    /// Reads a rule.
    ///
    /// # Errors
    /// If it has an unknown placeholder, or gives two clusters one name.
    pub fn parse(source: &str) -> Result<Self, ClusterNameError> {
        let (mut parts, mut rest) = (Vec::new(), source);
        while let Some(brace) = rest.find(['{', '}']) {
            let (text, placeholder) = rest.split_at(brace);
            let (name, after) = placeholder
                .strip_prefix('{')
                .and_then(|p| p.split_once('}'))
                .filter(|(name, _)| !name.contains('{'))
                .ok_or_else(|| ClusterNameError::Brace(source.into()))?;
            parts.push(Part::Text(text.into()));
            parts.push(match name {
                "host" => Part::Host,
                "port" => Part::Port,
                "port_name" => Part::PortName,
                _ => return Err(ClusterNameError::Unknown(source.into(), name.into())),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        if !parts.contains(&Part::Host) {
            return Err(ClusterNameError::NoHost(source.into()));
        }
        Ok(ClusterName { source: source.into(), parts })
    }

    /// The name of the cluster for this port under this host, which is the service's own or an alias.
    pub fn render(&self, host: &str, port: &ServicePort) -> String {
        let mut name = String::with_capacity(self.source.len() + host.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Host => name.push_str(host),
                Part::Port => name.push_str(&port.number.to_string()),
                Part::PortName => name.push_str(&port.name),
            }
        }
        name
    }
}

impl Default for ClusterName {
    fn default() -> Self {
        Self::parse(DEFAULT).expect("the default rule is valid")
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterName({:?})", self.source)
    }
}

/// The name for `Cluster.alt_stat_name`: all but letters, digits, `.`, `-` and `_` becomes `_`. Empty if the name needs
/// no change.
pub(super) fn stat_name(name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.chars().all(safe) { String::new() } else { name.replace(|c| !safe(c), "_") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Hostname, Port, Protocol};

    #[test]
    fn names_are_made_by_rule() {
        let port = ServicePort {
            name: "http".into(),
            number: Port::new(80).unwrap(),
            protocol: Protocol::Http,
            host: Hostname::new("unused").unwrap(),
        };
        for (rule, name) in [
            (DEFAULT, "outbound|80||orders"),
            ("{host}", "orders"),
            ("{host}:{port}/{port_name}.", "orders:80/http."),
            ("{host}{host}", "ordersorders"),
        ] {
            let parsed = ClusterName::parse(rule).unwrap();
            assert_eq!(parsed.render("orders", &port), name);
            assert_eq!(parsed.to_string(), rule);
        }
    }

    #[test]
    fn mistakes_in_the_rule_are_named() {
        for (rule, why) in [
            ("{hots}", "{hots}"),
            ("{host", "brace"),
            ("host}", "brace"),
            ("{{host}}", "brace"),
            ("{}{host}", "{}"),
            ("all-{port}", "{host}"),
            ("", "{host}"),
        ] {
            let error = ClusterName::parse(rule).unwrap_err().to_string();
            assert!(error.contains(why), "{rule}: {error}");
        }
    }

    #[test]
    fn statistics_get_a_name_of_safe_characters() {
        assert_eq!(stat_name("outbound|80||orders.example"), "outbound_80__orders.example");
        assert_eq!(stat_name("orders.example"), "");
    }
}
