//! The check of a VirtualService.

use super::{Check, text::is_label};
use crate::{
    pb::istio::networking::v1alpha3::{L4MatchAttributes, TcpRoute, TlsMatchAttributes, TlsRoute, VirtualService},
    resource::Kind,
    translate::traffic::{
        finding::Finding,
        host::{HostMap, MESH},
        object::Object,
    },
};
use std::collections::BTreeSet;

/// Hosts in which others can be looked up.
type Hosts = HostMap<()>;

/// The reasons to refuse the VirtualService, and what in it has no effect. Empty: it is good.
pub(in crate::translate::traffic) fn virtual_service(object: &Object<VirtualService>) -> Vec<Finding> {
    let (spec, mut check) = (&object.spec, Check::new(Kind::VirtualService, &object.id));
    let is_delegate = spec.hosts.is_empty();
    if is_delegate {
        let text = |what| format!("without `hosts` it is a delegate, which has no `{what}`");
        check.require(spec.gateways.is_empty(), || text("gateways"));
        check.require(spec.tls.is_empty(), || text("tls"));
        check.require(spec.tcp.is_empty(), || text("tcp"));
    }
    let mut hosts = Hosts::default();
    spec.hosts.iter().for_each(|host| *hosts.entry(host) = ());
    check.gateways(&spec.gateways);
    check.hosts(spec, &hosts);
    let any = !spec.http.is_empty() || !spec.tls.is_empty() || !spec.tcp.is_empty();
    check.require(any, || "it needs `http`, `tls` or `tcp`".into());
    check.each("http", &spec.http, |c, route| c.http_route(route, is_delegate));
    check.each("tls", &spec.tls, |c, route| c.tls_route(route, &hosts));
    check.each("tcp", &spec.tcp, |c, route| c.tcp_route(route));
    check.export_to(&object.id.namespace, &spec.export_to, false);
    check.finish()
}

impl Check<'_> {
    fn hosts(&mut self, spec: &VirtualService, all: &Hosts) {
        let for_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == MESH);
        let mut all_fine = true;
        self.each("hosts", &spec.hosts, |c, host| {
            all_fine &= c.domain_or_address(host, true);
            if for_mesh && host == "*" {
                c.invalid("`*` is for gateways only; name the hosts, or leave `mesh` out of `gateways`");
                all_fine = false;
            }
        });
        if !all_fine {
            return;
        }
        let mut seen = BTreeSet::new();
        for host in &spec.hosts {
            let other = if seen.insert(host) { all.wider(host) } else { Some(host.as_str()) };
            if let Some(other) = other {
                self.at("hosts", |c| c.invalid(format!("{host:?} and {other:?} stand for the same")));
            }
        }
    }

    fn tls_route(&mut self, route: &TlsRoute, hosts: &Hosts) {
        self.require(!route.r#match.is_empty(), || "it has no `match`".into());
        self.each("match", &route.r#match, |c, m| c.tls_match(m, hosts));
        self.destinations(&route.route);
    }

    fn tls_match(&mut self, m: &TlsMatchAttributes, hosts: &Hosts) {
        self.require(!m.sni_hosts.is_empty(), || "it has no `sniHosts`".into());
        self.each("sniHosts", &m.sni_hosts, |c, sni| {
            let fine = c.domain_or_address(sni, true);
            let within = hosts.best(sni).is_some() || sni.parse::<std::net::IpAddr>().is_ok();
            c.require(!fine || within, || format!("{sni:?} is not one of the `hosts`"));
        });
        self.subnets(&m.destination_subnets);
        if m.port != 0 {
            self.at("port", |c| c.port(m.port));
        }
        self.labels("sourceLabels", &m.source_labels);
        self.gateways(&m.gateways);
        self.source_namespace(&m.source_namespace);
    }

    fn tcp_route(&mut self, route: &TcpRoute) {
        self.each("match", &route.r#match, |c, m| c.tcp_match(m));
        self.destinations(&route.route);
    }

    fn tcp_match(&mut self, m: &L4MatchAttributes) {
        self.subnets(&m.destination_subnets);
        if m.port != 0 {
            self.at("port", |c| c.port(m.port));
        }
        if !m.source_subnet.is_empty() {
            self.ignored("Istio does not look at `sourceSubnet`");
        }
        self.labels("sourceLabels", &m.source_labels);
        self.gateways(&m.gateways);
        self.source_namespace(&m.source_namespace);
    }

    fn source_namespace(&mut self, namespace: &str) {
        let fine = namespace.is_empty() || is_label(namespace);
        self.at("sourceNamespace", |c| c.require(fine, || format!("{namespace:?} is no namespace")));
    }
}
