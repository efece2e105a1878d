//! Clients that misbehave, or suffer.

use crate::client::{ADS_DELTA, Delta, delta_request};
use portolan::{pb::google::rpc::Status, resource::Kind};
use std::net::SocketAddr;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::{JoinHandle, JoinSet},
};
use tonic::transport::Endpoint;

/// A way in which clients misbehave or suffer.
#[derive(Debug, Clone, Copy)]
pub enum Client {
    /// It sends bytes that are no HTTP/2.
    Garbage,
    /// It asks for everything and reads nothing.
    Stall,
    /// It refuses everything.
    Refuse,
    /// Fifty connect at once, ask for all clusters, and go after one answer.
    Storm,
}

impl Client {
    pub const ALL: [Client; 4] = [Client::Garbage, Client::Stall, Client::Refuse, Client::Storm];

    /// Begins. The task ends when all is done or it is aborted. `bytes` are what [`Client::Garbage`] sends.
    pub fn start(self, xds: SocketAddr, bytes: Vec<u8>) -> JoinHandle<()> {
        tokio::spawn(async move {
            match self {
                Client::Garbage => {
                    if let Ok(mut stream) = TcpStream::connect(xds).await {
                        let _ = stream.write_all(&bytes).await;
                    }
                }
                Client::Stall => {
                    let Some(stream) = asks(xds).await else { return };
                    std::future::pending::<()>().await;
                    drop(stream);
                }
                Client::Refuse => refuse(xds).await,
                Client::Storm => {
                    let mut all = JoinSet::new();
                    for _ in 0..50 {
                        all.spawn(async move {
                            if let Some(mut stream) = asks(xds).await {
                                let _ = stream.message().await;
                            }
                        });
                    }
                    all.join_all().await;
                }
            }
        })
    }
}

async fn asks(xds: SocketAddr) -> Option<Delta> {
    // Whoever comes while the process is killed is not answered.
    let channel = Endpoint::from_shared(format!("http://{xds}")).unwrap().connect().await.ok()?;
    let stream = Delta::try_open(channel, ADS_DELTA, None).await.ok()?;
    stream.request(delta_request(Kind::Cluster, &["*"], &[])).await;
    Some(stream)
}

async fn refuse(xds: SocketAddr) {
    let Some(mut stream) = asks(xds).await else { return };
    while let Ok(Some(answer)) = stream.message().await {
        let mut refusal = delta_request(Kind::Cluster, &[], &[]);
        refusal.response_nonce = answer.nonce;
        refusal.error_detail = Some(Status { code: 3, message: "not this one".into() });
        stream.request(refusal).await;
    }
}
