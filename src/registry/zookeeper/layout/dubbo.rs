//! Dubbo's interface level: the URLs below `<interface>/providers`. One interface node holds several services, which differ
//! in group and version.

use super::entry::{Converted, Entry, Place, Texts, invalid, service, unreadable};
use crate::{
    model::{Address, Endpoint, EndpointPort, Health, Labels, Locality, Needs, Port, Service},
    registry::{
        dubbo::{
            self as conventions, Identity, Places, Provider,
            consumer::callers,
            overrides::Rule,
            url::{Url, decode},
        },
        metadata,
    },
};
use std::{collections::BTreeMap, time::SystemTime};

/// The child of a root below which Dubbo 3 writes what applications provide, and descriptions of interfaces.
pub(super) const METADATA: &str = "metadata";
/// The child of a root below which configuration stands, by groups. Rules are in the group [`RULES`].
pub(super) const CONFIG: &str = "config";
pub(super) const RULES: &str = "dubbo";
/// The child of an interface's node with the rules of Dubbo 2.6, as URLs.
pub(super) const CONFIGURATORS: &str = "configurators";
pub(super) const ROUTERS: &str = "routers";
/// The child of an interface's node with its consumers, as URLs.
pub(super) const CONSUMERS: &str = "consumers";
/// Children of a root that are no interfaces.
pub(super) const RESERVED: [&str; 3] = [METADATA, "mapping", CONFIG];

/// Why an entry has no endpoint.
enum Problem {
    /// The entry is something else than a provider.
    NoProvider(String),
    /// The entry may be a provider, and cannot be read.
    Unreadable(String),
}

/// The services that the entries of an interface's node make, one for each group and version.
pub(super) fn services(place: Place<'_>, entries: &[Entry], now: SystemTime) -> Converted {
    let interface = decode(place.node).unwrap_or_else(|_| place.node.to_owned());
    let (mut identities, mut texts) = (BTreeMap::<Identity, Places>::new(), Texts::default());
    let (mut others, mut unread) = (Vec::new(), Vec::new());
    for entry in entries {
        let read = Url::parse(&entry.name).map_err(|error| Problem::Unreadable(error.to_string()));
        match read.and_then(|url| Ok((provider(&url, &interface, now, &mut texts)?, url))) {
            Ok(((provider, problem), url)) => {
                let places = identities.entry(identity(&url, &interface)).or_default();
                places.notes.extend(problem.map(|problem| invalid(&shown(&entry.name), problem)));
                places.add(provider);
            }
            Err(Problem::NoProvider(why)) => others.push(invalid(&shown(&entry.name), why)),
            Err(Problem::Unreadable(why)) => unread.push(invalid(&shown(&entry.name), why)),
        }
    }
    if identities.is_empty() && !unread.is_empty() {
        return Converted { unreadable: Some(unreadable(&unread)), ..Converted::default() };
    }
    // What gives no endpoint has no identity: the first one notes it, or else the interface by itself.
    others.append(&mut unread);
    if !others.is_empty() {
        if identities.is_empty() {
            identities.insert(Identity::new(&interface, "", ""), Places::default());
        }
        identities.values_mut().take(1).for_each(|places| places.notes.append(&mut others));
    }
    let until = identities.values().filter_map(Places::until).min();
    let services = identities.into_iter().map(|(identity, places)| service_of(place, &identity, places));
    let mut services: Vec<Service> = services.collect();
    services.sort_by(|a, b| a.id.cmp(&b.id));
    Converted { services, until, ..Converted::default() }
}

fn service_of(place: Place<'_>, identity: &Identity, places: Places) -> Service {
    let (endpoints, notes) = places.finish();
    service(place.id(&identity.group, &identity.versioned()), identity.labels(), endpoints, notes)
}

/// The node whose children are the rules of the configuration centre.
pub(in super::super) fn rules_folder(root: &str) -> String {
    format!("{root}/{CONFIG}/{RULES}")
}

/// The node whose children are the rules beside the providers of an interface.
pub(in super::super) fn configurators(root: &str, node: &str) -> String {
    format!("{root}/{node}/{CONFIGURATORS}")
}

/// The node whose children are the consumers of an interface.
pub(in super::super) fn consumers(root: &str, node: &str) -> String {
    format!("{root}/{node}/{CONSUMERS}")
}

/// What each application needs of an interface, by the names of its consumers' nodes.
pub(in super::super) fn callers_of(node: &str, names: &[String]) -> Needs {
    callers(&decode(node).unwrap_or_else(|_| node.to_owned()), names)
}

/// The interface of a node, and the rules of Dubbo 2.6 that the names below `configurators` are. Names that are no rule
/// are ignored, as by Dubbo.
pub(in super::super) fn rules_of(node: &str, names: &[String]) -> (String, Vec<Rule>) {
    let interface = decode(node).unwrap_or_else(|_| node.to_owned());
    let rule = |name: &String| Rule::of_url(&Url::parse_rule(name).ok()?).ok()?;
    (interface, names.iter().filter_map(rule).collect())
}

/// The node whose children are the rules of Dubbo 2.6 by which consumers of an interface select providers.
pub(in super::super) fn routers(root: &str, node: &str) -> String {
    format!("{root}/{node}/{ROUTERS}")
}

/// The interface of a node, and how many rules the names below `routers` are, without those that are disabled.
pub(in super::super) fn routers_of(node: &str, names: &[String]) -> (String, usize) {
    let interface = decode(node).unwrap_or_else(|_| node.to_owned());
    let is_rule = |name: &&String| {
        let url = Url::parse_rule(name);
        url.is_ok_and(|url| url.scheme != "empty" && url.get("enabled") != Some("false"))
    };
    (interface, names.iter().filter(is_rule).count())
}

/// Group and version of a provider. SOFARPC has a `uniqueId` where Dubbo has a group.
fn identity(url: &Url, interface: &str) -> Identity {
    let group = url.get("group").or_else(|| url.get("uniqueId")).unwrap_or_default();
    Identity::new(interface, group, url.get("version").unwrap_or_default())
}

/// A provider, with what was odd about it; or why it is left out.
fn provider(
    url: &Url,
    interface: &str,
    now: SystemTime,
    texts: &mut Texts,
) -> Result<(Provider, Option<String>), Problem> {
    let get = |key: &str| url.get(key);
    if let Some(why) = conventions::no_provider(&url.scheme, get) {
        return Err(Problem::NoProvider(why));
    }
    if let Some(other) = url.get("interface").filter(|other| *other != interface) {
        return Err(Problem::NoProvider(format!("stands below {interface}, but provides {other}")));
    }
    let address = Address::parse(&url.host).filter(|address| !matches!(address, Address::Unix(_)));
    let nowhere = || Problem::Unreadable(format!("{:?} is neither an address nor a host name", url.host));
    let address = address.ok_or_else(nowhere)?;
    let number = Port::new(url.port).map_err(|error| Problem::Unreadable(error.to_string()))?;
    let labels = labels(url, &identity(url, interface), texts);
    let (whole, problem) = conventions::weight(get);
    let (weight, until) = conventions::warm(get, whole, now);
    let endpoint = Endpoint {
        address,
        ports: [EndpointPort { number, protocol: Some(conventions::protocol(&url.scheme)), name: None }].into(),
        weight,
        // Its node lives as long as its session does.
        health: Health::Healthy,
        enabled: !conventions::is_disabled(get),
        locality: metadata::locality(&labels, Locality::default()),
        labels,
        secure: url.get("ssl-enabled").is_some_and(|on| on.eq_ignore_ascii_case("true")),
    };
    Ok((Provider { endpoint, started: number_of(url, "timestamp").unwrap_or_default(), until }, problem))
}

/// The labels: all parameters. Group and version are as in the identity, and a tag `env=gray,zone=a` also gives its
/// parts.
fn labels(url: &Url, Identity { group, version, .. }: &Identity, texts: &mut Texts) -> Labels {
    let parameters = url.parameters.iter().map(|(key, value)| (&**key, &**value));
    let parameters = parameters.filter(|(key, _)| !matches!(*key, "group" | "version"));
    let identity = [("group", &**group), ("version", &**version)].into_iter().filter(|(_, value)| !value.is_empty());
    let mut labels: Labels =
        parameters.chain(identity).map(|(key, value)| (texts.share(key), texts.share(value))).collect();
    for (key, value) in url.get("dubbo.tag").into_iter().flat_map(conventions::parts_of_tag) {
        labels.entry(texts.share(key)).or_insert_with(|| texts.share(value));
    }
    labels
}

fn number_of(url: &Url, key: &str) -> Option<u64> {
    url.get(key)?.parse().ok()
}

/// An entry as notes name it: decoded if possible, and without what may be a password.
fn shown(name: &str) -> String {
    let text = decode(name).unwrap_or_else(|_| name.to_owned());
    let before = text.split('?').next().unwrap_or_default();
    match (before.split_once("://"), before.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => before.to_owned(),
    }
}
