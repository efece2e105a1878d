//! Dubbo's interface level: the URLs below `<interface>/providers`. One interface node holds several services, which differ
//! in group and version.
//!
//! **Weights.** Dubbo's default is 100. A provider that names a `warmup` starts with a tenth of its weight and has the
//! whole when so many milliseconds have passed since its `timestamp`, in ten steps: each start costs ten small updates,
//! at moments that follow from the URL alone. Dubbo's own clients let *every* provider warm up for ten minutes; to send
//! ten updates for each start of each provider, wanted or not, is no good bargain for those who are served.

use super::{
    entry::{Converted, Entry, Place, Texts, invalid, service, unreadable},
    url::{Url, decode},
};
use crate::{
    model::{Address, Endpoint, EndpointPort, Health, Labels, Locality, Note, Port, Reason, Service, Weight},
    registry::{
        dubbo::{self as conventions, Identity},
        metadata,
    },
};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

/// Children of a root that are no interfaces.
pub(super) const RESERVED: [&str; 3] = ["metadata", "mapping", "config"];

/// Steps in which a weight grows.
const STEPS: u32 = 10;

struct Provider {
    endpoint: Endpoint,
    /// When it was started, in milliseconds; of two at one place the later one counts.
    started: u64,
    /// When its weight changes by itself.
    until: Option<SystemTime>,
}

#[derive(Default)]
struct Parts {
    /// Of two for one address and port the one that was started later.
    providers: BTreeMap<(Address, EndpointPort), Provider>,
    notes: Vec<Note>,
}

/// Why an entry gives no endpoint.
enum Problem {
    /// It is something else than a provider.
    NoProvider(String),
    /// It may be a provider, and cannot be read.
    Unreadable(String),
}

/// The services of an interface's node.
pub(super) fn services(place: Place<'_>, entries: &[Entry], now: SystemTime) -> Converted {
    let interface = decode(place.node).unwrap_or_else(|_| place.node.to_owned());
    let (mut identities, mut texts) = (BTreeMap::<Identity, Parts>::new(), Texts::default());
    let (mut others, mut unread) = (Vec::new(), Vec::new());
    for entry in entries {
        let read = Url::parse(&entry.name).map_err(|error| Problem::Unreadable(error.to_string()));
        match read.and_then(|url| Ok((provider(&url, &interface, now, &mut texts)?, url))) {
            Ok(((provider, problem), url)) => {
                let parts = identities.entry(identity(&url, &interface)).or_default();
                parts.notes.extend(problem.map(|problem| invalid(&shown(&entry.name), problem)));
                parts.add(provider);
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
            identities.insert(Identity::new(&interface, "", ""), Parts::default());
        }
        identities.values_mut().take(1).for_each(|parts| parts.notes.append(&mut others));
    }
    let until = identities.values().flat_map(|parts| parts.providers.values()).filter_map(|p| p.until).min();
    let services = identities.into_iter().map(|(identity, parts)| parts.service(place, &identity));
    let mut services: Vec<Service> = services.collect();
    services.sort_by(|a, b| a.id.cmp(&b.id));
    Converted { services, until, ..Converted::default() }
}

impl Parts {
    /// A provider that was killed and started again is there twice until its former session ends.
    fn add(&mut self, provider: Provider) {
        let at = (provider.endpoint.address.clone(), provider.endpoint.ports[0].clone());
        let double = |at: &(Address, EndpointPort)| {
            let place = at.0.with_port(at.1.number);
            Note::new(Reason::Duplicate, place, "registered twice; the one that was started later counts")
        };
        match self.providers.get_mut(&at) {
            None => drop(self.providers.insert(at, provider)),
            Some(other) => {
                self.notes.push(double(&at));
                if (provider.started, &provider.endpoint) > (other.started, &other.endpoint) {
                    *other = provider;
                }
            }
        }
    }

    fn service(self, place: Place<'_>, identity: &Identity) -> Service {
        let Identity { interface, group, version } = identity;
        let name = if version.is_empty() { interface.to_string() } else { format!("{interface}:{version}") };
        let mut notes = self.notes;
        notes.sort();
        notes.dedup();
        let endpoints = self.providers.into_values().map(|provider| provider.endpoint).collect();
        service(place.id(group, &name), identity.labels(), endpoints, notes)
    }
}

/// SOFARPC has a `uniqueId` where Dubbo has a group.
fn identity(url: &Url, interface: &str) -> Identity {
    let group = url.get("group").or_else(|| url.get("uniqueId")).unwrap_or_default();
    Identity::new(interface, group, url.get("version").unwrap_or_default())
}

/// A provider, or why it is left out; and what was odd about it.
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
    let (weight, until) = warm(url, whole, now);
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

/// All parameters. Those that make the identity are as it is, and a tag such as `env=gray,zone=a` gives its parts, too.
fn labels(url: &Url, Identity { group, version, .. }: &Identity, texts: &mut Texts) -> Labels {
    let parameters = url.parameters.iter().map(|(key, value)| (&**key, &**value));
    let parameters = parameters.filter(|(key, _)| !matches!(*key, "group" | "version"));
    let identity = [("group", &**group), ("version", &**version)].into_iter().filter(|(_, value)| !value.is_empty());
    let mut labels: Labels =
        parameters.chain(identity).map(|(key, value)| (texts.share(key), texts.share(value))).collect();
    let parts = url.get("dubbo.tag").into_iter().flat_map(|tag| tag.split(',')).filter_map(|part| part.split_once('='));
    for (key, value) in parts {
        labels.entry(texts.share(key.trim())).or_insert_with(|| texts.share(value.trim()));
    }
    labels
}

/// The share of a weight that a provider has while it warms up, and until when it has that.
fn warm(url: &Url, whole: Weight, now: SystemTime) -> (Weight, Option<SystemTime>) {
    let (Some(started), Some(warmup)) = (number_of(url, "timestamp"), number_of(url, "warmup")) else {
        return (whole, None);
    };
    let begin = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(started));
    let step = Duration::from_millis(warmup / u64::from(STEPS));
    let (Some(begin), false) = (begin, step.is_zero()) else { return (whole, None) };
    // A provider whose clock is ahead has not begun.
    let passed = now.duration_since(begin).unwrap_or_default();
    let steps = u32::try_from(passed.as_nanos() / step.as_nanos()).unwrap_or(u32::MAX).saturating_add(1);
    if steps >= STEPS {
        return (whole, None);
    }
    let share = whole.millionths() * u64::from(steps) / u64::from(STEPS);
    (Weight::of_millionths(share.max(whole.millionths().min(1))), begin.checked_add(step * steps))
}

fn number_of(url: &Url, key: &str) -> Option<u64> {
    url.get(key)?.parse().ok()
}

/// How notes name an entry: readable if it can be, and without what may be a password.
fn shown(name: &str) -> String {
    let text = decode(name).unwrap_or_else(|_| name.to_owned());
    let before = text.split('?').next().unwrap_or_default();
    match (before.split_once("://"), before.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => before.to_owned(),
    }
}
