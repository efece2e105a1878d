//! Which clients a request asks for. Pure.

use crate::{
    pb::envoy::r#type::matcher::v3::{
        NodeMatcher, StringMatcher, StructMatcher, ValueMatcher, string_matcher::MatchPattern as Pattern,
        value_matcher::MatchPattern as ValuePattern,
    },
    xds::{MetadataValue as Value, Node},
};

/// Whether one of the matchers fits, or there is none.
///
/// # Errors
/// If a matcher is not understood: why, in words for the client.
pub(super) fn fits(matchers: &[NodeMatcher], node: &Node) -> Result<bool, String> {
    let mut fits = matchers.is_empty();
    for matcher in matchers {
        fits |= one(matcher, node)?;
    }
    Ok(fits)
}

fn one(matcher: &NodeMatcher, node: &Node) -> Result<bool, String> {
    let mut fits = match &matcher.node_id {
        Some(id) => text(id, &node.id)?,
        None => true,
    };
    for metadata in &matcher.node_metadatas {
        fits &= has(metadata, node)?;
    }
    Ok(fits)
}

fn text(matcher: &StringMatcher, text: &str) -> Result<bool, String> {
    let case = |text: &str| if matcher.ignore_case { text.to_lowercase() } else { text.to_owned() };
    let text = case(text);
    match &matcher.match_pattern {
        Some(Pattern::Exact(exact)) => Ok(text == case(exact)),
        Some(Pattern::Prefix(prefix)) => Ok(text.starts_with(&case(prefix))),
        Some(Pattern::Suffix(suffix)) => Ok(text.ends_with(&case(suffix))),
        Some(Pattern::Contains(part)) => Ok(text.contains(&case(part))),
        Some(Pattern::SafeRegex(_)) => {
            Err("safe_regex is not understood; use exact, prefix, suffix or contains".into())
        }
        None => Err("a StringMatcher without a pattern; give exact, prefix, suffix or contains".into()),
    }
}

fn has(matcher: &StructMatcher, node: &Node) -> Result<bool, String> {
    let Some(wanted) = &matcher.value else { return Err("a StructMatcher without a value".into()) };
    let found = node.metadata.get(matcher.path.iter().map(|segment| &*segment.key));
    value(wanted, found)
}

fn value(matcher: &ValueMatcher, found: Option<Value<'_>>) -> Result<bool, String> {
    Ok(match (&matcher.match_pattern, found) {
        (Some(ValuePattern::PresentMatch(wanted)), found) => *wanted == found.is_some(),
        (Some(ValuePattern::StringMatch(wanted)), Some(Value::Text(found))) => text(wanted, found)?,
        (Some(ValuePattern::StringMatch(wanted)), _) => text(wanted, "").map(|_| false)?,
        (Some(ValuePattern::BoolMatch(wanted)), found) => found == Some(Value::Bool(*wanted)),
        (Some(ValuePattern::NullMatch(_)), found) => found == Some(Value::Null),
        (None, _) => {
            return Err(
                "a ValueMatcher of an unknown sort; use string_match, bool_match, null_match or present_match".into()
            );
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pb::envoy::r#type::matcher::v3::{RegexMatcher, struct_matcher::PathSegment, value_matcher::NullMatch},
        xds::Metadata,
    };

    fn string(match_pattern: Pattern) -> StringMatcher {
        StringMatcher { ignore_case: false, match_pattern: Some(match_pattern) }
    }

    fn at(key: &str, pattern: ValuePattern) -> NodeMatcher {
        let value = Some(ValueMatcher { match_pattern: Some(pattern) });
        let path = vec![PathSegment { key: key.into() }];
        NodeMatcher { node_id: None, node_metadatas: vec![StructMatcher { path, value }] }
    }

    #[test]
    fn ids_and_metadata_are_looked_at_and_what_is_not_understood_is_an_error() {
        let node = Node { id: "Edge-1".into(), metadata: Metadata::of(&[("team", "shop")]), ..Node::default() };
        let id = |matcher| NodeMatcher { node_id: Some(matcher), node_metadatas: Vec::new() };
        let lower = StringMatcher { ignore_case: true, ..string(Pattern::Exact("edge-1".into())) };
        for (matcher, expected) in [
            (id(string(Pattern::Exact("Edge-1".into()))), Ok(true)),
            (id(string(Pattern::Exact("edge-1".into()))), Ok(false)),
            (id(lower), Ok(true)),
            (id(string(Pattern::Prefix("Edge".into()))), Ok(true)),
            (id(string(Pattern::Suffix("-1".into()))), Ok(true)),
            (id(string(Pattern::Contains("x".into()))), Ok(false)),
            (id(string(Pattern::SafeRegex(RegexMatcher { regex: ".*".into() }))), Err(())),
            (id(StringMatcher::default()), Err(())),
            (at("team", ValuePattern::StringMatch(string(Pattern::Exact("shop".into())))), Ok(true)),
            (at("none", ValuePattern::StringMatch(string(Pattern::Exact("".into())))), Ok(false)),
            (at("team", ValuePattern::PresentMatch(true)), Ok(true)),
            (at("none", ValuePattern::PresentMatch(true)), Ok(false)),
            (at("team", ValuePattern::BoolMatch(true)), Ok(false)),
            (at("team", ValuePattern::NullMatch(NullMatch {})), Ok(false)),
        ] {
            assert_eq!(fits(std::slice::from_ref(&matcher), &node).map_err(|_| ()), expected, "{matcher:?}");
        }
        assert_eq!(fits(&[], &node), Ok(true));
    }
}
