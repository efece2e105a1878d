//! A TCP proxy before a server: cuts connections, swallows what they carry, and notes what is asked by HTTP.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// A running proxy; gone when dropped.
pub struct TcpProxy {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
    state: watch::Sender<State>,
    asked: Arc<Mutex<Vec<String>>>,
    said_at: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// Nothing passes, and nobody is told.
    silent: bool,
    /// Connections of an earlier number are closed.
    cut: u32,
    /// Through connections of an earlier number nothing passes any more.
    stranded: u32,
    /// Of the next connection.
    number: u32,
}

impl TcpProxy {
    /// Passes everything on to that address.
    pub async fn start(target: SocketAddr) -> TcpProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State::default());
        let accepted = state.clone();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let said_at = Arc::<Mutex<Option<Instant>>>::default();
        let (log, said) = (asked.clone(), said_at.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut number = 0;
                accepted.send_modify(|state| {
                    number = state.number;
                    state.number += 1;
                });
                tokio::spawn(connection(client, target, number, accepted.subscribe(), log.clone(), said.clone()));
            }
        });
        TcpProxy { address, task, state, asked, said_at }
    }

    /// Closes all connections; new ones are taken.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut = state.number);
    }

    /// From now on nothing passes through the connections that there are, and nobody is told; new ones are good.
    pub fn strand(&self) {
        self.state.send_modify(|state| state.stranded = state.number);
    }

    /// From now on nothing passes, or everything again: what was held comes late, as in a network that stalls.
    pub fn silence(&self, silent: bool) {
        self.state.send_modify(|state| state.silent = silent);
    }

    /// When the server last said something.
    pub fn said_at(&self) -> Option<Instant> {
        *self.said_at.lock().unwrap()
    }

    /// The first lines of HTTP requests.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn connection(
    client: TcpStream,
    target: SocketAddr,
    number: u32,
    mut state: watch::Receiver<State>,
    log: Arc<Mutex<Vec<String>>>,
    said_at: Arc<Mutex<Option<Instant>>>,
) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, number, state.clone(), |chunk| note(chunk, &log)) => {}
        () = pump(from_server, to_client, number, state.clone(), |_| *said_at.lock().unwrap() = Some(Instant::now())) => {}
        _ = state.wait_for(|state| number < state.cut) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u32,
    mut state: watch::Receiver<State>,
    seen: impl Fn(&[u8]),
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        seen(&buffer[..count]);
        let passes = |state: &State| !state.silent && number >= state.stranded;
        if state.wait_for(passes).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Notes the first line of a request.
fn note(chunk: &[u8], log: &Mutex<Vec<String>>) {
    let first = chunk.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if let Ok(line) = std::str::from_utf8(first)
        && line.ends_with(" HTTP/1.1")
    {
        log.lock().unwrap().push(line.to_owned());
    }
}
