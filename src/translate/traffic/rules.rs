//! All of Istio's resources that are obeyed here, read and joined once for all proxies.
//!
//! A resource that is refused keeps its last good form, and its findings say why. What is equal to before stays the
//! same `Arc`, so that others can compare pointers to see that nothing has changed.

use super::{
    asked::Asked,
    check,
    delegate::{self, is_root},
    destination::Destinations,
    entry,
    finding::{Code, Finding},
    host::{self, MESH},
    mesh::Mesh,
    object::{Id, Object},
    shape::{DeclaredService, Shapes},
};
use crate::{
    model::{Proxy, PublishedService, Text},
    pb::istio::networking::v1alpha3::{
        Destination as PbDestination, DestinationRule, Gateway, ServiceEntry, Sidecar, VirtualService,
    },
    resource::{Kind, Name, Resource},
    translate::Origin,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Istio's resources that are obeyed here. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Rules(pub(super) Arc<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// `Mesh::domain_suffix` when the resources were read; with another one all are read again.
    domain: Option<Text>,
    read: BTreeMap<(Kind, Name), Read>,
    /// The VirtualServices that have hosts, with the routes of their delegates, in Istio's order.
    pub(super) virtual_services: Vec<Arc<Object<VirtualService>>>,
    /// In Istio's order.
    pub(super) gateways: Vec<Arc<Object<Gateway>>>,
    /// In Istio's order.
    pub(super) sidecars: Vec<Arc<Object<Sidecar>>>,
    pub(super) destinations: Destinations,
    asked: Option<Asked>,
    findings: Vec<Finding>,
}

/// One resource of manifests, and what was read from it.
#[derive(Debug, Clone)]
struct Read {
    resource: Arc<Resource>,
    /// The last form that was not refused. `None`: there was none yet.
    good: Option<Good>,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone)]
enum Good {
    VirtualService(Arc<Object<VirtualService>>),
    DestinationRule(Arc<Object<DestinationRule>>),
    Gateway(Arc<Object<Gateway>>),
    Sidecar(Arc<Object<Sidecar>>),
    ServiceEntry(Arc<[DeclaredService]>),
    /// A kind that has no effect on what is served.
    Other,
}

impl Rules {
    /// Reads the resources of manifests; of each kind and name the last one counts. `before` is the former result: it
    /// has the last good form of what is refused now.
    pub fn read<'a>(
        resources: impl IntoIterator<Item = (Kind, &'a Arc<Resource>)>,
        before: &Rules,
        mesh: &Mesh,
    ) -> Rules {
        let same_domain = before.0.domain == mesh.domain_suffix;
        let mut inner = Inner { domain: mesh.domain_suffix.clone(), ..Inner::default() };
        for (kind, resource) in resources {
            // Others' revisions are for control planes of that name only.
            if resource.revision().is_some_and(|revision| revision != "default") {
                continue;
            }
            let key = (kind, resource.name().clone());
            let old = before.0.read.get(&key);
            let read = match old {
                Some(old) if same_domain && old.resource == *resource => old.clone(),
                _ => Read::new(kind, resource, old.and_then(|old| old.good.clone()), mesh),
            };
            inner.read.insert(key, read);
        }
        inner.findings = inner.read.values().flat_map(|read| read.findings.iter().cloned()).collect();
        inner.collect(&before.0, mesh);
        Rules(Arc::new(inner))
    }

    /// The findings that do not depend on who is served; those of a class of proxies are in `Traffic::findings`.
    pub fn findings(&self) -> &[Finding] {
        &self.0.findings
    }

    /// Whether no resource has an effect on any proxy.
    pub fn is_empty(&self) -> bool {
        self.0.read.values().all(|read| matches!(read.good, None | Some(Good::Other)))
    }

    /// Whether all DestinationRules are the same `Arc`s as in `other`.
    pub fn same_destinations(&self, other: &Rules) -> bool {
        self.0.destinations.same(&other.0.destinations)
    }

    /// Whether a DestinationRule holds for a host of the service: then this proxy may be served other clusters than
    /// others.
    pub fn concerns(&self, service: &PublishedService, origin: &Origin, proxy: &Proxy) -> bool {
        let has = |host: &str| self.0.destinations.find(proxy, &origin.namespace, host).is_some();
        service.ports.iter().any(|port| {
            let prefix = port.host.as_str().strip_suffix(service.host.as_str()).unwrap_or_default();
            has(port.host.as_str()) || service.aliases.iter().any(|alias| has(&format!("{prefix}{alias}")))
        })
    }

    /// The services that ServiceEntries of manifests declare.
    pub fn services(&self) -> impl Iterator<Item = &DeclaredService> {
        self.0.read.values().flat_map(|read| match &read.good {
            Some(Good::ServiceEntry(services)) => &services[..],
            _ => &[],
        })
    }

    /// What DestinationRules need to know of a proxy's place and labels, besides selectors. `None`: nothing.
    pub fn asked(&self) -> Option<&Asked> {
        self.0.asked.as_ref()
    }

    /// The labels, as key and value, that some selector names: only these tell proxies apart.
    pub fn labels(&self) -> BTreeSet<(Text, Text)> {
        let mut all = BTreeSet::new();
        let mut add = |labels: &BTreeMap<String, String>| {
            all.extend(labels.iter().map(|(key, value)| (Text::from(&**key), Text::from(&**value))));
        };
        let inner = &self.0;
        inner.gateways.iter().for_each(|gateway| add(&gateway.spec.selector));
        for service in &inner.virtual_services {
            let spec = &service.spec;
            spec.http.iter().flat_map(|route| &route.r#match).for_each(|m| add(&m.source_labels));
            spec.tls.iter().flat_map(|route| &route.r#match).for_each(|m| add(&m.source_labels));
            spec.tcp.iter().flat_map(|route| &route.r#match).for_each(|m| add(&m.source_labels));
        }
        inner.sidecars.iter().filter_map(|s| s.spec.workload_selector.as_ref()).for_each(|s| add(&s.labels));
        for rule in inner.good().filter_map(Good::destination_rule) {
            rule.spec.workload_selector.iter().for_each(|selector| add(&selector.match_labels));
        }
        all
    }

    /// The namespaces that rules name, or are in: only these tell proxies apart. Of the mesh it counts who sees a VirtualService
    /// that does not say it.
    pub fn namespaces(&self, mesh: &Mesh) -> BTreeSet<Text> {
        let inner = &self.0;
        let of = |to: &String| (!matches!(&**to, "*" | "." | "~")).then(|| Text::from(&**to));
        let default: Vec<String> = mesh.virtual_service_export_to.iter().map(ToString::to_string).collect();
        let mut all: BTreeSet<Text> = BTreeSet::new();
        for service in &inner.virtual_services {
            let spec = &service.spec;
            all.insert(service.id.namespace.clone());
            let export_to = if spec.export_to.is_empty() { &default } else { &spec.export_to };
            all.extend(export_to.iter().filter_map(of));
            let http = spec.http.iter().flat_map(|route| &route.r#match).map(|m| &m.source_namespace);
            let tls = spec.tls.iter().flat_map(|route| &route.r#match).map(|m| &m.source_namespace);
            let tcp = spec.tcp.iter().flat_map(|route| &route.r#match).map(|m| &m.source_namespace);
            all.extend(http.chain(tls).chain(tcp).filter(|namespace| !namespace.is_empty()).map(|n| Text::from(&**n)));
        }
        for rule in inner.good().filter_map(Good::destination_rule) {
            all.insert(rule.id.namespace.clone());
            all.extend(rule.spec.export_to.iter().filter_map(of));
        }
        all.extend(inner.sidecars.iter().map(|sidecar| sidecar.id.namespace.clone()));
        for (_, _, origin) in self.services() {
            all.insert(origin.namespace.clone());
            all.extend(origin.export_to.iter().map(ToString::to_string).filter_map(|to| of(&to)));
        }
        all
    }

    /// The hosts of gateways' servers, without namespaces, and those of VirtualServices that are bound to a gateway.
    pub(super) fn hosts_of_gateways(&self) -> impl Iterator<Item = &str> {
        let bound = self.0.virtual_services.iter().filter(|service| service.spec.gateways.iter().any(|of| of != MESH));
        let servers = self.0.gateways.iter().flat_map(|gateway| &gateway.spec.servers).flat_map(|server| &server.hosts);
        let servers = servers.map(|host| host.split_once('/').map_or(&**host, |(_, name)| name));
        bound.flat_map(|service| &service.spec.hosts).map(String::as_str).chain(servers)
    }

    /// A finding for each DestinationRule whose host is no known service.
    pub fn unused(&self, shapes: &Shapes) -> Vec<Finding> {
        let rules = self.0.good().filter_map(Good::destination_rule);
        let unused = rules.filter(|rule| {
            let host = &*rule.spec.host;
            match host::is_wildcard(host) {
                true => !shapes.iter().any(|shape| host::subset_of(&shape.host, host)),
                false => shapes.get(host).is_none(),
            }
        });
        let finding = |rule: &Arc<Object<DestinationRule>>| Finding {
            kind: Kind::DestinationRule,
            name: rule.id.full(),
            place: "host".into(),
            code: Code::RuleUnused,
            text: format!("there is no service {:?}{}", rule.spec.host, short(&rule.spec.host, &rule.id)).into(),
        };
        unused.map(finding).collect()
    }
}

/// The end of a finding's text if the host was written without a dot; else empty.
pub(super) fn short(host: &str, id: &Id) -> String {
    match host.strip_suffix(&*id.namespace).and_then(|rest| rest.strip_suffix('.')) {
        Some(name) if !name.contains('.') => {
            format!(
                "; as in Istio a name without a dot, such as {name:?}, is one of the namespace: write the service's host"
            )
        }
        _ => String::new(),
    }
}

impl Inner {
    fn good(&self) -> impl Iterator<Item = &Good> {
        self.read.values().filter_map(|read| read.good.as_ref())
    }

    /// Sorts and joins the good resources: delegates into their roots, DestinationRules of one host.
    fn collect(&mut self, before: &Inner, mesh: &Mesh) {
        let (mut services, mut delegates, mut rules) = (Vec::new(), BTreeMap::new(), Vec::new());
        for read in self.read.values() {
            match &read.good {
                Some(Good::VirtualService(service)) if service.spec.hosts.is_empty() => {
                    delegates.insert(service.id.clone(), service.clone());
                }
                Some(Good::VirtualService(service)) => services.push(service.clone()),
                Some(Good::DestinationRule(rule)) => rules.push(rule.clone()),
                Some(Good::Gateway(gateway)) => self.gateways.push(gateway.clone()),
                Some(Good::Sidecar(sidecar)) => self.sidecars.push(sidecar.clone()),
                Some(Good::ServiceEntry(_) | Good::Other) | None => {}
            }
        }
        services.sort_by(|a, b| a.order().cmp(&b.order()));
        self.gateways.sort_by(|a, b| a.order().cmp(&b.order()));
        self.sidecars.sort_by(|a, b| a.order().cmp(&b.order()));
        let default = &mesh.virtual_service_export_to;
        let visible = |service: &Object<VirtualService>, namespace: &str| is_visible(service, namespace, default);
        let known: BTreeMap<&Id, &Arc<Object<VirtualService>>> =
            before.virtual_services.iter().map(|service| (&service.id, service)).collect();
        let mut findings = Vec::new();
        let joined = |service: Arc<Object<VirtualService>>| match is_root(&service.spec) {
            false => service,
            true => {
                let joined = delegate::merged(&service, &delegates, &visible, &mut findings);
                known
                    .get(&service.id)
                    .filter(|known| *known.as_ref() == joined)
                    .map_or_else(|| Arc::new(joined), |k| Arc::clone(k))
            }
        };
        self.virtual_services = services.into_iter().map(joined).collect();
        self.findings.extend(findings);
        self.asked = Asked::by(rules.iter().map(|rule| &rule.spec));
        let (root, default) = (&mesh.root_namespace, &mesh.destination_rule_export_to);
        self.destinations = Destinations::new(rules, root, default, &before.destinations);
        let gateways: BTreeSet<Name> = self.gateways.iter().map(|gateway| gateway.id.full()).collect();
        for service in &self.virtual_services {
            let unknown = service.spec.gateways.iter().filter(|name| *name != MESH && !gateways.contains(&***name));
            for name in unknown.take(check::MOST_FINDINGS) {
                self.findings.push(Finding {
                    kind: Kind::VirtualService,
                    name: service.id.full(),
                    place: "gateways".into(),
                    code: Code::GatewayUnknown,
                    text: format!("there is no gateway {name}").into(),
                });
            }
        }
    }
}

/// Whether proxies of a namespace see the VirtualService. `default` holds where it has no `exportTo`.
pub(super) fn is_visible(service: &Object<VirtualService>, namespace: &str, default: &[Text]) -> bool {
    let admits = |to: &str| to == "*" || to == namespace || to == "." && *service.id.namespace == *namespace;
    match service.spec.export_to.is_empty() {
        true => default.iter().any(|to| admits(to)),
        false => service.spec.export_to.iter().any(|to| admits(to)),
    }
}

impl Good {
    fn destination_rule(&self) -> Option<&Arc<Object<DestinationRule>>> {
        if let Good::DestinationRule(rule) = self { Some(rule) } else { None }
    }
}

impl Read {
    fn new(kind: Kind, resource: &Arc<Resource>, before: Option<Good>, mesh: &Mesh) -> Self {
        let (good, findings) = read(kind, resource, mesh);
        let is_refused = findings.iter().any(|finding| finding.code.refuses());
        let good = if is_refused { before } else { good };
        Read { resource: resource.clone(), good, findings }
    }
}

/// Reads a resource and checks it. `None`: it is refused, or has no effect on what is served.
fn read(kind: Kind, resource: &Resource, mesh: &Mesh) -> (Option<Good>, Vec<Finding>) {
    let domain = mesh.domain_suffix.as_deref();
    match kind {
        Kind::VirtualService => checked(resource, check::virtual_service, |object| {
            resolve(object, domain);
            Good::VirtualService(Arc::new(object.clone()))
        }),
        Kind::DestinationRule => checked(resource, check::destination_rule, |object: &mut Object<DestinationRule>| {
            object.spec.host = host::qualified(&object.spec.host, &object.id, domain);
            Good::DestinationRule(Arc::new(object.clone()))
        }),
        Kind::Gateway => checked(resource, check::gateway, |object: &mut Object<Gateway>| {
            object.spec.servers.iter_mut().flat_map(|server| &mut server.hosts).for_each(|of| host::lower(of));
            Good::Gateway(Arc::new(object.clone()))
        }),
        Kind::Sidecar => checked(resource, check::sidecar, |object: &mut Object<Sidecar>| {
            object.spec.egress.iter_mut().flat_map(|egress| &mut egress.hosts).for_each(|of| host::lower(of));
            Good::Sidecar(Arc::new(object.clone()))
        }),
        Kind::ServiceEntry => {
            let mut services = Vec::new();
            let (good, mut findings) = checked(
                resource,
                |object: &Object<ServiceEntry>| match entry::services(object) {
                    Ok(declared) => {
                        services = declared;
                        entry::ignored(object)
                    }
                    Err(finding) => vec![finding],
                },
                |_| Good::Other,
            );
            findings.sort();
            (good.map(|_| Good::ServiceEntry(services.into())), findings)
        }
        Kind::AuthorizationPolicy | Kind::PeerAuthentication | Kind::RequestAuthentication => {
            let text = "only Istio's own proxies obey it: what Portolan serves to other proxies is not protected by it";
            let (name, code) = (resource.name().clone(), Code::NotProtected);
            let finding = Finding { kind, name, place: "".into(), code, text: text.into() };
            (Some(Good::Other), vec![finding])
        }
        _ => (Some(Good::Other), Vec::new()),
    }
}

fn checked<T: prost::Message + Default>(
    resource: &Resource,
    check: impl FnOnce(&Object<T>) -> Vec<Finding>,
    good: impl FnOnce(&mut Object<T>) -> Good,
) -> (Option<Good>, Vec<Finding>) {
    let Some(mut object) = Object::<T>::read(resource) else { return (None, Vec::new()) };
    let findings = check(&object);
    let is_refused = findings.iter().any(|finding| finding.code.refuses());
    ((!is_refused).then(|| good(&mut object)), findings)
}

/// Completes the names of hosts and gateways in a VirtualService, in lower case; without `gateways` it gets `mesh`.
fn resolve(object: &mut Object<VirtualService>, domain: Option<&str>) {
    let Object { id, spec, .. } = object;
    let destination = |destination: &mut Option<PbDestination>| {
        if let Some(destination) = destination {
            destination.host = host::qualified(&destination.host, id, domain);
        }
    };
    let gateways = |names: &mut Vec<String>| names.iter_mut().for_each(|name| *name = host::gateway(name, id));
    spec.hosts.iter_mut().for_each(|host| *host = host::qualified(host, id, domain));
    gateways(&mut spec.gateways);
    if spec.gateways.is_empty() && !spec.hosts.is_empty() {
        spec.gateways.push(MESH.to_owned());
    }
    for route in &mut spec.http {
        route.r#match.iter_mut().for_each(|m| gateways(&mut m.gateways));
        route.route.iter_mut().for_each(|route| destination(&mut route.destination));
        destination(&mut route.mirror);
        route.mirrors.iter_mut().for_each(|mirror| destination(&mut mirror.destination));
    }
    for route in &mut spec.tls {
        route.r#match.iter_mut().for_each(|m| gateways(&mut m.gateways));
        // Envoy compares them with names that it has put into lower case, and takes none twice.
        for m in &mut route.r#match {
            m.sni_hosts.iter_mut().for_each(|of| host::lower(of));
            let mut seen = BTreeSet::new();
            m.sni_hosts.retain(|of| seen.insert(of.clone()));
        }
        route.route.iter_mut().for_each(|route| destination(&mut route.destination));
    }
    for route in &mut spec.tcp {
        route.r#match.iter_mut().for_each(|m| gateways(&mut m.gateways));
        route.route.iter_mut().for_each(|route| destination(&mut route.destination));
    }
}
