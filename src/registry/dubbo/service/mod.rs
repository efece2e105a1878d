//! The service by which a provider of Dubbo 3 says itself what it provides (`MetadataService.getMetadataInfo`), where the
//! registry does not have it (`dubbo.metadata.storage-type=local`): where it is to be asked, the bytes of the question in
//! Dubbo's own protocol, what Triple has in its wrappers, and what answers say. Pure.
//!
//! A message has a head of 16 bytes: the magic, flags with the serialization, a status, a number, and the length of the
//! body (`ExchangeCodec`, `DubboCodec` of 3.2). The serialization is Hessian 2, which every Dubbo has.

mod hessian;

use crate::model::{Endpoint, Labels, Text};
use hessian::Reader;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};

/// Bytes of the head of a message.
pub(crate) const HEAD: usize = 16;
/// The most bytes of an answer: a thousand interfaces with twenty parameters each have less than a megabyte.
pub(crate) const MAX_BYTES: usize = 4 << 20;

const MAGIC: [u8; 2] = [0xda, 0xbb];
const REQUEST: u8 = 0x80;
const TWO_WAYS: u8 = 0x40;
const EVENT: u8 = 0x20;
const HESSIAN: u8 = 2;
const OK: u8 = 20;

pub(crate) const SERVICE: &str = "org.apache.dubbo.metadata.MetadataService";
pub(crate) const METHOD: &str = "getMetadataInfo";
const DEFAULT_VERSION: &str = "1.0.0";
/// The numbers with which an answer begins that has a value: without and with attachments.
const WITH_VALUE: [i64; 2] = [1, 4];
const WITH_EXCEPTION: [i64; 2] = [0, 3];

const STORAGE: &str = "dubbo.metadata.storage-type";
const PARAMETERS: &str = "dubbo.metadata-service.url-params";

/// Where the metadata service of a provider is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) version: Text,
    pub(crate) spoken: Spoken,
}

/// The protocol by which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spoken {
    /// Dubbo's own protocol over TCP.
    Dubbo,
    /// Triple, a protocol of gRPC.
    Triple,
}

/// What the head of a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// An answer to the question with that number; `length` is that of its body.
    Answer { number: u64, is_ok: bool, length: usize },
    /// A message that nobody asked for, such as a heartbeat; `length` is that of its body.
    Other { length: usize },
}

/// True if an instance keeps its metadata itself (`dubbo.metadata.storage-type=local`).
pub(crate) fn is_local(metadata: &Labels) -> bool {
    metadata.get(STORAGE).is_some_and(|storage| storage.trim() == "local")
}

impl Place {
    /// Reads where an instance is to be asked, from its metadata.
    ///
    /// # Errors
    /// If it does not say where, speaks another protocol, or is at an address that is not one of another machine.
    pub(crate) fn of(instance: &Endpoint) -> Result<Place, String> {
        let written = instance.labels.get(PARAMETERS).ok_or_else(|| format!("it has no {PARAMETERS}"))?;
        let said: Value = serde_json::from_str(written).map_err(|error| format!("{PARAMETERS} is no JSON: {error}"))?;
        let said = |key: &str| match &said[key] {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let spoken = match said("protocol").as_deref() {
            None | Some("dubbo") => Spoken::Dubbo,
            Some("tri") => Spoken::Triple,
            Some(other) => {
                return Err(format!("its metadata service speaks {other}, and dubbo and tri are spoken here"));
            }
        };
        let port: Option<u16> = said("port").and_then(|port| port.parse().ok()).filter(|port| *port != 0);
        let port = port.ok_or_else(|| format!("{PARAMETERS} has no port"))?;
        let ip: IpAddr = instance.address.to_string().parse().map_err(|_| "its address is no IP address".to_owned())?;
        if !is_another_s(ip) {
            return Err(format!("{ip} is no address of another machine"));
        }
        let version = said("version").unwrap_or_else(|| DEFAULT_VERSION.into());
        Ok(Place { address: SocketAddr::new(ip, port), version: version.into(), spoken })
    }
}

/// True for an address of another machine. Else whoever may register could make us call this machine's own ports, or a
/// cloud's metadata service.
fn is_another_s(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(is_link_local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

/// The message that asks a provider of an application for a revision.
pub(crate) fn question(number: u64, application: &str, revision: &str, version: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for word in ["2.0.2", SERVICE, version, METHOD, "Ljava/lang/String;", revision] {
        hessian::text(&mut body, word);
    }
    let attachments =
        [("path", SERVICE), ("interface", SERVICE), ("version", version), ("group", application), ("timeout", "3000")];
    hessian::map(&mut body, &attachments);
    let mut message = MAGIC.to_vec();
    message.extend([REQUEST | TWO_WAYS | HESSIAN, 0]);
    message.extend(number.to_be_bytes());
    message.extend((body.len() as u32).to_be_bytes());
    message.extend(body);
    message
}

/// The argument of the question in Triple: the revision in Hessian.
pub(crate) fn argument(revision: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    hessian::text(&mut bytes, revision);
    bytes
}

/// Reads the head of a message.
///
/// # Errors
/// If it is no head of Dubbo's, or of an answer that is too long or in another serialization.
pub(crate) fn head(bytes: &[u8; HEAD]) -> Result<Head, String> {
    let [first, second, flags, status, rest @ ..] = *bytes;
    if [first, second] != MAGIC {
        return Err("it does not speak Dubbo's protocol".into());
    }
    let (number, length) = rest.split_at(8);
    let whole = |bytes: &[u8]| bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    let length = usize::try_from(whole(length)).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        return Err(format!("it answers with {length} bytes, and more than {MAX_BYTES} are not read"));
    }
    if flags & (REQUEST | EVENT) != 0 {
        return Ok(Head::Other { length });
    }
    if flags & 0x1f != HESSIAN {
        return Err(format!("it answers in serialization {}, and only Hessian 2 is read", flags & 0x1f));
    }
    Ok(Head::Answer { number: whole(number), is_ok: status == OK, length })
}

/// The metadata in the body of an answer, as JSON, which has the form of what Dubbo writes into a metadata report.
///
/// # Errors
/// If it has no metadata; the text has what it says instead.
pub(crate) fn answer(is_ok: bool, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = Reader::new(body);
    let mut next = || reader.value().map_err(|error| format!("its answer is not understood: {error}"));
    let first = next()?;
    if !is_ok {
        return Err(format!("it answers with an error: {}", shown(&first)));
    }
    match first.as_i64() {
        Some(kind) if WITH_VALUE.contains(&kind) => json(next()?),
        Some(kind) if WITH_EXCEPTION.contains(&kind) => {
            let exception = next()?;
            Err(format!("it answers with an exception: {}", shown(&exception["detailMessage"])))
        }
        _ => Err("it has no metadata of that revision".into()),
    }
}

/// The metadata in an answer of Triple, which is one value; in the same form.
///
/// # Errors
/// As for [`answer`].
pub(crate) fn value(bytes: &[u8]) -> Result<Vec<u8>, String> {
    json(Reader::new(bytes).value().map_err(|error| format!("its answer is not understood: {error}"))?)
}

fn json(metadata: Value) -> Result<Vec<u8>, String> {
    match metadata {
        metadata @ Value::Object(_) => Ok(metadata.to_string().into_bytes()),
        Value::Null => Err("it has no metadata of that revision".into()),
        other => Err(format!("it answers with {}, which is no metadata", shown(&other))),
    }
}

/// A value as messages show it: its JSON, cut to 200 characters.
fn shown(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests;
