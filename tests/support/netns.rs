//! Tests that need an address that is no loopback address, because programs like Dubbo's refuse to announce one: the whole
//! scene runs in a network of its own, made by `tests/servers/netns`, in which 192.0.2.10 is the machine's.

use super::servers::{lacking, prepared, script};
use std::process::Stdio;
use tokio::process::Command;

/// The machine's address in the network that `tests/servers/netns` makes.
pub const ADDRESS: &str = "192.0.2.10";

/// True inside. Outside it has the scripts prepare what they run, runs the test of that name again inside, waits for its
/// success, and is false; a test begins with
///
/// ```ignore
/// if !netns::inside("its_full_name", &["dubbo3"]).await { return; }
/// ```
pub async fn inside(test: &str, scripts: &[&str]) -> bool {
    if std::env::var_os("PORTOLAN_NETNS").is_some() {
        return true;
    }
    let netns = script("netns");
    let check = Command::new(&netns).arg("check").output().await.unwrap();
    if !check.status.success() {
        return lacking("netns", String::from_utf8_lossy(&check.stderr).trim());
    }
    if !prepared(scripts).await {
        return false;
    }
    let again = Command::new(&netns)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let output = [again.stdout, again.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    // A name that is not the test's would run nothing, and succeed.
    assert!(again.status.success() && output.contains("1 passed"), "{test} in a network of its own:\n{output}");
    print!("{output}");
    false
}
