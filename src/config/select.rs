//! `include:`, `exclude:` and `match:`: patterns that select services and instances.

use crate::{
    catalog::Matcher,
    model::Text,
    util::yaml::{Section, Value},
};
use ipnet::IpNet;
use std::net::IpAddr;

/// A list of matchers; each a mapping, or a text, which is a pattern for the name.
pub(super) fn read_all(value: &Value<'_>) -> Option<Vec<Matcher>> {
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
    let mut pattern = |key| section.get(key, Value::string).map(Text::from);
    let (name, namespace, group) = (pattern("name"), pattern("namespace"), pattern("group"));
    let labels = section.get("labels", Value::texts).unwrap_or_default();
    Some(Matcher {
        name,
        namespace,
        group,
        labels: labels.into_iter().map(|(key, pattern)| (key.into(), pattern.into())).collect(),
        networks: section.get("networks", |v| v.one_or_each(|v| v.parse(network))).unwrap_or_default(),
    })
}

/// A network, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("must be a network such as 10.0.0.0/8 or fd00::/8, not {text:?}"))
}
