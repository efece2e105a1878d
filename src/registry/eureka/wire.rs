//! Eureka's JSON, as servers and their many relatives write it.
//!
//! It was XML once: numbers and truths are text in one place and not in the other, and where there is one of something
//! the list around it may be missing. What makes a list a list is required: an error's JSON must never read as an empty
//! one. Everything else is optional, `null` and absent are the same, and a value of another kind costs itself only.

use super::error::Error;
use crate::registry::{
    lenient::{Loose, optional},
    transport::Origin,
};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, value::RawValue};
use std::borrow::Cow;

/// What `/apps` and `/apps/delta` answer.
#[derive(Debug, Deserialize)]
struct Root<'a> {
    #[serde(borrow)]
    applications: Applications<'a>,
}

#[derive(Debug, Deserialize)]
struct Applications<'a> {
    #[serde(borrow, default, rename = "apps__hashcode", deserialize_with = "optional")]
    hash: Option<Loose<'a>>,
    #[serde(borrow, default)]
    application: Option<&'a RawValue>,
}

/// The applications of an answer: all of them (`/apps`), or those that have changed (`/apps/delta`).
#[derive(Debug)]
pub(super) struct Listing<'a> {
    /// `apps__hashcode`: how many instances of each status the server has; `None` from other makes of server.
    pub(super) hash: Option<Cow<'a, str>>,
    pub(super) applications: Vec<Application<'a>>,
    /// How many applications are left out because they have no name.
    pub(super) nameless: usize,
}

/// One application, with its instances still as JSON.
#[derive(Debug)]
pub(super) struct Application<'a> {
    pub(super) name: Cow<'a, str>,
    /// `None` if the application has no list of them at all: Eureka never writes that.
    pub(super) instances: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Deserialize)]
struct RawApplication<'a> {
    #[serde(borrow, default, deserialize_with = "optional")]
    name: Option<Loose<'a>>,
    #[serde(borrow, default)]
    instance: Option<&'a RawValue>,
}

/// The field in which an instance repeats the name of its application.
#[derive(Debug, Deserialize)]
struct Member<'a> {
    #[serde(borrow, default, deserialize_with = "optional")]
    app: Option<Loose<'a>>,
}

/// An instance. Leases are not read: the server that granted one judges by its own clock if it is over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance<'a> {
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) instance_id: Option<Loose<'a>>,
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) host_name: Option<Loose<'a>>,
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) ip_addr: Option<Loose<'a>>,
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) status: Option<Loose<'a>>,
    #[serde(borrow, default, alias = "overriddenstatus", deserialize_with = "optional")]
    pub(super) overridden_status: Option<Loose<'a>>,
    #[serde(borrow, default)]
    pub(super) port: Option<WirePort<'a>>,
    #[serde(borrow, default)]
    pub(super) secure_port: Option<WirePort<'a>>,
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) vip_address: Option<Loose<'a>>,
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) secure_vip_address: Option<Loose<'a>>,
    #[serde(default)]
    pub(super) data_center_info: Value,
    /// Mostly a mapping; an empty one may be written as an empty text.
    #[serde(default)]
    pub(super) metadata: Value,
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) last_dirty_timestamp: Option<Loose<'a>>,
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) action_type: Option<Loose<'a>>,
}

/// A port: `{"$": 8080, "@enabled": "true"}`, or the number alone.
#[derive(Debug)]
pub(super) struct WirePort<'a> {
    /// `None` if it is absent, or neither a number nor a text.
    pub(super) number: Option<Loose<'a>>,
    pub(super) enabled: Option<bool>,
}

/// Reads an answer of `/apps` or `/apps/delta`.
///
/// # Errors
/// If it is XML or no list, or no application in it has a name.
pub(super) fn listing<'a>(origin: &Origin, body: &'a [u8]) -> Result<Listing<'a>, Error> {
    let refused = |source| {
        let url = origin.to_string();
        // Perhaps behind a prologue.
        if String::from_utf8_lossy(&body[..body.len().min(200)]).contains("<applications>") {
            return Error::Xml { url };
        }
        Error::Decode { url, start: origin.quote(body), source }
    };
    let Root { applications } = serde_json::from_slice(body).map_err(refused)?;
    if applications.hash.is_none() && applications.application.is_none() {
        return Err(Error::NoList { url: origin.to_string() });
    }
    let listed = one_or_many(applications.application).map_err(refused)?;
    let (count, mut wrong) = (listed.len(), Vec::new());
    let mut read = |raw| {
        application(raw).unwrap_or_else(|error| {
            wrong.push(error);
            None
        })
    };
    let named: Vec<Application<'_>> = listed.into_iter().filter_map(&mut read).collect();
    let nameless = count - named.len();
    if named.is_empty() && nameless > 0 {
        // Not one of them is an application at all.
        return Err(match wrong.pop() {
            Some(error) if wrong.len() + 1 == count => refused(error),
            _ => Error::NoNames { url: origin.to_string(), count },
        });
    }
    Ok(Listing { hash: applications.hash.map(|hash| hash.0), applications: named, nameless })
}

/// An application, by its own name or by the `app` of its first instance; `None` if both are missing.
fn application(raw: &RawValue) -> Result<Option<Application<'_>>, serde_json::Error> {
    let RawApplication { name, instance } = serde_json::from_str(raw.get())?;
    let instances = instance.map(|raw| one_or_many(Some(raw)).unwrap_or_else(|_| vec![raw]));
    let repeated = || {
        let member: Member<'_> = serde_json::from_str(instances.as_ref()?.first()?.get()).ok()?;
        member.app
    };
    let name = name.filter(|name| name.text().is_some()).or_else(repeated).filter(|name| name.text().is_some());
    Ok(name.map(|name| Application { name: name.0, instances }))
}

/// The elements of a list. A single element may stand there without the list around it.
fn one_or_many(raw: Option<&RawValue>) -> Result<Vec<&RawValue>, serde_json::Error> {
    match raw {
        None => Ok(Vec::new()),
        Some(raw) if raw.get().starts_with('[') => serde_json::from_str(raw.get()),
        Some(raw) => Ok(vec![raw]),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for WirePort<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        struct Full<'a> {
            #[serde(borrow, rename = "$", default, deserialize_with = "optional")]
            number: Option<Loose<'a>>,
            #[serde(borrow, rename = "@enabled", default, deserialize_with = "optional")]
            enabled: Option<Loose<'a>>,
        }
        let raw = <&RawValue>::deserialize(from)?.get();
        if raw.starts_with('{') {
            let Full { number, enabled } = serde_json::from_str(raw).map_err(de::Error::custom)?;
            return Ok(WirePort { number, enabled: enabled.and_then(|enabled| enabled.truth()) });
        }
        Ok(WirePort { number: serde_json::from_str(raw).ok(), enabled: None })
    }
}
