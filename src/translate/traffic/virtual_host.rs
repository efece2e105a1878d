//! Virtual hosts and the configurations of routes that hold them, put together from encoded routes.
//!
//! A configuration may have thousands of hosts. Only the head of each is encoded anew; the bytes of its routes are
//! copied.

use super::{
    http::RouteList,
    limit::{self, Bucket, Buckets},
    message::{boolean, number},
};
use crate::{
    model::Text,
    pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost, virtual_host::TlsRequirementType},
    resource::{Kind, Name, Resource, put_field},
    translate::Limit,
};
use prost::Message;
use std::{collections::BTreeSet, sync::Arc};

/// The field number of `RouteConfiguration.virtual_hosts`.
const VIRTUAL_HOSTS: u32 = 2;

/// The largest body of a `directResponse`, in bytes, as in Istio; Envoy's default is 4 KiB.
const LARGEST_BODY: u32 = 1 << 20;

/// The clusters that routes and listeners lead to.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) clusters: BTreeSet<Name>,
    /// The services, with ports, whose requests are counted.
    pub(super) counted: BTreeSet<(Text, u32)>,
}

/// A virtual host: the routes of one or more domains.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    pub(super) name: String,
    pub(super) domains: Vec<String>,
    /// The lists of all VirtualServices of the hosts, in order. Routes that take all requests are written last.
    pub(super) routes: Vec<Arc<RouteList>>,
    /// Whether requests without TLS are redirected to https.
    pub(super) needs_tls: bool,
    /// The limit of requests for these hosts, by whatever route. `None`: no limit.
    pub(super) limit: Option<Limit>,
}

impl Hosts {
    fn encode(&self) -> Vec<u8> {
        let tls = if self.needs_tls { TlsRequirementType::All } else { TlsRequirementType::None };
        let head = VirtualHost {
            name: self.name.clone(),
            domains: self.domains.clone(),
            require_tls: tls.into(),
            rate_limits: self.bucket().iter().map(|(bucket, _)| bucket.counts()).collect(),
            include_request_attempt_count: true,
            ..VirtualHost::default()
        };
        let mut bytes = head.encode_to_vec();
        self.routes.iter().for_each(|list| bytes.extend(&list.routes));
        self.routes.iter().for_each(|list| bytes.extend(&list.last));
        bytes
    }

    fn bucket(&self) -> Option<(Bucket, Limit)> {
        Some((Bucket::Host(self.domains.first()?.clone()), self.limit?))
    }

    /// Whether both have the same routes and no limit, so that they can become one virtual host.
    pub(super) fn is_like(&self, other: &Hosts) -> bool {
        let same = |(a, b): (&Arc<RouteList>, &Arc<RouteList>)| Arc::ptr_eq(a, b);
        self.needs_tls == other.needs_tls
            && self.limit.is_none()
            && other.limit.is_none()
            && self.routes.len() == other.routes.len()
            && self.routes.iter().zip(&other.routes).all(same)
    }
}

/// A route configuration. Virtual hosts are sorted by name; `last` stands at the end. `ignore_ports`: domains have no
/// ports.
pub(super) fn configuration(
    name: &str,
    mut hosts: Vec<Hosts>,
    last: Option<Hosts>,
    ignore_ports: bool,
) -> (Kind, Resource) {
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut bytes = RouteConfiguration { name: name.to_owned(), ..RouteConfiguration::default() }.encode_to_vec();
    let mut buckets = Buckets::new();
    for hosts in hosts.iter().chain(&last) {
        buckets.extend(hosts.bucket());
        buckets.extend(hosts.routes.iter().flat_map(|list| list.buckets.clone()));
        put_field(&mut bytes, VIRTUAL_HOSTS, &hosts.encode());
    }
    let rest = RouteConfiguration {
        validate_clusters: boolean(false),
        max_direct_response_body_size_bytes: number(LARGEST_BODY),
        ignore_port_in_host_matching: ignore_ports,
        typed_per_filter_config: limit::settings(&buckets)
            .map(|of| (limit::FILTER.to_owned(), of))
            .into_iter()
            .collect(),
        ..RouteConfiguration::default()
    };
    bytes.extend(rest.encode_to_vec());
    (Kind::Route, Resource::new(Kind::Route, name.into(), &bytes, None))
}

/// Adds to `reach` what the routes of these hosts lead to.
pub(super) fn reached<'a>(hosts: impl IntoIterator<Item = &'a Hosts>, reach: &mut Reach) {
    for list in hosts.into_iter().flat_map(|hosts| &hosts.routes) {
        reach.clusters.extend(list.clusters.iter().cloned());
        reach.counted.extend(list.counted.iter().cloned());
    }
}

/// `host:port`, with an IPv6 address in brackets.
pub(super) fn with_port(host: &str, port: u32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
