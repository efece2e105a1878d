//! Other people's programs that register themselves or call: each is run by a script in `tests/servers`, says `READY` when
//! it can be used, and ends with its value, also when a test panics. Whether they can be had is asked before, by
//! [`servers::prepared`](super::servers::prepared) or [`netns::inside`](super::netns::inside).

use super::{
    servers::{free_port, script},
    until,
};
use std::{
    fs,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, timeout},
};

/// Of a Java program on a busy machine, whose registry may have been started just before.
const START: Duration = Duration::from_secs(90);
/// Dubbo waits some seconds for calls that are under way.
const STOP: Duration = Duration::from_secs(30);
/// A registry has answered by then.
const SOON: Duration = Duration::from_secs(20);
/// Longer than a consumer waits for its answer.
const CALL: Duration = Duration::from_secs(20);

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    folder: TempDir,
    /// Where it listens.
    pub port: u16,
}

/// A Dubbo consumer that calls when it is told to.
pub struct Consumer {
    program: Program,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts what a script runs, on a free port, and waits until it is ready. The words are what the script's head names.
    pub async fn start(name: &str, words: &[&str]) -> Program {
        Self::start_on(name, free_port(), words).await
    }

    /// The same on a given port.
    pub async fn start_on(name: &str, port: u16, words: &[&str]) -> Program {
        let mut program = Self::spawn(name, port, words, Stdio::piped(), None);
        until(name, START, || {
            let log = program.log();
            let ready = log.lines().any(|line| line.starts_with("READY"));
            if let (false, Some(status)) = (ready, program.child.try_wait().unwrap()) {
                panic!("{name} has ended before it was ready, {status}: {log}");
            }
            async move { if ready { Ok(()) } else { Err(log) } }
        })
        .await;
        program
    }

    /// A Dubbo provider: of line 2 or 3, with the keys in `tests/servers/java/dubbo/script.sh`.
    pub async fn dubbo_provider(line: u8, keys: &[&str]) -> Program {
        Self::start(&format!("dubbo{line}"), &[&["provider"], keys].concat()).await
    }

    /// A Spring Cloud application on `zookeeper`, `eureka` or `nacos`, with the keys in `tests/servers/spring`.
    pub async fn spring(kind: &str, keys: &[&str]) -> Program {
        Self::start("spring", &[&[kind], keys].concat()).await
    }

    /// Has a Spring application set its status in its registry.
    pub async fn set_status(&self, status: &'static str) {
        let url = format!("http://127.0.0.1:{}/status", self.port);
        let request = reqwest::Client::new().post(url).header("content-type", "text/plain").body(status);
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// Has `nacos-go` or `nacos-node` change what it has registered: `weight=2 enabled=false`.
    pub async fn tell(&mut self, keys: &str) {
        let input = self.child.stdin.as_mut().expect("it was started with one");
        input.write_all(format!("{keys}\n").as_bytes()).await.unwrap();
        let done = format!("DONE {keys}");
        until(&done, SOON, async || match self.log() {
            log if log.lines().any(|line| line == done) => Ok(()),
            log => Err(log),
        })
        .await;
    }

    /// What a program prints that ends by itself.
    pub async fn output(name: &str, words: &[&str]) -> String {
        let mut program = Self::spawn(name, 0, words, Stdio::null(), None);
        let status = timeout(START, program.child.wait()).await.expect("it ends in time").unwrap();
        assert!(status.success(), "{name}: {}", program.log());
        program.log()
    }

    /// Everything that it has printed; a consumer's answers excepted.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks it politely to end, so that it takes itself out of its registry, and waits for that.
    pub async fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().expect("it still runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        match timeout(STOP, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("it did not end within {STOP:?}:\n{}", self.log()),
        }
    }

    /// Ends it at once, as a crash would: what it has registered stays until its registry notices.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    fn spawn(name: &str, port: u16, words: &[&str], input: Stdio, output: Option<Stdio>) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(script(name))
            .args(["run", &port.to_string()])
            .arg(folder.path())
            .args(words)
            .stdin(input)
            .stdout(output.unwrap_or_else(|| log.try_clone().unwrap().into()))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Program { child, folder, port }
    }
}

impl Consumer {
    /// A Dubbo consumer that calls what listens on that port of 127.0.0.1, and is ready.
    pub async fn start(line: u8, port: u16, keys: &[&str]) -> Consumer {
        let words = [&["consumer"], keys].concat();
        let mut program = Program::spawn(&format!("dubbo{line}"), port, &words, Stdio::piped(), Some(Stdio::piped()));
        let orders = program.child.stdin.take().unwrap();
        let answers = BufReader::new(program.child.stdout.take().unwrap()).lines();
        let mut consumer = Consumer { program, orders, answers };
        let ready = consumer.line(START).await;
        assert!(ready.starts_with("READY"), "{ready}");
        consumer
    }

    /// The business answer to an order, or why there is none.
    pub async fn call(&mut self, order: &str) -> Result<String, String> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
        let line = self.line(CALL).await;
        match line.split_once(' ') {
            Some(("ANSWER", answer)) => Ok(answer.to_owned()),
            _ => Err(line),
        }
    }

    /// The answer to an order that is repeated until there is one: the first calls over a connection that was lost may fail.
    pub async fn answer(&mut self, order: &str) -> String {
        let deadline = Instant::now() + CALL;
        loop {
            match self.call(order).await {
                Ok(answer) => return answer,
                Err(last) if Instant::now() > deadline => panic!("no answer within {CALL:?}: {last}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn line(&mut self, limit: Duration) -> String {
        match timeout(limit, self.answers.next_line()).await {
            Ok(Ok(Some(line))) => line,
            other => panic!("the consumer says nothing: {other:?}\n{}", self.program.log()),
        }
    }
}
