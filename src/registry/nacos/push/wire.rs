//! The messages of Nacos' gRPC: one protobuf envelope whose body is JSON and whose kind stands in its head. Pure.
//!
//! Only what is needed is read: a push says which service has changed, never what it is now (see [`super`]).

use super::Error;
use crate::pb::nacos::{Body, Metadata, Payload};
use bytes::{Buf, BufMut};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The codes that Nacos gives in its answers.
pub(super) const SUCCESS: i64 = 200;
/// The connection is not known to the server: not yet, or no longer.
pub(super) const UNREGISTERED: i64 = 301;
/// Not logged in, or not allowed.
pub(super) const NO_RIGHT: i64 = 403;

/// Headers of a message: the token, or the signature.
pub(super) type Headers = BTreeMap<String, String>;

/// A message of ours.
pub(super) fn payload(kind: &str, headers: Headers, client_ip: &str, body: &Value) -> Payload {
    let metadata = Metadata { r#type: kind.into(), headers, client_ip: client_ip.into() };
    let body = Body { type_url: String::new(), value: body.to_string().into() };
    Payload { metadata: Some(metadata), body: Some(body) }
}

/// What kind of message it is.
pub(super) fn kind(payload: &Payload) -> &str {
    payload.metadata.as_ref().map_or("", |metadata| &metadata.r#type)
}

/// Reads the body.
pub(super) fn read<'a, T: Deserialize<'a>>(payload: &'a Payload) -> Result<T, Error> {
    let body = payload.body.as_ref().map_or(&b""[..], |body| &body.value);
    serde_json::from_slice(body).map_err(|source| Error::Decode { kind: kind(payload).into(), source })
}

/// What every answer has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reply {
    #[serde(default)]
    pub(super) result_code: i64,
    #[serde(default)]
    pub(super) error_code: i64,
    #[serde(default)]
    pub(super) message: Option<String>,
}

/// What every question of the server has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked<'a> {
    #[serde(borrow, default)]
    pub(super) request_id: Option<Cow<'a, str>>,
}

/// A push: of a service of one of the namespaces, which it does not always name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notify<'a> {
    #[serde(borrow, default)]
    pub(super) namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) service_info: ServiceInfo<'a>,
}

/// Which service a push is of.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceInfo<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) group_name: Option<Cow<'a, str>>,
}

/// Where the server wants us to go.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reset {
    #[serde(default)]
    pub(super) server_ip: Option<String>,
}

/// Payloads of the protobuf library's version that the messages are of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payloads;

impl Codec for Payloads {
    type Encode = Payload;
    type Decode = Payload;
    type Encoder = Payloads;
    type Decoder = Payloads;

    fn encoder(&mut self) -> Payloads {
        *self
    }

    fn decoder(&mut self) -> Payloads {
        *self
    }
}

impl Encoder for Payloads {
    type Item = Payload;
    type Error = Status;

    fn encode(&mut self, item: Payload, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item.encode_to_vec());
        Ok(())
    }
}

impl Decoder for Payloads {
    type Item = Payload;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Payload>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        Payload::decode(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
