//! `include:`, `exclude:` and `match:`: patterns that select services and instances.

use crate::{
    catalog::Matcher,
    model::Text,
    util::yaml::{Section, Value},
};
use ipnet::IpNet;
use std::net::IpAddr;

const ANY: &str = "every one would fit";

/// What to include; none: everything.
pub(super) fn include(section: &mut Section<'_>) -> Vec<Matcher> {
    section.narrow("include", "nothing would be left out", read_all).unwrap_or_default()
}

/// What to exclude; none: nothing, also where the list is written and empty.
pub(super) fn exclude(section: &mut Section<'_>) -> Vec<Matcher> {
    section.get("exclude", read_all).unwrap_or_default()
}

/// What a rule is for: at least one matcher.
pub(super) fn rule(value: &Value<'_>) -> Option<Vec<Matcher>> {
    if value.is_empty() && value.is_list() {
        return value.problem("names nothing; say which services the rule is for");
    }
    read_all(value)
}

/// A list of matchers; each a mapping, or a text, which is a pattern for the name.
fn read_all(value: &Value<'_>) -> Option<Vec<Matcher>> {
    value.one_or_each(|v| {
        if !v.is_map() {
            return Some(Matcher { name: v.string().map(Text::from), ..Matcher::default() });
        }
        v.section(read)
    })
}

fn read(section: &mut Section<'_>) -> Option<Matcher> {
    if section.is_empty() {
        return section
            .value()
            .problem("would match everything; give `name`, `namespace`, `group`, `labels` or `networks`");
    }
    let mut pattern = |key| section.narrow(key, ANY, Value::string).map(Text::from);
    let (name, namespace, group) = (pattern("name"), pattern("namespace"), pattern("group"));
    let labels = section.narrow("labels", ANY, Value::texts).unwrap_or_default();
    Some(Matcher {
        name,
        namespace,
        group,
        labels: labels.into_iter().map(|(key, pattern)| (key.into(), pattern.into())).collect(),
        networks: section.narrow("networks", ANY, |v| v.one_or_each(|v| v.parse(network))).unwrap_or_default(),
    })
}

/// A network, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("must be a network such as 10.0.0.0/8 or fd00::/8, not {text:?}"))
}
