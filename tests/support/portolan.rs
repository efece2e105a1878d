//! The product itself, as a process of its own: started on free ports, asked over HTTP, ended by its process id.

use super::{clock::Clock, http, process::Process, until};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_portolan");

/// A running `portolan serve`; killed when dropped.
pub struct Portolan {
    process: Process,
    /// Address of the xDS server.
    pub xds: SocketAddr,
    /// Address of the admin API.
    pub admin: SocketAddr,
}

impl Portolan {
    /// Starts the binary on a configuration without `xds:` and `admin:`, and waits until it has bound its ports.
    pub async fn start(rest_of_config: &str) -> Portolan {
        Self::start_on("127.0.0.1:0", "127.0.0.1:0", rest_of_config).await
    }

    /// Like [`Portolan::start`], on given addresses, as a restart needs it.
    pub async fn start_on(xds: &str, admin: &str, rest_of_config: &str) -> Portolan {
        Self::start_by(Command::new(BINARY), xds, admin, rest_of_config).await
    }

    /// Like [`Portolan::start`], as a process that may have at most this many files open.
    pub async fn start_with_files(most: usize, rest_of_config: &str) -> Portolan {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={most}:{most}")).arg(BINARY);
        Self::start_by(command, "127.0.0.1:0", "127.0.0.1:0", rest_of_config).await
    }

    /// Like [`Portolan::start`], with these variables in its environment.
    pub async fn start_with_variables(variables: &[(&str, &str)], rest_of_config: &str) -> Portolan {
        let mut command = Command::new(BINARY);
        command.envs(variables.iter().copied());
        Self::start_by(command, "127.0.0.1:0", "127.0.0.1:0", rest_of_config).await
    }

    /// Like [`Portolan::start_on`], by a wall clock of its own.
    pub async fn start_by_clock(clock: &Clock, xds: &str, admin: &str, rest_of_config: &str) -> Portolan {
        let mut command = Command::new(BINARY);
        command.envs(clock.variables());
        Self::start_by(command, xds, admin, rest_of_config).await
    }

    /// Like [`Portolan::start`], as a process for which that folder is a disk of its own, of so many KiB. `None` where
    /// no such disk can be mounted.
    pub async fn start_on_disk(folder: &Path, kib: usize, rest_of_config: &str) -> Option<Portolan> {
        let mount = format!("mount -t tmpfs -o size={kib}k tmpfs '{}'", folder.display());
        let tried = Command::new("unshare").args(["-rm", "bash", "-c", &mount]).output().await;
        if !tried.is_ok_and(|output| output.status.success()) {
            super::servers::lacking("unshare", "it cannot mount a disk");
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(["-rm", "bash", "-c", &format!("{mount} && exec \"$0\" \"$@\""), BINARY]);
        Some(Self::start_by(command, "127.0.0.1:0", "127.0.0.1:0", rest_of_config).await)
    }

    /// Starts it as a service manager does: on a socket that listens already, and with the path of `NOTIFY_SOCKET`.
    pub async fn start_activated(socket: &TcpListener, notify: &Path, rest_of_config: &str) -> Portolan {
        Self::activated(&[BINARY], socket, notify, rest_of_config).await
    }

    /// As [`Portolan::start_activated`], with the system calls that a unit of systemd leaves it.
    pub async fn start_confined(unit: &Path, socket: &TcpListener, notify: &Path, rest_of_config: &str) -> Portolan {
        let confined = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/confined.py");
        // The library for it is a Debian package: of Debian's Python.
        let command = ["/usr/bin/python3", confined, unit.to_str().unwrap(), BINARY];
        Self::activated(&command, socket, notify, rest_of_config).await
    }

    async fn activated(program: &[&str], socket: &TcpListener, notify: &Path, rest_of_config: &str) -> Portolan {
        // A shell puts the socket, which it gets as its input, where such sockets are expected, and becomes the product.
        let script =
            "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=default; exec \"$0\" \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", script]).args(program).env("NOTIFY_SOCKET", notify);
        let input = Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
        let xds = socket.local_addr().unwrap().to_string();
        Self::start_with(command, Some(input), &xds, "127.0.0.1:0", rest_of_config).await
    }

    /// Like [`Portolan::start_on`], with `--takeover`: it takes over from the process that serves at that socket, and a
    /// later process takes over from it there.
    pub async fn start_with_takeover(socket: &Path, xds: &str, admin: &str, rest_of_config: &str) -> Portolan {
        let mut command = Command::new(BINARY);
        command.arg("--takeover").arg(socket);
        Self::start_by(command, xds, admin, rest_of_config).await
    }

    /// Like [`Portolan::start_with_takeover`]; its streams end over that time.
    pub async fn start_to_leave_over(
        time: &str,
        socket: &Path,
        xds: &str,
        admin: &str,
        rest_of_config: &str,
    ) -> Portolan {
        let mut command = Command::new(BINARY);
        command.arg("--takeover").arg(socket).env("PORTOLAN_XDS__DRAIN", time);
        Self::start_by(command, xds, admin, rest_of_config).await
    }

    async fn start_by(command: Command, xds: &str, admin: &str, rest_of_config: &str) -> Portolan {
        Self::start_with(command, None, xds, admin, rest_of_config).await
    }

    async fn start_with(
        mut command: Command,
        input: Option<Stdio>,
        xds: &str,
        admin: &str,
        rest_of_config: &str,
    ) -> Portolan {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("portolan.yaml");
        fs::write(&config, whole(xds, admin, rest_of_config)).unwrap();
        command.arg("--config").arg(config).env("PORTOLAN_LOG", "debug");
        let process = match input {
            Some(input) => Process::start_with(folder, command, input),
            None => Process::start(folder, command),
        };
        let (xds, admin) = until("Portolan to print its addresses", Duration::from_secs(60), async || {
            let log = process.log();
            match (address_after(&log, "xDS on "), address_after(&log, "Admin on http://")) {
                (Some(xds), Some(admin)) => Ok((xds, admin)),
                _ => Err(log),
            }
        })
        .await;
        Portolan { process, xds, admin }
    }

    /// Everything that it has printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// A folder that lives as long as the process.
    pub fn folder(&self) -> &Path {
        self.process.folder()
    }

    /// Path of `portolan.yaml` in its folder.
    pub fn config(&self) -> PathBuf {
        self.process.folder().join("portolan.yaml")
    }

    /// Puts another configuration in the place of the one that it was started on with [`Portolan::start`], in one step.
    pub fn configure(&self, rest_of_config: &str) {
        let new = self.folder().join("portolan.new");
        fs::write(&new, whole("127.0.0.1:0", "127.0.0.1:0", rest_of_config)).unwrap();
        fs::rename(new, self.config()).unwrap();
    }

    /// The body of an admin page, with its status.
    pub async fn get(&self, path: &str) -> (u16, String) {
        http::get(self.admin, path).await
    }

    /// The JSON of an admin page. Panics unless the status is 200.
    pub async fn json(&self, path: &str) -> serde_json::Value {
        http::json(self.admin, path).await
    }

    /// Waits until `/ready` answers 200.
    pub async fn ready(&self) -> &Self {
        http::ready(self.admin).await;
        self
    }

    /// Process id, for signals and `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The most resident memory that it has had so far, in KiB.
    pub fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Sends SIGTERM, and waits until it has ended.
    pub async fn terminate(mut self) -> std::process::ExitStatus {
        self.process.terminate(Duration::from_secs(60)).await
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> std::process::ExitStatus {
        self.process.end(Duration::from_secs(60)).await
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(mut self) {
        self.process.kill().await;
    }
}

fn whole(xds: &str, admin: &str, rest_of_config: &str) -> String {
    format!("version: 1\nxds: {{ listen: '{xds}', drain: 200ms }}\nadmin: {{ listen: '{admin}' }}\n{rest_of_config}")
}

fn address_after(log: &str, mark: &str) -> Option<SocketAddr> {
    let rest = &log[log.find(mark)? + mark.len()..];
    rest.split_whitespace().next()?.trim_end_matches('/').parse().ok()
}
