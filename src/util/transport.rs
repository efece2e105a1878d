//! Connections by TCP, by a Unix socket, or by TLS over one of these, behind one trait.

use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::AsFd;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

/// A connection whose bytes can be read and written.
pub trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {
    /// Whether the peer has closed the connection. Reading would show that only after all bytes that came before.
    fn is_left(&self) -> bool;
}

/// Any connection, so that the HTTP server is compiled once for all.
pub type Transport = Box<dyn Bytes>;

impl Bytes for TcpStream {
    fn is_left(&self) -> bool {
        is_hung_up(self)
    }
}

impl Bytes for UnixStream {
    fn is_left(&self) -> bool {
        is_hung_up(self)
    }
}

impl<S: Bytes> Bytes for TlsStream<S> {
    fn is_left(&self) -> bool {
        self.get_ref().0.is_left()
    }
}

impl Bytes for Transport {
    fn is_left(&self) -> bool {
        (**self).is_left()
    }
}

fn is_hung_up(socket: &impl AsFd) -> bool {
    let mut looked = [PollFd::new(socket, PollFlags::RDHUP)];
    // Without an answer it is taken to be there: who does not read is closed later.
    let found = poll(&mut looked, Some(&Default::default())).is_ok_and(|count| count > 0);
    found && looked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    #[tokio::test]
    async fn who_has_left_is_known_though_his_bytes_were_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (here, _) = listener.accept().await.unwrap();
        there.write_all(b"something").await.unwrap();
        here.readable().await.unwrap();
        assert!(!here.is_left());
        drop(there);
        // Loopback: the end is there as soon as it was sent.
        assert!(here.is_left());
        let (here, there) = UnixStream::pair().unwrap();
        assert!(!here.is_left());
        drop(there);
        assert!(here.is_left());
    }
}
