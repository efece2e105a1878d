//! The types of resources.

/// How many there are.
pub const KINDS: usize = 19;

/// How many of them are Envoys'. They come first, so that a stream of an Envoy needs room for no others.
pub const ENVOY_KINDS: usize = 4;

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
    /// Istio's `ServiceEntry`: of services, and of manifests.
    ServiceEntry,
    /// Istio's `AuthorizationPolicy`; as all that follow, of manifests only.
    AuthorizationPolicy,
    /// Istio's `DestinationRule`.
    DestinationRule,
    /// Istio's `EnvoyFilter`.
    EnvoyFilter,
    /// Istio's `Gateway`.
    Gateway,
    /// Istio's `PeerAuthentication`.
    PeerAuthentication,
    /// Istio's `ProxyConfig`.
    ProxyConfig,
    /// Istio's `RequestAuthentication`.
    RequestAuthentication,
    /// Istio's `Sidecar`.
    Sidecar,
    /// Istio's `Telemetry`.
    Telemetry,
    /// Istio's `TrafficExtension`.
    TrafficExtension,
    /// Istio's `VirtualService`.
    VirtualService,
    /// Istio's `WasmPlugin`.
    WasmPlugin,
    /// Istio's `WorkloadEntry`.
    WorkloadEntry,
    /// Istio's `WorkloadGroup`.
    WorkloadGroup,
}

impl Kind {
    /// All of them, in sending order.
    pub const ALL: [Kind; KINDS] = [
        Kind::Cluster,
        Kind::Endpoint,
        Kind::Listener,
        Kind::Route,
        Kind::ServiceEntry,
        Kind::AuthorizationPolicy,
        Kind::DestinationRule,
        Kind::EnvoyFilter,
        Kind::Gateway,
        Kind::PeerAuthentication,
        Kind::ProxyConfig,
        Kind::RequestAuthentication,
        Kind::Sidecar,
        Kind::Telemetry,
        Kind::TrafficExtension,
        Kind::VirtualService,
        Kind::WasmPlugin,
        Kind::WorkloadEntry,
        Kind::WorkloadGroup,
    ];

    /// Envoys', in sending order.
    pub const ENVOY: [Kind; ENVOY_KINDS] = [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route];

    /// Istio's.
    pub fn istio() -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().skip(ENVOY_KINDS)
    }

    /// Whether it is one of Istio's.
    pub const fn is_istio(self) -> bool {
        self as usize >= ENVOY_KINDS
    }

    /// The type URL by which it is asked for. Istiod's differs between its releases: see [`Kind::of`].
    pub const fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Kind::ServiceEntry => "networking.istio.io/v1/ServiceEntry",
            Kind::AuthorizationPolicy => "security.istio.io/v1/AuthorizationPolicy",
            Kind::DestinationRule => "networking.istio.io/v1/DestinationRule",
            Kind::EnvoyFilter => "networking.istio.io/v1alpha3/EnvoyFilter",
            Kind::Gateway => "networking.istio.io/v1/Gateway",
            Kind::PeerAuthentication => "security.istio.io/v1/PeerAuthentication",
            Kind::ProxyConfig => "networking.istio.io/v1beta1/ProxyConfig",
            Kind::RequestAuthentication => "security.istio.io/v1/RequestAuthentication",
            Kind::Sidecar => "networking.istio.io/v1/Sidecar",
            Kind::Telemetry => "telemetry.istio.io/v1/Telemetry",
            Kind::TrafficExtension => "extensions.istio.io/v1alpha1/TrafficExtension",
            Kind::VirtualService => "networking.istio.io/v1/VirtualService",
            Kind::WasmPlugin => "extensions.istio.io/v1alpha1/WasmPlugin",
            Kind::WorkloadEntry => "networking.istio.io/v1/WorkloadEntry",
            Kind::WorkloadGroup => "networking.istio.io/v1/WorkloadGroup",
        }
    }

    /// The type of the `Any` that holds it in an answer: Istio's objects come in an envelope, all others as they are.
    pub const fn entry_url(self) -> &'static str {
        if self.is_istio() { "type.googleapis.com/istio.mcp.v1alpha1.Resource" } else { self.type_url() }
    }

    /// The kind with that type URL. Istio's mean the same in each API version (`v1`, `v1alpha3`, ...): releases before
    /// 1.24 ask for another one than those after.
    pub fn of(type_url: &str) -> Option<Kind> {
        match type_url.split_once('/').and_then(|(group, rest)| Some((group, rest.split_once('/')?.1))) {
            Some((group, word)) => Kind::of_istio(group, word),
            None => Kind::ENVOY.into_iter().find(|kind| kind.type_url() == type_url),
        }
    }

    /// Istio's kind of that group and word, such as `networking.istio.io` and `Gateway`.
    pub fn of_istio(group: &str, word: &str) -> Option<Kind> {
        Kind::istio().find(|kind| kind.group_and_word() == Some((group, word)))
    }

    /// The API group and the word of Istio's kinds, such as `networking.istio.io` and `Gateway`.
    pub fn group_and_word(self) -> Option<(&'static str, &'static str)> {
        let (group, rest) = self.type_url().split_once('/').filter(|_| self.is_istio())?;
        Some((group, rest.split_once('/')?.1))
    }

    /// The word for people, metrics and formats.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Cluster => "clusters",
            Kind::Endpoint => "endpoints",
            Kind::Listener => "listeners",
            Kind::Route => "routes",
            Kind::ServiceEntry => "serviceentries",
            Kind::AuthorizationPolicy => "authorizationpolicies",
            Kind::DestinationRule => "destinationrules",
            Kind::EnvoyFilter => "envoyfilters",
            Kind::Gateway => "gateways",
            Kind::PeerAuthentication => "peerauthentications",
            Kind::ProxyConfig => "proxyconfigs",
            Kind::RequestAuthentication => "requestauthentications",
            Kind::Sidecar => "sidecars",
            Kind::Telemetry => "telemetries",
            Kind::TrafficExtension => "trafficextensions",
            Kind::VirtualService => "virtualservices",
            Kind::WasmPlugin => "wasmplugins",
            Kind::WorkloadEntry => "workloadentries",
            Kind::WorkloadGroup => "workloadgroups",
        }
    }

    /// In state of the world, what is absent from an answer of this kind is removed, so every answer is whole.
    pub const fn whole_state(self) -> bool {
        self.is_istio() || matches!(self, Kind::Cluster | Kind::Listener)
    }

    /// A first request without names means all of them: so the protocol has it for these, and no others.
    pub const fn wildcard_by_default(self) -> bool {
        self.is_istio() || matches!(self, Kind::Cluster | Kind::Listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_known_by_its_url_and_istios_in_any_version() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, Kind::of(kind.type_url())), (place, Some(kind)));
            assert_eq!(kind.is_istio(), !Kind::ENVOY.contains(&kind));
        }
        for (type_url, kind) in [
            ("networking.istio.io/v1alpha3/VirtualService", Some(Kind::VirtualService)),
            ("networking.istio.io/v7/VirtualService", Some(Kind::VirtualService)),
            ("security.istio.io/v1/VirtualService", None),
            ("networking.istio.io/VirtualService", None),
            ("core/v1alpha1/MeshConfig", None),
            ("", None),
        ] {
            assert_eq!(Kind::of(type_url), kind, "{type_url}");
        }
    }
}
