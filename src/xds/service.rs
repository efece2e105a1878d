//! The gRPC methods, by path: the aggregated service, one service per type, and health.

use super::{
    Options,
    activity::{Activity, Keeping},
    admission::Admission,
    budget::Budget,
    clients::{Clients, Origin},
    grpc_messages::Requests,
    handshake::Handshakes,
    listener::Listener,
    metrics::Metrics,
    peer::{Peer, Remote},
    protocol::Method,
    quarantine::Quarantine,
    recorder::Recorder,
    session::Rules,
    slots::{Full, Places, Slot, Slots},
    stream::{self, NOT_AUTHENTICATED, Parts, Stream},
    unread::{Counted, Unread, Waiting},
    views::Views,
};
use crate::{
    identity::Identity,
    resource::{Kind, Variant},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::StreamBody;
use hyper::body::Incoming;
use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::SystemTime};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tracing::warn;

/// Streams of the health service that one address may have open.
const PROBES_PER_PEER: usize = 100;

/// What all connections of a server share.
#[derive(Clone)]
pub(super) struct Shared<H> {
    /// The options in force. Each connection, and each stream, goes by those of its beginning.
    pub(super) options: watch::Receiver<Arc<Options>>,
    /// What streams have in common whatever the options are.
    pub(super) rules: Rules,
    pub(super) views: Arc<dyn Views>,
    /// One permit for each large request that is read, half as many as there are processors.
    pub(super) large: Arc<Semaphore>,
    /// Decides when a stream's first answers are sent.
    pub(super) admission: Arc<Admission>,
    pub(super) clients: Arc<Clients>,
    pub(super) quarantine: Arc<Quarantine>,
    pub(super) metrics: Metrics,
    pub(super) budget: Arc<Budget>,
    pub(super) connections: Arc<Slots>,
    /// Bytes that clients have sent and no stream has read yet.
    pub(super) waiting: Arc<Waiting>,
    pub(super) streams: Arc<Slots>,
    /// Those of the health service: a probe must find a place when clients have taken all of theirs.
    pub(super) probes: Arc<Slots>,
    pub(super) handshakes: Arc<Handshakes>,
    pub(super) health: H,
}

impl<H> Shared<H> {
    pub(super) fn options(&self) -> Arc<Options> {
        self.options.borrow().clone()
    }

    /// What a stream needs that opens with these options.
    fn stream(&self, options: &Options, listener: Arc<Listener>) -> stream::Shared {
        stream::Shared {
            listener,
            rules: Arc::new(Rules { names: options.max_names, ..self.rules.clone() }),
            views: self.views.clone(),
            quarantine: self.quarantine.clone(),
            request_time: options.request_time,
            large: self.large.clone(),
            admission: self.admission.clone(),
        }
    }
}

/// Serves the requests of one connection: opens its streams and answers health probes.
#[derive(Clone)]
pub(super) struct Connection<H> {
    pub(super) shared: Arc<Shared<H>>,
    pub(super) listener: Arc<Listener>,
    pub(super) peer: Remote,
    /// Who its client has proved to be by a certificate.
    pub(super) certificate: Option<Arc<Identity>>,
    /// Asks its streams to end themselves.
    pub(super) retire: CancellationToken,
    /// Cuts the connection, with all its streams.
    pub(super) close: CancellationToken,
    pub(super) activity: Arc<Activity>,
    pub(super) unread: Arc<Unread>,
}

/// A request's body, of which is counted what is not read yet.
pub(super) type RequestBody = Counted<Incoming>;

/// The health service of tonic, whose type has no name.
pub(super) trait Health:
    tower_service::Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<H> Health for H where
    H: tower_service::Service<
            Request<RequestBody>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<H: Health> hyper::service::Service<Request<Incoming>> for Connection<H> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let request = request.map(|body| Counted::new(body, self.unread.clone()));
        match request.uri().path().starts_with("/grpc.health.v1.Health/") {
            true => self.probe(request),
            false => Box::pin(std::future::ready(Ok(self.open(request)))),
        }
    }
}

impl<H: Health> Connection<H> {
    /// Takes a place of those slots; the error is what the client is answered.
    fn place(&self, slots: &Arc<Slots>, of: Places) -> Result<Slot, Status> {
        slots.take(Peer::from(self.peer), of).map_err(|full| {
            self.shared.metrics.streams_refused.inc();
            let (limit, key) = match full {
                Full::Server { limit } => (limit, "xds.limits.streams"),
                Full::Peer { limit } => (limit, "xds.limits.streams_per_peer"),
            };
            warn!(peer = %self.peer, limit, key, "Too many streams; further ones are refused.");
            let whose = if matches!(full, Full::Peer { .. }) { " from this address" } else { "" };
            Status::resource_exhausted(format!("{limit} streams are open{whose}, which is the limit ({key})"))
        })
    }

    fn probe(&self, request: Request<RequestBody>) -> Answer {
        let options = self.shared.options();
        let places = Places { per_peer: PROBES_PER_PEER, ..options.streams() };
        let slot = match self.place(&self.shared.probes, places) {
            Ok(slot) => slot,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        let kept = (slot, self.activity.open());
        let answer = timeout(options.request_time, self.shared.health.clone().call(request));
        Box::pin(async move {
            let Ok(answered) = answer.await else {
                return Ok(Status::deadline_exceeded("the request took too long (xds.limits.request_time)").into_http());
            };
            answered.map(|response| response.map(|body| Body::new(Keeping { body, _kept: kept })))
        })
    }

    fn open(&self, request: Request<RequestBody>) -> Response<Body> {
        if let Some(response) = refuse_headers(request.headers()) {
            return response;
        }
        let Some(method) = method(request.uri().path()) else {
            return Status::unimplemented("this method is not served here").into_http();
        };
        let (shared, options) = (&*self.shared, self.shared.options());
        let slot = match self.place(&shared.streams, options.streams()) {
            Ok(slot) => slot,
            Err(status) => return status.into_http(),
        };
        let identified =
            self.listener.policy().identify(request.headers(), self.certificate.as_ref(), SystemTime::now());
        let identity = match identified {
            Ok(identity) => identity,
            Err(refusal) => {
                self.listener.refuse(&refusal, self.peer, &shared.metrics);
                return Status::unauthenticated(NOT_AUTHENTICATED).into_http();
            }
        };
        let origin = Origin { peer: self.peer, listener: self.listener.name.clone(), identity };
        let registration = shared.clients.enter(origin, method.variant, self.close.clone());
        let parts = Parts {
            method,
            shared: shared.stream(&options, self.listener.clone()),
            allowance: shared.budget.open(registration.id(), Peer::from(self.peer), self.close.clone()),
            recorder: Recorder::new(registration, shared.metrics.clone(), shared.quarantine.clone()),
            retire: self.retire.clone(),
            slot,
            open: self.activity.open(),
        };
        let requests = Requests::new(request.into_body(), options.max_request_bytes, options.request_time);
        let frames = futures_util::stream::unfold(Box::new(Stream::new(requests, parts)), Stream::frame);
        let mut response = Response::new(Body::new(StreamBody::new(frames)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

/// Refuses what is no gRPC, and compression: frames are read as they are.
fn refuse_headers(headers: &HeaderMap) -> Option<Response<Body>> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if !text("content-type").is_some_and(|t| t.starts_with("application/grpc")) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Some(response);
    }
    match text("grpc-encoding") {
        None | Some("identity") => None,
        Some(other) => {
            let other: String = other.chars().take(32).collect();
            let text = format!("grpc-encoding {other} is not accepted; switch compression off in the client");
            let mut response = Status::unimplemented(text).into_http();
            response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
            Some(response)
        }
    }
}

/// The xDS method that a path names, as `/envoy.service.<package>.<service>/<method>`; `None`: it is not served.
fn method(path: &str) -> Option<Method> {
    let (service, method) = path.strip_prefix("/envoy.service.")?.split_once('/')?;
    let (implied, name) = match service {
        "discovery.v3.AggregatedDiscoveryService" => (None, "AggregatedResources"),
        "cluster.v3.ClusterDiscoveryService" => (Some(Kind::Cluster), "Clusters"),
        "endpoint.v3.EndpointDiscoveryService" => (Some(Kind::Endpoint), "Endpoints"),
        "listener.v3.ListenerDiscoveryService" => (Some(Kind::Listener), "Listeners"),
        "route.v3.RouteDiscoveryService" => (Some(Kind::Route), "Routes"),
        "secret.v3.SecretDiscoveryService" => (Some(Kind::Secret), "Secrets"),
        _ => return None,
    };
    match method.strip_suffix(name)? {
        "Stream" => Some(Method { variant: Variant::Sotw, implied }),
        "Delta" => Some(Method { variant: Variant::Delta, implied }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_by_their_path() {
        for (path, expected) in [
            ("discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources", Some((Variant::Sotw, None))),
            ("discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", Some((Variant::Delta, None))),
            ("cluster.v3.ClusterDiscoveryService/DeltaClusters", Some((Variant::Delta, Some(Kind::Cluster)))),
            ("endpoint.v3.EndpointDiscoveryService/StreamEndpoints", Some((Variant::Sotw, Some(Kind::Endpoint)))),
            ("listener.v3.ListenerDiscoveryService/StreamListeners", Some((Variant::Sotw, Some(Kind::Listener)))),
            ("route.v3.RouteDiscoveryService/DeltaRoutes", Some((Variant::Delta, Some(Kind::Route)))),
            ("route.v3.RouteDiscoveryService/FetchRoutes", None),
            ("cluster.v3.ClusterDiscoveryService/StreamRoutes", None),
            ("discovery.v3.AggregatedDiscoveryService", None),
        ] {
            let expected = expected.map(|(variant, implied)| Method { variant, implied });
            assert_eq!(method(&format!("/envoy.service.{path}")), expected, "{path}");
        }
        assert_eq!(method("/"), None);
    }
}
