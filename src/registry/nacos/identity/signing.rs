//! Signatures with an access key and its secret key, as Alibaba's hosted Nacos wants them. Pure.
//!
//! The same as of the Java `nacos-client` 2.3.2: HMAC-SHA1, in base64, over the milliseconds, followed by `@@GROUP@@NAME`
//! where it is about one service; of configuration over `TENANT+GROUP+milliseconds`, in headers. The open-source servers look
//! at none of it.

use crate::registry::nacos::config::AccessKey;
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;

/// What a request is about, on which its signature depends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// Services; a group and a name where it is about one.
    Services(Option<(&'a str, &'a str)>),
    /// The configuration; the values are the namespace's tenant and the group.
    Config(&'a str, &'a str),
}

/// The three parameters or headers that sign a request.
pub(crate) fn sign(key: &AccessKey, subject: Subject<'_>, millis: u128) -> [(&'static str, String); 3] {
    match subject {
        Subject::Services(service) => signed_services(key, service, millis),
        Subject::Config(tenant, group) => signed_config(key, tenant, group, millis),
    }
}

fn signed_services(key: &AccessKey, service: Option<(&str, &str)>, millis: u128) -> [(&'static str, String); 3] {
    let data = match service {
        Some((group, name)) if !group.is_empty() => format!("{millis}@@{group}@@{name}"),
        Some((_, name)) => format!("{millis}@@{name}"),
        None => millis.to_string(),
    };
    let signature = signature(key, &data);
    [("ak", key.access_key.to_string()), ("data", data), ("signature", signature)]
}

/// Headers that sign namespace, group and milliseconds. The public namespace may be empty.
fn signed_config(key: &AccessKey, tenant: &str, group: &str, millis: u128) -> [(&'static str, String); 3] {
    let millis = millis.to_string();
    let parts: Vec<&str> = [tenant, group, &millis].into_iter().filter(|part| !part.is_empty()).collect();
    let signature = signature(key, &parts.join("+"));
    [("Spas-AccessKey", key.access_key.to_string()), ("Timestamp", millis), ("Spas-Signature", signature)]
}

fn signature(key: &AccessKey, data: &str) -> String {
    let secret = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.secret_key.expose().as_bytes());
    STANDARD.encode(hmac::sign(&secret, data.as_bytes()))
}
