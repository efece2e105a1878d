//! One gRPC connection to one server: questions of ours with their answers, and the stream on which the server asks.
//!
//! The server knows a client by its connection, so that everything goes over one; when it breaks, a new value is made.

use super::{
    endpoint::endpoint,
    wire::{self, Headers, Payloads, Reply},
};
use crate::{
    pb::nacos::Payload,
    registry::{
        nacos::{
            config::Config,
            error::{Error, UNREGISTERED},
        },
        transport,
    },
};
use ::http::{HeaderMap, HeaderName, HeaderValue, uri::PathAndQuery};
use futures_util::{Stream, StreamExt, TryFutureExt, stream};
use reqwest::Url;
use serde_json::{Value, json};
use std::{net::Ipv4Addr, pin::pin, time::Duration};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Request, Status,
    client::Grpc,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

/// The pause between two health checks, and the longest time for an answer. Together they are far below the half minute
/// within which a cut connection is to be noticed.
const HEALTH_PERIOD: Duration = Duration::from_secs(5);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

const ASK: &str = "/Request/request";
const STREAM: &str = "/BiRequestStream/requestBiStream";
/// The pause between two requests that find out if the server knows the connection.
const KNOWN_YET: Duration = Duration::from_millis(20);
/// The most answers to the server that wait for the network. It asks one question at a time.
const ANSWERS: usize = 64;

/// A connection that a server has accepted.
#[derive(Debug)]
pub(crate) struct Connection {
    channel: Channel,
    timeout: Duration,
    max_bytes: usize,
    /// Our own address, which the server shows to its operators.
    client_ip: String,
    /// The configured headers, for gateways before the server.
    headers: MetadataMap,
}

impl Connection {
    /// Connects, and checks that a Nacos is there that takes clients.
    pub(crate) async fn open(server: &Url, config: &Config) -> Result<Self, Error> {
        let (endpoint, settings) = (endpoint(server, config)?, &config.connection);
        let connected = endpoint.connect().await;
        let channel = connected.map_err(|source| Error::GrpcConnect { server: server.to_string(), source })?;
        let client_ip = own_address(&endpoint).await.unwrap_or_default();
        let (timeout, max_bytes) = (settings.timeout, settings.max_body_bytes);
        let headers = metadata(settings);
        let connection = Connection { channel, timeout, max_bytes, client_ip, headers };
        connection.ask("ServerCheckRequest", Headers::new(), &json!({}), timeout).await?;
        Ok(connection)
    }

    /// Passes messages of the server to `hear`, and does `work` once the server knows the connection. Ends with `work`
    /// or with the connection, and returns why.
    pub(crate) async fn hold<H>(&self, hear: H, work: impl Future<Output = Error>) -> Error
    where
        H: FnMut(&Payload) -> Result<(), Error> + Send,
    {
        let stay = async {
            if let Err(error) = self.until_known().await {
                return error;
            }
            tokio::select! {
                error = self.until_lost() => error,
                error = work => error,
            }
        };
        tokio::select! {
            error = self.converse(hear) => error,
            error = stay => error,
        }
    }

    /// Passes messages of the server to `hear` until the connection ends, and returns why. The server waits for an
    /// answer of the like name to each; it is given after `hear`.
    pub(crate) fn converse<H>(&self, mut hear: H) -> impl Future<Output = Error> + Send + use<H>
    where
        H: FnMut(&Payload) -> Result<(), Error> + Send,
    {
        let (answers, queue) = mpsc::channel(ANSWERS);
        let (said, limit) = (self.stream(queue), self.timeout);
        async move {
            let mut said = pin!(said);
            while let Some(payload) = said.next().await {
                let outcome = match payload {
                    Ok(payload) => match hear(&payload) {
                        Ok(()) => answer(&payload, &answers, limit).await,
                        Err(error) => Err(error),
                    },
                    Err(status) => Err(Error::GrpcBroken(Box::new(status))),
                };
                if let Err(error) = outcome {
                    return error;
                }
            }
            Error::GrpcClosed
        }
    }

    /// The stream of the server's messages. It is opened by being polled; `answers` are sent to the server.
    fn stream(
        &self,
        mut answers: mpsc::Receiver<Payload>,
    ) -> impl Stream<Item = Result<Payload, Status>> + Send + use<> {
        let version = concat!("Portolan:v", env!("CARGO_PKG_VERSION"));
        let labels = json!({"source": "sdk", "module": "naming", "AppName": "portolan"});
        let abilities = json!({"fuzzyWatch": true});
        let setup = json!({"clientVersion": version, "labels": labels, "abilityTable": abilities, "tenant": ""});
        let setup = wire::payload("ConnectionSetupRequest", Headers::new(), &self.client_ip, &setup);
        let mut first = Some(setup);
        let requests = stream::poll_fn(move |context| match first.take() {
            Some(setup) => std::task::Poll::Ready(Some(setup)),
            None => answers.poll_recv(context),
        });
        let mut grpc = self.grpc();
        let requests = self.with_headers(requests);
        // Some servers answer nothing, not even headers, before they have something to say.
        let call = async move {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            grpc.streaming(requests, PathAndQuery::from_static(STREAM), Payloads::default()).await
        };
        call.map_ok(tonic::Response::into_inner).try_flatten_stream()
    }

    /// Waits until the server knows the connection: it takes note of it a little after it was set up.
    pub(crate) async fn until_known(&self) -> Result<(), Error> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.healthy().await {
                Err(Error::GrpcRefused { code: UNREGISTERED, .. }) if Instant::now() < deadline => {
                    sleep(KNOWN_YET).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Fails if the server is not there, or does not know the connection.
    async fn healthy(&self) -> Result<(), Error> {
        let limit = self.timeout.min(HEALTH_TIMEOUT);
        self.ask("HealthCheckRequest", Headers::new(), &json!({"module": "internal"}), limit).await.map(drop)
    }

    /// Checks regularly that the server is there, until it is not. A connection that is cut gives no sign by itself,
    /// and Nacos bans clients that send HTTP/2 pings more often than every five minutes.
    async fn until_lost(&self) -> Error {
        loop {
            sleep(HEALTH_PERIOD).await;
            if let Err(error) = self.healthy().await {
                return error;
            }
        }
    }

    /// Sends a request with our credentials, and returns the answer.
    pub(crate) async fn ask_as(&self, headers: Headers, kind: &'static str, body: &Value) -> Result<Payload, Error> {
        self.ask(kind, headers, body, self.timeout).await
    }

    /// Sends one request, and returns the answer. An answer with a code other than success is an error.
    async fn ask(&self, kind: &'static str, headers: Headers, body: &Value, limit: Duration) -> Result<Payload, Error> {
        let mut grpc = self.grpc();
        let question = self.with_headers(wire::payload(kind, headers, &self.client_ip, body));
        let call = async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            grpc.unary(question, PathAndQuery::from_static(ASK), Payloads::default()).await
        };
        let answer = timeout(limit, call)
            .await
            .map_err(|_| Error::GrpcLate { kind, seconds: limit.as_secs_f64() })?
            .map_err(|source| Error::GrpcCall { kind, source: Box::new(source) })?
            .into_inner();
        let Reply { result_code, error_code, message } = wire::read(&answer)?;
        if result_code == wire::SUCCESS {
            return Ok(answer);
        }
        let code = if error_code == 0 { result_code } else { error_code };
        Err(Error::GrpcRefused { kind, code, message: message.unwrap_or_default() })
    }

    fn with_headers<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        request
    }

    fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone()).max_decoding_message_size(self.max_bytes)
    }
}

/// Answers a message of the server, and fails if it sends us to another server. A server that does not take answers
/// within `limit` would keep us from hearing it for ever.
async fn answer(payload: &Payload, answers: &mpsc::Sender<Payload>, limit: Duration) -> Result<(), Error> {
    if let Some(answer) = wire::answer(payload)? {
        let sent = timeout(limit, answers.send(answer)).await;
        let late = |_| Error::GrpcLate { kind: "response of ours", seconds: limit.as_secs_f64() };
        sent.map_err(late)?.map_err(|_| Error::GrpcClosed)?;
    }
    if wire::kind(payload) == "ConnectResetRequest" {
        return Err(Error::GrpcReset { to: wire::read::<wire::Reset>(payload)?.server() });
    }
    Ok(())
}

/// The configured headers. Their names and values were checked when they were read.
fn metadata(settings: &transport::Connection) -> MetadataMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let (name, value) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.expose()));
        if let (Ok(name), Ok(mut value)) = (name, value) {
            value.set_sensitive(true);
            headers.append(name, value);
        }
    }
    MetadataMap::from_headers(headers)
}

/// The address from which we reach the server. Nothing is sent for it.
async fn own_address(endpoint: &Endpoint) -> Option<String> {
    let uri = endpoint.uri();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
    socket.connect((uri.host()?, uri.port_u16()?)).await.ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}
