//! Virtual hosts and the configurations of routes that hold them, put together from encoded routes.
//!
//! A configuration has one entry for each host of thousands: it is a row of bytes, of which only the heads are new.

use super::{
    http::RouteList,
    message::{boolean, number},
};
use crate::{
    pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost, virtual_host::TlsRequirementType},
    resource::{Kind, Name, Resource, put_field},
};
use prost::Message;
use std::{collections::BTreeSet, sync::Arc};

/// `RouteConfiguration.virtual_hosts`.
const VIRTUAL_HOSTS: u32 = 2;

/// What Istio allows for bodies of the proxy's own; Envoy's own limit is 4 KiB.
const LARGEST_BODY: u32 = 1 << 20;

/// The routes of some hosts.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    pub(super) name: String,
    pub(super) domains: Vec<String>,
    /// Of several VirtualServices, in order. Those that take everything go behind the others.
    pub(super) routes: Vec<Arc<RouteList>>,
    /// Whether requests without TLS are sent to https.
    pub(super) needs_tls: bool,
}

impl Hosts {
    fn encode(&self) -> Vec<u8> {
        let tls = if self.needs_tls { TlsRequirementType::All } else { TlsRequirementType::None };
        let head = VirtualHost {
            name: self.name.clone(),
            domains: self.domains.clone(),
            require_tls: tls.into(),
            include_request_attempt_count: true,
            ..VirtualHost::default()
        };
        let mut bytes = head.encode_to_vec();
        self.routes.iter().for_each(|list| bytes.extend(&list.routes));
        self.routes.iter().for_each(|list| bytes.extend(&list.last));
        bytes
    }

    /// Whether they have the same routes, so that they can be one.
    pub(super) fn is_like(&self, other: &Hosts) -> bool {
        let same = |(a, b): (&Arc<RouteList>, &Arc<RouteList>)| Arc::ptr_eq(a, b);
        self.needs_tls == other.needs_tls
            && self.routes.len() == other.routes.len()
            && self.routes.iter().zip(&other.routes).all(same)
    }
}

/// A configuration of routes. Hosts are by name, but for `last`.
pub(super) fn configuration(
    name: &str,
    mut hosts: Vec<Hosts>,
    last: Option<Hosts>,
    ignore_ports: bool,
) -> (Kind, Resource) {
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut bytes = RouteConfiguration { name: name.to_owned(), ..RouteConfiguration::default() }.encode_to_vec();
    for hosts in hosts.iter().chain(&last) {
        put_field(&mut bytes, VIRTUAL_HOSTS, &hosts.encode());
    }
    let rest = RouteConfiguration {
        validate_clusters: boolean(false),
        max_direct_response_body_size_bytes: number(LARGEST_BODY),
        ignore_port_in_host_matching: ignore_ports,
        ..RouteConfiguration::default()
    };
    bytes.extend(rest.encode_to_vec());
    (Kind::Route, Resource::new(Kind::Route, name.into(), &bytes, None))
}

/// Where the routes of some hosts may lead.
pub(super) fn reached<'a>(hosts: impl IntoIterator<Item = &'a Hosts>, clusters: &mut BTreeSet<Name>) {
    for list in hosts.into_iter().flat_map(|hosts| &hosts.routes) {
        clusters.extend(list.clusters.iter().cloned());
    }
}

/// `host:port`; IPv6 in brackets.
pub(super) fn with_port(host: &str, port: u32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
