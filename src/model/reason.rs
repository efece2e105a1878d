//! Reason codes: why something is not as its registry has it.

use super::Text;
use std::fmt;

/// What happened to a service, a host, an endpoint or a label before it was published. The codes are stable: scripts
/// and alerts look for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// An `include` list is configured and the service, or instance, is not on it.
    NotIncluded,
    /// An `exclude` rule matches the service or instance.
    Excluded,
    /// The naming template gives no valid host name.
    HostInvalid,
    /// Another, smaller owner has the host, and merging is not chosen.
    HostContested,
    /// The host was made safe: it differs from what the template gave.
    HostRenamed,
    /// Several services claim the alias, or it is a service's host: nobody has it.
    AliasContested,
    /// The alias is no valid host name.
    AliasInvalid,
    /// The instance is switched off in the registry.
    Disabled,
    /// The instance has weight 0, or the `share` of its registry is 0.
    WeightZero,
    /// The instance's address means nothing, or another machine, to a client.
    AddressInvalid,
    /// The instance has a host name, and host names are dropped by configuration.
    HostnameDropped,
    /// The instance has a host name that does not resolve.
    HostnameUnresolved,
    /// The same address and port is there twice; the smaller owner's stays.
    Duplicate,
    /// The entry in the registry cannot be used (address, port or weight impossible).
    EntryInvalid,
    /// The instance's port has a number that another port of the service has, under another name or protocol.
    PortContested,
    /// Absent from the last list; gone when the next lacks it, too.
    AbsentOnce,
    /// Gone from its registry; published without endpoints for a while.
    Lingering,
    /// Vanished with many others; served on until that is certain.
    HeldBack,
    /// Too few instances are healthy: all count as healthy.
    Protected,
    /// The registry cannot be read; what is known of it is served on.
    Stale,
    /// It could not be read for so long that what is known of it is too old.
    TooOld,
}

impl Reason {
    /// Each once, in the order of their declaration.
    pub const ALL: [Reason; 21] = [
        Reason::NotIncluded,
        Reason::Excluded,
        Reason::HostInvalid,
        Reason::HostContested,
        Reason::HostRenamed,
        Reason::AliasContested,
        Reason::AliasInvalid,
        Reason::Disabled,
        Reason::WeightZero,
        Reason::AddressInvalid,
        Reason::HostnameDropped,
        Reason::HostnameUnresolved,
        Reason::Duplicate,
        Reason::EntryInvalid,
        Reason::PortContested,
        Reason::AbsentOnce,
        Reason::Lingering,
        Reason::HeldBack,
        Reason::Protected,
        Reason::Stale,
        Reason::TooOld,
    ];

    /// The stable word for admin, metrics and scripts.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::NotIncluded => "not_included",
            Reason::Excluded => "excluded",
            Reason::HostInvalid => "host_invalid",
            Reason::HostContested => "host_contested",
            Reason::HostRenamed => "host_renamed",
            Reason::AliasContested => "alias_contested",
            Reason::AliasInvalid => "alias_invalid",
            Reason::Disabled => "disabled",
            Reason::WeightZero => "weight_zero",
            Reason::AddressInvalid => "address_invalid",
            Reason::HostnameDropped => "hostname_dropped",
            Reason::HostnameUnresolved => "hostname_unresolved",
            Reason::Duplicate => "duplicate",
            Reason::EntryInvalid => "entry_invalid",
            Reason::PortContested => "port_contested",
            Reason::AbsentOnce => "absent_once",
            Reason::Lingering => "lingering",
            Reason::HeldBack => "held_back",
            Reason::Protected => "protected",
            Reason::Stale => "stale",
            Reason::TooOld => "too_old",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A reason with what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Why the subject is not as the registry has it.
    pub reason: Reason,
    /// Of what: an address and port, a label's key, an alias; empty for the whole service.
    pub subject: Text,
    /// More, for display; may be empty.
    pub detail: Text,
}

impl Note {
    /// A note; `subject` and `detail` may be empty.
    pub fn new(reason: Reason, subject: impl Into<Text>, detail: impl Into<Text>) -> Self {
        Note { reason, subject: subject.into(), detail: detail.into() }
    }
}
