//! The types of resources.

/// How many there are.
pub const KINDS: usize = 5;

/// A type of resource, in the order in which changes are sent: what is referred to comes before what refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `Cluster`.
    Cluster,
    /// `ClusterLoadAssignment`.
    Endpoint,
    /// `Listener`.
    Listener,
    /// `RouteConfiguration`.
    Route,
    /// Istio's `ServiceEntry`.
    ServiceEntry,
}

impl Kind {
    /// All of them, in sending order.
    pub const ALL: [Kind; KINDS] = [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route, Kind::ServiceEntry];

    /// The type URL by which it is asked for. Istiod's differs between its releases: see [`Kind::of`].
    pub const fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Kind::ServiceEntry => "networking.istio.io/v1/ServiceEntry",
        }
    }

    /// The type of the `Any` that holds it in an answer: Istio's objects come in an envelope, all others as they are.
    pub const fn entry_url(self) -> &'static str {
        match self {
            Kind::ServiceEntry => "type.googleapis.com/istio.mcp.v1alpha1.Resource",
            _ => self.type_url(),
        }
    }

    /// The kind with that type URL. Istio's mean the same in each API version (`v1`, `v1alpha3`, ...): releases before
    /// 1.24 ask for another one than those after.
    pub fn of(type_url: &str) -> Option<Kind> {
        let istio = type_url.strip_prefix("networking.istio.io/").and_then(|rest| rest.split_once('/'));
        match istio {
            Some((_, "ServiceEntry")) => Some(Kind::ServiceEntry),
            _ => Kind::ALL.into_iter().find(|k| k.type_url() == type_url),
        }
    }

    /// The word for people, metrics and formats.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Cluster => "clusters",
            Kind::Endpoint => "endpoints",
            Kind::Listener => "listeners",
            Kind::Route => "routes",
            Kind::ServiceEntry => "serviceentries",
        }
    }

    /// In state of the world, what is absent from an answer of this kind is removed, so every answer is whole.
    pub const fn whole_state(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener | Kind::ServiceEntry)
    }

    /// A first request without names means all of them: so the protocol has it for these, and no others.
    pub const fn wildcard_by_default(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener | Kind::ServiceEntry)
    }
}
