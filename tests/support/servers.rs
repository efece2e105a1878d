//! The scripts in `tests/servers`: where they are, and whether what they run can be had.

use std::{
    net::{TcpListener, UdpSocket},
    ops::Range,
    sync::Mutex,
};
use tokio::process::Command;

/// Path of the script `tests/servers/<name>`.
pub fn script(name: &str) -> String {
    format!("{}/tests/servers/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Has scripts fetch and build what they run, if that has not been done. False if one cannot, and it is not required
/// ([`lacking`]): the test then passes.
pub async fn prepared(scripts: &[&str]) -> bool {
    for name in scripts {
        let prepared = Command::new(script(name)).arg("prepare").output().await.unwrap();
        if !prepared.status.success() {
            return lacking(name, String::from_utf8_lossy(&prepared.stderr).trim());
        }
    }
    true
}

/// Tells that a real server or program is missing: panics if `PORTOLAN_REAL_SERVERS` is `required`, otherwise prints
/// it. Always false.
pub fn lacking(what: &str, why: &str) -> bool {
    assert!(std::env::var("PORTOLAN_REAL_SERVERS").as_deref() != Ok("required"), "{what}: {why}");
    eprintln!("SKIP: {what} cannot be had: {why}");
    false
}

/// A free port of 127.0.0.1, below the range from which the system gives ports by itself, so that it is free again after a
/// restart.
pub fn free_port() -> u16 {
    free_ports(20_000..26_000, &[0])
}

/// A port of the range such that it and those at these distances from it are free, and no other test gets any of them.
///
/// Between a look and the server's start they belong to nobody, and test programs run side by side: so each is reserved by
/// the UDP socket of the same number, which no server here opens, for as long as this process lives.
pub fn free_ports(range: Range<u16>, distances: &[i16]) -> u16 {
    static RESERVED: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    // Each process begins elsewhere, so that few look at the same ones.
    let offset = (std::process::id() * 97 % u32::from(range.len() as u16)) as usize;
    let mut reserved = RESERVED.lock().unwrap();
    let free = |port: u16| TcpListener::bind(("0.0.0.0", port)).and_then(|_free| UdpSocket::bind(("127.0.0.1", port)));
    for port in range.clone().cycle().skip(offset).take(range.len()) {
        let all: Result<Vec<UdpSocket>, _> = distances.iter().map(|d| free(port.wrapping_add_signed(*d))).collect();
        if let Ok(sockets) = all {
            reserved.extend(sockets);
            return port;
        }
    }
    panic!("no free ports in {range:?}");
}
