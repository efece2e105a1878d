//! The hosts that a sidecar sees: all that are exported to its namespace, or those that its `Sidecar` names.

use crate::{
    pb::istio::networking::v1alpha3::{
        CaptureMode, IstioEgressListener, Sidecar, VirtualService, outbound_traffic_policy::Mode,
    },
    translate::traffic::{
        destination::selects,
        host::{matches, subset_of},
        http::Lookup,
        mesh::OutboundPolicy,
        object::Object,
        protocol::Protocol,
        shape::Shape,
    },
};
use std::sync::Arc;

/// The hosts that a sidecar sees, as its `Sidecar` says. `None`: no `Sidecar` holds for it.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    sidecar: Option<&'a Arc<Object<Sidecar>>>,
}

/// The hosts that one egress listener imports; without `hosts` all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    namespace: &'a str,
    hosts: Option<&'a [String]>,
}

/// An egress listener of a `Sidecar` that names a port.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) bind: Option<&'a str>,
    /// Whether the sidecar binds the port (`captureMode: NONE`); else connections to it are redirected.
    pub(super) is_bound: bool,
    pub(super) part: Part<'a>,
}

impl<'a> Scope<'a> {
    /// The `Sidecar` that holds for the proxy: one that selects it, else its namespace's, else the root namespace's.
    pub(super) fn new(lookup: &Lookup<'a>) -> Self {
        let (proxy, rules) = (lookup.proxy, lookup.rules);
        let of = |namespace: &str| {
            let namespace = namespace.to_owned();
            rules.0.sidecars.iter().filter(move |sidecar| *sidecar.id.namespace == *namespace)
        };
        let selected = of(&proxy.namespace)
            .find(|sidecar| sidecar.spec.workload_selector.as_ref().is_some_and(|s| selects(&s.labels, proxy)));
        let general = |sidecar: &&'a Arc<Object<Sidecar>>| sidecar.spec.workload_selector.is_none();
        let own = selected.or_else(|| of(&proxy.namespace).find(general));
        Scope { sidecar: own.or_else(|| of(&lookup.mesh.root_namespace).find(general)) }
    }

    fn egress(&self) -> &'a [IstioEgressListener] {
        self.sidecar.map_or(&[], |sidecar| &sidecar.spec.egress)
    }

    fn part(&self, egress: &'a IstioEgressListener) -> Part<'a> {
        Part { namespace: self.sidecar.map_or("", |sidecar| &sidecar.id.namespace), hosts: Some(&egress.hosts) }
    }

    /// The hosts that are seen on ports which the `Sidecar` does not name.
    pub(super) fn general(&self) -> Part<'a> {
        let egress = self.egress();
        match egress.iter().find(|egress| egress.port.is_none()) {
            Some(egress) => self.part(egress),
            None if egress.is_empty() => Part { namespace: "", hosts: None },
            None => Part { namespace: "", hosts: Some(&[]) },
        }
    }

    /// The hosts that are seen on a port.
    pub(super) fn of_port(&self, port: u16) -> Part<'a> {
        self.opened().find(|opened| opened.port == port).map_or_else(|| self.general(), |opened| opened.part)
    }

    /// Whether a `Sidecar` names the hosts that are seen.
    pub(super) fn is_narrow(&self) -> bool {
        !self.egress().is_empty()
    }

    /// The part of each egress listener, with its port: `None` if it names no port, or takes requests for any. Without
    /// a `Sidecar` one part with everything.
    pub(super) fn imports(&self) -> impl Iterator<Item = (Part<'a>, Option<u32>)> + use<'_, 'a> {
        let everything = (!self.is_narrow()).then(|| (self.general(), None));
        let said = self.egress().iter().map(|egress| {
            let port = egress.port.as_ref().filter(|port| port.number != 0);
            let port = port.filter(|port| Protocol::parse(&port.protocol) != Some(Protocol::HttpProxy));
            (self.part(egress), port.map(|port| port.number))
        });
        everything.into_iter().chain(said)
    }

    /// Whether a `Sidecar` makes the port an HTTP proxy, where requests may be for any port.
    pub(super) fn is_proxy(&self, port: u16) -> bool {
        self.opened().any(|opened| opened.port == port && opened.protocol == Protocol::HttpProxy)
    }

    /// The egress listeners that name a port.
    pub(super) fn opened(&self) -> impl Iterator<Item = Opened<'a>> + use<'_, 'a> {
        self.egress().iter().filter_map(|egress| {
            let port = egress.port.as_ref()?;
            Some(Opened {
                port: u16::try_from(port.number).ok()?,
                protocol: Protocol::parse(&port.protocol)?,
                bind: (!egress.bind.is_empty()).then_some(egress.bind.as_str()),
                is_bound: egress.capture_mode == CaptureMode::None as i32,
                part: self.part(egress),
            })
        })
    }

    /// What is done with requests to unknown hosts; `default` is that of the mesh.
    pub(super) fn policy(&self, default: OutboundPolicy) -> OutboundPolicy {
        let own = self.sidecar.and_then(|sidecar| sidecar.spec.outbound_traffic_policy.as_ref());
        match own.map(|policy| policy.mode) {
            Some(mode) if mode == Mode::AllowAny as i32 => OutboundPolicy::AllowAny,
            Some(_) => OutboundPolicy::RegistryOnly,
            None => default,
        }
    }
}

impl Part<'_> {
    /// Whether the part has all names that the host stands for.
    pub(super) fn has(&self, shape: &Shape) -> bool {
        self.has_host(&shape.host, &shape.namespace, subset_of)
    }

    /// Whether the part imports a VirtualService: by one of its hosts, whose wildcard may stand for more than is seen.
    pub(super) fn imports(&self, service: &Object<VirtualService>) -> bool {
        service.spec.hosts.iter().any(|host| self.has_host(host, &service.id.namespace, matches))
    }

    /// Whether one of the part's hosts admits a host of this namespace. `is` compares the two.
    fn has_host(&self, host: &str, namespace: &str, is: fn(&str, &str) -> bool) -> bool {
        let Some(hosts) = self.hosts else { return true };
        let admits = |admitted: &String| match admitted.split_once('/') {
            Some(("~", _)) | None => false,
            Some((of, name)) => {
                (of == "*" || of == namespace || of == "." && namespace == self.namespace) && is(host, name)
            }
        };
        hosts.iter().any(admits)
    }
}
