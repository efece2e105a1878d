//! systemd: the listening sockets that it passes to a service, so that the port is never closed, and the messages that
//! it gets (`Type=notify`). By its documented protocols, without its library.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::OwnedFd,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::Arc,
};

/// A listening socket that was passed to this process.
#[derive(Debug, Clone)]
pub struct Inherited {
    /// The name that `FileDescriptorName=` gives it; `unknown` without one.
    pub name: String,
    /// The descriptor as it was passed.
    pub socket: Arc<OwnedFd>,
}

/// The number of the first descriptor that is passed, `SD_LISTEN_FDS_START`.
#[cfg(target_os = "linux")]
const FIRST: i32 = 3;

/// The most sockets that are taken.
const MOST: usize = 256;

/// The sockets that were passed to this process, by `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`.
///
/// # Errors
/// If some were passed and cannot be taken.
pub fn inherited() -> io::Result<Vec<Inherited>> {
    let var = |name: &str| env::var(name).unwrap_or_default();
    let names = passed(&var("LISTEN_PID"), &var("LISTEN_FDS"), &var("LISTEN_FDNAMES"), std::process::id());
    sockets(names)
}

/// The names of the sockets, from the values of the three variables; none if `pid` is not our `own`.
fn passed(pid: &str, number: &str, names: &str, own: u32) -> Vec<String> {
    let number = match (pid.parse::<u32>(), number.parse::<usize>()) {
        (Ok(pid), Ok(number)) if pid == own => number.min(MOST),
        _ => 0,
    };
    let names: Vec<&str> = names.split(':').collect();
    let name = |place: usize| names.get(place).filter(|name| !name.is_empty()).map_or("unknown", |name| name);
    (0..number).map(|place| name(place).to_owned()).collect()
}

/// Takes copies of the descriptors, by `pidfd_getfd`: to own a descriptor by its number would need unsafe code.
#[cfg(target_os = "linux")]
fn sockets(names: Vec<String>) -> io::Result<Vec<Inherited>> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket = |(place, name): (i32, String)| {
        let socket = Arc::new(pidfd_getfd(&own, FIRST + place, PidfdGetfdFlags::empty())?);
        Ok(Inherited { name, socket })
    };
    (0..).zip(names).map(socket).collect()
}

#[cfg(not(target_os = "linux"))]
fn sockets(names: Vec<String>) -> io::Result<Vec<Inherited>> {
    match names.len() {
        0 => Ok(Vec::new()),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Sends the state of this service to systemd.
#[derive(Debug)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The longest time between two life signs (`WATCHDOG_USEC`). `None`: it wants none.
    pub watchdog: Option<std::time::Duration>,
}

impl Notify {
    /// Reads `NOTIFY_SOCKET` and `WATCHDOG_USEC`; without the former nothing is sent.
    ///
    /// # Errors
    /// If `NOTIFY_SOCKET` is no valid address.
    pub fn from_environment() -> io::Result<Notify> {
        let micros = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let for_us = env::var("WATCHDOG_PID")
            .ok()
            .and_then(|text| text.parse().ok())
            .is_none_or(|pid: u32| pid == std::process::id());
        let watchdog = micros.filter(|micros| *micros > 0 && for_us).map(std::time::Duration::from_micros);
        Notify::to(env::var_os("NOTIFY_SOCKET"), watchdog)
    }

    fn to(address: Option<OsString>, watchdog: Option<std::time::Duration>) -> io::Result<Notify> {
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            return Ok(Notify::nobody());
        };
        let socket = UnixDatagram::unbound()?;
        // It is never worth a wait.
        socket.set_nonblocking(true)?;
        Ok(Notify { socket: Some((socket, address_of(&address)?)), watchdog })
    }

    /// Sends nothing.
    pub fn nobody() -> Notify {
        Notify { socket: None, watchdog: None }
    }

    /// Whether messages are sent at all.
    pub fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// Sends lines such as `READY=1`, without waiting.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn say(&self, text: &str) -> io::Result<()> {
        match &self.socket {
            Some((socket, address)) => socket.send_to_addr(text.as_bytes(), address).map(drop),
            None => Ok(()),
        }
    }
}

/// The address of a socket: a path, or `@name` for an abstract one.
fn address_of(text: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    {
        use std::os::{linux::net::SocketAddrExt, unix::ffi::OsStrExt};
        if let Some(name) = text.as_bytes().strip_prefix(b"@") {
            return SocketAddr::from_abstract_name(name);
        }
    }
    SocketAddr::from_pathname(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn sockets_are_taken_by_whom_they_were_passed_to() {
        for (pid, number, names, expected) in [
            ("7", "2", "xds:admin", &["xds", "admin"][..]),
            ("7", "2", "xds", &["xds", "unknown"]),
            ("7", "1", "", &["unknown"]),
            ("8", "2", "xds:admin", &[]),
            ("", "2", "xds:admin", &[]),
            ("7", "", "", &[]),
            ("7", "-1", "", &[]),
        ] {
            assert_eq!(passed(pid, number, names, 7), expected, "{pid} {number} {names}");
        }
        assert_eq!(passed("7", "99999999", "", 7).len(), MOST);
    }

    #[test]
    fn whoever_wants_to_hear_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let notify = Notify::to(Some(path.into()), Some(Duration::from_secs(2))).unwrap();
        notify.say("READY=1\nSTATUS=fine").unwrap();
        let mut bytes = [0; 64];
        let length = heard.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"READY=1\nSTATUS=fine");
        assert!(notify.is_heard());
        let nobody = Notify::to(None, None).unwrap();
        nobody.say("READY=1").unwrap();
        assert!(!nobody.is_heard());
    }
}
