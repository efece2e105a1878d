//! Listeners and routes for gRPC programs: one listener and one route configuration for each port of a host, so that a
//! change reaches only the programs that call this host.

use super::{
    finding::Finding,
    host::{MESH, is_wildcard},
    http::Lookup,
    manager,
    memo::Memo,
    protocol::is_http,
    shape::Shape,
    sidecar::hosts_of,
    virtual_host::{Reach, configuration, reached, with_port},
    visible::{self, Nearest},
};
use crate::{
    pb::envoy::config::listener::v3::{ApiListener, Listener},
    resource::{Kind, Resource},
};
use prost::Message;
use std::sync::Arc;

/// The listeners that a gRPC program may ask for, and their routes. A listener is named `host:port`, and also `host`
/// for the first port of HTTP.
pub(super) fn translate(
    lookup: &Lookup<'_>,
    memo: &mut Memo,
    reach: &mut Reach,
    findings: &mut Vec<Finding>,
) -> Vec<(Kind, Resource)> {
    let services = visible::bound(lookup, MESH);
    let nearest = Nearest::new(&services);
    let mut resources = Vec::new();
    // A program asks for hosts by name: it would never ask for a wildcard.
    let seen = |shape: &&Arc<Shape>| lookup.service(&shape.host).is_some() && !is_wildcard(&shape.host);
    for shape in lookup.shapes.iter().filter(seen) {
        let ports = shape.ports.iter().filter(|port| is_http(port.protocol));
        for (index, port) in ports.enumerate() {
            let routes = format!("outbound|{}||{}", port.number, shape.host);
            let hosts = hosts_of(shape, port.number, lookup, &services, &nearest, memo);
            reached([&hosts], reach);
            findings.extend(hosts.routes.iter().flat_map(|list| list.findings.iter().cloned()));
            resources.push(listener(&with_port(&shape.host, port.number.into()), &routes));
            if index == 0 {
                resources.push(listener(&shape.host, &routes));
            }
            resources.push(configuration(&routes, vec![hosts], None, false));
        }
    }
    resources
}

fn listener(name: &str, routes: &str) -> (Kind, Resource) {
    let listener = Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener { api_listener: Some(manager::api(routes)) }),
        ..Listener::default()
    };
    (Kind::Listener, Resource::new(Kind::Listener, name.into(), &listener.encode_to_vec(), None))
}
