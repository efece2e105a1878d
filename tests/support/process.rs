//! A program as a process of its own, with a folder for what it writes; both end with the value, also when a test panics.

use super::servers::script;
use std::{
    fs,
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Lines in [`Process::tail`], enough to say why something failed.
const TAIL: usize = 40;

/// A running process; killed when dropped.
pub struct Process {
    child: Child,
    folder: TempDir,
}

/// A command that runs what `tests/servers/<name>` runs, with its data in that folder.
pub fn run(name: &str, port: u16, folder: &Path) -> Command {
    let mut command = Command::new(script(name));
    command.args(["run", &port.to_string()]).arg(folder);
    command
}

impl Process {
    /// Starts a command that may use the folder. What it prints goes into the file `log` there; it reads nothing.
    pub fn start(folder: TempDir, command: Command) -> Process {
        let child = spawn(folder.path(), command, Stdio::null(), None);
        Process { child, folder }
    }

    /// Like [`Process::start`], with this as its standard input.
    pub fn start_with(folder: TempDir, command: Command, input: Stdio) -> Process {
        let child = spawn(folder.path(), command, input, None);
        Process { child, folder }
    }

    /// Like [`Process::start`], with an input that is written to. If `read`, its output is read by
    /// [`Process::take_output`] instead of logged.
    pub fn start_with_input(folder: TempDir, command: Command, read: bool) -> Process {
        let child = spawn(folder.path(), command, Stdio::piped(), read.then(Stdio::piped));
        Process { child, folder }
    }

    /// The folder, which lives as long as the process.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that it has printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// The last lines of the log.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Process id. Panics if the process has been seen to end.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it still runs")
    }

    /// Its input, if it was started with one and nobody has it yet.
    pub fn input(&mut self) -> &mut Option<ChildStdin> {
        &mut self.child.stdin
    }

    /// Its output, if it is read.
    pub fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it ends by itself.
    pub async fn end(&mut self, limit: Duration) -> ExitStatus {
        match timeout(limit, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("it did not end within {limit:?}:\n{}", self.tail()),
        }
    }

    /// Sends it a signal, by the name that `kill` has for it.
    pub async fn signal(&self, signal: &str) {
        let (signal, pid) = (format!("-{signal}"), self.pid().to_string());
        assert!(Command::new("kill").args([signal, pid]).status().await.unwrap().success());
    }

    /// Sends SIGTERM, and waits until it has ended.
    pub async fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM").await;
        self.end(limit).await
    }

    /// Ends it at once, as a crash would; one that has ended stays so.
    pub async fn kill(&mut self) {
        if self.ended().is_none() {
            self.child.kill().await.unwrap();
        }
    }

    /// Starts it again, with what is in its folder; that is in the command, too.
    pub async fn restart(&mut self, command: Command) {
        self.kill().await;
        self.child = spawn(self.folder(), command, Stdio::null(), None);
    }

    /// Ends it at once, and gives it a new folder to be started again in.
    pub async fn empty(&mut self) {
        self.kill().await;
        self.folder = tempfile::tempdir().unwrap();
    }
}

impl Drop for Process {
    /// Waits for the end, so that the folder is removed from under nobody.
    #[expect(clippy::disallowed_methods, reason = "nothing can be awaited here, and nothing else is to run meanwhile")]
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn spawn(folder: &Path, mut command: Command, input: Stdio, output: Option<Stdio>) -> Child {
    let log = fs::File::options().append(true).create(true).open(folder.join("log")).unwrap();
    command
        .stdin(input)
        .stdout(output.unwrap_or_else(|| log.try_clone().unwrap().into()))
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
