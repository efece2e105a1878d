//! The check of a Sidecar.

use super::{
    Check,
    text::{is_label, wildcard_domain},
};
use crate::{
    pb::istio::networking::v1alpha3::{CaptureMode, IstioEgressListener, Sidecar},
    resource::Kind,
    translate::traffic::{finding::Finding, object::Object, protocol::Protocol},
};

/// The reasons to refuse the Sidecar. Empty: it is good.
pub(in crate::translate::traffic) fn sidecar(object: &Object<Sidecar>) -> Vec<Finding> {
    let (spec, mut check) = (&object.spec, Check::new(Kind::Sidecar, &object.id));
    if !spec.ingress.is_empty() || spec.inbound_connection_pool.is_some() {
        check.refused(
            "`ingress` and `inboundConnectionPool` are Istio's: requests to the program itself are not handled",
        );
    }
    if let Some(selector) = &spec.workload_selector {
        check.labels("workloadSelector.labels", &selector.labels);
    }
    let without_port = spec.egress.iter().filter(|egress| egress.port.is_none()).count();
    check.require(without_port < 2, || "only one `egress` may have no `port`".into());
    check.each("egress", &spec.egress, |c, egress| c.egress(egress));
    if spec.outbound_traffic_policy.as_ref().is_some_and(|policy| policy.egress_proxy.is_some()) {
        check.at("outboundTrafficPolicy.egressProxy", |c| c.refused("a proxy for what is unknown is not supported"));
    }
    check.finish()
}

impl Check<'_> {
    fn egress(&mut self, egress: &IstioEgressListener) {
        self.require(!egress.hosts.is_empty(), || "it has no `hosts`".into());
        self.each("hosts", &egress.hosts, |c, host| {
            let Some((namespace, name)) = host.split_once('/') else {
                return c.invalid(format!("{host:?} must be a namespace, a slash and a host, such as `*/*`"));
            };
            if namespace.starts_with('~') {
                if namespace != "~" {
                    c.refused("exclusion by `~` is not supported");
                }
                return;
            }
            let fine = matches!(namespace, "*" | ".") || is_label(namespace);
            c.require(fine, || format!("{namespace:?} is no namespace"));
            c.require(name == "*" || name.contains('.'), || format!("{name:?} is a short name; write it in full"));
            c.outcome(wildcard_domain(name));
        });
        let Some(port) = &egress.port else {
            return self.require(egress.bind.is_empty(), || "`bind` needs a `port`".into());
        };
        self.at("port", |c| {
            c.port(port.number);
            c.require(Protocol::parse(&port.protocol).is_some(), || format!("{:?} is no protocol", port.protocol));
        });
        if egress.bind.starts_with("unix://") {
            self.at("bind", |c| c.refused("sidecars listen on addresses, not on unix sockets"));
        } else if !egress.bind.is_empty() {
            let fine = egress.bind.parse::<std::net::IpAddr>().is_ok();
            self.at("bind", |c| c.require(fine, || format!("{:?} is no address", egress.bind)));
            let mode = CaptureMode::try_from(egress.capture_mode).unwrap_or_default();
            let fine = mode != CaptureMode::Iptables;
            self.require(fine, || "with `bind` connections are not redirected: `captureMode` is NONE".into());
        }
    }
}
