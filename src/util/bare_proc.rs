//! For tests: a `/proc` that has processes and nothing else, as systemd's `ProcSubset=pid` gives it to the unit in `deploy/`.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write},
    process::{Command, Output},
};

/// Runs that test of this program once more, with such a `/proc`; it must pass there, too. Where the machine allows no `/proc` of
/// one's own, that is told and nothing is run.
pub(crate) fn passes(test: &str) {
    if !inside(OsStr::new("true"), &[]).is_ok_and(|output| output.status.success()) {
        // Not by `eprintln!`, of which the test harness shows nothing.
        let skipped = format!("SKIP: {test} cannot have a /proc of its own: this machine does not allow it\n");
        io::stderr().write_all(skipped.as_bytes()).unwrap();
        return;
    }
    let again = inside(env::current_exe().unwrap().as_os_str(), &[test, "--exact"]).unwrap();
    let output = String::from_utf8_lossy(&again.stdout);
    // A name that is not the test's would run nothing, and succeed.
    assert!(again.status.success() && output.contains("1 passed"), "{test} without the rest of /proc:\n{output}");
}

fn inside(program: &OsStr, words: &[&str]) -> io::Result<Output> {
    let script = r#"mount -t proc -o subset=pid proc /proc && test ! -e /proc/net && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--pid", "--fork", "--mount", "sh", "-c", script, "sh"]);
    command.arg(program).args(words).output()
}
