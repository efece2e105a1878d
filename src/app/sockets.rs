//! Gives sockets that were passed to the process to their listeners: by the listener's name, or by its address.

use crate::{util::systemd::Inherited, xds};
use socket2::SockRef;
use std::{io, net::SocketAddr, os::fd::OwnedFd, sync::Arc};
use tokio::net::TcpListener;
use tracing::{info, warn};

/// The name of the admin API's socket.
pub(super) const ADMIN: &str = "admin";

/// The name of the socket of the client status service (CSDS).
pub(super) const CSDS: &str = "csds";

/// The sockets of the other servers; `None`: it was not passed.
#[derive(Debug, Default)]
pub(super) struct Others {
    pub(super) admin: Option<Arc<OwnedFd>>,
    pub(super) csds: Option<Arc<OwnedFd>>,
}

/// Gives each listener its socket, if it was passed, and returns those of the admin API and of client status. A socket
/// that is left over is logged, because nothing answers there.
pub(super) fn hand_out(
    passed: Vec<Inherited>,
    listeners: &mut [xds::Listen],
    admin: SocketAddr,
    csds: Option<SocketAddr>,
) -> Others {
    let mut others = Others::default();
    for Inherited { name, socket } in passed {
        let address = SockRef::from(&*socket).local_addr().ok();
        let tcp = address.as_ref().and_then(|address| address.as_socket());
        let path = address.as_ref().and_then(|address| address.as_pathname());
        let is_there = |listen: &xds::Listen| match &listen.address {
            xds::Address::Tcp(wanted) => tcp == Some(*wanted),
            xds::Address::Unix { path: wanted, .. } => path == Some(&**wanted),
        };
        let by_name = listeners.iter().position(|listen| *listen.name == *name);
        let place = by_name.or_else(|| listeners.iter().position(is_there));
        let free = place.and_then(|place| listeners.get_mut(place)).filter(|listen| listen.socket.is_none());
        if let Some(listen) = free {
            info!(listener = &*listen.name, "Listening on the socket that was passed to the process.");
            listen.socket = Some(socket);
        } else if others.admin.is_none() && (name == ADMIN || tcp == Some(admin)) {
            info!(listener = ADMIN, "Listening on the socket that was passed to the process.");
            others.admin = Some(socket);
        } else if others.csds.is_none() && csds.is_some() && (name == CSDS || tcp == csds) {
            info!(listener = CSDS, "Listening on the socket that was passed to the process.");
            others.csds = Some(socket);
        } else {
            let address = tcp.map(|tcp| tcp.to_string()).unwrap_or_else(|| format!("{path:?}"));
            warn!(%name, address, "A socket was passed to the process that no listener has; name it as one, or give one its address.");
        }
    }
    others
}

/// A listener on a copy of the socket.
pub(super) fn listener(socket: &OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket.try_clone()?);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
