//! A cache of route lists. Only for speed: with and without it the same bytes come out.
//!
//! A list is kept with what it was made from: the VirtualService, and for each destination its service and
//! DestinationRule. All of these are `Arc`s that stay the same while nothing in them changes, so comparing pointers is
//! enough. The class of proxies and the mesh are compared once for all lists. A list that a run does not ask for is
//! forgotten at its end.

use super::{
    destination::Destination,
    http::{Place, RouteList, default_route, routes},
    mesh::Mesh,
    object::Object,
    shape::Shape,
};
use crate::{model::Proxy, pb::istio::networking::v1alpha3::VirtualService};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The VirtualService or service of a list, and the [`Place`] it was made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// A VirtualService's `namespace/name`, or a service's host.
    name: String,
    is_service: bool,
    gateway: String,
    port: u32,
    is_tls: bool,
    only: Option<u16>,
    own: String,
}

/// A destination's service and the DestinationRule of its host, as far as the proxy sees them.
type Target = (Option<Arc<Shape>>, Option<Arc<Destination>>);

/// A list, what it was made from, and the run that last asked for it.
#[derive(Debug)]
struct Made {
    rule: Option<Arc<Object<VirtualService>>>,
    /// The destinations, in the order of [`hosts`].
    known: Vec<Target>,
    list: Arc<RouteList>,
    run: u64,
}

/// A cache of the route lists of one class of proxies; see [`traffic`](super::traffic).
#[derive(Debug, Default)]
pub struct Memo {
    /// The class of proxies and the mesh that the lists were made for; for others the cache is emptied.
    made_for: Option<(Proxy, Mesh)>,
    made: HashMap<Key, Made>,
    /// By VirtualService (`namespace/name`): its destinations, as [`hosts`] finds them.
    hosts: HashMap<String, (Arc<Object<VirtualService>>, Vec<String>)>,
    run: u64,
}

impl Memo {
    /// Begins a run, in which all routes of this class are asked for.
    pub(super) fn begin(&mut self, proxy: &Proxy, mesh: &Mesh) {
        if self.made_for.as_ref().is_none_or(|made_for| (&made_for.0, &made_for.1) != (proxy, mesh)) {
            *self = Memo { made_for: Some((proxy.clone(), mesh.clone())), ..Memo::default() };
        }
        self.run += 1;
    }

    /// Ends a run: lists that it did not ask for are forgotten.
    pub(super) fn end(&mut self) {
        let run = self.run;
        self.made.retain(|_, made| made.run == run);
        let named: BTreeSet<&str> = self.made.keys().filter(|key| !key.is_service).map(|key| &*key.name).collect();
        let keep: Vec<String> = self.hosts.keys().filter(|name| !named.contains(name.as_str())).cloned().collect();
        keep.iter().for_each(|name| _ = self.hosts.remove(name));
    }

    /// The routes of a VirtualService, made only if one of its inputs has changed.
    pub(super) fn routes(&mut self, service: &Arc<Object<VirtualService>>, place: &Place<'_>) -> Arc<RouteList> {
        let name = service.id.to_string();
        let known = match self.hosts.get(&name) {
            Some((of, hosts)) if Arc::ptr_eq(of, service) => known(hosts, place),
            _ => {
                let hosts = hosts(&service.spec);
                let known = known(&hosts, place);
                self.hosts.insert(name.clone(), (service.clone(), hosts));
                known
            }
        };
        self.get(name, Some(service), known, place, || routes(service, place))
    }

    /// The route of a service without a VirtualService, made only if one of its inputs has changed.
    pub(super) fn default_route(&mut self, shape: &Arc<Shape>, place: &Place<'_>) -> Arc<RouteList> {
        let known = vec![(Some(shape.clone()), place.lookup.rule(&shape.host).cloned())];
        self.get(shape.host.to_string(), None, known, place, || default_route(shape, place.port, place))
    }

    fn get(
        &mut self,
        name: String,
        rule: Option<&Arc<Object<VirtualService>>>,
        known: Vec<Target>,
        place: &Place<'_>,
        make: impl FnOnce() -> RouteList,
    ) -> Arc<RouteList> {
        let key = Key {
            name,
            is_service: rule.is_none(),
            gateway: place.gateway.to_owned(),
            port: place.port,
            is_tls: place.is_tls,
            only: place.lookup.only,
            own: place.own.to_owned(),
        };
        let run = self.run;
        if let Some(made) = self.made.get_mut(&key)
            && same(made.rule.as_ref(), rule)
            && made.known.len() == known.len()
            && made
                .known
                .iter()
                .zip(&known)
                .all(|(a, b)| same(a.0.as_ref(), b.0.as_ref()) && same(a.1.as_ref(), b.1.as_ref()))
        {
            made.run = run;
            return made.list.clone();
        }
        let list = Arc::new(make());
        self.made.insert(key, Made { rule: rule.cloned(), known, list: list.clone(), run });
        list
    }
}

fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn known(hosts: &[String], place: &Place<'_>) -> Vec<Target> {
    let lookup = &place.lookup;
    hosts.iter().map(|host| (lookup.service(host).cloned(), lookup.rule(host).cloned())).collect()
}

/// The hosts of all destinations and mirrors of HTTP routes, sorted, each once.
fn hosts(service: &VirtualService) -> Vec<String> {
    let mut hosts = BTreeSet::new();
    for route in &service.http {
        hosts.extend(route.route.iter().filter_map(|part| part.destination.as_ref()).map(|to| to.host.clone()));
        let mirrors = route.mirrors.iter().filter_map(|mirror| mirror.destination.as_ref());
        hosts.extend(mirrors.chain(&route.mirror).map(|to| to.host.clone()));
    }
    hosts.into_iter().collect()
}
