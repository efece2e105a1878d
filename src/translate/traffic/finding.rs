//! Findings: why a resource is not used, or has not the effect that its author may expect.

use crate::{
    model::Text,
    resource::{Kind, Name},
};

/// A message about one of Istio's resources, shown by the admin API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// The kind of the resource that it is about.
    pub kind: Kind,
    /// Its name: `namespace/name`; for a limit the name of a cluster or a host.
    pub name: Name,
    /// The field that it is about, such as `http[0].route[1]`. Empty: the whole resource.
    pub place: Text,
    /// The sort of finding, for metrics and scripts.
    pub code: Code,
    /// What is wrong, and what to do about it, in one sentence.
    pub text: Text,
}

/// The sorts of findings; [`Code::refuses`] tells which of them leave the resource unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Istio's validation would refuse the resource, so its last good form counts.
    Invalid,
    /// A field has no meaning here, so the resource's last good form counts.
    FieldRefused,
    /// A field is not looked at; Istio does not look at it, either.
    Ignored,
    /// Another resource, which goes first, has the same host or path.
    HostTaken,
    /// A destination is no service that is known: requests get 503.
    DestinationUnknown,
    /// A destination's service does not have the port: requests get 503.
    PortUnknown,
    /// A destination's subset is in no DestinationRule: requests get 503.
    SubsetUnknown,
    /// A DestinationRule is for a host that is no service, or no VirtualService leads from a server of a gateway.
    RuleUnused,
    /// A VirtualService names a gateway that is not there.
    GatewayUnknown,
    /// A delegate is not there, or not for this namespace: its route is left out.
    DelegateMissing,
    /// A route of a delegate contradicts the route that leads to it, or a delegate has too many routes: it is left out.
    DelegateConflict,
    /// A server of a gateway cannot stand beside an earlier one: it is left out.
    ServerSkipped,
    /// A port of a ServiceEntry says no protocol that a proxy serves: it is left out.
    PortSkipped,
    /// An earlier rule has the same name of a TLS handshake (SNI): the later one is left out.
    SniTaken,
    /// A route stands behind one that takes all requests: it is left out.
    RouteUnreachable,
    /// gRPC programs cannot do what a route or limit asks for: it is left out for them.
    GrpcUnusable,
    /// A limit of requests that does not hold for these proxies, or is for a host that no gateway has.
    LimitUnused,
    /// A security policy that only Istio's proxies obey: traffic is not protected by it.
    NotProtected,
}

impl Code {
    /// Each once, in the order of their declaration.
    pub const ALL: [Code; 18] = [
        Code::Invalid,
        Code::FieldRefused,
        Code::Ignored,
        Code::HostTaken,
        Code::DestinationUnknown,
        Code::PortUnknown,
        Code::SubsetUnknown,
        Code::RuleUnused,
        Code::GatewayUnknown,
        Code::DelegateMissing,
        Code::DelegateConflict,
        Code::ServerSkipped,
        Code::PortSkipped,
        Code::SniTaken,
        Code::RouteUnreachable,
        Code::GrpcUnusable,
        Code::LimitUnused,
        Code::NotProtected,
    ];

    /// The word for metrics and scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Code::Invalid => "invalid",
            Code::FieldRefused => "field_refused",
            Code::Ignored => "ignored",
            Code::HostTaken => "host_taken",
            Code::DestinationUnknown => "destination_unknown",
            Code::PortUnknown => "port_unknown",
            Code::SubsetUnknown => "subset_unknown",
            Code::RuleUnused => "rule_unused",
            Code::GatewayUnknown => "gateway_unknown",
            Code::DelegateMissing => "delegate_missing",
            Code::DelegateConflict => "delegate_conflict",
            Code::ServerSkipped => "server_skipped",
            Code::PortSkipped => "port_skipped",
            Code::SniTaken => "sni_taken",
            Code::RouteUnreachable => "route_unreachable",
            Code::GrpcUnusable => "grpc_unusable",
            Code::LimitUnused => "limit_unused",
            Code::NotProtected => "not_protected",
        }
    }

    /// Whether the resource is refused: its last good form stays in use, if it has one.
    pub const fn refuses(self) -> bool {
        matches!(self, Code::Invalid | Code::FieldRefused)
    }
}
