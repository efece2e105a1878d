//! The messages of Nacos' gRPC: one protobuf envelope whose body is JSON and whose kind stands in its head. Pure.
//!
//! Only what is needed is read: a push says which service has changed, never what it is now (see [`super`]).

use super::{Error, names::Change};
use crate::pb::nacos::{Body, Metadata, Payload};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{borrow::Cow, collections::BTreeMap};
use tonic_prost::ProstCodec;

/// The codes that Nacos gives in its answers.
pub(super) const SUCCESS: i64 = 200;
/// The connection is not known to the server: not yet, or no longer.
pub(super) const UNREGISTERED: i64 = 301;
/// Not logged in, or not allowed.
pub(super) const NO_RIGHT: i64 = 403;

/// So many patterns are watched that the server takes no more.
pub(super) const TOO_MANY_PATTERNS: i64 = 50310;
/// A pattern fits so many names that the server tells of no more.
pub(super) const TOO_MANY_NAMES: i64 = 50311;

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

/// What is answered to a question of the server; nothing to what is none.
pub(super) fn answer(payload: &Payload) -> Result<Option<Payload>, Error> {
    let Some(subject) = kind(payload).strip_suffix("Request") else { return Ok(None) };
    let asked: Asked<'_> = read(payload)?;
    let body = json!({"resultCode": SUCCESS, "errorCode": 0, "success": true, "requestId": asked.request_id});
    Ok(Some(self::payload(&format!("{subject}Response"), Headers::new(), "", &body)))
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
struct Asked<'a> {
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
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

/// A service that has come or gone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Name<'a> {
    /// `NAMESPACE@@GROUP@@NAME`.
    #[serde(borrow)]
    pub(super) service_key: Cow<'a, str>,
    #[serde(borrow)]
    changed_type: Cow<'a, str>,
}

impl Name<'_> {
    /// What has become of it, if that is known to us.
    pub(super) fn change(&self) -> Option<Change> {
        match &*self.changed_type {
            "ADD_SERVICE" => Some(Change::Added),
            "DELETE_SERVICE" => Some(Change::Deleted),
            _ => None,
        }
    }
}

/// Names that fit a pattern: those that there are, or what we have missed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Names<'a> {
    #[serde(borrow)]
    pub(super) group_key_pattern: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) contexts: Option<Vec<Name<'a>>>,
    #[serde(borrow)]
    sync_type: Cow<'a, str>,
}

impl Names<'_> {
    /// All that there were have been sent.
    pub(super) fn is_last(&self) -> bool {
        self.sync_type == "FINISH_FUZZY_WATCH_INIT_NOTIFY"
    }
}

/// A host and its port for HTTP, if that is known.
pub(super) type Place = (String, Option<u16>);

/// Where the server wants us to go: a server's address and its port for HTTP, if it says one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reset {
    #[serde(default)]
    server_ip: Option<String>,
    #[serde(default)]
    server_port: Option<String>,
}

impl Reset {
    /// Host and port.
    pub(super) fn server(self) -> Option<Place> {
        let host = self.server_ip.filter(|host| !host.is_empty())?;
        Some((host, self.server_port.and_then(|port| port.parse().ok())))
    }
}

/// How payloads travel.
pub(super) type Payloads = ProstCodec<Payload, Payload>;
