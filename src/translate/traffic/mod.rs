//! From Istio's own resources to listeners, routes, clusters and assignments, as Istio itself makes them: pure functions.
//!
//! [`Rules`] are read once for all: checked as Istio checks them, names written in full, delegates joined. What of a service
//! they need to know is a [`Shape`], which no instance changes. [`traffic`] makes the listeners and routes of a class of
//! proxies, [`service`] the clusters and assignments of one service.
//!
//! A change of a rule touches what depends on it and nothing else: a route on its VirtualServices and delegates, on whether
//! destinations are there and their ports, and on what DestinationRules say of hashing; a cluster on its service and its
//! DestinationRule; an assignment on instances and the labels of the subset.

mod asked;
mod check;
mod cluster;
mod delegate;
mod destination;
mod entry;
mod files;
mod finding;
mod gateway;
mod grpc;
mod host;
mod http;
mod limit;
mod manager;
mod memo;
mod mesh;
mod message;
mod object;
mod programs;
mod protocol;
mod rules;
mod shape;
mod sidecar;
mod statics;
mod tcp;
#[cfg(test)]
mod tests;
mod uncounted;
mod virtual_host;
mod visible;

pub use asked::Asked;
pub use cluster::service;
pub use finding::{Code, Finding};
pub use memo::Memo;
pub use mesh::{AccessLog, LogFormat, Mesh, OutboundPolicy, PathNormalization};
pub use object::Id;
pub use rules::Rules;
pub use shape::{DeclaredService, Owner, Seen, Shape, ShapePort, Shapes};

use crate::{
    model::{Proxy, ProxyKind},
    resource::{Kind, Name, Resource},
};
use http::Lookup;
use std::collections::BTreeSet;
use virtual_host::Reach;

/// The resources of a class of proxies, without clusters and assignments of services.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// Listeners, route configurations, secrets, and clusters that are no services.
    pub resources: Vec<(Kind, Resource)>,
    /// The names of the clusters of services that these proxies are served. `None`: all.
    pub clusters: Option<BTreeSet<Name>>,
    /// What was found of rules for these proxies; sorted, each once.
    pub findings: Vec<Finding>,
}

/// The listeners and routes of a class of proxies. `memo` makes the next call for the same class and mesh faster and
/// changes nothing else.
pub fn traffic(proxy: &Proxy, rules: &Rules, shapes: &Shapes, mesh: &Mesh, memo: &mut Memo) -> Traffic {
    let lookup = Lookup { proxy, rules, shapes, mesh, only: None };
    let (mut reach, mut findings) = (Reach::default(), Vec::new());
    memo.begin(proxy, mesh);
    let mut resources = match proxy.kind {
        ProxyKind::Router => gateway::translate(&lookup, memo, &mut reach, &mut findings),
        ProxyKind::Sidecar => sidecar::translate(&lookup, memo, &mut reach, &mut findings),
        ProxyKind::Grpc(_) => programs::translate(&lookup, memo, &mut reach, &mut findings),
    };
    memo.end();
    if proxy.kind == ProxyKind::Sidecar {
        resources.extend(statics::clusters(mesh));
    }
    findings.extend(uncounted::findings(&lookup, &reach));
    findings.sort();
    findings.dedup();
    let clusters = match proxy.kind {
        _ if proxy.all_clusters => None,
        ProxyKind::Router => Some(reach.clusters),
        ProxyKind::Sidecar => sidecar::clusters(&lookup),
        ProxyKind::Grpc(_) => None,
    };
    Traffic { resources, clusters, findings }
}
