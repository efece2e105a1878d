//! The scripts in `tests/servers`: where they are, and whether what they run can be had.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};
use tokio::process::Command;

/// The path of a script.
pub fn script(name: &str) -> String {
    format!("{}/tests/servers/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Has scripts fetch and build what they run, if that has not been done. False where one cannot and need not: the test
/// prints that and passes.
pub async fn prepared(scripts: &[&str]) -> bool {
    for name in scripts {
        let prepared = Command::new(script(name)).arg("prepare").output().await.unwrap();
        if !prepared.status.success() {
            return lacking(name, String::from_utf8_lossy(&prepared.stderr).trim());
        }
    }
    true
}

/// What a test does without something real: it fails where that is required, else it says so. Always false.
pub fn lacking(what: &str, why: &str) -> bool {
    assert!(std::env::var("PORTOLAN_REAL_SERVERS").as_deref() != Ok("required"), "{what}: {why}");
    eprintln!("SKIP: {what} cannot be had: {why}");
    false
}

/// A free port of 127.0.0.1, below the range from which the system gives ports by itself, so that it is free again after a
/// restart.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 250) as u16 * 20;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
