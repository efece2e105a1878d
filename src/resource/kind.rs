//! The types of resources.

/// How many there are.
pub const KINDS: usize = 4;

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
}

impl Kind {
    /// All of them, in sending order.
    pub const ALL: [Kind; KINDS] = [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route];

    /// The type URL.
    pub const fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The kind with that type URL.
    pub fn of(type_url: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.type_url() == type_url)
    }

    /// The word for people, metrics and formats.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Cluster => "clusters",
            Kind::Endpoint => "endpoints",
            Kind::Listener => "listeners",
            Kind::Route => "routes",
        }
    }

    /// In state of the world, what is absent from an answer of this kind is removed, so every answer is whole.
    pub const fn whole_state(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener)
    }

    /// A first request without names means all of them: so the protocol has it for these two, and no others.
    pub const fn wildcard_by_default(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener)
    }
}
