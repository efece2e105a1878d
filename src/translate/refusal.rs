//! What Istiod refuses an entry for.

/// Why Istiod refuses a ServiceEntry; the value is the text that it refuses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The name is no `<namespace>/<name>`. Istiod takes such an entry for absent, and deletes the one that it had.
    #[error("the name {0:?} is not a namespace, one slash and a name")]
    Name(String),
    /// The list of hosts is empty.
    #[error("it has no host")]
    NoHost,
    /// A host that is no domain name, with or without a `*` before it.
    #[error("the host {0:?} is no domain name: labels of at most 63 letters, digits and '-', the last no number")]
    Host(String),
    /// A host with a wildcard, which cannot be resolved, in an entry of `resolution: DNS` without endpoints.
    #[error("the host {0:?} cannot be resolved, and no endpoint says what to resolve in its place")]
    Unresolvable(String),
    /// A virtual address that is neither an address nor a network.
    #[error("the virtual address {0:?} is neither an address nor a network")]
    Vip(String),
    /// A network as virtual address, in an entry of `resolution: DNS`.
    #[error("a network is no virtual address where names are resolved")]
    VipNetwork,
    /// A name or number that two ports have: both, as `name number`.
    #[error("two ports have the name or number {0:?}")]
    PortTwice(String),
    /// A port number that is not 1 to 65535.
    #[error("the port {0} is not in 1 to 65535")]
    PortNumber(u32),
    /// A port name that is no label of DNS.
    #[error("the port name {0:?} is not of at most 63 letters, digits and '-'")]
    PortName(String),
    /// A protocol that Istio does not know.
    #[error("the protocol {0:?} is none of Istio's")]
    Protocol(String),
    /// Several hosts, and a port of TCP or the like, on which Istio cannot tell hosts apart.
    #[error("several hosts on a port whose protocol does not tell hosts apart")]
    SeveralHosts,
    /// A `resolution` that Istio does not have, or that is not checked here: only `NONE`, `STATIC` and `DNS` are.
    #[error("the resolution {0} is none of NONE, STATIC and DNS")]
    Resolution(i32),
    /// Endpoints in an entry of `resolution: NONE`, which must have none.
    #[error("endpoints, and the resolution NONE")]
    EndpointsOfNone,
    /// An endpoint's address that the resolution does not allow, such as a host name with `STATIC`.
    #[error("the endpoint address {0:?} is not possible with this resolution")]
    EndpointAddress(String),
    /// The name of an endpoint's port that the entry does not have.
    #[error("an endpoint's port {0:?} is not the entry's")]
    EndpointPort(String),
    /// A unix socket with ports, or in an entry that has not exactly one port.
    #[error("a unix socket has ports, or its entry not exactly one")]
    SocketPorts,
    /// The key of an endpoint's label whose key or value Kubernetes would not take.
    #[error("an endpoint's label {0:?} is none")]
    Label(String),
    /// An item of `exportTo` that is no namespace, is there twice, or is `*` or `~` beside others.
    #[error("exportTo has {0:?} twice, with others that exclude it, or at all")]
    ExportTo(String),
}
