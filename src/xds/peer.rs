//! The other side of a connection, and who shares a limit: the address that connections come from.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// The other side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// It came over TCP.
    Ip(SocketAddr),
    /// It is a process of this machine, on a Unix socket.
    Unix {
        /// Number of the user that it runs as.
        uid: u32,
        /// Its process id; `None` if the system does not say it.
        pid: Option<i32>,
    },
}

impl Remote {
    /// Its address, one of IPv4 in IPv6 as IPv4; `None` for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Remote::Ip(address) => Some(address.ip().to_canonical()),
            Remote::Unix { .. } => None,
        }
    }
}

impl From<SocketAddr> for Remote {
    fn from(address: SocketAddr) -> Self {
        Remote::Ip(address)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Ip(address) => write!(f, "{address}"),
            Remote::Unix { uid, pid: Some(pid) } => write!(f, "unix:uid={uid},pid={pid}"),
            Remote::Unix { uid, pid: None } => write!(f, "unix:uid={uid}"),
        }
    }
}

/// A peer: an IPv4 address; the 64 bits of an IPv6 one that name a network, of which a host may use all addresses; or a user
/// of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Peer(u64);

impl From<Remote> for Peer {
    fn from(remote: Remote) -> Peer {
        match remote {
            Remote::Ip(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => Peer(u64::from(ip.to_bits())),
                IpAddr::V6(ip) => Peer((ip.to_bits() >> 64) as u64 | 1 << 63),
            },
            Remote::Unix { uid, .. } => Peer(u64::from(uid) | 1 << 62),
        }
    }
}

#[cfg(test)]
impl Peer {
    pub(super) fn of(address: SocketAddr) -> Peer {
        Remote::from(address).into()
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
        let unix = |uid, pid| Peer::from(Remote::Unix { uid, pid });
        assert_eq!(unix(1, Some(7)), unix(1, None));
        assert_ne!(unix(1, None), peer("0.0.0.1:1"));
    }
}
