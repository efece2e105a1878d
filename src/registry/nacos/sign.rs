//! Signatures with an access key and its secret key, as Alibaba's hosted Nacos wants them. Pure.
//!
//! The same as of the Java `nacos-client` 2.3.2: HMAC-SHA1, in base64, over the milliseconds, followed by `@@GROUP@@NAME`
//! where it is about one service. The open-source servers look at none of it.

use super::config::AccessKey;
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;

/// The three values that make a request known as ours.
pub(super) fn signed(key: &AccessKey, service: Option<(&str, &str)>, millis: u128) -> [(&'static str, String); 3] {
    let data = match service {
        Some((group, name)) if !group.is_empty() => format!("{millis}@@{group}@@{name}"),
        Some((_, name)) => format!("{millis}@@{name}"),
        None => millis.to_string(),
    };
    let secret = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.secret_key.expose().as_bytes());
    let signature = STANDARD.encode(hmac::sign(&secret, data.as_bytes()));
    [("ak", key.access_key.to_string()), ("data", data), ("signature", signature)]
}
