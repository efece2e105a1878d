//! The types of resources: one table with what distinguishes them.

/// How many types there are, Envoy's and Istio's together.
pub const KINDS: usize = 20;

/// How many types are Envoy's; they are the first of [`Kind`].
pub const ENVOY_KINDS: usize = 5;

/// A type of resource.
///
/// The order is that in which additions and changes are sent, as the xDS specification recommends it: clusters (CDS) before
/// their assignments (EDS), and after both listeners (LDS) before their routes (RDS) and secrets (SDS), so that nothing is
/// routed to what a client does not have yet. Among Istio's types it has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Envoy's `Cluster` (CDS).
    Cluster,
    /// Envoy's `ClusterLoadAssignment` (EDS).
    Endpoint,
    /// Envoy's `Listener` (LDS).
    Listener,
    /// Envoy's `RouteConfiguration` (RDS).
    Route,
    /// Envoy's `Secret` (SDS): where a proxy has its certificates. No key is in it.
    Secret,
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

/// Whose messages a type belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Envoy's own types, which gRPC programs take, too.
    Envoy,
    /// Istio's configuration objects, which Istiod takes by MCP over xDS.
    Istio,
}

impl Family {
    /// The dialect that has these types in full.
    pub const fn dialect(self) -> Dialect {
        match self {
            Family::Envoy => Dialect::Envoy,
            Family::Istio => Dialect::Istio,
        }
    }
}

/// How a client speaks and which form of resources it takes: this decides which view it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// Envoys: Envoy's types, in full.
    Envoy,
    /// gRPC programs: Envoy's types, of which each library takes a part and refuses a whole resource for the rest.
    Grpc,
    /// Istiods, by MCP over xDS.
    Istio,
}

impl Dialect {
    /// Each once, in the order of their declaration.
    pub const ALL: [Dialect; 3] = [Dialect::Envoy, Dialect::Grpc, Dialect::Istio];

    /// The word in logs, metrics and the admin API, such as `envoy`.
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::Envoy => "envoy",
            Dialect::Grpc => "grpc",
            Dialect::Istio => "istio",
        }
    }

    /// The family whose types its clients ask for.
    pub const fn family(self) -> Family {
        match self {
            Dialect::Envoy | Dialect::Grpc => Family::Envoy,
            Dialect::Istio => Family::Istio,
        }
    }

    /// The dialect whose [`Dialect::name`] that is; `None`: there is none.
    pub fn named(name: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.name() == name)
    }
}

/// What a state-of-the-world answer means to its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is the whole state: what it lacks is removed.
    Whole,
    /// It is what was asked for by name, or a part of that: what it lacks stays.
    Named,
}

/// What distinguishes a type.
struct Row {
    kind: Kind,
    /// What [`Kind::name`] returns.
    name: &'static str,
    family: Family,
    type_url: &'static str,
    answer: Answer,
}

const fn row(kind: Kind, name: &'static str, family: Family, type_url: &'static str, answer: Answer) -> Row {
    Row { kind, name, family, type_url, answer }
}

/// One row for each type, in the order of [`Kind`].
#[rustfmt::skip]
const TABLE: [Row; KINDS] = {
    use {Answer::{Named, Whole}, Family::{Envoy, Istio}, Kind::*};
    [
        row(Cluster, "clusters", Envoy, "type.googleapis.com/envoy.config.cluster.v3.Cluster", Whole),
        row(Endpoint, "endpoints", Envoy, "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", Named),
        row(Listener, "listeners", Envoy, "type.googleapis.com/envoy.config.listener.v3.Listener", Whole),
        row(Route, "routes", Envoy, "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", Named),
        row(Secret, "secrets", Envoy, "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", Named),
        row(ServiceEntry, "serviceentries", Istio, "networking.istio.io/v1/ServiceEntry", Whole),
        row(AuthorizationPolicy, "authorizationpolicies", Istio, "security.istio.io/v1/AuthorizationPolicy", Whole),
        row(DestinationRule, "destinationrules", Istio, "networking.istio.io/v1/DestinationRule", Whole),
        row(EnvoyFilter, "envoyfilters", Istio, "networking.istio.io/v1alpha3/EnvoyFilter", Whole),
        row(Gateway, "gateways", Istio, "networking.istio.io/v1/Gateway", Whole),
        row(PeerAuthentication, "peerauthentications", Istio, "security.istio.io/v1/PeerAuthentication", Whole),
        row(ProxyConfig, "proxyconfigs", Istio, "networking.istio.io/v1beta1/ProxyConfig", Whole),
        row(RequestAuthentication, "requestauthentications", Istio, "security.istio.io/v1/RequestAuthentication", Whole),
        row(Sidecar, "sidecars", Istio, "networking.istio.io/v1/Sidecar", Whole),
        row(Telemetry, "telemetries", Istio, "telemetry.istio.io/v1/Telemetry", Whole),
        row(TrafficExtension, "trafficextensions", Istio, "extensions.istio.io/v1alpha1/TrafficExtension", Whole),
        row(VirtualService, "virtualservices", Istio, "networking.istio.io/v1/VirtualService", Whole),
        row(WasmPlugin, "wasmplugins", Istio, "extensions.istio.io/v1alpha1/WasmPlugin", Whole),
        row(WorkloadEntry, "workloadentries", Istio, "networking.istio.io/v1/WorkloadEntry", Whole),
        row(WorkloadGroup, "workloadgroups", Istio, "networking.istio.io/v1/WorkloadGroup", Whole),
    ]
};

impl Kind {
    /// All of them, in sending order.
    pub const ALL: [Kind; KINDS] = {
        let mut all = [Kind::Cluster; KINDS];
        let mut place = 0;
        while place < KINDS {
            all[place] = TABLE[place].kind;
            place += 1;
        }
        all
    };

    /// Envoy's, in sending order.
    pub const ENVOY: [Kind; ENVOY_KINDS] = [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route, Kind::Secret];

    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Those of a family, in sending order.
    pub fn of_family(family: Family) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| kind.family() == family)
    }

    /// The kinds that Istiods ask for.
    pub fn istio() -> impl Iterator<Item = Kind> {
        Kind::of_family(Family::Istio)
    }

    /// Whose type it is, and so which clients ask for it.
    pub const fn family(self) -> Family {
        self.row().family
    }

    /// Whether it is one of Istio's.
    pub const fn is_istio(self) -> bool {
        matches!(self.family(), Family::Istio)
    }

    /// The type URL by which it is asked for. Istiod's differs between its releases: see [`Kind::of`].
    pub const fn type_url(self) -> &'static str {
        self.row().type_url
    }

    /// The type of the `Any` that holds it in an answer: Istio's objects come in an envelope, all others as they are.
    pub const fn entry_url(self) -> &'static str {
        match self.family() {
            Family::Istio => "type.googleapis.com/istio.mcp.v1alpha1.Resource",
            Family::Envoy => self.type_url(),
        }
    }

    /// The kind with that type URL. Istio's mean the same in each API version (`v1`, `v1alpha3`, ...): releases before
    /// 1.24 ask for another one than those after.
    pub fn of(type_url: &str) -> Option<Kind> {
        match type_url.split_once('/').and_then(|(group, rest)| Some((group, rest.split_once('/')?.1))) {
            Some((group, word)) => Kind::of_istio(group, word),
            None => Kind::ENVOY.into_iter().find(|kind| kind.type_url() == type_url),
        }
    }

    /// The kind whose [`Kind::name`] that is, such as `clusters`; `None`: there is none.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Istio's kind of that group and word, such as `networking.istio.io` and `Gateway`.
    pub fn of_istio(group: &str, word: &str) -> Option<Kind> {
        Kind::istio().find(|kind| kind.group_and_word() == Some((group, word)))
    }

    /// The API group and the word of Istio's kinds, such as `networking.istio.io` and `Gateway`; `None` for Envoy's.
    pub fn group_and_word(self) -> Option<(&'static str, &'static str)> {
        let (group, rest) = self.type_url().split_once('/').filter(|_| self.is_istio())?;
        Some((group, rest.split_once('/')?.1))
    }

    /// The word in logs, metrics and the admin API, such as `clusters`.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether a state-of-the-world answer of this kind is always whole, because clients remove what it lacks. The
    /// protocol also has it that a first request for such a kind without names means all of it, and for no other.
    pub const fn whole_state(self) -> bool {
        matches!(self.row().answer, Answer::Whole)
    }
}

// A stream of an Envoy keeps one place for each of Envoy's kinds and none for the others.
const _: () = {
    let mut place = 0;
    while place < KINDS {
        assert!(TABLE[place].kind as usize == place, "the table is in the order of the kinds");
        assert!(place >= ENVOY_KINDS || Kind::ENVOY[place] as usize == place, "Envoy's kinds have the first numbers");
        assert!(TABLE[place].kind.is_istio() == (place >= ENVOY_KINDS), "Envoy's kinds are those in `Kind::ENVOY`");
        place += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_known_by_its_url_and_istios_in_any_version() {
        for kind in Kind::ALL {
            assert_eq!((Kind::of(kind.type_url()), Kind::named(kind.name())), (Some(kind), Some(kind)));
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
