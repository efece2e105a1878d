//! The gRPC side of a Nacos server in this process, which says what tests want it to say.

use axum::{Router, extract::Request, routing::post};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::Response;
use portolan::pb::nacos::{Body as PayloadBody, Metadata, Payload};
use serde_json::json;
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::broadcast, task::JoinHandle};
use tonic::{Status, Streaming, server::Grpc};
use tonic_prost::ProstCodec;

type Messages = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

/// What the server says on a stream that a client has opened.
#[derive(Debug, Clone)]
pub enum Script {
    /// Only what [`FakePush::push`] is told.
    Quiet,
    /// This message without end, and nothing is read of what the client sends.
    Flood(Payload),
    /// This message, and then nothing more.
    Once(Payload),
    /// Nothing: the stream ends at once.
    Close,
}

/// Numbers of what has happened so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Streams that clients have opened.
    pub streams: AtomicUsize,
    /// Messages sent on streams.
    pub sent: AtomicUsize,
    /// Requests of the type `SubscribeServiceRequest`.
    pub subscribed: AtomicUsize,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    pushes: broadcast::Sender<Payload>,
    seen: Seen,
}

/// A running server; it ends with this value.
pub struct FakePush {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for FakePush {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A message of that type with this JSON body.
pub fn payload(kind: &str, body: impl Into<Bytes>) -> Payload {
    let metadata = Metadata { r#type: kind.into(), ..Metadata::default() };
    Payload { metadata: Some(metadata), body: Some(PayloadBody { type_url: String::new(), value: body.into() }) }
}

/// A `NotifySubscriberRequest`: something has changed in that service of the public namespace.
pub fn notify(group: &str, name: &str) -> Payload {
    let body = json!({"requestId": "1", "namespace": "public", "serviceInfo": {"name": name, "groupName": group}});
    payload("NotifySubscriberRequest", body.to_string())
}

impl FakePush {
    /// Starts one on a free port.
    pub async fn start(script: Script) -> FakePush {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (script, seen) = (Mutex::new(script), Seen::default());
        let shared = Arc::new(Shared { script, pushes: broadcast::channel(1024).0, seen });
        let (asked, opened) = (shared.clone(), shared.clone());
        let router = Router::new()
            .route("/Request/request", post(move |request| answer(asked.clone(), request)))
            .route("/BiRequestStream/requestBiStream", post(move |request| converse(opened.clone(), request)));
        let task = tokio::spawn(async move {
            let incoming = tokio_stream_of(listener);
            let routes = tonic::service::Routes::from(router);
            tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming).await.unwrap();
        });
        FakePush { address, shared, task }
    }

    /// Sends this on every open stream that began with [`Script::Quiet`].
    pub fn push(&self, payload: Payload) {
        drop(self.shared.pushes.send(payload));
    }

    /// What it says on streams that are opened from now on.
    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap()
    }

    pub fn seen(&self) -> &Seen {
        &self.shared.seen
    }
}

fn tokio_stream_of(listener: TcpListener) -> impl Stream<Item = std::io::Result<tokio::net::TcpStream>> {
    stream::unfold(listener, |listener| async move { Some((listener.accept().await.map(|(tcp, _)| tcp), listener)) })
}

/// Answers every unary request with success.
async fn answer(shared: Arc<Shared>, request: Request) -> Response<tonic::body::Body> {
    let service = tower_service_fn(move |question: tonic::Request<Payload>| {
        let kind = question.get_ref().metadata.as_ref().map(|m| m.r#type.clone()).unwrap_or_default();
        if kind == "SubscribeServiceRequest" {
            shared.seen.subscribed.fetch_add(1, Ordering::SeqCst);
        }
        let body = json!({"resultCode": 200, "errorCode": 0, "success": true, "connectionId": "1"});
        let kind = kind.replace("Request", "Response");
        async move { Ok(tonic::Response::new(payload(&kind, body.to_string()))) }
    });
    Grpc::new(ProstCodec::<Payload, Payload>::default()).unary(service, request.map(tonic::body::Body::new)).await
}

async fn converse(shared: Arc<Shared>, request: Request) -> Response<tonic::body::Body> {
    let service = tower_service_fn(move |request: tonic::Request<Streaming<Payload>>| {
        shared.seen.streams.fetch_add(1, Ordering::SeqCst);
        let script = shared.script.lock().unwrap().clone();
        let (counted, mut requests) = (shared.clone(), request.into_inner());
        let mut unread = None;
        let pushes = stream::unfold(shared.pushes.subscribe(), |mut pushes| async move {
            pushes.recv().await.ok().map(|payload| (payload, pushes))
        });
        if matches!(script, Script::Flood(_)) {
            unread = Some(requests);
        } else {
            tokio::spawn(async move { while let Some(Ok(_)) = requests.next().await {} });
        }
        let messages: Pin<Box<dyn Stream<Item = Payload> + Send>> = match script {
            Script::Quiet => Box::pin(pushes),
            Script::Once(payload) => Box::pin(stream::iter([payload]).chain(stream::pending())),
            Script::Close => Box::pin(stream::empty()),
            Script::Flood(payload) => {
                // Now and then others have their turn.
                Box::pin(stream::repeat(payload).enumerate().then(|(n, payload)| async move {
                    if n % 256 == 255 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    payload
                }))
            }
        };
        let messages: Messages = Box::pin(messages.map(move |payload| {
            let _open = &unread;
            counted.seen.sent.fetch_add(1, Ordering::SeqCst);
            Ok(payload)
        }));
        async move { Ok(tonic::Response::new(messages)) }
    });
    Grpc::new(ProstCodec::<Payload, Payload>::default()).streaming(service, request.map(tonic::body::Body::new)).await
}

/// Makes a `tower` service of a function, which is always ready.
fn tower_service_fn<F>(f: F) -> ServiceFn<F> {
    ServiceFn(f)
}

#[derive(Clone)]
struct ServiceFn<F>(F);

impl<F, R, S, A> tower_service::Service<R> for ServiceFn<F>
where
    F: FnMut(R) -> A,
    A: Future<Output = Result<S, Status>>,
{
    type Response = S;
    type Error = Status;
    type Future = A;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> A {
        (self.0)(request)
    }
}
