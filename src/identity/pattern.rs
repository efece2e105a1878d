//! Patterns for authenticated names, and the rule that ties a node to a name.

use crate::model::Text;
use std::fmt;
use wildmatch::WildMatch;

/// A pattern for names: `*` and `?` stand for anything within a segment, a last segment `**` for all that follow. Segments are
/// what stands between slashes, so that `spiffe://a/ns/*/sa/web` never fits a longer path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(Text);

impl NamePattern {
    /// A pattern as it is written.
    pub fn new(text: &str) -> Self {
        NamePattern(text.into())
    }

    /// Whether a name fits, segment by segment. Upper and lower case differ.
    pub fn fits(&self, name: &str) -> bool {
        let (mut parts, mut given) = (self.0.split('/').peekable(), name.split('/'));
        loop {
            match (parts.next(), given.next()) {
                (None, None) => return true,
                (Some("**"), Some(_)) if parts.peek().is_none() => return true,
                (Some(part), Some(given)) if WildMatch::new(part).matches(given) => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// What `node.id` must be for a name: text with `*` for anything, and placeholders. `{name}` is the whole name, and
/// `{1}` to `{9}` are its parts: the segments of a SPIFFE id's path, otherwise what stands between colons, or else
/// between dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRule(Text);

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeRuleError {
    /// A brace that begins or ends no placeholder.
    #[error("{{{0}}} is no placeholder; write {{name}}, or {{1}} to {{9}} for a part of the name")]
    Placeholder(String),
    /// It would fit every node.
    #[error("it has no placeholder, so it does not depend on the name; write a text such as '{{name}}*'")]
    Constant,
}

/// A piece of a [`NodeRule`]: plain text, a `*`, or what stands between braces.
enum Piece<'a> {
    Text(&'a str),
    Any,
    Placeholder(&'a str),
}

impl NodeRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// If it has an unknown placeholder, or none.
    pub fn parse(text: &str) -> Result<Self, NodeRuleError> {
        let mut depends = false;
        for piece in pieces(text) {
            match piece {
                Piece::Placeholder("name" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9") => depends = true,
                Piece::Placeholder(other) => return Err(NodeRuleError::Placeholder(other.into())),
                Piece::Text(text) if text.contains(['{', '}']) => {
                    return Err(NodeRuleError::Placeholder(text.trim_matches(['{', '}']).into()));
                }
                Piece::Text(_) | Piece::Any => {}
            }
        }
        if depends { Ok(NodeRule(text.into())) } else { Err(NodeRuleError::Constant) }
    }

    /// Whether a node may have that id whose client has this name.
    pub fn fits(&self, name: &str, node_id: &str) -> bool {
        // What stands between two stars, with the placeholders filled in.
        let mut literals = vec![String::new()];
        for piece in pieces(&self.0) {
            let text = match piece {
                Piece::Any => {
                    literals.push(String::new());
                    continue;
                }
                Piece::Text(text) => text,
                Piece::Placeholder("name") => name,
                Piece::Placeholder(number) => match number.parse().ok().and_then(|number| part(name, number)) {
                    Some(part) => part,
                    None => return false,
                },
            };
            if let Some(last) = literals.last_mut() {
                last.push_str(text);
            }
        }
        fits(&literals, node_id)
    }
}

impl fmt::Display for NodeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The n-th part of a name, from 1 on.
fn part(name: &str, number: usize) -> Option<&str> {
    let index = number.checked_sub(1)?;
    match name.strip_prefix("spiffe://") {
        Some(id) => id.split('/').nth(number),
        None if name.contains(':') => name.split(':').nth(index),
        None => name.split('.').nth(index),
    }
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            return Some(Piece::Any);
        }
        if let Some((inner, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            rest = after;
            return Some(Piece::Placeholder(inner));
        }
        let end = rest[1..].find(['*', '{']).map_or(rest.len(), |at| at + 1);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(text))
    })
}

/// Whether a text is these literals in their order, with anything between them.
fn fits(literals: &[String], text: &str) -> bool {
    let [first, rest @ ..] = literals else { return text.is_empty() };
    let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
    let Some((last, middle)) = rest.split_last() else { return text.is_empty() };
    for literal in middle {
        let Some(at) = text.find(literal.as_str()) else { return false };
        text = &text[at + literal.len()..];
    }
    text.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_segment() {
        let fits = |pattern: &str, name: &str| NamePattern::new(pattern).fits(name);
        assert!(fits("spiffe://a.example/ns/*/sa/web", "spiffe://a.example/ns/shop/sa/web"));
        assert!(!fits("spiffe://a.example/ns/*/sa/web", "spiffe://a.example/ns/shop/evil/sa/web"));
        assert!(!fits("spiffe://a.example/ns/*", "spiffe://a.example/ns/shop/sa/web"));
        assert!(fits("spiffe://a.example/ns/**", "spiffe://a.example/ns/shop/sa/web"));
        assert!(!fits("spiffe://a.example/**", "spiffe://a.example"));
        assert!(!fits("spiffe://*", "spiffe://a.example/x"));
        assert!(fits("*.shop.example", "web.shop.example"));
        assert!(fits("system:serviceaccount:shop:*", "system:serviceaccount:shop:web"));
        assert!(!fits("web", "webs") && !fits("webs", "web") && fits("web", "web"));
    }

    #[test]
    fn a_node_fits_its_name() {
        let fits = |rule: &str, name: &str, id: &str| NodeRule::parse(rule).unwrap().fits(name, id);
        assert!(fits("{name}", "edge", "edge") && !fits("{name}", "edge", "edge-1"));
        assert!(fits("{name}*", "edge", "edge-1") && !fits("{name}*", "edge", "my-edge-1"));
        let spiffe = "spiffe://a.example/ns/shop/sa/web";
        assert!(fits("sidecar~*~{4}-*.{2}~*", spiffe, "sidecar~10.0.0.1~web-7d9f.shop~shop.svc"));
        assert!(!fits("sidecar~*~{4}-*.{2}~*", spiffe, "sidecar~10.0.0.1~web-7d9f.hr~hr.svc"));
        assert!(!fits("{5}*", spiffe, "anything"), "there is no such part");
        assert!(fits("{4}.{3}", "system:serviceaccount:shop:web", "web.shop"));
        assert!(fits("{1}-*", "web.shop.example", "web-1"));
        // What is in the name is no pattern.
        assert!(!fits("{1}-1", "*.shop.example", "web-1") && fits("{1}-1", "*.shop.example", "*-1"));
        // Both ends are held, however little is between them.
        assert!(!fits("{name}*x", "ab", "abx".strip_suffix('x').unwrap()) && fits("{name}*x", "ab", "abx"));
        assert!(!fits("{name}*b", "ab", "ab"), "one text is not both ends");
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused() {
        assert_eq!(NodeRule::parse("edge-*"), Err(NodeRuleError::Constant));
        assert_eq!(NodeRule::parse("{nam}"), Err(NodeRuleError::Placeholder("nam".into())));
        assert!(NodeRule::parse("{name").is_err() && NodeRule::parse("name}").is_err() && NodeRule::parse("").is_err());
    }
}
