//! How requests reach a cluster of Nacos servers and answers come back: by HTTP, and by gRPC where HTTP lists nothing.
//! Only what reads: GETs, the POSTs of a login and of waiting for a change of configuration, and questions by gRPC.

pub(crate) mod grpc;
mod http;
pub(crate) mod json;

pub(crate) use http::{HttpClient, Question, service};

use super::{config::Config, error::Error};
use crate::{model::Text, registry::Metrics};
use serde_json::Value;
use tokio::time::Instant;

/// Sends the requests of one registry, by HTTP and by gRPC. Shared by everything that reads it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) http: HttpClient,
    grpc: grpc::GrpcClient,
}

impl Client {
    pub(crate) fn new(registry: Text, config: &Config, metrics: Metrics) -> Result<Self, Error> {
        let http = HttpClient::new(registry, config, metrics)?;
        Ok(Client { http, grpc: grpc::GrpcClient::new(config.clone()) })
    }

    /// Asks by gRPC, and gives the body of the answer; `service` is the group and the name of the one service that the
    /// question is about.
    pub(crate) async fn call(
        &self,
        kind: &'static str,
        service: Option<(&str, &str)>,
        body: &Value,
    ) -> Result<Vec<u8>, Error> {
        let started = Instant::now();
        let outcome = self.grpc.ask(&self.http, kind, service, body).await;
        let answer = outcome.map(|payload| payload.body.map(|body| body.value).unwrap_or_default());
        let (word, bytes) = answer.as_ref().map_or(("error", 0), |answer| ("ok", answer.len()));
        self.http.count(word, bytes, started.elapsed());
        Ok(answer?.to_vec())
    }
}
