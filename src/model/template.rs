//! Naming templates: text with `{placeholders}`.

use super::{Labels, ServiceId, Text};
use std::fmt;

/// How many defaults may stand in each other: `{label:a|{label:b|{service}}}` has two.
const MAX_DEPTH: usize = 4;

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` without its `}`, or the reverse.
    #[error("template {0:?} has a brace without its partner")]
    Brace(Text),
    /// A placeholder that does not exist.
    #[error(
        "template {0:?} has the unknown placeholder {{{1}}}; known are {{service}}, {{group}}, {{namespace}}, {{registry}} and {{label:KEY}} or {{label:KEY|default}}"
    )]
    Unknown(Text, Text),
    /// A placeholder that does not exist, in a template that may name the host.
    #[error(
        "template {0:?} has the unknown placeholder {{{1}}}; known are {{host}}, {{host%ENDING}}, {{last}}, {{last%ENDING}}, {{service}}, {{group}}, {{namespace}}, {{registry}} and {{label:KEY}} or {{label:KEY|default}}"
    )]
    UnknownOfHost(Text, Text),
}

/// Text with placeholders: `{service}`, `{group}`, `{namespace}`, `{registry}`, `{label:KEY}` (the instance's label, else
/// the service's, else nothing) and `{label:KEY|default}`, where the default may have placeholders itself. What is named
/// after a service that has its host also knows `{host}`, `{host%ENDING}` (without that ending, if it has it), `{last}`
/// (the host's last label) and `{last%ENDING}` (the last label before that ending).
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
    Label { key: Text, default: Vec<Part> },
    Host { ending: Text },
    Last { ending: Text },
}

impl Template {
    /// Reads a template for hosts.
    ///
    /// # Errors
    /// If a reference is not closed, or names what services do not have.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let parts = Reader { source, of_host: false, depth: 0 }.parts(source)?;
        Ok(Template { source: source.into(), parts })
    }

    /// Reads a template for what is named after a service that has its host.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_of_host(source: &str) -> Result<Self, TemplateError> {
        let parts = Reader { source, of_host: true, depth: 0 }.parts(source)?;
        Ok(Template { source: source.into(), parts })
    }

    /// The text for a service and one of its instances.
    pub fn render(&self, id: &ServiceId, service: &Labels, instance: &Labels) -> String {
        self.render_of_host("", id, service, instance)
    }

    /// The text for a service that has that host, and one of its instances.
    pub fn render_of_host(&self, host: &str, id: &ServiceId, service: &Labels, instance: &Labels) -> String {
        let mut text = String::with_capacity(64);
        Subject { host, id, service, instance }.render(&self.parts, &mut text);
        text
    }

    /// What of a service would vanish from the text without a trace: a name that it has not, or a part of dots alone.
    pub fn loses(&self, id: &ServiceId, service: &Labels, instance: &Labels) -> Option<&'static str> {
        Subject { host: "", id, service, instance }.lost(&self.parts)
    }

    /// The texts for a service alone. A label that is a list with commas gives one text for each of its parts, and one that
    /// is not there gives none.
    pub fn render_each(&self, id: &ServiceId, service: &Labels) -> Vec<String> {
        let (mut texts, instance) = (vec![String::new()], Labels::new());
        let subject = Subject { host: "", id, service, instance: &instance };
        for part in self.parts.chunks(1) {
            let mut value = String::new();
            subject.render(part, &mut value);
            let values: Vec<&str> = match part {
                [Part::Label { .. }] => value.split(',').map(str::trim).filter(|value| !value.is_empty()).collect(),
                _ => vec![&value],
            };
            texts = texts.iter().flat_map(|text| values.iter().map(move |value| format!("{text}{value}"))).collect();
        }
        texts
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

/// What a template is filled from.
struct Subject<'a> {
    host: &'a str,
    id: &'a ServiceId,
    service: &'a Labels,
    instance: &'a Labels,
}

impl Subject<'_> {
    fn render(&self, parts: &[Part], text: &mut String) {
        let before = |ending: &str| self.host.strip_suffix(ending).unwrap_or(self.host);
        for part in parts {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Service => text.push_str(&self.id.name),
                Part::Group => text.push_str(&self.id.group),
                Part::Namespace => text.push_str(&self.id.namespace),
                Part::Registry => text.push_str(&self.id.registry),
                Part::Label { key, default } => match self.label(key) {
                    Some(value) => text.push_str(value),
                    None => self.render(default, text),
                },
                Part::Host { ending } => text.push_str(before(ending)),
                Part::Last { ending } => text.push_str(before(ending).rsplit('.').next().unwrap_or_default()),
            }
        }
    }
}

impl Subject<'_> {
    fn label(&self, key: &Text) -> Option<&Text> {
        self.instance.get(key).or_else(|| self.service.get(key)).filter(|value| !value.is_empty())
    }

    fn lost(&self, parts: &[Part]) -> Option<&'static str> {
        let dots = |value: &str| !value.is_empty() && value.bytes().all(|b| b == b'.');
        parts.iter().find_map(|part| match part {
            Part::Service if self.id.name.is_empty() => Some("the service has no name"),
            Part::Service if dots(&self.id.name) => Some("the service's name has nothing that a host name may hold"),
            Part::Group if dots(&self.id.group) => Some("its group has nothing that a host name may hold"),
            Part::Namespace if dots(&self.id.namespace) => Some("its namespace has nothing that a host name may hold"),
            Part::Label { key, default } => match self.label(key) {
                Some(value) => dots(value).then_some("a label has nothing that a host name may hold"),
                None => self.lost(default),
            },
            _ => None,
        })
    }
}

/// Reads the text between a template's ends, or of a default.
struct Reader<'a> {
    source: &'a str,
    of_host: bool,
    depth: usize,
}

impl Reader<'_> {
    fn parts(&self, mut rest: &str) -> Result<Vec<Part>, TemplateError> {
        let mut parts = Vec::new();
        while let Some(brace) = rest.find(['{', '}']) {
            let (text, placeholder) = rest.split_at(brace);
            if !text.is_empty() {
                parts.push(Part::Text(text.into()));
            }
            let enclosed = enclosed(placeholder).filter(|_| self.depth <= MAX_DEPTH);
            let (name, after) = enclosed.ok_or_else(|| TemplateError::Brace(self.source.into()))?;
            parts.push(self.part(name)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(parts)
    }

    fn part(&self, name: &str) -> Result<Part, TemplateError> {
        if let Some(label) = name.strip_prefix("label:") {
            let (key, default) = label.split_once('|').unwrap_or((label, ""));
            let plain = !key.is_empty() && !key.contains(['{', '}']);
            let default = Reader { depth: self.depth + 1, ..*self }.parts(default)?;
            return if plain { Ok(Part::Label { key: key.into(), default }) } else { Err(self.unknown(name)) };
        }
        let (word, ending) = name.split_once('%').unwrap_or((name, ""));
        Ok(match (name, word) {
            ("service", _) => Part::Service,
            ("group", _) => Part::Group,
            ("namespace", _) => Part::Namespace,
            ("registry", _) => Part::Registry,
            (_, "host") if self.of_host => Part::Host { ending: ending.into() },
            (_, "last") if self.of_host => Part::Last { ending: ending.into() },
            _ => return Err(self.unknown(name)),
        })
    }

    fn unknown(&self, name: &str) -> TemplateError {
        let (source, name) = (self.source.into(), name.into());
        if self.of_host { TemplateError::UnknownOfHost(source, name) } else { TemplateError::Unknown(source, name) }
    }
}

/// `{a{b}c}d` has `a{b}c` between its first brace and the partner of that, and `d` behind it.
fn enclosed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[1..at], &text[at + 1..]));
        }
    }
    None
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
        ServiceId::new("r", "ns", "g", "svc")
    }

    #[test]
    fn placeholders_are_filled_from_service_and_instance() {
        let service = Labels::from([("a".into(), "service".into()), ("b".into(), "only".into())]);
        let instance = Labels::from([("a".into(), "instance".into())]);
        let render = |t: &str| Template::parse(t).unwrap().render(&id(), &service, &instance);
        assert_eq!(render("{service}.{group}.{namespace}.{registry}.x"), "svc.g.ns.r.x");
        assert_eq!(render("{label:a}-{label:b}-{label:c|none}-{label:d}"), "instance-only-none-");
        assert_eq!(render("{label:c|{service}.{label:d|x}}.{label:b|{group}}"), "svc.x.only");
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
    fn a_list_in_a_label_gives_a_text_for_each_part() {
        let service = Labels::from([("vip".into(), "a, b,".into()), ("env".into(), "x,y".into())]);
        let render = |t: &str| Template::parse(t).unwrap().render_each(&id(), &service);
        assert_eq!(render("{service}.x"), ["svc.x"]);
        assert_eq!(render("{label:vip}.x"), ["a.x", "b.x"]);
        assert_eq!(render("{label:vip}.{label:env}"), ["a.x", "a.y", "b.x", "b.y"]);
        assert_eq!(render("{label:none|c}.x"), ["c.x"]);
        assert_eq!(render("{label:none}.x"), [""; 0]);
    }

    #[test]
    fn mistakes_are_named() {
        let deep = format!("{}{}", "{label:a|".repeat(10), "}".repeat(10));
        for (template, why) in [
            ("{servce}", "{servce}"),
            ("{a", "brace"),
            ("a}", "brace"),
            ("{label:}", "unknown"),
            ("{{service}}", "unknown"),
            ("{label:a|{}}", "{}"),
            (deep.as_str(), "brace"),
        ] {
            let error = Template::parse(template).unwrap_err().to_string();
            assert!(error.contains(why), "{template}: {error}");
        }
        assert!(!Template::parse("all.example").unwrap().tells_services_apart());
    }
}
