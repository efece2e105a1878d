//! A wire that notes which messages of Nacos' gRPC go through it: their kinds stand in it as plain text.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The wire; gone when dropped.
pub struct Recorder {
    pub address: SocketAddr,
    said: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// To that address.
    pub async fn start(target: SocketAddr) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let noted = said.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target, noted.clone()));
            }
        });
        Recorder { address, said, task }
    }

    /// The kinds of all requests so far.
    pub fn requests(&self) -> BTreeSet<String> {
        let said = self.said.lock().unwrap();
        let words = said.split(|byte| !byte.is_ascii_alphanumeric());
        let words = words.filter_map(|word| std::str::from_utf8(word).ok());
        // The byte behind it may be a letter's.
        let kinds = words.filter_map(|word| Some(&word[..word.find("Request")? + "Request".len()]));
        kinds.filter(|kind| *kind != "Request").map(str::to_owned).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, target: SocketAddr, said: Arc<Mutex<Vec<u8>>>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            said.lock().unwrap().extend_from_slice(&buffer[..count]);
            if to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}
