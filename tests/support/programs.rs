//! Other people's programs that register themselves or call: each is run by a script in `tests/servers`, says `READY` when
//! it can be used, and ends with its value, also when a test panics. Whether they can be had is asked before, by
//! [`servers::prepared`](super::servers::prepared) or [`netns::inside`](super::netns::inside).

use super::{
    process::{self, Process},
    servers::free_port,
    until,
};
use std::{process::ExitStatus, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout},
    time::{Instant, timeout},
};

/// How long a Java program may take to start on a busy machine; its registry may have been started just before.
const START: Duration = Duration::from_secs(90);
/// How long a program may take to end: Dubbo waits some seconds for calls that are under way.
const STOP: Duration = Duration::from_secs(30);
/// How long a change of a registration may take.
const SOON: Duration = Duration::from_secs(60);
/// How long an answer may take: longer than a Dubbo consumer waits for it.
const CALL: Duration = Duration::from_secs(20);
/// How long many calls of a gRPC program may take, the first of which loads most of a Java program.
const CALLS: Duration = Duration::from_secs(90);

/// A running program; killed when dropped.
pub struct Program {
    process: Process,
    /// The port that its script was given: it listens there, or a Dubbo consumer calls it; 0 is none.
    pub port: u16,
}

/// A program that calls on command: a Dubbo consumer, or a gRPC program.
pub struct Consumer {
    program: Program,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// How long an answer may take.
    limit: Duration,
}

impl Program {
    /// Starts what a script runs, on a free port, and waits until it is ready. The words are what the script's head names.
    pub async fn start(name: &str, words: &[&str]) -> Program {
        Self::start_on(name, free_port(), words).await
    }

    /// Like [`Program::start`], on a given port.
    pub async fn start_on(name: &str, port: u16, words: &[&str]) -> Program {
        let mut program = Self::spawn(name, port, words, false);
        until(name, START, || {
            let log = program.log();
            let ready = log.lines().any(|line| line.starts_with("READY"));
            if let (false, Some(status)) = (ready, program.process.ended()) {
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
        let request = super::http::client().post(url).header("content-type", "text/plain").body(status);
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// Has `nacos-go` or `nacos-node` change what it has registered: `weight=2 enabled=false`.
    pub async fn tell(&mut self, keys: &str) {
        let input = self.process.input().as_mut().expect("it was started with one");
        input.write_all(format!("{keys}\n").as_bytes()).await.unwrap();
        let done = format!("DONE {keys}");
        until(&done, SOON, async || match self.log() {
            log if log.lines().any(|line| line == done) => Ok(()),
            log => Err(log),
        })
        .await;
    }

    /// Runs a program that ends by itself, and returns what it prints. Panics if it fails.
    pub async fn output(name: &str, words: &[&str]) -> String {
        let mut program = Self::spawn(name, 0, words, false);
        let status = program.process.end(START).await;
        assert!(status.success(), "{name}: {}", program.log());
        program.log()
    }

    /// Everything that it has printed; a consumer's answers excepted.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Sends SIGTERM, so that it takes itself out of its registry, and waits until it has ended.
    pub async fn stop(mut self) -> ExitStatus {
        self.process.terminate(STOP).await
    }

    /// Ends it at once, as a crash would: what it has registered stays until its registry notices.
    pub async fn kill(mut self) {
        self.process.kill().await;
    }

    fn spawn(name: &str, port: u16, words: &[&str], read: bool) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let mut command = process::run(name, port, folder.path());
        command.args(words);
        Program { process: Process::start_with_input(folder, command, read), port }
    }
}

impl Consumer {
    /// A Dubbo consumer that calls what listens on that port of 127.0.0.1, and is ready.
    pub async fn start(line: u8, port: u16, keys: &[&str]) -> Consumer {
        let words = [&["consumer"], keys].concat();
        Self::run(&format!("dubbo{line}"), port, &words, CALL).await
    }

    /// A program of `grpc-go`, `grpc-python` or `grpc-java`, which is ready.
    pub async fn grpc(name: &str, keys: &[&str]) -> Consumer {
        Self::run(name, 0, keys, CALLS).await
    }

    async fn run(name: &str, port: u16, words: &[&str], limit: Duration) -> Consumer {
        let mut program = Program::spawn(name, port, words, true);
        let orders = program.process.input().take().unwrap();
        let answers = BufReader::new(program.process.take_output().unwrap()).lines();
        let mut consumer = Consumer { program, orders, answers, limit };
        let ready = consumer.line(START).await;
        assert!(ready.starts_with("READY"), "{ready}");
        consumer
    }

    /// The business answer to an order, or why there is none.
    pub async fn call(&mut self, order: &str) -> Result<String, String> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
        let line = self.line(self.limit).await;
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

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.program.log()
    }

    async fn line(&mut self, limit: Duration) -> String {
        match timeout(limit, self.answers.next_line()).await {
            Ok(Ok(Some(line))) => line,
            other => panic!("the consumer says nothing: {other:?}\n{}", self.program.log()),
        }
    }
}
