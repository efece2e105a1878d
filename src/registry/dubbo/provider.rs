//! What the parameters of a provider say of it, wherever a registry keeps them. Pure.
//!
//! **Weights.** Dubbo's default is 100. A provider that names a `warmup` starts with a tenth of its weight and has the
//! whole when so many milliseconds have passed since its `timestamp`, in ten steps: each start costs ten small updates,
//! at moments that follow from the parameters alone. Dubbo's own clients let *every* provider warm up for ten minutes; to
//! send ten updates for each start of each provider, wanted or not, is no good bargain for those who are served.

use crate::model::{EndpointPort, Labels, Port, Protocol, Text, Weight};
use serde::Deserialize;
use std::time::{Duration, SystemTime};

/// Dubbo's own default, to which weights are relative.
const DEFAULT_WEIGHT: f64 = 100.0;

/// Schemes of URLs that stand beside providers and cannot be called from elsewhere.
const NO_PROVIDERS: [&str; 9] =
    ["consumer", "override", "route", "condition", "script", "tag", "empty", "absent", "injvm"];

/// Steps in which a weight grows.
const STEPS: u32 = 10;

/// Why a URL is not that of a provider that can be called; `None` if it is one.
pub(crate) fn no_provider<'a>(scheme: &str, parameters: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    if NO_PROVIDERS.contains(&scheme) {
        return Some(format!("{scheme}:// is no provider that can be called"));
    }
    let category = parameters("category").filter(|category| !category.split(',').any(|c| c.trim() == "providers"));
    let side = parameters("side").filter(|side| *side != "provider");
    let (key, value) = category.map(|value| ("category", value)).or(side.map(|value| ("side", value)))?;
    Some(format!("says {key}={value}, so it is no provider"))
}

/// The protocol that the scheme of a URL stands for; TCP for an unknown one.
pub(crate) fn protocol(scheme: &str) -> Protocol {
    match scheme {
        // All of them are carried by HTTP.
        "hessian" | "webservice" | "jsonrpc" => Protocol::Http,
        _ => Protocol::parse(scheme).unwrap_or(Protocol::Tcp),
    }
}

/// The weight of a provider relative to Dubbo's default, and what is wrong with the text of it: then the default counts.
pub(crate) fn weight<'a>(parameters: impl Fn(&str) -> Option<&'a str>) -> (Weight, Option<String>) {
    let Some(text) = parameters("weight") else { return (Weight::DEFAULT, None) };
    let number = text.parse::<f64>().map_err(|_| format!("weight {text:?} is no number"));
    match number.and_then(|n| Weight::relative(n, DEFAULT_WEIGHT).map_err(|error| error.to_string())) {
        Ok(weight) => (weight, None),
        Err(problem) => (Weight::DEFAULT, Some(format!("{problem}; the default counts"))),
    }
}

/// True if a provider is switched off. As for Dubbo, `disabled` goes before `enabled`.
pub(crate) fn is_disabled<'a>(parameters: impl Fn(&str) -> Option<&'a str>) -> bool {
    let is = |key: &str, value: &str| parameters(key).map(|v| v.eq_ignore_ascii_case(value));
    is("disabled", "true").or_else(|| is("enabled", "false")).unwrap_or_default()
}

/// The parameters in an instance's metadata, as a function from key to value. Of one that is absent the value is that with
/// `default.` before its name: so Dubbo 2.6 registers what is set for all services of a provider.
pub(crate) fn in_metadata<'a>(metadata: &'a Labels) -> impl Fn(&str) -> Option<&'a str> + use<'a> {
    let own = without_defaults(metadata);
    move |key| own(key).or_else(|| own(&format!("default.{key}")))
}

/// The same without what is set for all services of a provider.
pub(crate) fn without_defaults<'a>(metadata: &'a Labels) -> impl Fn(&str) -> Option<&'a str> + use<'a> {
    |key| metadata.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
}

#[derive(Deserialize)]
struct Spoken {
    port: i64,
    protocol: String,
}

/// Reads `dubbo.endpoints` of an instance of an application: the protocol of its first port, and its other ports.
/// `None` if the metadata does not have it.
pub(crate) fn endpoints(metadata: &Labels, first: Port) -> Option<(Option<Protocol>, Vec<EndpointPort>)> {
    let spoken: Vec<Spoken> = serde_json::from_str(metadata.get("dubbo.endpoints")?).ok()?;
    let (mut own, mut others) = (None, Vec::new());
    for Spoken { port, protocol } in spoken {
        let Ok(number) = Port::new(port) else { continue };
        let known = Protocol::parse(&protocol);
        if number == first {
            own = own.or(known);
        } else {
            others.push(EndpointPort { number, protocol: known, name: Some(Text::from(protocol)) });
        }
    }
    others.sort();
    others.dedup();
    Some((own, others))
}

/// The weight that a provider has at `now` while it warms up, and until when it has that; `None` if it is warm.
pub(crate) fn warm<'a>(
    parameters: impl Fn(&str) -> Option<&'a str>,
    whole: Weight,
    now: SystemTime,
) -> (Weight, Option<SystemTime>) {
    let number = |key: &str| parameters(key)?.parse::<u64>().ok();
    let (Some(started), Some(warmup)) = (number("timestamp"), number("warmup")) else { return (whole, None) };
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

/// The parts of a tag such as `env=gray,zone=a`.
pub(crate) fn parts_of_tag(tag: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = tag.split(',').filter_map(|part| part.split_once('='));
    parts.map(|(key, value)| (key.trim(), value.trim())).filter(|(key, _)| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters from `key=value&…`.
    fn of<'a>(query: &'a str) -> impl Fn(&str) -> Option<&'a str> {
        move |key| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    #[test]
    fn what_is_set_for_all_services_of_a_provider_counts_where_one_has_nothing_of_its_own() {
        let labels =
            |pairs: &[(&str, &str)]| -> Labels { pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect() };
        for (pairs, expected, off) in [
            (&[("default.weight", "50"), ("default.disabled", "true")][..], 0.5, true),
            (
                &[("default.weight", "50"), ("weight", "200"), ("default.disabled", "true"), ("disabled", "false")],
                2.0,
                false,
            ),
            (&[("default.weight", "50"), ("weight", " ")], 0.5, false),
        ] {
            let labels = labels(pairs);
            let (weight, problem) = weight(in_metadata(&labels));
            assert_eq!((weight.get(), problem, is_disabled(in_metadata(&labels))), (expected, None, off), "{pairs:?}");
        }
    }

    #[test]
    fn a_consumer_is_no_provider_wherever_it_stands() {
        for (scheme, query) in
            [("consumer", ""), ("dubbo", "category=consumers"), ("dubbo", "side=consumer"), ("override", "")]
        {
            assert!(no_provider(scheme, of(query)).is_some(), "{scheme}://?{query}");
        }
        for query in ["", "category=providers&side=provider", "category=providers,configurators"] {
            assert_eq!(no_provider("dubbo", of(query)), None, "{query}");
        }
    }
}
