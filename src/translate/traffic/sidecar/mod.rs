//! Sidecars, outbound: what the program beside one reaches.
//!
//! It reaches services in three ways: through the sidecar as an HTTP proxy; on ports that the sidecar has taken; or
//! unknowingly, where the machine redirects its connections. For all of them there is one configuration of routes for each
//! port of services.

mod clusters;
mod listener;
mod routes;
mod scope;

use super::{finding::Finding, http::Lookup, memo::Memo, virtual_host::Reach, visible};
use crate::resource::{Kind, Name, Resource};
use scope::Scope;
use std::collections::BTreeSet;

pub(super) use routes::hosts_of;

/// What a sidecar is served.
pub(super) fn translate(
    lookup: &Lookup<'_>,
    memo: &mut Memo,
    reach: &mut Reach,
    findings: &mut Vec<Finding>,
) -> Vec<(Kind, Resource)> {
    let services = visible::bound(lookup, super::host::MESH);
    let scope = Scope::new(lookup);
    let mut resources = listener::listeners(lookup, &scope, &services, reach, findings);
    let ports: BTreeSet<String> = resources.iter().flat_map(|made| made.routes.clone()).collect();
    let configurations =
        ports.iter().map(|name| routes::configuration_of(name, lookup, &scope, &services, memo, reach, findings));
    let configurations: Vec<_> = configurations.collect();
    let listeners = resources.drain(..).map(|made| made.resource);
    listeners.chain(configurations).collect()
}

/// The clusters that a sidecar may have; `None`: all.
pub(super) fn clusters(lookup: &Lookup<'_>) -> Option<BTreeSet<Name>> {
    clusters::clusters(lookup, &Scope::new(lookup), &visible::bound(lookup, super::host::MESH))
}
