//! The messages of Nacos' gRPC: one protobuf envelope whose body is JSON and whose kind stands in its head. Pure.
//!
//! What a server pushes is read where it is used (`subscribe::wire`).

use crate::{
    pb::nacos::{Body, Metadata, Payload},
    registry::nacos::error::{Destination, Error},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{borrow::Cow, collections::BTreeMap};
use tonic_prost::ProstCodec;

/// The code of a good answer.
pub(crate) const SUCCESS: i64 = 200;

/// Headers of a message: the token, or the signature.
pub(crate) type Headers = BTreeMap<String, String>;

/// A message of this type, with headers and a JSON body.
pub(crate) fn payload(kind: &str, headers: Headers, client_ip: &str, body: &Value) -> Payload {
    let metadata = Metadata { r#type: kind.into(), headers, client_ip: client_ip.into() };
    let body = Body { type_url: String::new(), value: body.to_string().into() };
    Payload { metadata: Some(metadata), body: Some(body) }
}

/// The type of a message, such as `HealthCheckRequest`; empty if it has none.
pub(crate) fn kind(payload: &Payload) -> &str {
    payload.metadata.as_ref().map_or("", |metadata| &metadata.r#type)
}

pub(crate) fn read<'a, T: Deserialize<'a>>(payload: &'a Payload) -> Result<T, Error> {
    let body = payload.body.as_ref().map_or(&b""[..], |body| &body.value);
    serde_json::from_slice(body).map_err(|source| Error::GrpcDecode { kind: kind(payload).into(), source })
}

/// The answer to a request of the server; `None` for a message that is no request.
pub(crate) fn answer(payload: &Payload) -> Result<Option<Payload>, Error> {
    let Some(subject) = kind(payload).strip_suffix("Request") else { return Ok(None) };
    let asked: Asked<'_> = read(payload)?;
    let body = json!({"resultCode": SUCCESS, "errorCode": 0, "success": true, "requestId": asked.request_id});
    Ok(Some(self::payload(&format!("{subject}Response"), Headers::new(), "", &body)))
}

/// The fields that every answer has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reply {
    #[serde(default)]
    pub(crate) result_code: i64,
    #[serde(default)]
    pub(crate) error_code: i64,
    #[serde(default)]
    pub(crate) message: Option<String>,
}

/// The field that every request of the server has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
}

/// `ConnectResetRequest`: the address and HTTP port of the server to which we are to go, if it names one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reset {
    #[serde(default)]
    server_ip: Option<String>,
    #[serde(default)]
    server_port: Option<String>,
}

impl Reset {
    /// Host and HTTP port of that server; `None` if no host is named.
    pub(crate) fn server(self) -> Destination {
        let host = self.server_ip.filter(|host| !host.is_empty())?;
        Some((host, self.server_port.and_then(|port| port.parse().ok())))
    }
}

/// The codec of messages in both directions.
pub(super) type Payloads = ProstCodec<Payload, Payload>;
