//! What of a service is not sent, and why.

use super::refusal::Refusal;
use crate::model::{Hostname, Text};

/// The longest path of a unix socket, in bytes: with its closing zero it fits into the 108 bytes of Linux.
pub const MAX_UNIX_PATH: usize = 107;

/// Something of a service that is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rejected {
    /// The host under which the service is published.
    pub host: Hostname,
    /// The endpoint's address, the name of a cluster, the host of an entry, or the key of a label.
    pub subject: Text,
    /// Why it is not sent, with the remedy in its text.
    pub why: Why,
}

/// Why something is not sent. The text says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Why {
    /// A host name among addresses: clients would refuse the whole assignment.
    #[error("a host name cannot stand among addresses; let its registry have `hostnames: resolve` or `hostnames: dns`")]
    HostName,
    /// A unix socket in a cluster of DNS names, which has no place for it.
    #[error("a unix socket cannot be in a cluster of host names; let its registry have `hostnames: resolve`")]
    UnixAmongNames,
    /// A path longer than [`MAX_UNIX_PATH`]: clients would refuse the whole assignment.
    #[error("the path of a unix socket has at most {} bytes", MAX_UNIX_PATH)]
    UnixPathLong,
    /// A unix socket for gRPC programs: gRPC's C core would refuse the whole assignment.
    #[error("gRPC programs take no unix socket from xDS")]
    UnixForGrpc,
    /// A cluster of DNS names for gRPC programs: all gRPC libraries would refuse it.
    #[error("gRPC programs take no cluster of host names; let its registry have `hostnames: resolve`")]
    NamesForGrpc,
    /// A service that must be called with TLS, for gRPC programs: they refuse clusters whose certificates are files.
    #[error("gRPC programs take no TLS with files from xDS, and without it the service must not be called")]
    TlsForGrpc,
    /// A `health_check` for gRPC programs: none of the libraries makes checks.
    #[error("gRPC programs check no health: `health_check` does not hold for them")]
    CheckForGrpc,
    /// A `health_check` by HTTP or gRPC of a port that does not speak it.
    #[error("`health_check` by {0} needs a port that speaks it; give `port`, or `protocol: tcp`")]
    CheckUnfit(&'static str),
    /// An address and port that an earlier endpoint of the service has.
    #[error("the address and port are there twice; the first is sent")]
    Twice,
    /// Two services, or two ports or aliases of one, have the same name of a cluster or entry.
    #[error("the name is {0}'s; let `envoy: cluster_name` or `istio: name` tell them apart, or rename one")]
    NameTaken(Hostname),
    /// A label that Istio does not take: it would refuse the whole entry.
    #[error("Istio takes no such label; it takes letters, digits, '-', '_' and '.', at most 63 in a key")]
    LabelRefused,
    /// An endpoint's address that Istio does not take: it would refuse the whole entry.
    #[error("Istio takes no such address")]
    AddressRefused,
    /// An entry of TCP without a virtual address: services on one such port would share one listener, and one of them
    /// would get everything.
    #[error("it has no virtual address, because the range is nearly full; give `istio: vip` a larger one")]
    NoVip,
    /// A whole entry that Istio would refuse.
    #[error("Istio takes no such entry: {0}")]
    EntryRefused(Refusal),
}

impl Why {
    /// The code of each reason once, in the order of [`Why`].
    pub const CODES: [&str; 14] = [
        "host_name",
        "unix_among_names",
        "unix_path_long",
        "unix_for_grpc",
        "names_for_grpc",
        "tls_for_grpc",
        "check_for_grpc",
        "check_unfit",
        "twice",
        "name_taken",
        "label_refused",
        "address_refused",
        "no_vip",
        "entry_refused",
    ];

    /// The code of the reason, for metrics and scripts: one of [`Why::CODES`].
    pub const fn code(&self) -> &'static str {
        match self {
            Why::HostName => "host_name",
            Why::UnixAmongNames => "unix_among_names",
            Why::UnixPathLong => "unix_path_long",
            Why::UnixForGrpc => "unix_for_grpc",
            Why::NamesForGrpc => "names_for_grpc",
            Why::TlsForGrpc => "tls_for_grpc",
            Why::CheckForGrpc => "check_for_grpc",
            Why::CheckUnfit(_) => "check_unfit",
            Why::Twice => "twice",
            Why::NameTaken(_) => "name_taken",
            Why::LabelRefused => "label_refused",
            Why::AddressRefused => "address_refused",
            Why::NoVip => "no_vip",
            Why::EntryRefused(_) => "entry_refused",
        }
    }
}
