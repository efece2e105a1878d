//! Carries the library's connection, to bound what a server may send.
//!
//! The library keeps an answer whole in memory before it looks at it, however long the server says that it is, and takes no
//! stream of ours. So it connects to a port of loopback that is there for one connection, and what comes is passed on from
//! there. Every packet of ZooKeeper begins with its length: one that is too long ends the connection before anything of it
//! is passed on. TLS to the server is ours, so that what it carries is bounded as well; in the clear it goes from one socket
//! of this process to another.
//!
//! Whoever connects to that port speaks to the server as the one that our certificate names. So only a connection of our
//! own user is passed on ([`is_ours`]), and only one.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, copy, split},
    net::{TcpListener, TcpStream},
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::{Instrument, warn};

/// The connections of this process's network. `/proc/net` is a link to the same folder, which systemd's `ProcSubset=pid` hides.
#[cfg(target_os = "linux")]
const TABLE: &str = "/proc/self/net/tcp";

/// Bytes of the buffers in each direction.
const BUFFER: usize = 32 << 10;

/// One connection to one server, through a port of loopback. It ends when the library or the server ends it.
#[derive(Debug)]
pub(super) struct Carrier {
    address: SocketAddr,
    too_long: Arc<OnceLock<u32>>,
}

impl Carrier {
    /// Opens the port and waits for the library in the background. `limit` is the most bytes of a packet. The port
    /// stays ours for `lingers` after the end, as the library may still come back to it.
    pub(super) async fn new(
        server: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        limit: usize,
        lingers: Duration,
    ) -> io::Result<Carrier> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, too_long) = (listener.local_addr()?, Arc::<OnceLock<u32>>::default());
        let found = too_long.clone();
        let carrying = async move {
            if let Ok(Ok(library)) = timeout(lingers, accept(&listener)).await {
                carry(library, server, limit, &found).await;
            }
            sleep(lingers).await;
            drop(listener);
        };
        tokio::spawn(carrying.instrument(tracing::debug_span!("zookeeper_carrier")));
        Ok(Carrier { address, too_long })
    }

    /// The address to which the library has to connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The length of the packet that ended the connection; `None` if no packet was too long.
    pub(super) fn too_long(&self) -> Option<u32> {
        self.too_long.get().copied()
    }
}

/// Waits for the library's connection, and closes those of other users.
async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        let (library, from) = listener.accept().await?;
        let ours = match listener.local_addr()? {
            SocketAddr::V4(to) => spawn_blocking(move || is_ours(from, to)).await.unwrap_or(false),
            SocketAddr::V6(_) => true,
        };
        if ours {
            return Ok(library);
        }
        warn!(%from, "Another user's program connected to a port that is there for ZooKeeper's library; it is closed.");
    }
}

/// True if a connection over loopback comes from a program of the user that this one runs as.
#[cfg(target_os = "linux")]
fn is_ours(from: SocketAddr, to: SocketAddrV4) -> bool {
    let SocketAddr::V4(from) = from else { return false };
    match std::fs::read_to_string(TABLE) {
        Ok(table) => owner(&table, from, to) == Some(rustix::process::getuid().as_raw()),
        // Where the system shows nothing there is nothing to go by.
        Err(_) => true,
    }
}

#[cfg(not(target_os = "linux"))]
fn is_ours(_: SocketAddr, _: SocketAddrV4) -> bool {
    true
}

/// The user id of the program at `from`, by the text of [`TABLE`]; `None` if the connection is not in it. Fields:
/// number, both ends, state, queues, timer, retries, user, ...
#[cfg(target_os = "linux")]
fn owner(table: &str, from: SocketAddrV4, to: SocketAddrV4) -> Option<u32> {
    let end = |end: SocketAddrV4| format!("{:08X}:{:04X}", u32::from_ne_bytes(end.ip().octets()), end.port());
    let (from, to) = (end(from), end(to));
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let ends = (fields.next()?, fields.next()?);
        if ends == (&*from, &*to) { fields.nth(4)?.parse().ok() } else { None }
    })
}

async fn carry(library: TcpStream, server: impl AsyncRead + AsyncWrite, limit: usize, too_long: &OnceLock<u32>) {
    let _ = library.set_nodelay(true);
    let ((mut asks, hears), (answers, mut to_server)) = (library.into_split(), split(server));
    tokio::select! {
        _ = copy(&mut asks, &mut to_server) => {}
        length = packets(answers, hears, limit) => if let Ok(length) = length {
            too_long.get_or_init(|| length);
        }
    }
}

/// Passes packets on until one is longer than `limit`, and returns the length of that one.
async fn packets(from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin, limit: usize) -> io::Result<u32> {
    let (mut from, mut to) = (BufReader::with_capacity(BUFFER, from), BufWriter::with_capacity(BUFFER, to));
    loop {
        let length = from.read_u32().await?;
        if length as usize > limit {
            return Ok(length);
        }
        to.write_u32(length).await?;
        if copy(&mut (&mut from).take(length.into()), &mut to).await? < length.into() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if from.buffer().is_empty() {
            to.flush().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::util::bare_proc;

    fn packet(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes(), body].concat()
    }

    #[tokio::test]
    async fn packets_are_passed_on_until_one_is_too_long() {
        let (small, largest) = (packet(b"a"), packet(&[7; 1000]));
        // Its length, and the beginning of more than memory has.
        let endless = [&u32::MAX.to_be_bytes()[..], &[9; 100]].concat();
        let sent = [&small[..], &largest, &packet(b""), &endless].concat();
        let mut passed = Vec::new();
        assert_eq!(packets(&sent[..], &mut passed, 1000).await.unwrap(), u32::MAX);
        assert_eq!(passed, sent[..sent.len() - endless.len()]);
        assert_eq!(packets(&largest[..], &mut Vec::new(), 999).await.unwrap(), 1000);
        assert!(packets(&largest[..20], &mut Vec::new(), 1000).await.is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_user_of_a_connection_is_the_one_of_its_first_end() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
               0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1 0 100 0 0 10 0\n\
               1: 0100007F:0BB8 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 42 1 0 20 4 30 10 -1\n\
               2: 0100007F:9C40 0100007F:0BB8 01 00000000:00000000 00:00000000 00000000  1000        0 43 1 0 20 4 30 10 -1\n";
        let end = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert_eq!(owner(table, end(40_000), end(3_000)), Some(1_000));
        assert_eq!(owner(table, end(3_000), end(40_000)), Some(0));
        assert_eq!(owner(table, end(40_000), end(3_001)), None);
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_connection_of_this_program_is_ours() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let _library = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let SocketAddr::V4(to) = listener.local_addr().unwrap() else { panic!() };
        let (_, from) = listener.accept().await.unwrap();
        assert!(is_ours(from, to));
        assert!(!is_ours(to.into(), to), "there is no such connection");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_connection_is_known_where_proc_has_processes_alone() {
        bare_proc::passes("registry::zookeeper::carrier::tests::a_connection_of_this_program_is_ours");
    }

    #[tokio::test]
    async fn a_connection_goes_both_ways_and_ends_with_a_packet_that_is_too_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server_side, _) = listener.accept().await.unwrap();
        let carrier = Carrier::new(server, 10, Duration::from_secs(5)).await.unwrap();
        let mut library = TcpStream::connect(carrier.address()).await.unwrap();
        library.write_all(&packet(&[1; 100])).await.unwrap();
        let mut asked = [0; 104];
        server_side.read_exact(&mut asked).await.unwrap();
        server_side.write_all(&packet(b"short")).await.unwrap();
        let mut heard = [0; 9];
        library.read_exact(&mut heard).await.unwrap();
        assert_eq!((&heard[4..], carrier.too_long()), (&b"short"[..], None));
        server_side.write_all(&packet(b"eleven bytes")).await.unwrap();
        assert_eq!(library.read(&mut heard).await.unwrap_or_default(), 0);
        assert_eq!(carrier.too_long(), Some(12));
    }
}
