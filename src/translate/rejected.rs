//! What of a service is not sent, and why.

use super::refusal::Refusal;
use crate::model::{Hostname, Text};

/// A path and its closing zero fit into 108 bytes on Linux.
pub const MAX_UNIX_PATH: usize = 107;

/// Something of a service that is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rejected {
    /// The host under which the service is published.
    pub host: Hostname,
    /// What: an endpoint's address, or a cluster's name.
    pub subject: Text,
    /// What forbids to send it.
    pub why: Why,
}

/// Why something is not sent. The text says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Why {
    /// One name among the addresses makes clients refuse the whole assignment.
    #[error("a host name cannot stand among addresses; let its registry have `hostnames: resolve` or `hostnames: dns`")]
    HostName,
    /// Names are resolved, sockets have none.
    #[error("a unix socket cannot be in a cluster of host names; let its registry have `hostnames: resolve`")]
    UnixAmongNames,
    /// Longer than the operating system takes; clients refuse the whole assignment.
    #[error("the path of a unix socket has at most {} bytes", MAX_UNIX_PATH)]
    UnixPathLong,
    /// gRPC's C core refuses the whole assignment.
    #[error("gRPC programs take no unix socket from xDS")]
    UnixForGrpc,
    /// All gRPC libraries refuse the cluster.
    #[error("gRPC programs take no cluster of host names; let its registry have `hostnames: resolve`")]
    NamesForGrpc,
    /// They have certificates of their own, and would be refused what names files.
    #[error("gRPC programs take no TLS with files from xDS, and without it the service must not be called")]
    TlsForGrpc,
    /// None of the libraries has checks.
    #[error("gRPC programs check no health: `health_check` does not hold for them")]
    CheckForGrpc,
    /// Envoy refuses the cluster, or the check would only fail.
    #[error("`health_check` by {0} needs a port that speaks it; give `port`, or `protocol: tcp`")]
    CheckUnfit(&'static str),
    /// The same place twice; the first stays.
    #[error("the address and port are there twice; the first is sent")]
    Twice,
    /// Two services, or two ports or aliases of one, have the same name of a cluster or entry.
    #[error("the name is {0}'s; let `envoy: cluster_name` or `istio: name` tell them apart, or rename one")]
    NameTaken(Hostname),
    /// Istio would refuse the whole service.
    #[error("Istio takes no such label; it takes letters, digits, '-', '_' and '.', at most 63 in a key")]
    LabelRefused,
    /// Istio would refuse the whole service.
    #[error("Istio takes no such address")]
    AddressRefused,
    /// Services on one TCP port without virtual addresses share one listener: one of them gets everything.
    #[error("it has no virtual address, because the range is nearly full; give `istio: vip` a larger one")]
    NoVip,
    /// Istio would refuse it.
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

    /// The code, for metrics and scripts.
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
