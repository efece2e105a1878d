//! What a node declares: the services that it wants of those that its scope has.
//!
//! Two forms are read of `node.metadata`, and what both say counts: our own, and that of envoy-control, with its rules
//! and its words for what is wrong. A mistake ends the stream: a client that asks for the wrong thing must not get more
//! than it asked for.

use super::Unmatched;
use crate::{
    model::Text,
    views::{Pick, Preference, Wanted},
    xds::{LONGEST_METADATA, Metadata, MetadataStruct, MetadataValue as Value},
};
use std::{collections::BTreeMap, sync::Arc};

/// The key of the metadata under which our own form stands.
const OWN: &str = "portolan";
/// Stands for every service.
const ALL: &str = "*";
/// The label that has an instance's tags, unless another is configured.
pub const TAGS: &str = "tags";

/// How a scope limits clients to what their nodes declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What a client gets that declares nothing.
    pub undeclared: Unmatched,
    /// Every client has these services.
    pub always: Vec<Text>,
    /// Whether a client may want all that the scope has.
    pub wildcard: bool,
    /// The label of instances that has their tags, with commas between them.
    pub tags: Text,
}

impl Default for Declared {
    fn default() -> Self {
        Declared { undeclared: Unmatched::None, always: Vec::new(), wildcard: true, tags: TAGS.into() }
    }
}

/// What is wrong with what a node declares. The text is for the client, too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node.metadata: {0}")]
pub struct Wrong(String);

type Read<T> = Result<T, Wrong>;

fn wrong<T>(text: impl Into<String>) -> Read<T> {
    Err(Wrong(text.into()))
}

/// Settings of a service, which inherits what is not set, as in envoy-control.
#[derive(Debug, Clone, Default)]
struct Policy {
    by_tag: bool,
    tags: Arc<[Text]>,
    or_any: bool,
}

/// What a node declares, as far as it was read.
#[derive(Debug, Default)]
struct List {
    services: Vec<(Text, Pick)>,
    rest: Option<Pick>,
    /// Something is declared, if only that nothing is wanted.
    declared: bool,
}

impl Declared {
    /// The services that a node wants; `None`: all that its scope has.
    ///
    /// # Errors
    /// If what it declares is no list of services, or declares nothing where that is refused.
    pub fn read(&self, metadata: &Metadata) -> Read<Option<Wanted>> {
        if metadata.is_too_long() {
            let most = LONGEST_METADATA >> 10;
            return wrong(format!(
                "more than {most} KiB, so that what it declares is not known; declare fewer services"
            ));
        }
        let mut list = List::default();
        self.read_envoy_control(metadata, &mut list)?;
        self.read_own(metadata, &mut list)?;
        match (list.declared, self.undeclared) {
            (false, Unmatched::All) => return Ok(None),
            (false, Unmatched::Refuse) => {
                return wrong("declares no services, which its scope wants; list them in portolan.services");
            }
            _ => {}
        }
        if list.rest.is_some() && !self.wildcard {
            return wrong(format!("{ALL:?} is not allowed in this scope; name the services"));
        }
        // What a client says of them counts more than that all have them.
        let always = self.always.iter().map(|name| (name.clone(), None));
        let wanted = Wanted::new(always.chain(list.services), list.rest);
        Ok(Some(wanted).filter(|wanted| !wanted.is_everything()))
    }

    /// `portolan: { services: [NAME, { service: NAME, tags: [...], fallback: true }] }`.
    fn read_own(&self, metadata: &Metadata, list: &mut List) -> Read<()> {
        let fields = match metadata.get([OWN]) {
            None => return Ok(()),
            Some(Value::Struct(fields)) => fields,
            Some(_) => return wrong("portolan must be a struct, such as { services: [a, b] }"),
        };
        if let Some((key, _)) = fields.iter().find(|(key, _)| *key != "services") {
            return wrong(format!("portolan has the unknown key {key:?}; it knows services"));
        }
        let Some(Value::List(services)) = fields.get("services") else {
            return wrong("portolan.services must be a list of names of services");
        };
        list.declared = true;
        for (at, service) in services.iter().enumerate() {
            let (name, pick) =
                self.read_service(service).map_err(|Wrong(why)| Wrong(format!("portolan.services[{at}] {why}")))?;
            match name {
                ALL => list.rest = Some(pick),
                name => list.services.push((name.into(), pick)),
            }
        }
        Ok(())
    }

    fn read_service<'a>(&self, service: Value<'a>) -> Read<(&'a str, Pick)> {
        const FORM: &str = "must be the name of a service, or { service: NAME, tags: [...] }";
        let (name, pick) = match service {
            Value::Text(name) => (name, None),
            Value::Struct(fields) => {
                let known = |key: &str| matches!(key, "service" | "tags" | "fallback");
                if let Some((key, _)) = fields.iter().find(|(key, _)| !known(key)) {
                    return wrong(format!("has the unknown key {key:?}; it knows service, tags and fallback"));
                }
                let Some(Value::Text(name)) = fields.get("service") else { return wrong(FORM) };
                let or_any = match fields.get("fallback") {
                    None => false,
                    Some(Value::Bool(yes)) => yes,
                    Some(_) => return wrong("has a fallback that is neither true nor false"),
                };
                let tags = match fields.get("tags") {
                    None => return Ok((name, None)),
                    Some(Value::List(tags)) => tags,
                    Some(_) => return wrong("has tags that are no list"),
                };
                let text = |tag| match tag {
                    Value::Text(tag) => Ok(Text::from(tag)),
                    _ => wrong("has a tag that is no text"),
                };
                (name, self.preference(tags.iter().map(text).collect::<Read<_>>()?, or_any))
            }
            _ => return wrong(FORM),
        };
        if name.trim().is_empty() { wrong("names nothing") } else { Ok((name, pick)) }
    }

    fn preference(&self, tags: Box<[Text]>, or_any: bool) -> Pick {
        Some(Arc::new(Preference { label: self.tags.clone(), tags, or_any }))
    }

    /// `proxy_settings.outgoing.dependencies`. As there, what has another type than it should counts as absent.
    fn read_envoy_control(&self, metadata: &Metadata, list: &mut List) -> Read<()> {
        let Some(Value::Struct(outgoing)) = metadata.get(["proxy_settings", "outgoing"]) else { return Ok(()) };
        let Some(Value::List(dependencies)) = outgoing.get("dependencies") else { return Ok(()) };
        list.declared = true;
        let defaults = routing_policy(outgoing, &Policy::default());
        check_timeouts(outgoing)?;
        let mut read = Vec::new();
        for dependency in dependencies.iter() {
            read.push(Dependency::read(dependency)?);
        }
        let mut all = read.iter().filter(|dependency| dependency.target == Target::Service(ALL));
        let (first, further) = (all.next(), all.next());
        if further.is_some() {
            return wrong("Define at most one 'all serviceDependencies identifier' as an service dependency");
        }
        // What holds for all services holds for each that says nothing else.
        let of_all = first.map_or(defaults.clone(), |all| routing_policy(all.fields, &defaults));
        if first.is_some() {
            list.rest = Some(self.pick(&of_all));
        }
        // Many have the same: one value for all of them.
        let mut shared: BTreeMap<(Arc<[Text]>, bool), Pick> = BTreeMap::new();
        for dependency in &read {
            let Some(name) = dependency.name() else { continue };
            let policy = routing_policy(dependency.fields, &of_all);
            let pick = match policy.by_tag {
                true => {
                    shared.entry((policy.tags.clone(), policy.or_any)).or_insert_with(|| self.pick(&policy)).clone()
                }
                false => None,
            };
            list.services.push((name.into(), pick));
        }
        Ok(())
    }

    fn pick(&self, policy: &Policy) -> Pick {
        if policy.by_tag { self.preference(policy.tags.iter().cloned().collect(), policy.or_any) } else { None }
    }
}

/// An entry of envoy-control's list.
struct Dependency<'a> {
    target: Target<'a>,
    fields: MetadataStruct<'a>,
}

#[derive(Debug, PartialEq)]
enum Target<'a> {
    Service(&'a str),
    Domain(&'a str),
    /// A pattern of domains that an egress proxy lets through; it names no service.
    Pattern,
}

impl<'a> Dependency<'a> {
    fn read(value: Value<'a>) -> Read<Dependency<'a>> {
        const ONE: &str = "Define one of: 'service', 'domain' or 'domainPattern' as an outgoing dependency";
        let Value::Struct(fields) = value else { return wrong(ONE) };
        let text = |key| match fields.get(key) {
            Some(Value::Text(text)) if !text.trim().is_empty() => Some(text),
            _ => None,
        };
        let target = match (text("service"), text("domain"), text("domainPattern")) {
            (Some(service), None, None) => Target::Service(service),
            (None, Some(ALL), None) => {
                return wrong(format!("Unsupported 'all serviceDependencies identifier' for domain dependency: {ALL}"));
            }
            (None, Some(domain), None) if scheme(domain).is_none() => {
                return wrong(format!("Unsupported protocol for domain dependency for domain {domain}"));
            }
            (None, Some(domain), None) => Target::Domain(domain),
            (None, None, Some(pattern)) if scheme(pattern).is_some() => {
                return wrong(
                    "Unsupported format for domainPattern: domainPattern cannot contain a schema like http:// or https://",
                );
            }
            (None, None, Some(_)) => Target::Pattern,
            _ => return wrong(ONE),
        };
        check_timeouts(fields)?;
        Ok(Dependency { target, fields })
    }

    /// The name by which services of the scope are looked for; of a domain its host, which a registry may publish.
    fn name(&self) -> Option<&'a str> {
        match self.target {
            Target::Service(ALL) | Target::Pattern => None,
            Target::Service(name) => Some(name),
            Target::Domain(domain) => {
                let authority = scheme(domain)?.split(['/', '?', '#']).next()?;
                Some(authority.rsplit_once(':').map_or(authority, |(host, _)| host))
            }
        }
    }
}

/// What follows `http://` or `https://`; `None` if the text begins with neither.
fn scheme(text: &str) -> Option<&str> {
    text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))
}

/// Each setting that is not there is inherited.
fn routing_policy(fields: MetadataStruct<'_>, inherited: &Policy) -> Policy {
    let Some(Value::Struct(policy)) = fields.get("routingPolicy") else { return inherited.clone() };
    let bool = |key, inherited| match policy.get(key) {
        Some(Value::Bool(yes)) => yes,
        _ => inherited,
    };
    let tags = match policy.get("serviceTagPreference") {
        Some(Value::List(tags)) => {
            let text = |tag| if let Value::Text(tag) = tag { Some(Text::from(tag)) } else { None };
            tags.iter().filter_map(text).collect()
        }
        _ => inherited.tags.clone(),
    };
    Policy {
        by_tag: bool("autoServiceTag", inherited.by_tag),
        tags,
        or_any: bool("fallbackToAnyInstance", inherited.or_any),
    }
}

/// Timeouts are for routes, but a wrong one is a mistake in any case.
fn check_timeouts(fields: MetadataStruct<'_>) -> Read<()> {
    let Some(Value::Struct(timeouts)) = fields.get("timeoutPolicy") else { return Ok(()) };
    for key in ["idleTimeout", "connectionIdleTimeout", "requestTimeout"] {
        match timeouts.get(key) {
            Some(Value::Number(_)) => {
                return wrong("Timeout definition has number format but should be in string format and ends with 's'");
            }
            Some(Value::Text(text)) if !text.trim().is_empty() && !is_duration(text) => {
                return wrong(format!("Timeout definition has incorrect format: Invalid duration string: {text}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// As protobuf writes durations in JSON: seconds with up to nine decimals, and an `s`.
fn is_duration(text: &str) -> bool {
    let Some(number) = text.strip_suffix('s') else { return false };
    let number = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole, 12) && digits(fraction, 9)
}

#[cfg(test)]
mod tests;
