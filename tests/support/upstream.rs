//! Something for Envoy to reach: a small HTTP server that says its name, and one for gRPC programs.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{convert::Infallible, net::SocketAddr};
use tokio::{net::TcpListener, task::JoinHandle};

/// A running instance; gone when dropped.
pub struct Upstream {
    task: JoinHandle<()>,
    /// Address of the server, to be registered as an instance.
    pub address: SocketAddr,
}

impl Upstream {
    /// Answers every request with `name`.
    pub async fn start(name: &'static str) -> Upstream {
        Self::start_on("127.0.0.1:0", name).await
    }

    /// Like [`Upstream::start`], at a given address, as one needs it that comes back.
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

impl Upstream {
    /// A gRPC server that answers every call with the bytes of `name`, whatever the method. A call with `x-fail: first` it refuses
    /// at the first attempt, as unavailable.
    pub async fn grpc(name: &'static str) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // An answer is written in parts, of which none is to wait for the client's acknowledgement of another.
                stream.set_nodelay(true).unwrap();
                let service = service_fn(move |request| async move { Ok::<_, Infallible>(call(name, request).await) });
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Upstream { task, address }
    }
}

async fn call(name: &str, request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let (head, body) = request.into_parts();
    // A client may still be sending; what it sends is of no interest.
    let _ = body.collect().await;
    let is_first = !head.headers.contains_key("grpc-previous-rpc-attempts");
    let answer = Response::builder().header("content-type", "application/grpc");
    if is_first && head.headers.get("x-fail").is_some_and(|value| value == "first") {
        // In one piece with its head: only then may a client try again.
        return answer.header("grpc-status", "14").body(Empty::new().boxed_unsync()).unwrap();
    }
    let length = u32::try_from(name.len()).unwrap().to_be_bytes();
    let message = [&[0][..], &length, name.as_bytes()].concat();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(message)).with_trailers(async move { Some(Ok(trailers)) });
    answer.body(body.boxed_unsync()).unwrap()
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
