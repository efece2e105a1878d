//! Naming templates: text with `{placeholders}`.

use crate::model::{Labels, ServiceId, Text};
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
}

/// Text with placeholders: `{service}`, `{group}`, `{namespace}`, `{registry}`, `{label:KEY}` (the instance's label, else
/// the service's, else nothing) and `{label:KEY|default}`.
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
}

impl Template {
    /// Reads a template.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
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
            parts.push(Part::named(name).ok_or_else(|| TemplateError::Unknown(source.into(), name.into()))?);
            rest = after;
        }
        Ok(Template { source: source.into(), parts })
    }

    /// The text for a service and one of its instances.
    pub fn render(&self, id: &ServiceId, service: &Labels, instance: &Labels) -> String {
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
        self.parts.iter().any(|p| matches!(p, Part::Service | Part::Label { .. }))
    }
}

impl Part {
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
    fn mistakes_are_named() {
        for (template, why) in [("{servce}", "{servce}"), ("{a", "brace"), ("a}", "brace"), ("{label:}", "unknown")] {
            let error = Template::parse(template).unwrap_err().to_string();
            assert!(error.contains(why), "{template}: {error}");
        }
        assert!(!Template::parse("all.example").unwrap().tells_services_apart());
    }
}
