//! Which of the sockets that were passed to the process is whose: by the name of the listener, or by its address.

use crate::{util::systemd::Inherited, xds};
use socket2::SockRef;
use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc};
use tracing::{info, warn};

/// What admin is called among sockets.
const ADMIN: &str = "admin";

/// Gives each listener its socket, if it was passed, and admin its own. What is left over is told: nobody would answer there.
pub(super) fn hand_out(
    passed: Vec<Inherited>,
    listeners: &mut [xds::Listen],
    admin: SocketAddr,
) -> Option<Arc<OwnedFd>> {
    let mut of_admin = None;
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
        } else if of_admin.is_none() && (name == ADMIN || tcp == Some(admin)) {
            info!(listener = ADMIN, "Listening on the socket that was passed to the process.");
            of_admin = Some(socket);
        } else {
            let address = tcp.map(|tcp| tcp.to_string()).unwrap_or_else(|| format!("{path:?}"));
            warn!(%name, address, "A socket was passed to the process that no listener has; name it as one, or give one its address.");
        }
    }
    of_admin
}
