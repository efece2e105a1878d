//! Gateways as listeners and configurations of routes.
//!
//! Gateways that select the same proxy are merged, as Istio merges them: what cannot stand beside an earlier server is left
//! out. Listeners with HTTP do not depend on VirtualServices, so that a change of a route drains no connection.

mod listener;
mod merge;
mod routes;
mod tls;

use super::{
    destination::selects, finding::Finding, http::Lookup, memo::Memo, object::Object, virtual_host::Reach, visible,
};
use crate::{
    pb::istio::networking::v1alpha3::Gateway,
    resource::{Kind, Resource},
};
use merge::{Bound, Merged};
use std::{collections::BTreeSet, sync::Arc};

/// The listeners, secrets and route configurations of a proxy that is a gateway.
pub(super) fn translate(
    lookup: &Lookup<'_>,
    memo: &mut Memo,
    reach: &mut Reach,
    findings: &mut Vec<Finding>,
) -> Vec<(Kind, Resource)> {
    let selected = |gateway: &&Arc<Object<Gateway>>| selects(&gateway.spec.selector, lookup.proxy);
    let gateways: Vec<_> = lookup.rules.0.gateways.iter().filter(selected).collect();
    let merged = Merged::new(&gateways, findings);
    let names: BTreeSet<String> = gateways.iter().map(|gateway| gateway.id.to_string()).collect();
    let bound: Bound<'_> = names.into_iter().map(|name| (name.clone(), visible::bound(lookup, &name))).collect();
    let mut resources = listener::listeners(&merged, &bound, lookup, reach, findings);
    resources.extend(routes::configurations(&merged, &bound, lookup, memo, reach, findings));
    resources
}
