//! The question in Triple: a call by gRPC, whose arguments and answer are Hessian 2 in wrappers of Dubbo's
//! (`triple_wrapper.proto`).

use crate::{
    registry::dubbo::service::{MAX_BYTES, METHOD, Place, SERVICE, argument, value},
    util::error::chain,
};
use ::http::uri::PathAndQuery;
use tonic::{Request, client::Grpc, metadata::MetadataValue, transport::Endpoint};
use tonic_prost::ProstCodec;

/// The name of Hessian 2 in `serializeType` of Triple's wrappers.
const HESSIAN: &str = "hessian4";

#[derive(Clone, PartialEq, prost::Message)]
struct Asked {
    #[prost(string, tag = "1")]
    serialize_type: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    arguments: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    types: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Said {
    #[prost(string, tag = "1")]
    serialize_type: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
    #[prost(string, tag = "3")]
    r#type: String,
}

pub(super) async fn ask(place: &Place, application: &str, revision: &str) -> Result<Vec<u8>, String> {
    let endpoint = Endpoint::from_shared(format!("http://{}", place.address)).map_err(|error| chain(&error))?;
    let channel = endpoint.connect().await.map_err(|error| format!("cannot connect: {}", chain(&error)))?;
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_BYTES);
    grpc.ready().await.map_err(|error| format!("cannot ask: {}", chain(&error)))?;
    let mut request = Request::new(Asked {
        serialize_type: HESSIAN.into(),
        arguments: vec![argument(revision)],
        types: vec!["java.lang.String".into()],
    });
    for (key, word) in [("tri-service-version", &*place.version), ("tri-service-group", application)] {
        let word = MetadataValue::try_from(word).map_err(|_| format!("{word:?} can be no header"))?;
        request.metadata_mut().insert(key, word);
    }
    let path = PathAndQuery::from_maybe_shared(format!("/{SERVICE}/{METHOD}")).map_err(|error| error.to_string())?;
    let answered = grpc.unary(request, path, ProstCodec::<Asked, Said>::default()).await;
    let said = answered.map_err(|status| {
        let message: String = status.message().chars().take(200).collect();
        format!("it answers with {:?}: {message}", status.code())
    })?;
    value(&said.into_inner().data)
}
