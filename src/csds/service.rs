//! The two methods of the service: one answer, or one for each request of a stream.

use super::answer::answer;
use crate::{
    pb::envoy::service::status::v3::{ClientStatusRequest, ClientStatusResponse},
    xds::Clients,
};
use futures_util::{Stream, StreamExt, future::BoxFuture};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService, StreamingService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower_service::Service;

type Codec = ProstCodec<ClientStatusResponse, ClientStatusRequest>;
type Answers = Pin<Box<dyn Stream<Item = Result<ClientStatusResponse, Status>> + Send>>;

/// `envoy.service.status.v3.ClientStatusDiscoveryService`.
#[derive(Debug, Clone)]
pub(super) struct ClientStatus(pub(super) Arc<Clients>);

impl NamedService for ClientStatus {
    const NAME: &'static str = "envoy.service.status.v3.ClientStatusDiscoveryService";
}

impl Service<http::Request<Body>> for ClientStatus {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            let mut grpc = Grpc::new(Codec::default());
            Ok(match method.as_str() {
                "FetchClientStatus" => grpc.unary(this, request).await,
                "StreamClientStatus" => grpc.streaming(this, request).await,
                _ => Status::unimplemented("this method is not served here").into_http(),
            })
        })
    }
}

impl UnaryService<ClientStatusRequest> for ClientStatus {
    type Response = ClientStatusResponse;
    type Future = BoxFuture<'static, Result<Response<ClientStatusResponse>, Status>>;

    fn call(&mut self, request: Request<ClientStatusRequest>) -> Self::Future {
        let answered = answer(&self.0.snapshot(), request.get_ref());
        Box::pin(std::future::ready(answered.map(Response::new)))
    }
}

impl StreamingService<ClientStatusRequest> for ClientStatus {
    type Response = ClientStatusResponse;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<ClientStatusRequest>>) -> Self::Future {
        let clients = self.0.clone();
        let answers = request.into_inner().map(move |request| answer(&clients.snapshot(), &request?));
        Box::pin(std::future::ready(Ok(Response::new(Box::pin(answers) as Answers))))
    }
}
