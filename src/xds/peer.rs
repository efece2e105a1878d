//! Who shares a limit: the address that connections come from.

use std::net::{IpAddr, SocketAddr};

/// A peer: an IPv4 address, or the 64 bits of an IPv6 one that name a network, of which a host may use all addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Peer(u64);

impl Peer {
    pub(super) fn of(address: SocketAddr) -> Peer {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Peer(u64::from(ip.to_bits())),
            IpAddr::V6(ip) => Peer((ip.to_bits() >> 64) as u64 | 1 << 63),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_are_one_peer() {
        let peer = |address: &str| Peer::of(address.parse().unwrap());
        assert_eq!(peer("192.0.2.1:1"), peer("[::ffff:192.0.2.1]:2"));
        assert_eq!(peer("[2001:db8::1]:1"), peer("[2001:db8::9:1]:1"));
        assert_ne!(peer("[2001:db8:0:1::1]:1"), peer("[2001:db8::1]:1"));
        assert_ne!(peer("192.0.2.1:1"), peer("192.0.2.2:1"));
        assert_ne!(peer("0.0.0.1:1"), peer("[::1]:1"));
    }
}
