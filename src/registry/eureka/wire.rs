//! Eureka's JSON, as servers and their many relatives write it.
//!
//! It was XML once: numbers and truths are text in one place and not in the other, and where there is one of something
//! the list around it may be missing. What makes a list a list is required: an error's JSON must never read as an empty
//! one. Everything else is optional; `null` and absent are the same.

use super::error::Error;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, fmt};

/// What `/apps` and `/apps/delta` answer.
#[derive(Debug, Deserialize)]
struct Root<'a> {
    #[serde(borrow)]
    applications: Applications<'a>,
}

#[derive(Debug, Deserialize)]
struct Applications<'a> {
    #[serde(borrow, default, rename = "apps__hashcode")]
    hash: Option<Loose<'a>>,
    #[serde(borrow, default)]
    application: Option<&'a RawValue>,
}

/// A list, or changes of one.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    /// How many instances of each status there are altogether, as the server counts them; other makes may not tell.
    pub(super) hash: Option<Cow<'a, str>>,
    pub(super) applications: Vec<Application<'a>>,
}

/// The instances of one name.
#[derive(Debug)]
pub(super) struct Application<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) instances: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct RawApplication<'a> {
    #[serde(borrow)]
    name: Loose<'a>,
    #[serde(borrow, default)]
    instance: Option<&'a RawValue>,
}

/// An instance. Leases are not read: whether one is over is the server's to judge, whose clock it was written by.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance<'a> {
    #[serde(borrow, default)]
    pub(super) instance_id: Option<Loose<'a>>,
    #[serde(borrow, default)]
    pub(super) host_name: Option<Loose<'a>>,
    #[serde(borrow, default)]
    pub(super) ip_addr: Option<Loose<'a>>,
    #[serde(borrow, default)]
    pub(super) status: Option<Loose<'a>>,
    #[serde(borrow, default, alias = "overriddenstatus")]
    pub(super) overridden_status: Option<Loose<'a>>,
    #[serde(borrow, default)]
    pub(super) port: Option<WirePort<'a>>,
    #[serde(borrow, default)]
    pub(super) secure_port: Option<WirePort<'a>>,
    #[serde(borrow, default)]
    pub(super) vip_address: Option<Loose<'a>>,
    #[serde(borrow, default)]
    pub(super) secure_vip_address: Option<Loose<'a>>,
    #[serde(default)]
    pub(super) data_center_info: Value,
    /// Mostly a mapping; but what is empty may be written as an empty text.
    #[serde(default)]
    pub(super) metadata: Value,
    #[serde(borrow, default)]
    pub(super) last_dirty_timestamp: Option<Loose<'a>>,
    #[serde(borrow, default)]
    pub(super) action_type: Option<Loose<'a>>,
}

/// `{"$": 8080, "@enabled": "true"}`, or the number alone.
#[derive(Debug)]
pub(super) struct WirePort<'a> {
    pub(super) number: Loose<'a>,
    pub(super) enabled: Option<bool>,
}

/// A text, a number or a truth, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loose<'a>(pub(super) Cow<'a, str>);

/// Reads an answer.
pub(super) fn listing<'a>(url: &str, body: &'a [u8]) -> Result<Listing<'a>, Error> {
    let refused = |source| {
        let start = |length: usize| String::from_utf8_lossy(&body[..body.len().min(length)]).into_owned();
        let url = url.to_owned();
        // Perhaps behind a prologue.
        if start(200).contains("<applications>") {
            return Error::Xml { url };
        }
        Error::Decode { url, start: start(60), source }
    };
    let Root { applications } = serde_json::from_slice(body).map_err(refused)?;
    if applications.hash.is_none() && applications.application.is_none() {
        return Err(Error::NoList { url: url.to_owned() });
    }
    let application = |raw: &'a RawValue| {
        let RawApplication { name, instance } = serde_json::from_str(raw.get())?;
        Ok(Application { name: name.0, instances: one_or_many(instance)? })
    };
    let listed = one_or_many(applications.application).map_err(refused)?;
    let applications_read = listed.into_iter().map(application).collect::<Result<_, _>>().map_err(refused)?;
    Ok(Listing { hash: applications.hash.map(|hash| hash.0), applications: applications_read })
}

/// A list, or the only one of it without the list.
fn one_or_many(raw: Option<&RawValue>) -> Result<Vec<&RawValue>, serde_json::Error> {
    match raw {
        None => Ok(Vec::new()),
        Some(raw) if raw.get().starts_with('[') => serde_json::from_str(raw.get()),
        Some(raw) => Ok(vec![raw]),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for WirePort<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Full<'a> {
            #[serde(borrow, rename = "$")]
            number: Loose<'a>,
            #[serde(borrow, rename = "@enabled", default)]
            enabled: Option<Loose<'a>>,
        }
        let raw = <&RawValue>::deserialize(from)?.get();
        if raw.starts_with('{') {
            let Full { number, enabled } = serde_json::from_str(raw).map_err(de::Error::custom)?;
            return Ok(WirePort { number, enabled: enabled.map(|e| e.0.eq_ignore_ascii_case("true")) });
        }
        let number = serde_json::from_str(raw).map_err(de::Error::custom)?;
        Ok(WirePort { number, enabled: None })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl<'de> Visitor<'de> for Scalar {
            type Value = Loose<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a truth")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(text.to_owned())))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(value.to_string())))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(value.to_string())))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(value.to_string())))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(value.to_string())))
            }
        }

        from.deserialize_any(Scalar)
    }
}
