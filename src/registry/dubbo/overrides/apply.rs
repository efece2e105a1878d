//! Applies rules to a service: providers that a rule changes are replaced. Pure.

use super::{Overrides, Rule, Target};
use crate::{
    model::{Endpoint, Labels, Service, Text, Weight},
    registry::{
        dubbo::{Identity, in_metadata, is_disabled, parts_of_tag, weight, without_defaults},
        metadata::locality,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// A service with rules applied. It is the same `Arc` if they change nothing.
pub(crate) fn overridden(
    service: &Arc<Service>,
    identity: &Identity,
    overrides: &Overrides,
    beside: &[Rule],
) -> Arc<Service> {
    if beside.is_empty() && overrides.is_empty() {
        return service.clone();
    }
    let changed = |endpoint: &Endpoint| {
        let host = endpoint.address.to_string();
        let application = endpoint.labels.get("application").map(|application| &**application);
        let port = endpoint.ports.first().map_or(0, |port| port.number.get());
        let target = Target { identity, application, host: &host, port };
        overrides.changes(&target, beside, without_defaults(&endpoint.labels))
    };
    let changes: Vec<BTreeMap<Text, Text>> = service.endpoints.iter().map(changed).collect();
    if changes.iter().all(BTreeMap::is_empty) {
        return service.clone();
    }
    let endpoints = service.endpoints.iter().zip(changes).map(|(endpoint, changes)| with(endpoint, changes)).collect();
    let Service { endpoints, .. } = Service::new(service.id.clone(), endpoints);
    Arc::new(Service { endpoints, ..Service::clone(service) })
}

/// A provider with these parameters changed. Its share of the weight while it warms up stays, and so does that the
/// registry has switched it off.
fn with(endpoint: &Endpoint, changes: BTreeMap<Text, Text>) -> Endpoint {
    if changes.is_empty() {
        return endpoint.clone();
    }
    let mut labels: Labels = endpoint.labels.clone();
    for (key, value) in changes.get("dubbo.tag").into_iter().flat_map(|tag| parts_of_tag(tag)) {
        labels.insert(key.into(), value.into());
    }
    labels.extend(changes);
    let whole = |labels: &Labels| weight(in_metadata(labels)).0;
    let (before, now) = (whole(&endpoint.labels), whole(&labels));
    let share = if before.millionths() == 0 { 1.0 } else { endpoint.weight.get() / before.get() };
    let off = |labels: &Labels| is_disabled(in_metadata(labels));
    Endpoint {
        weight: Weight::relative(now.get() * share, 1.0).unwrap_or(now),
        enabled: (endpoint.enabled || off(&endpoint.labels)) && !off(&labels),
        locality: locality(&labels, endpoint.locality.clone()),
        labels,
        ..endpoint.clone()
    }
}
