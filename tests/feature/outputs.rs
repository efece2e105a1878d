//! Outputs that are full, closed or not read: what cannot be written is lost, and nothing else.

use crate::support::{http::client, local::Local, until};
use std::{
    fs::File,
    io::{PipeReader, Read, Write, pipe},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);

/// The product as a process whose outputs are given; killed when dropped.
struct Running {
    child: Child,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address with a free port.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Running {
    async fn start(out: Stdio, log: Stdio) -> Running {
        let (folder, admin) = (tempfile::tempdir().unwrap(), free());
        let config = folder.path().join("portolan.yaml");
        // A registry that fails leaves a line behind.
        let text = format!(
            "version: 1\nxds: {{ listen: '127.0.0.1:0' }}\nadmin: {{ listen: '{admin}' }}\nregistries:\n- name: example\n  example: {{}}\n- name: lost\n  required: false\n  nacos: {{ servers: ['http://127.0.0.1:9'], period: 200ms }}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.arg("--config").arg(&config).env("PORTOLAN_LOG", "info").stdout(out).stderr(log);
        let running = Running { child: command.spawn().unwrap(), admin, _folder: folder };
        until("Portolan to be ready", LIMIT, || async {
            match client().get(format!("http://{admin}/ready")).send().await {
                Ok(answer) if answer.status() == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        running
    }

    async fn lost_lines(&self) -> u64 {
        let text = client().get(format!("http://{}/metrics", self.admin)).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("portolan_log_lines_lost_total ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no count in {text}")).parse().unwrap()
    }

    /// Sends SIGTERM, and returns the exit code. `None` if a signal has ended the process.
    async fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ended = tokio::task::spawn_blocking(move || self.child.wait().unwrap().code());
        tokio::time::timeout(LIMIT, ended).await.expect("it ends").unwrap()
    }
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// The writing end of a pipe that nobody reads any more.
fn closed() -> Stdio {
    pipe().unwrap().1.into()
}

/// Both ends of a pipe that is full: the next byte would wait until it is read.
fn stuck() -> (PipeReader, Stdio) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![b'x'; 64 << 10]).unwrap();
    (reader, writer.into())
}

#[tokio::test]
async fn it_serves_with_a_log_that_cannot_be_written_and_counts_what_is_lost() {
    for (out, log) in [(full().into(), full().into()), (closed(), closed())] {
        let running = Running::start(out, log).await;
        until("lost lines to be counted", LIMIT, || async {
            match running.lost_lines().await {
                0 => Err("none is counted"),
                _ => Ok(()),
            }
        })
        .await;
        assert_eq!(running.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn it_serves_beside_outputs_that_nobody_reads_and_writes_when_somebody_does() {
    let ((_unread, out), (mut reader, log)) = (stuck(), stuck());
    let running = Running::start(out, log).await;
    let read = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains("Cannot read the registry") {
            let mut part = vec![0; 4096];
            let read = reader.read(&mut part).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&part[..read]);
        }
        (reader, text)
    });
    let (reader, text) = tokio::time::timeout(LIMIT, read).await.expect("the log arrives").unwrap();
    assert!(String::from_utf8_lossy(&text).contains("Serving xDS."));
    assert_eq!(running.lost_lines().await, 0);
    // Its end waits for the log, but not for ever.
    assert_eq!(running.terminate().await, Some(0));
    drop(reader);
}

#[tokio::test]
async fn an_error_ends_the_process_though_nobody_reads_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_unread, errors) = stuck();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args([
        "--set",
        &format!("xds.listen={}", taken.local_addr().unwrap()),
        "--set",
        "admin.listen=127.0.0.1:0",
    ]);
    command.stdout(Stdio::null()).stderr(errors).kill_on_drop(true);
    let ended = tokio::time::timeout(LIMIT, command.status()).await.expect("it ends").unwrap();
    assert_eq!(ended.code(), Some(1));
}

#[tokio::test]
async fn commands_end_with_their_code_whatever_their_outputs_are() {
    let portolan = Local::start("").await;
    let admin = portolan.admin.to_string();
    let code = async |arguments: &[&str], out: Stdio, errors: Stdio| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.args(arguments).stdout(out).stderr(errors);
        tokio::time::timeout(LIMIT, command.status()).await.expect("it ends").unwrap().code()
    };
    for arguments in [vec!["check"], vec!["bootstrap", "envoy"], vec!["get", "services", "--admin", &admin]] {
        assert_eq!(code(&arguments, closed(), closed()).await, Some(0), "{arguments:?}: a reader has seen enough");
        assert_eq!(code(&arguments, full().into(), full().into()).await, Some(1), "{arguments:?}");
    }
    assert_eq!(code(&["check", "--config", "/nowhere"], closed(), closed()).await, Some(1));
    assert_eq!(code(&["--nothing"], closed(), closed()).await, Some(2));
}
