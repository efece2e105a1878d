//! Dubbo's interface level: the URLs below `<interface>/providers`. One interface node holds several services, told apart
//! by group and version.
//!
//! **Weights.** Dubbo's default is 100. A provider that names a `warmup` starts with a tenth of its weight and has the
//! whole when so many milliseconds have passed since its `timestamp`, in ten steps: each start costs ten small updates,
//! at moments that follow from the URL alone. Dubbo's own clients let *every* provider warm up for ten minutes; to send
//! ten updates for each start of each provider, wanted or not, is no good bargain for those who are served.

use super::{
    convert::{Converted, Entry, Place, Texts, invalid, service},
    url::{Url, decode},
};
use crate::{
    model::{Address, Endpoint, EndpointPort, Health, Labels, Locality, Note, Port, Protocol, Reason, Service, Weight},
    registry::metadata,
};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

/// Children of a root that are no interfaces.
pub(super) const RESERVED: [&str; 3] = ["metadata", "mapping", "config"];

/// Dubbo's own default, to which weights are relative.
const DEFAULT_WEIGHT: f64 = 100.0;

/// Steps in which a weight grows.
const STEPS: u32 = 10;

/// What stands in a providers' folder without being one that can be called from elsewhere.
const NO_PROVIDERS: [&str; 9] =
    ["consumer", "override", "route", "condition", "script", "tag", "empty", "absent", "injvm"];

/// What a service of an interface is known by: its group and its version; either may be empty.
type Key = (String, String);

/// One readable URL.
struct Provider {
    endpoint: Endpoint,
    /// When it was started, in milliseconds; of two at one place the later one counts.
    started: u64,
    /// When its weight changes by itself.
    until: Option<SystemTime>,
}

#[derive(Default)]
struct Parts {
    /// By place.
    providers: BTreeMap<(Address, EndpointPort), Provider>,
    notes: Vec<Note>,
}

/// The services of an interface's node.
pub(super) fn services(place: Place<'_>, entries: &[Entry], now: SystemTime) -> Converted {
    let interface = decode(place.node).unwrap_or_else(|_| place.node.to_owned());
    let (mut keys, mut unread, mut texts) = (BTreeMap::<Key, Parts>::new(), Vec::new(), Texts::default());
    for entry in entries {
        let read = Url::parse(&entry.name).map_err(|error| error.to_string());
        match read.and_then(|url| Ok((provider(&url, &interface, now, &mut texts)?, url))) {
            Ok(((provider, problem), url)) => {
                let parts = keys.entry(key(&url)).or_default();
                parts.notes.extend(problem.map(|problem| invalid(&shown(&entry.name), problem)));
                parts.add(provider);
            }
            Err(problem) => unread.push(invalid(&shown(&entry.name), problem)),
        }
    }
    // What cannot be read belongs to no key: it is told with the first, or else the interface stands for itself.
    if !unread.is_empty() {
        if keys.is_empty() {
            keys.insert(Key::default(), Parts::default());
        }
        keys.values_mut().take(1).for_each(|parts| parts.notes.append(&mut unread));
    }
    let until = keys.values().flat_map(|parts| parts.providers.values()).filter_map(|p| p.until).min();
    let services = keys.into_iter().map(|(key, parts)| parts.service(place, &interface, key));
    let mut services: Vec<Service> = services.collect();
    services.sort_by(|a, b| a.id.cmp(&b.id));
    Converted { services, until }
}

impl Parts {
    /// A provider that was killed and started again is there twice until its former session ends.
    fn add(&mut self, provider: Provider) {
        let at = (provider.endpoint.address.clone(), provider.endpoint.ports[0].clone());
        let double = |at: &(Address, EndpointPort)| {
            let place = format!("{}:{}", at.0, at.1.number);
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

    fn service(self, place: Place<'_>, interface: &str, (group, version): Key) -> Service {
        let name = if version.is_empty() { interface.to_owned() } else { format!("{interface}:{version}") };
        let original = format!("{interface}:{group}:{version}");
        let labels = [
            ("interface", interface),
            ("group", &group),
            ("version", &version),
            ("dubbo.service", original.trim_end_matches(':')),
        ];
        let mut notes = self.notes;
        notes.sort();
        notes.dedup();
        let endpoints = self.providers.into_values().map(|provider| provider.endpoint).collect();
        service(place.id(&group, &name), said(labels), endpoints, notes)
    }
}

/// The labels that have a value.
fn said<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
    labels.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.into(), value.into())).collect()
}

/// SOFARPC tells services of one interface apart by `uniqueId`, where Dubbo has a group.
fn key(url: &Url) -> Key {
    let group = url.get("group").or_else(|| url.get("uniqueId")).unwrap_or_default();
    (group.into(), url.get("version").unwrap_or_default().into())
}

/// A provider, or why it is left out; and what was odd about it.
fn provider(
    url: &Url,
    interface: &str,
    now: SystemTime,
    texts: &mut Texts,
) -> Result<(Provider, Option<String>), String> {
    if NO_PROVIDERS.contains(&url.scheme.as_str()) {
        return Err(format!("{}:// is no provider that can be called", url.scheme));
    }
    if let Some(other) = url.get("interface").filter(|other| *other != interface) {
        return Err(format!("stands below {interface}, but provides {other}"));
    }
    let address = Address::parse(&url.host).filter(|address| !matches!(address, Address::Unix(_)));
    let address = address.ok_or_else(|| format!("{:?} is neither an address nor a host name", url.host))?;
    let number = Port::new(url.port).map_err(|error| error.to_string())?;
    let labels = labels(url, texts);
    let (whole, problem) = weight(url);
    let (weight, until) = warm(url, whole, now);
    let is = |key: &str, value: &str| url.get(key).is_some_and(|v| v.eq_ignore_ascii_case(value));
    let endpoint = Endpoint {
        address,
        ports: vec![EndpointPort { number, protocol: Some(protocol(&url.scheme)), name: None }],
        weight,
        // Its node lives as long as its session does.
        health: Health::Healthy,
        enabled: !is("disabled", "true") && !is("enabled", "false"),
        locality: metadata::locality(&labels, Locality::default()),
        labels,
        secure: is("ssl-enabled", "true"),
    };
    Ok((Provider { endpoint, started: number_of(url, "timestamp").unwrap_or_default(), until }, problem))
}

/// What a scheme speaks. What nobody knows is bytes.
fn protocol(scheme: &str) -> Protocol {
    match scheme {
        // Both are carried by HTTP.
        "hessian" | "webservice" | "jsonrpc" => Protocol::Http,
        _ => Protocol::parse(scheme).unwrap_or(Protocol::Tcp),
    }
}

/// All parameters. Those that make the identity are as it is, and a tag such as `env=gray,zone=a` gives its parts, too.
fn labels(url: &Url, texts: &mut Texts) -> Labels {
    let (group, version) = key(url);
    let parameters = url.parameters.iter().map(|(key, value)| (&**key, &**value));
    let parameters = parameters.filter(|(key, _)| !matches!(*key, "group" | "version"));
    let identity = [("group", &*group), ("version", &*version)].into_iter().filter(|(_, value)| !value.is_empty());
    let mut labels: Labels =
        parameters.chain(identity).map(|(key, value)| (texts.share(key), texts.share(value))).collect();
    let parts = url.get("dubbo.tag").into_iter().flat_map(|tag| tag.split(',')).filter_map(|part| part.split_once('='));
    for (key, value) in parts {
        labels.entry(texts.share(key.trim())).or_insert_with(|| texts.share(value.trim()));
    }
    labels
}

/// The static weight; one that is no weight is Dubbo's default.
fn weight(url: &Url) -> (Weight, Option<String>) {
    let Some(text) = url.get("weight") else { return (Weight::DEFAULT, None) };
    let number = text.parse::<f64>().map_err(|_| format!("weight {text:?} is no number"));
    match number.and_then(|n| Weight::relative(n, DEFAULT_WEIGHT).map_err(|error| error.to_string())) {
        Ok(weight) => (weight, None),
        Err(problem) => (Weight::DEFAULT, Some(format!("{problem}; the default counts"))),
    }
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
