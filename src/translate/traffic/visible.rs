//! Which VirtualServices hold for a proxy, and in which order they are looked at.

use super::{
    host::{HostMap, is_wildcard},
    http::Lookup,
    object::Object,
};
use crate::pb::istio::networking::v1alpha3::VirtualService;
use std::sync::Arc;

/// The VirtualServices of a gateway, or of `mesh`, that the proxy sees: first those that are private to its namespace, then those
/// that are for it by name, then those for all.
pub(super) fn bound<'a>(lookup: &Lookup<'a>, gateway: &str) -> Vec<&'a Arc<Object<VirtualService>>> {
    let (namespace, default) = (&*lookup.proxy.namespace, &lookup.mesh.virtual_service_export_to);
    let rank = |service: &Object<VirtualService>| {
        let own = &*service.id.namespace;
        let to: Vec<&str> = match service.spec.export_to.is_empty() {
            true => default.iter().map(|to| &**to).collect(),
            false => service.spec.export_to.iter().map(String::as_str).collect(),
        };
        let is_for = |to: &&str| **to == *namespace || **to == *"." && own == namespace;
        if to.contains(&"*") {
            Some(2)
        } else if to.contains(&"~") || !to.iter().any(is_for) {
            None
        } else {
            Some(usize::from(own != namespace))
        }
    };
    let all =
        lookup.rules.0.virtual_services.iter().filter(|service| service.spec.gateways.iter().any(|g| g == gateway));
    let mut bound: Vec<_> = all.filter_map(|service| Some((rank(service)?, service))).collect();
    bound.sort_by_key(|(rank, _)| *rank);
    bound.into_iter().map(|(_, service)| service).collect()
}

/// The VirtualService that is used for a service's host: the first that names the host, else the one with the longest
/// wildcard.
pub(super) struct Nearest<'a>(HostMap<Option<&'a Arc<Object<VirtualService>>>>);

impl<'a> Nearest<'a> {
    pub(super) fn new(services: &[&'a Arc<Object<VirtualService>>]) -> Self {
        let mut map = HostMap::<Option<&'a Arc<Object<VirtualService>>>>::default();
        for service in services {
            for host in &service.spec.hosts {
                map.entry(host).get_or_insert(service);
            }
        }
        Nearest(map)
    }

    pub(super) fn of(&self, host: &str) -> Option<&'a Arc<Object<VirtualService>>> {
        self.0.best(host).and_then(|(_, service)| *service)
    }

    /// Whether this VirtualService is used for the host, and by one of its wildcards.
    pub(super) fn is_by_wildcard(&self, host: &str, service: &Object<VirtualService>) -> bool {
        self.0
            .best(host)
            .is_some_and(|(by, nearest)| is_wildcard(by) && nearest.is_some_and(|nearest| nearest.id == service.id))
    }
}
