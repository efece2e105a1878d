//! Access to the trees of rules: what is of another shape than expected counts as absent. Pure.

use super::matching::StringMatch;
use crate::{
    model::Text,
    util::yaml::{Limits, Node, Shape},
};

/// ZooKeeper takes nodes up to 1 MiB, and no rule needs a tenth of it.
pub(super) const LIMITS: Limits = Limits { bytes: 1 << 20, nodes: 100_000, depth: 16 };

/// Reads a condition on a text.
pub(super) fn string(node: &Node) -> Result<StringMatch, String> {
    let word = |key| get(node, key).and_then(scalar);
    if let Some(regex) = word("regex") {
        return Err(format!("the pattern {regex:?} of Java is not understood here"));
    }
    let exact = word("exact").map(|text| StringMatch::Exact(text.into()));
    let prefix = || word("prefix").map(|text| StringMatch::Prefix(text.into()));
    let wildcard = || word("wildcard").map(|text| StringMatch::Wildcard(text.into()));
    if let Some(found) = exact.or_else(prefix).or_else(wildcard) {
        return Ok(found);
    }
    if word("empty").is_some() {
        return Ok(StringMatch::Empty);
    }
    if word("noempty").is_some() {
        return Ok(StringMatch::NotEmpty);
    }
    Err("a text has neither `exact`, `prefix`, `wildcard`, `empty` nor `noempty`".into())
}

pub(super) fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

pub(super) fn get<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let Shape::Map(entries) = node.shape() else { return None };
    entries.iter().find(|(name, _)| name.text() == key).map(|(_, value)| value)
}

pub(super) fn items<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = &'a Node> {
    let list = match get(node, key).map(Node::shape) {
        Some(Shape::List(items)) => items,
        _ => &[],
    };
    list.iter()
}

pub(super) fn texts(node: &Node, key: &str) -> Vec<Text> {
    items(node, key).filter_map(scalar).map(|text| text.trim().into()).collect()
}

pub(super) fn scalar(node: &Node) -> Option<&str> {
    match node.shape() {
        Shape::Plain(text) | Shape::Quoted(text) => Some(text),
        _ => None,
    }
}
