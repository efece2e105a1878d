//! Addresses that lead a client elsewhere than its registry means, whichever registry says them.
//!
//! Envoy connects to itself at `0.0.0.0`, and a loopback or link-local address means another machine to each client.

use crate::model::Address;
use std::net::IpAddr;

/// Which addresses with a meaning on one machine or one network only are published. By default none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Addresses {
    /// Keep `127.0.0.0/8`, `::1` and `localhost`.
    pub loopback: bool,
    /// Keep `169.254.0.0/16` and `fe80::/10`.
    pub link_local: bool,
}

impl Addresses {
    /// For registries whose writers know what such an address means: catalogue files.
    pub const KEPT: Addresses = Addresses { loopback: true, link_local: true };

    /// Why an instance at this address is left out; `None` if it is not.
    pub(super) fn refuses(self, address: &Address) -> Option<&'static str> {
        match address {
            Address::Ip(ip) => self.refuses_ip(*ip),
            Address::Host(name) => (!self.loopback && is_localhost(name)).then_some(LOOPBACK),
            Address::Unix(_) => None,
        }
    }

    /// As [`Addresses::refuses`], for an address that a host name resolves to.
    pub(super) fn refuses_ip(self, ip: IpAddr) -> Option<&'static str> {
        match ip.to_canonical() {
            ip if ip.is_unspecified() => Some("it means every address of the client's own machine"),
            ip if ip.is_multicast() => Some("it is a multicast address"),
            IpAddr::V4(ip) if ip.is_broadcast() => Some("it is the broadcast address"),
            ip if ip.is_loopback() && !self.loopback => Some(LOOPBACK),
            ip if is_link_local(ip) && !self.link_local => Some(LINK_LOCAL),
            _ => None,
        }
    }
}

const LOOPBACK: &str = "it means the client's own machine; `publish.addresses: {loopback: keep}` keeps it";
const LINK_LOCAL: &str = "it means another machine on each network; `publish.addresses: {link_local: keep}` keeps it";

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// RFC 6761 gives `localhost` and all names below it to loopback; the others stand in many `/etc/hosts`.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost"
        || name.ends_with(".localhost")
        || ["localhost.localdomain", "ip6-localhost", "ip6-loopback"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(addresses: Addresses, text: &str) -> bool {
        addresses.refuses(&Address::parse(text).unwrap()).is_some()
    }

    #[test]
    fn what_means_nothing_to_a_client_is_never_published() {
        let nowhere = ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1"];
        for text in nowhere {
            assert!(refused(Addresses::KEPT, text), "{text}");
        }
        for text in ["10.0.0.1", "192.0.2.1", "2001:db8::1", "node-1", "localhost.example", "/run/a.sock", "128.0.0.1"]
        {
            assert!(!refused(Addresses::default(), text), "{text}");
        }
    }

    #[test]
    fn loopback_and_link_local_are_for_the_policy() {
        for text in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "localhost", "a.localhost", "LOCALHOST"] {
            assert!(refused(Addresses::default(), text), "{text}");
            assert!(!refused(Addresses { loopback: true, link_local: false }, text), "{text}");
        }
        for text in ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.0.1"] {
            assert!(refused(Addresses::default(), text), "{text}");
            assert!(!refused(Addresses { loopback: false, link_local: true }, text), "{text}");
        }
    }
}
