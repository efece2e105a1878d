//! How Dubbo stands in Nacos. Pure.
//!
//! Interface level: a service is called `providers:INTERFACE:VERSION:GROUP`, with `$` as `___`, and its instances carry
//! the parameters of the provider's URL as metadata. Application level: a service is called as the application, and
//! `dubbo.endpoints` says what each port speaks. What consumers, routers and configurators register serves nobody.

use crate::model::{EndpointPort, Labels, Port, Protocol, Text};
use serde::Deserialize;

/// Dubbo's own default, to which the weights in its URLs are relative.
const DEFAULT_WEIGHT: f64 = 100.0;

/// Whether a service of that name has instances to be called.
pub(super) fn serves(name: &str) -> bool {
    !["consumers:", "routers:", "configurators:"].iter().any(|prefix| name.starts_with(prefix))
}

/// What a name says, as labels; none if it is not Dubbo's.
pub(super) fn labels(name: &str) -> Labels {
    let Some(rest) = name.strip_prefix("providers:") else { return Labels::default() };
    let mut parts = rest.split(':');
    let mut part = || parts.next().unwrap_or_default();
    let (interface, version, group) = (part().replace("___", "$"), part(), part());
    let service = format!("{interface}:{group}:{version}");
    let said = [
        ("interface", &*interface),
        ("group", group),
        ("version", version),
        ("dubbo.service", service.trim_end_matches(':')),
    ];
    said.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.into(), value.into())).collect()
}

/// By how much a provider's own weight differs from Dubbo's default.
pub(super) fn weight(metadata: &Labels) -> f64 {
    let own = metadata.get("weight").and_then(|text| text.trim().parse::<f64>().ok());
    own.filter(|weight| weight.is_finite() && *weight >= 0.0).map_or(1.0, |weight| weight / DEFAULT_WEIGHT)
}

/// Whether a provider takes no part.
pub(super) fn is_disabled(metadata: &Labels) -> bool {
    let is = |key: &str, value: &str| metadata.get(key).is_some_and(|v| v.eq_ignore_ascii_case(value));
    is("disabled", "true") || is("enabled", "false")
}

#[derive(Deserialize)]
struct Spoken {
    port: i64,
    protocol: String,
}

/// The protocol of the first port, and the other ports, of an instance of an application.
pub(super) fn endpoints(metadata: &Labels, first: Port) -> Option<(Option<Protocol>, Vec<EndpointPort>)> {
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
