//! Client status as standard tools ask for it: by reflection, and by the service's name.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::{local::Local, until},
};
use portolan::{
    pb::envoy::{
        config::core::v3::Node,
        service::{
            discovery::v3::DeltaDiscoveryRequest,
            status::v3::{ClientStatusRequest, ClientStatusResponse, ConfigStatus},
        },
        r#type::matcher::v3::{NodeMatcher, StringMatcher, string_matcher::MatchPattern},
    },
    resource::Kind,
};
use std::time::Duration;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

const SERVICE: &str = "envoy.service.status.v3.ClientStatusDiscoveryService";

async fn channel(address: std::net::SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn fetch(channel: &Channel, request: ClientStatusRequest) -> Result<ClientStatusResponse, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<ClientStatusRequest, ClientStatusResponse>::default();
    let path = PathAndQuery::try_from(format!("/{SERVICE}/FetchClientStatus")).unwrap();
    grpc.unary(Request::new(request), path, codec).await.map(tonic::Response::into_inner)
}

async fn reflect(channel: &Channel, request: MessageRequest) -> MessageResponse {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
    let path = PathAndQuery::from_static("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let answers = grpc.streaming(Request::new(futures_util::stream::iter([request])), path, codec).await;
    answers.unwrap().into_inner().message().await.unwrap().unwrap().message_response.unwrap()
}

fn matcher(pattern: MatchPattern) -> ClientStatusRequest {
    let node_id = Some(StringMatcher { ignore_case: false, match_pattern: Some(pattern) });
    let matcher = NodeMatcher { node_id, node_metadatas: Vec::new() };
    ClientStatusRequest { node_matchers: vec![matcher], ..ClientStatusRequest::default() }
}

#[tokio::test]
async fn tools_find_the_service_and_see_what_each_client_has_acknowledged() {
    let portolan = Local::start("registries: [{ name: x, example: }]\ncsds: { listen: '127.0.0.1:0' }").await;
    portolan.ready().await;
    let status = channel(portolan.csds.unwrap()).await;
    let MessageResponse::ListServicesResponse(services) =
        reflect(&status, MessageRequest::ListServices(String::new())).await
    else {
        panic!("a list")
    };
    assert!(services.service.iter().any(|service| service.name == SERVICE), "{services:?}");
    let symbol = MessageRequest::FileContainingSymbol(SERVICE.into());
    let MessageResponse::FileDescriptorResponse(files) = reflect(&status, symbol).await else { panic!("files") };
    assert!(!files.file_descriptor_proto.is_empty());

    let stream = Delta::open(channel(portolan.xds).await, ADS_DELTA).await;
    let node = Node { id: "edge-1".into(), cluster: "edge".into(), ..Node::default() };
    let first = DeltaDiscoveryRequest { node: Some(node), ..delta_request(Kind::Cluster, &["*"], &[]) };
    stream.request(first).await;
    let mut stream = stream;
    let answer = stream.message().await.unwrap().expect("an answer");
    let statuses = |answered: &ClientStatusResponse| -> Vec<(String, String, ConfigStatus)> {
        let configs = answered.config.iter().flat_map(|client| {
            let id = client.node.as_ref().unwrap().id.clone();
            client
                .generic_xds_configs
                .iter()
                .map(move |config| (id.clone(), config.name.clone(), config.config_status()))
        });
        configs.collect()
    };
    let all = |status: ConfigStatus| -> Vec<(String, String, ConfigStatus)> {
        answer.resources.iter().map(|resource| ("edge-1".into(), resource.name.clone(), status)).collect()
    };
    let has = async |expected: Vec<(String, String, ConfigStatus)>| {
        until("that status", Duration::from_secs(60), || async {
            let found = statuses(&fetch(&status, ClientStatusRequest::default()).await.unwrap());
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    };
    has(all(ConfigStatus::Stale)).await;
    let acknowledgement =
        DeltaDiscoveryRequest { response_nonce: answer.nonce.clone(), ..delta_request(Kind::Cluster, &[], &[]) };
    stream.request(acknowledgement).await;
    has(all(ConfigStatus::Synced)).await;

    let none = fetch(&status, matcher(MatchPattern::Exact("other".into()))).await.unwrap();
    assert_eq!(none.config, []);
    let one = fetch(&status, matcher(MatchPattern::Prefix("edge-".into()))).await.unwrap();
    assert_eq!(one.config.len(), 1);
    let wrong = fetch(&status, matcher(MatchPattern::SafeRegex(Default::default()))).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument, "{wrong}");
}
