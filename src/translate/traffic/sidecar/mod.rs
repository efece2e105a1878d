//! Outbound listeners, routes and clusters of sidecars.
//!
//! The program beside a sidecar reaches services in three ways: by the sidecar as an HTTP proxy; on ports where the
//! sidecar listens; or without knowing it, where the machine redirects its connections. For all of them there is one
//! route configuration for each port of services.

mod clusters;
mod listener;
mod routes;
mod scope;

use super::{finding::Finding, http::Lookup, memo::Memo, virtual_host::Reach, visible};
use crate::resource::{Kind, Name, Resource};
use scope::Scope;
use std::collections::BTreeSet;

pub(super) use routes::hosts_of;

/// The listeners and route configurations of a sidecar.
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

/// The names of the clusters of services that a sidecar is served. `None`: all.
pub(super) fn clusters(lookup: &Lookup<'_>) -> Option<BTreeSet<Name>> {
    clusters::clusters(lookup, &Scope::new(lookup), &visible::bound(lookup, super::host::MESH))
}
