//! Asks a server of config sources what an Istiod would ask, as a client.
//!
//! It sends the first requests of a current Istiod, all at once, and takes answers until each type has one or the time is
//! over. It holds nothing and refuses nothing; the caller judges the answers.

use crate::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DiscoveryRequest, DiscoveryResponse},
    },
    google::protobuf::{Struct, Value},
};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Status, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

/// What Istiod 1.30 and newer asks for, in its order. It does not wait for the first.
pub const TYPES: [&str; 16] = [
    "core/v1alpha1/MeshConfig",
    "security.istio.io/v1/AuthorizationPolicy",
    "networking.istio.io/v1/DestinationRule",
    "networking.istio.io/v1alpha3/EnvoyFilter",
    "networking.istio.io/v1/Gateway",
    "security.istio.io/v1/PeerAuthentication",
    "networking.istio.io/v1beta1/ProxyConfig",
    "security.istio.io/v1/RequestAuthentication",
    "networking.istio.io/v1/ServiceEntry",
    "networking.istio.io/v1/Sidecar",
    "telemetry.istio.io/v1/Telemetry",
    "extensions.istio.io/v1alpha1/TrafficExtension",
    "networking.istio.io/v1/VirtualService",
    "extensions.istio.io/v1alpha1/WasmPlugin",
    "networking.istio.io/v1/WorkloadEntry",
    "networking.istio.io/v1/WorkloadGroup",
];

const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// The size limit of answers, as Istiod sets it: in effect none.
const LONGEST: usize = i32::MAX as usize;

/// The first response of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Type URL in the response, one of [`TYPES`].
    pub type_url: String,
    /// Type URL and encoded bytes of each resource.
    pub resources: Vec<(String, Bytes)>,
    /// The encoded length of the whole response.
    pub bytes: usize,
    /// Time from the start of the probe to this response.
    pub after: Duration,
}

/// Why the server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No connection can be made, or the address is not one.
    #[error("cannot connect to {address}; is Portolan running there, without TLS?")]
    Connect {
        /// The address that was asked, as it was given.
        address: String,
        /// The error of the transport, which says why.
        #[source]
        source: tonic::transport::Error,
    },
    /// Something listens there, but the discovery stream failed or was not opened in time.
    #[error("{address} does not serve Istiods")]
    Stream {
        /// The address that was asked, as it was given.
        address: String,
        /// The status with which the stream ended.
        #[source]
        source: Box<Status>,
    },
}

/// Asks for all [`TYPES`] as an Istiod of that revision does, and waits for the answers until `limit` is over.
///
/// # Errors
/// If nobody listens there, or the server there does not serve Istiods. A type without an answer is no error.
pub async fn probe(address: &str, revision: &str, limit: Duration) -> Result<Vec<Answer>, ProbeError> {
    let started = Instant::now();
    let unreachable = |source| ProbeError::Connect { address: address.to_owned(), source };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?.connect_timeout(limit);
    let mut grpc = Grpc::new(endpoint.connect().await.map_err(unreachable)?).max_decoding_message_size(LONGEST);
    grpc.ready().await.map_err(unreachable)?;

    let requests = TYPES.into_iter().enumerate().map(|(place, t)| request(t, (place == 0).then(|| node(revision))));
    let first: Vec<DiscoveryRequest> = requests.collect();
    // The stream stays open behind the requests: the server would take its end for ours.
    let body = futures_util::StreamExt::chain(futures_util::stream::iter(first), futures_util::stream::pending());
    let refused = |source: Status| ProbeError::Stream { address: address.to_owned(), source: Box::new(source) };
    let codec = ProstCodec::<DiscoveryRequest, DiscoveryResponse>::default();
    let opened = timeout(limit, grpc.streaming(tonic::Request::new(body), PathAndQuery::from_static(PATH), codec));
    let opened = opened.await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
    let mut answers = opened.map_err(refused)?.into_inner();

    let mut all = Vec::new();
    let hear = async {
        while all.len() < TYPES.len()
            && let Some(response) = answers.message().await?
        {
            take(&mut all, response, started.elapsed());
        }
        Ok(())
    };
    if let Ok(heard) = timeout_at(started + limit, hear).await {
        heard.map_err(refused)?;
    }
    Ok(all)
}

/// Takes a response for the answer of its type. A list that changes meanwhile is sent again, which is no answer of another.
fn take(answers: &mut Vec<Answer>, response: DiscoveryResponse, after: Duration) {
    let is_first = !answers.iter().any(|answer| answer.type_url == response.type_url);
    if is_first && TYPES.contains(&&*response.type_url) {
        answers.push(Answer {
            bytes: response.encoded_len(),
            type_url: response.type_url,
            resources: response.resources.into_iter().map(|any| (any.type_url, any.value)).collect(),
            after,
        });
    }
}

/// A first request, which Istiod sends with a nonce that nobody gave it.
fn request(type_url: &str, node: Option<Node>) -> DiscoveryRequest {
    let response_nonce = "2006-01-02 15:04:05 +0000 UTC m=+0.1".to_owned();
    DiscoveryRequest { type_url: type_url.into(), node, response_nonce, ..DiscoveryRequest::default() }
}

fn node(revision: &str) -> Node {
    let text = |text: &str| Value { string_value: Some(text.into()), ..Value::default() };
    let mut metadata = Struct::default();
    metadata.fields.insert("GENERATOR".into(), text("api"));
    if !revision.is_empty() {
        metadata.fields.insert("ISTIO_REVISION".into(), text(revision));
    }
    let id = "sidecar~127.0.0.1~portolan-check.istio-system~istio-system.svc.cluster.local".to_owned();
    Node { id, metadata: Some(metadata), ..Node::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_response_of_each_type_is_its_answer() {
        let mut answers = Vec::new();
        for (second, of) in [TYPES[8], TYPES[8], "a/v1/Strange", TYPES[0]].into_iter().enumerate() {
            let response = DiscoveryResponse { type_url: of.into(), ..DiscoveryResponse::default() };
            take(&mut answers, response, Duration::from_secs(second as u64));
        }
        let taken: Vec<(&str, u64)> = answers.iter().map(|a| (&*a.type_url, a.after.as_secs())).collect();
        assert_eq!(taken, [(TYPES[8], 0), (TYPES[0], 3)]);
    }
}
