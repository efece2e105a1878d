//! Nacos' JSON, as the servers really write it, and how an answer is told from an error that came with status 200.
//!
//! What makes a list a list is required (`pageItems`, `doms`, `hosts`): an error's JSON must never read as an empty list.
//! Everything else is optional; `null` and absent are the same.

use super::{api::Api, error::Error};
use crate::{model::Fraction, util::secret::Secret};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, collections::BTreeMap};

/// `{"code":0,"message":..,"data":..}` of v2 and v3, and of v1 where it lists namespaces (with code 200).
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
}

/// A page of the bulk list of 3.x.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<'a> {
    pub(super) total_count: usize,
    #[serde(borrow)]
    pub(super) page_items: Vec<&'a RawValue>,
}

/// What a service is called in a bulk list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Named<'a> {
    #[serde(borrow)]
    pub(super) service_name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) group_name: Option<Cow<'a, str>>,
}

/// What a service is called in a list of names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Short<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    group_name: Option<Cow<'a, str>>,
}

impl<'a> From<Short<'a>> for Named<'a> {
    fn from(short: Short<'a>) -> Self {
        Named { service_name: short.name, group_name: short.group_name }
    }
}

/// A page of the names of 3.x.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamePage<'a> {
    pub(super) total_count: usize,
    #[serde(borrow)]
    pub(super) page_items: Vec<Short<'a>>,
}

/// A page of the names of 2.x.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OldNamePage<'a> {
    pub(super) count: usize,
    #[serde(borrow)]
    pub(super) service_list: Vec<Short<'a>>,
}

/// The rest of a service in a bulk list. 2.x and 3.x write protectThreshold 0.0 here whatever it is: it is not read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail<'a> {
    #[serde(borrow, default)]
    pub(super) cluster_map: Option<BTreeMap<String, Option<Cluster<'a>>>>,
    #[serde(default)]
    pub(super) metadata: Option<BTreeMap<String, Value>>,
}

/// A cluster of a service's instances.
#[derive(Debug, Deserialize)]
pub(super) struct Cluster<'a> {
    #[serde(borrow, default)]
    pub(super) hosts: Option<Vec<&'a RawValue>>,
}

/// An instance. `valid` is what v1's bulk list calls healthy; `clusterName` stands only in lists of instances.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance {
    pub(super) ip: String,
    pub(super) port: i64,
    #[serde(default)]
    pub(super) weight: Option<f64>,
    #[serde(default)]
    pub(super) healthy: Option<bool>,
    #[serde(default)]
    pub(super) valid: Option<bool>,
    #[serde(default)]
    pub(super) enabled: Option<bool>,
    #[serde(default)]
    pub(super) cluster_name: Option<String>,
    #[serde(default)]
    pub(super) metadata: Option<BTreeMap<String, Value>>,
}

/// A page of v1's list of names, and of v2's.
#[derive(Debug, Deserialize)]
pub(super) struct Names {
    pub(super) count: usize,
    #[serde(alias = "services", alias = "serviceNames")]
    pub(super) doms: Vec<String>,
}

/// The instances of one service in v1 and v2.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instances<'a> {
    #[serde(borrow)]
    pub(super) hosts: &'a RawValue,
    #[serde(default)]
    pub(super) reach_protection_threshold: bool,
}

/// A service's own settings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    pub(super) protect_threshold: f64,
}

/// The same, with all that a bulk list shows but the instances.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusteredSettings {
    pub(super) protect_threshold: f64,
    #[serde(alias = "clusterMap")]
    pub(super) clusters: Clusters,
    #[serde(default)]
    pub(super) metadata: Option<BTreeMap<String, Value>>,
}

/// The clusters of a service: a list of 1.x and 2.x, a map of 3.x.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Clusters {
    List(Vec<NamedCluster>),
    Map(BTreeMap<String, IgnoredAny>),
}

/// A cluster in a list.
#[derive(Debug, Deserialize)]
pub(super) struct NamedCluster {
    name: String,
}

impl Clusters {
    pub(super) fn names(self) -> Vec<String> {
        match self {
            Clusters::List(list) => list.into_iter().map(|cluster| cluster.name).collect(),
            Clusters::Map(map) => map.into_keys().collect(),
        }
    }
}

/// The instances of a cluster in 1.x and 2.x.
#[derive(Debug, Deserialize)]
pub(super) struct ClusterPage<'a> {
    #[serde(borrow)]
    pub(super) list: Vec<&'a RawValue>,
    pub(super) count: usize,
}

/// Nacos does not check what people set: beyond 1 everything is protected, as at 1.
pub(super) fn threshold(set: f64) -> Fraction {
    Fraction::new(set.clamp(0.0, 1.0)).unwrap_or(Fraction::ZERO)
}

/// A namespace. 2.x writes the public one's id as "".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Namespace {
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) namespace_show_name: Option<String>,
}

/// What a login gives.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    #[serde(deserialize_with = "secret")]
    pub(super) access_token: Secret,
    pub(super) token_ttl: u64,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

#[derive(Deserialize)]
struct Verdict {
    code: i64,
    #[serde(default)]
    message: Option<String>,
}

/// Reads an answer in an envelope, whose code must be one of success.
pub(super) fn enveloped<'a, T: Deserialize<'a>>(url: &str, body: &'a [u8]) -> Result<T, Error> {
    if let Some(refused) = refusal(url, body) {
        return Err(refused);
    }
    decode::<Envelope<T>>(url, body).map(|envelope| envelope.data)
}

/// Reads an answer without an envelope; if it is none, it may be an error with a code.
pub(super) fn bare<'a, T: Deserialize<'a>>(url: &str, body: &'a [u8]) -> Result<T, Error> {
    decode(url, body).map_err(|error| refusal(url, body).unwrap_or(error))
}

/// Reads what an interface answers: in an envelope in v2 and v3, bare in v1 and by gRPC.
pub(super) fn answered<'a, T: Deserialize<'a>>(api: Api, url: &str, body: &'a [u8]) -> Result<T, Error> {
    if matches!(api, Api::AdminV3 | Api::EachV2) { enveloped(url, body) } else { bare(url, body) }
}

/// Reads what a login gives, with or without an envelope as servers of different age write it. An error quotes nothing of
/// it: a token may be there.
pub(super) fn token(url: &str, body: &[u8]) -> Result<Token, Error> {
    bare(url, body).or_else(|_| enveloped(url, body)).map_err(|error| match error {
        Error::Decode { url, .. } => Error::NoToken { url },
        other => other,
    })
}

fn refusal(url: &str, body: &[u8]) -> Option<Error> {
    let Verdict { code, message } = serde_json::from_slice(body).ok()?;
    (!matches!(code, 0 | 200)).then(|| Error::Refused { url: url.into(), code, message: message.unwrap_or_default() })
}

fn decode<'a, T: Deserialize<'a>>(url: &str, body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| {
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        Error::Decode { url: url.into(), start, source }
    })
}
