//! What Istiod checks when configuration arrives, checked before it leaves.
//!
//! Istiod acknowledges everything. What it cannot use it freezes at its former state or never makes, and says so in its
//! own log only; so nothing may leave that it would refuse. The rules are those of Istio 1.31's `ValidateServiceEntry`
//! for entries with inline endpoints.

use super::label::is_dns_label;
use crate::{
    model::Address,
    translate::{Why, envoy::MAX_UNIX_PATH},
};

/// Why Istio, or the Envoys behind it, would refuse the entry for this endpoint. `dns`: its names are resolved.
pub(super) fn address(address: &Address, dns: bool) -> Option<Why> {
    match address {
        Address::Host(_) if !dns => Some(Why::HostName),
        Address::Host(name) if !name.trim_end_matches('.').split('.').all(is_dns_label) => Some(Why::AddressRefused),
        Address::Unix(_) if dns => Some(Why::UnixAmongNames),
        Address::Unix(path) if path.len() > MAX_UNIX_PATH => Some(Why::UnixPathLong),
        Address::Unix(path) if path.ends_with('/') => Some(Why::AddressRefused),
        _ => None,
    }
}
