//! A TCP proxy before a server: cuts connections, takes none, swallows what they carry, and notes what is asked by HTTP and
//! what kinds of messages are sent to a Nacos by gRPC.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
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
    /// Address of the proxy, to be given to clients instead of the server's.
    pub address: SocketAddr,
    task: JoinHandle<()>,
    state: watch::Sender<State>,
    asked: Arc<Mutex<Vec<String>>>,
    messages: Arc<Mutex<Vec<String>>>,
    said_at: Arc<Mutex<Option<Instant>>>,
    open: Arc<Open>,
}

/// How many connections there are, and the most that there were.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// What the connections note, for [`TcpProxy::asked`], [`TcpProxy::messages`] and [`TcpProxy::said_at`].
#[derive(Clone)]
struct Log {
    asked: Arc<Mutex<Vec<String>>>,
    messages: Arc<Mutex<Vec<String>>>,
    said_at: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// Nothing passes, and neither side is notified.
    silent: bool,
    /// Every connection is closed, new ones too.
    severed: bool,
    /// Connections of an earlier number are closed.
    cut: u32,
    /// Through connections of an earlier number nothing passes any more.
    stranded: u32,
    /// The number that the next connection gets.
    number: u32,
}

impl TcpProxy {
    /// Passes everything on to that address.
    pub async fn start(target: SocketAddr) -> TcpProxy {
        Self::start_on(([127, 0, 0, 1], 0).into(), target).await
    }

    /// Like [`TcpProxy::start`], on a given address.
    pub async fn start_on(address: SocketAddr, target: SocketAddr) -> TcpProxy {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State::default());
        let accepted = state.clone();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let said_at = Arc::<Mutex<Option<Instant>>>::default();
        let messages = Arc::<Mutex<Vec<String>>>::default();
        let log = Log { asked: asked.clone(), messages: messages.clone(), said_at: said_at.clone() };
        let open = Arc::<Open>::default();
        let counted = open.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if accepted.borrow().severed {
                    continue;
                }
                let mut number = 0;
                accepted.send_modify(|state| {
                    number = state.number;
                    state.number += 1;
                });
                let passing = connection(client, target, number, accepted.subscribe(), log.clone());
                let counted = counted.clone();
                tokio::spawn(async move {
                    let now = counted.now.fetch_add(1, Ordering::Relaxed) + 1;
                    counted.most.fetch_max(now, Ordering::Relaxed);
                    passing.await;
                    counted.now.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        TcpProxy { address, task, state, asked, messages, said_at, open }
    }

    /// Closes all connections; new ones are accepted.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut = state.number);
    }

    /// Its address as a base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes all connections, and every new one.
    pub fn sever(&self) {
        self.state.send_modify(|state| state.severed = true);
    }

    /// Takes new connections again.
    pub fn heal(&self) {
        self.state.send_modify(|state| state.severed = false);
    }

    /// From now on nothing passes through the connections that there are, and neither side is notified; new ones are good.
    pub fn strand(&self) {
        self.state.send_modify(|state| state.stranded = state.number);
    }

    /// From now on nothing passes, or everything again: what was held comes late, as in a network that stalls.
    pub fn silence(&self, silent: bool) {
        self.state.send_modify(|state| state.silent = silent);
    }

    /// When the server last sent something.
    pub fn said_at(&self) -> Option<Instant> {
        *self.said_at.lock().unwrap()
    }

    /// How many connections there are now, and the most that there were at once.
    pub fn open(&self) -> (usize, usize) {
        (self.open.now.load(Ordering::Relaxed), self.open.most.load(Ordering::Relaxed))
    }

    /// The first lines of HTTP requests.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The kinds of messages that were sent to a Nacos by gRPC, in turn.
    pub fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn connection(client: TcpStream, target: SocketAddr, number: u32, mut state: watch::Receiver<State>, log: Log) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut kinds = Kinds::default();
    let asked = |chunk: &[u8]| {
        note(chunk, &log.asked);
        kinds.note(chunk, &log.messages);
    };
    tokio::select! {
        () = pump(from_client, to_server, number, state.clone(), asked) => {}
        () = pump(from_server, to_client, number, state.clone(), |_| *log.said_at.lock().unwrap() = Some(Instant::now())) => {}
        _ = state.wait_for(|state| state.severed || number < state.cut) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u32,
    mut state: watch::Receiver<State>,
    mut seen: impl FnMut(&[u8]),
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

/// Finds the kinds of Nacos' messages in what is sent: each stands in the clear, as a word behind its length, in the head of
/// an envelope. A chunk may end within one.
#[derive(Default)]
struct Kinds {
    word: Vec<u8>,
}

impl Kinds {
    fn note(&mut self, chunk: &[u8], log: &Mutex<Vec<String>>) {
        for byte in chunk {
            if byte.is_ascii_alphabetic() {
                self.word.push(*byte);
                continue;
            }
            let mut word = std::mem::take(&mut self.word);
            // The mark of the next field, the client's address, is a letter.
            if word.ends_with(b"tB") || word.ends_with(b"eB") {
                word.pop();
            }
            let is_kind = |end: &&[u8]| word.ends_with(end) && word.len() > end.len() && word[0].is_ascii_uppercase();
            if [&b"Request"[..], b"Response"].iter().any(is_kind) {
                log.lock().unwrap().push(String::from_utf8(word).unwrap());
            }
        }
        // Longer than any kind: a body of letters.
        if self.word.len() > 1000 {
            self.word.drain(..900);
        }
    }
}
