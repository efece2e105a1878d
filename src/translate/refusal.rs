//! What Istiod refuses an entry for.

/// Why Istiod refuses an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It is no `<namespace>/<name>`. Istiod takes it for absent, and deletes what it had.
    #[error("the name {0:?} is not a namespace, one slash and a name")]
    Name(String),
    /// The list of hosts is empty.
    #[error("it has no host")]
    NoHost,
    /// No domain, with or without a `*` before it.
    #[error("the host {0:?} is no domain name: labels of at most 63 letters, digits and '-', the last no number")]
    Host(String),
    /// There is no name to be resolved.
    #[error("the host {0:?} cannot be resolved, and no endpoint says what to resolve in its place")]
    Unresolvable(String),
    /// Neither an address nor a network.
    #[error("the virtual address {0:?} is neither an address nor a network")]
    Vip(String),
    /// Networks need known endpoints.
    #[error("a network is no virtual address where names are resolved")]
    VipNetwork,
    /// Two ports have it.
    #[error("two ports have the name or number {0:?}")]
    PortTwice(String),
    /// Not 1 to 65535.
    #[error("the port {0} is not in 1 to 65535")]
    PortNumber(u32),
    /// No label of DNS.
    #[error("the port name {0:?} is not of at most 63 letters, digits and '-'")]
    PortName(String),
    /// Not one of Istio's.
    #[error("the protocol {0:?} is none of Istio's")]
    Protocol(String),
    /// Istio could not tell them apart.
    #[error("several hosts on a port whose protocol does not tell hosts apart")]
    SeveralHosts,
    /// Unknown to Istio, or to us.
    #[error("the resolution {0} is none of NONE, STATIC and DNS")]
    Resolution(i32),
    /// `NONE` means that there are none.
    #[error("endpoints, and the resolution NONE")]
    EndpointsOfNone,
    /// Not what the resolution asks for.
    #[error("the endpoint address {0:?} is not possible with this resolution")]
    EndpointAddress(String),
    /// The entry has no such port.
    #[error("an endpoint's port {0:?} is not the entry's")]
    EndpointPort(String),
    /// Sockets have no ports, and their entry has one.
    #[error("a unix socket has ports, or its entry not exactly one")]
    SocketPorts,
    /// Not what Kubernetes takes for a label.
    #[error("an endpoint's label {0:?} is none")]
    Label(String),
    /// Not possible, twice, or `*` or `~` with others.
    #[error("exportTo has {0:?} twice, with others that exclude it, or at all")]
    ExportTo(String),
}
