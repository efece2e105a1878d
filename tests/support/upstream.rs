//! Something for Envoy to reach: a small HTTP server that says its name.

use std::net::SocketAddr;
use tokio::{net::TcpListener, task::JoinHandle};

/// A running instance; gone when dropped.
pub struct Upstream {
    task: JoinHandle<()>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Upstream {
    /// Answers every request with `name`.
    pub async fn start(name: &'static str) -> Upstream {
        Self::start_on("127.0.0.1:0", name).await
    }

    /// The same at a given address, as coming back needs it.
    pub async fn start_on(address: &str, name: &'static str) -> Upstream {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            axum::serve(listener, axum::Router::new().fallback(move || async move { name })).await.unwrap();
        });
        Upstream { task, address }
    }
}

impl Upstream {
    /// Answers every request with `name`, its path, and the host that it was asked for.
    pub async fn echo(name: &'static str) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = move |request: axum::extract::Request| async move {
            let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
            format!("{name} {} {host}", request.uri())
        };
        let task = tokio::spawn(async move {
            axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap();
        });
        Upstream { task, address }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
