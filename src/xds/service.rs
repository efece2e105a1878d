//! The gRPC methods, by path: the aggregated service, one service per type, and health.

use super::{
    Options, Views,
    clients::Clients,
    grpc_messages::Requests,
    metrics::Metrics,
    protocol::Method,
    session::Rules,
    stream::{Parts, Stream},
};
use crate::resource::{Kind, Variant};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::StreamBody;
use hyper::body::Incoming;
use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

/// What all connections of a server share.
#[derive(Clone)]
pub(super) struct Shared<H> {
    pub(super) options: Arc<Options>,
    pub(super) rules: Arc<Rules>,
    pub(super) views: Arc<dyn Views>,
    pub(super) clients: Arc<Clients>,
    pub(super) metrics: Metrics,
    pub(super) health: H,
}

/// The service of one connection.
#[derive(Clone)]
pub(super) struct Connection<H> {
    pub(super) shared: Arc<Shared<H>>,
    pub(super) peer: SocketAddr,
    /// Asks its streams to end themselves.
    pub(super) retire: CancellationToken,
    /// Cuts it.
    pub(super) close: CancellationToken,
    /// A stream was opened at some time.
    pub(super) used: Arc<AtomicBool>,
}

/// A health service of tonic's.
pub(super) trait Health:
    tower_service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<H> Health for H where
    H: tower_service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
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
        self.used.store(true, Ordering::Relaxed);
        if request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return Box::pin(self.shared.health.clone().call(request));
        }
        Box::pin(std::future::ready(Ok(self.open(request))))
    }
}

impl<H: Health> Connection<H> {
    fn open(&self, request: Request<Incoming>) -> Response<Body> {
        if let Some(response) = refuse_headers(request.headers()) {
            return response;
        }
        let Some(method) = method(request.uri().path()) else {
            return Status::unimplemented(format!("{} is not served here", request.uri().path())).into_http();
        };
        let Shared { options, rules, views, clients, metrics, .. } = &*self.shared;
        let Some(registration) = clients.enter(self.peer, method.variant, self.close.clone()) else {
            metrics.streams_refused.inc();
            let text = format!("{} streams are open, which is the limit (xds.limits.streams)", options.max_streams);
            return Status::resource_exhausted(text).into_http();
        };
        let parts = Parts {
            method,
            rules: rules.clone(),
            views: views.clone(),
            registration,
            metrics: metrics.clone(),
            retire: self.retire.clone(),
        };
        let requests = Requests::new(request.into_body(), options.max_request_bytes);
        let frames = futures_util::stream::unfold(Stream::new(requests, parts), Stream::frame);
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
            let text = format!("grpc-encoding {other} is not accepted; switch compression off in the client");
            let mut response = Status::unimplemented(text).into_http();
            response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
            Some(response)
        }
    }
}

/// The method of a path.
fn method(path: &str) -> Option<Method> {
    let (service, method) = path.strip_prefix("/envoy.service.")?.split_once('/')?;
    let (implied, name) = match service {
        "discovery.v3.AggregatedDiscoveryService" => (None, "AggregatedResources"),
        "cluster.v3.ClusterDiscoveryService" => (Some(Kind::Cluster), "Clusters"),
        "endpoint.v3.EndpointDiscoveryService" => (Some(Kind::Endpoint), "Endpoints"),
        "listener.v3.ListenerDiscoveryService" => (Some(Kind::Listener), "Listeners"),
        "route.v3.RouteDiscoveryService" => (Some(Kind::Route), "Routes"),
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
