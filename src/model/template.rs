//! Naming templates: text with `{placeholders}`.

use super::{Labels, ServiceId, Text};
use std::fmt;

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` without its `}`, or the reverse.
    #[error("template {0:?} has a brace without its partner")]
    Brace(Text),
    /// A placeholder that nobody knows.
    #[error(
        "template {0:?} has the unknown placeholder {{{1}}}; known are {{service}}, {{group}}, {{namespace}}, {{registry}} and {{label:KEY}} or {{label:KEY|default}}"
    )]
    Unknown(Text, Text),
    /// A placeholder that nobody knows, where there is a host.
    #[error(
        "template {0:?} has the unknown placeholder {{{1}}}; known are {{host}}, {{host%ENDING}}, {{last}}, {{last%ENDING}}, {{service}}, {{group}}, {{namespace}}, {{registry}} and {{label:KEY}} or {{label:KEY|default}}"
    )]
    UnknownOfHost(Text, Text),
}

/// Text with placeholders: `{service}`, `{group}`, `{namespace}`, `{registry}`, `{label:KEY}` (the instance's label, else
/// the service's, else nothing) and `{label:KEY|default}`. What is named after a service that has its host also knows
/// `{host}`, `{host%ENDING}` (without that ending, if it has it), `{last}` (the host's last label) and `{last%ENDING}`
/// (the last label before that ending).
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: Text,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(Text),
    Service,
    Group,
    Namespace,
    Registry,
    Label { key: Text, default: Text },
    Host { ending: Text },
    Last { ending: Text },
}

impl Template {
    /// Reads a template for hosts.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let unknown = |name: &str| TemplateError::Unknown(source.into(), name.into());
        Self::read(source, |name| Part::named(name).ok_or_else(|| unknown(name)))
    }

    /// Reads a template for what is named after a service that has its host.
    pub fn parse_of_host(source: &str) -> Result<Self, TemplateError> {
        let unknown = |name: &str| TemplateError::UnknownOfHost(source.into(), name.into());
        Self::read(source, |name| Part::of_host(name).or_else(|| Part::named(name)).ok_or_else(|| unknown(name)))
    }

    fn read(source: &str, part: impl Fn(&str) -> Result<Part, TemplateError>) -> Result<Self, TemplateError> {
        let (mut parts, mut rest) = (Vec::new(), source);
        while !rest.is_empty() {
            let brace = rest.find(['{', '}']).unwrap_or(rest.len());
            if brace > 0 {
                parts.push(Part::Text(rest[..brace].into()));
            }
            rest = &rest[brace..];
            if rest.is_empty() {
                break;
            }
            let (name, after) = rest
                .strip_prefix('{')
                .and_then(|r| r.split_once('}'))
                .filter(|(name, _)| !name.contains('{'))
                .ok_or_else(|| TemplateError::Brace(source.into()))?;
            parts.push(part(name)?);
            rest = after;
        }
        Ok(Template { source: source.into(), parts })
    }

    /// The text for a service and one of its instances.
    pub fn render(&self, id: &ServiceId, service: &Labels, instance: &Labels) -> String {
        self.render_of_host("", id, service, instance)
    }

    /// The text for a service that has that host, and one of its instances.
    pub fn render_of_host(&self, host: &str, id: &ServiceId, service: &Labels, instance: &Labels) -> String {
        let mut text = String::with_capacity(64);
        for part in &self.parts {
            text.push_str(match part {
                Part::Text(text) => text,
                Part::Service => &id.name,
                Part::Group => &id.group,
                Part::Namespace => &id.namespace,
                Part::Registry => &id.registry,
                Part::Label { key, default } => {
                    instance.get(key).or_else(|| service.get(key)).filter(|v| !v.is_empty()).unwrap_or(default)
                }
                Part::Host { ending } => host.strip_suffix(&**ending).unwrap_or(host),
                Part::Last { ending } => {
                    let before = host.strip_suffix(&**ending).unwrap_or(host);
                    before.rsplit('.').next().unwrap_or(before)
                }
            });
        }
        text
    }

    /// Whether instances of one service may give different texts.
    pub fn reads_labels(&self) -> bool {
        self.parts.iter().any(|p| matches!(p, Part::Label { .. }))
    }

    /// Whether different services may give different texts. Without it, all would claim one name.
    pub fn tells_services_apart(&self) -> bool {
        self.parts.iter().any(|p| matches!(p, Part::Service | Part::Label { .. } | Part::Host { .. }))
    }
}

impl Part {
    fn of_host(name: &str) -> Option<Part> {
        let (word, ending) = name.split_once('%').unwrap_or((name, ""));
        match word {
            "host" => Some(Part::Host { ending: ending.into() }),
            "last" => Some(Part::Last { ending: ending.into() }),
            _ => None,
        }
    }

    fn named(name: &str) -> Option<Part> {
        Some(match name {
            "service" => Part::Service,
            "group" => Part::Group,
            "namespace" => Part::Namespace,
            "registry" => Part::Registry,
            _ => {
                let label = name.strip_prefix("label:")?;
                let (key, default) = label.split_once('|').unwrap_or((label, ""));
                if key.is_empty() {
                    return None;
                }
                Part::Label { key: key.into(), default: default.into() }
            }
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ServiceId {
        ServiceId { registry: "r".into(), namespace: "ns".into(), group: "g".into(), name: "svc".into() }
    }

    #[test]
    fn placeholders_are_filled_from_service_and_instance() {
        let service = Labels::from([("a".into(), "service".into()), ("b".into(), "only".into())]);
        let instance = Labels::from([("a".into(), "instance".into())]);
        let render = |t: &str| Template::parse(t).unwrap().render(&id(), &service, &instance);
        assert_eq!(render("{service}.{group}.{namespace}.{registry}.x"), "svc.g.ns.r.x");
        assert_eq!(render("{label:a}-{label:b}-{label:c|none}-{label:d}"), "instance-only-none-");
    }

    #[test]
    fn what_has_a_host_is_named_after_it() {
        let (none, host) = (Labels::new(), "orders.prod.svc.cluster.local");
        let render = |t: &str| Template::parse_of_host(t).unwrap().render_of_host(host, &id(), &none, &none);
        assert_eq!(render("{host} {host%.svc.cluster.local} {host%.nacos}"), format!("{host} orders.prod {host}"));
        assert_eq!(render("{last}/{last%.svc.cluster.local}/{service}"), "local/prod/svc");
        let error = Template::parse_of_host("{hots}").unwrap_err().to_string();
        assert!(error.contains("{hots}") && error.contains("{host%ENDING}"), "{error}");
        assert!(Template::parse("{host}").is_err(), "a host is not named after itself");
    }

    #[test]
    fn mistakes_are_named() {
        for (template, why) in [("{servce}", "{servce}"), ("{a", "brace"), ("a}", "brace"), ("{label:}", "unknown")] {
            let error = Template::parse(template).unwrap_err().to_string();
            assert!(error.contains(why), "{template}: {error}");
        }
        assert!(!Template::parse("all.example").unwrap().tells_services_apart());
    }
}
