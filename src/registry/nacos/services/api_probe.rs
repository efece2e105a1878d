//! Finds out by which interface a server is read: by asking, best first.
//!
//! A better one than the one in use is looked for again and again: rights are given later, servers are upgraded, and one
//! that is refused for a moment is there in the next. The first look comes after [`FIRST`], or `resync` if that is shorter,
//! as rights come late after a restart; each later one twice as late, up to [`LONGEST`]. A look costs a request or two for
//! each namespace.

use crate::{
    model::Text,
    registry::{
        nacos::{
            api::{Api, wire},
            error::Error,
            transport::{Client, json},
        },
        tried,
    },
    util::backoff::Backoff,
};
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::time::Instant;

/// The time from the choice of an interface to the first look for a better one.
const FIRST: Duration = Duration::from_secs(5);
/// The longest time from one look to the next.
const LONGEST: Duration = Duration::from_secs(600);

/// Where an interface is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: Text,
    /// The groups that are tried where groups are read one by one; at least one.
    pub(super) groups: Vec<Text>,
}

/// Looks for interfaces, and knows when the next look is due.
#[derive(Debug)]
pub(super) struct ApiProbe {
    backoff: Backoff,
    due: Instant,
}

impl ApiProbe {
    pub(super) fn new(resync: Duration) -> Self {
        ApiProbe { backoff: Backoff::new(FIRST.min(resync), LONGEST), due: Instant::now() }
    }

    /// True if there may be a better interface than the one in use, and it is time to look for it.
    pub(super) fn is_due(&self, used: Api) -> bool {
        !used.is_best() && Instant::now() >= self.due
    }

    /// The interface to use: the best one that works, or `used` unless a better one works.
    pub(super) async fn find(&mut self, client: &Client, used: Option<Api>, places: &[Place]) -> Result<Api, Error> {
        let api = match used {
            None => best(client, places).await?,
            Some(used) => better(client, used, places).await.unwrap_or(used),
        };
        if used != Some(api) {
            self.backoff.reset();
        }
        self.due = Instant::now() + self.backoff.next();
        Ok(api)
    }
}

/// The best interface that works in one of the places: rights may be given for some only, and one may be broken. A
/// server that fails outright is starting or gone, and is asked later, so that no worse interface is chosen for good. For the
/// same reason those that were refused are asked once more at the end: meanwhile an old token may have been replaced, or the
/// server has loaded our rights.
async fn best(client: &Client, places: &[Place]) -> Result<Api, Error> {
    let found = first_that_works(client, places).await?;
    Ok(better(client, found, places).await.unwrap_or(found))
}

async fn first_that_works(client: &Client, places: &[Place]) -> Result<Api, Error> {
    let mut tried = Vec::new();
    for api in Api::ALL {
        let mut failure = None;
        for place in places {
            match probe(client, api, place).await {
                Ok(()) => return ready(client, api).await.map(|()| api),
                Err(error) if error.is_not_offered() => {
                    let is_absent = error.is_absent();
                    tried.push(error);
                    if is_absent {
                        break;
                    }
                }
                Err(error) if error.is_unreachable() => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
    }
    Err(no_api(&tried))
}

/// Why nothing works, from what each interface has answered; the first words are the cause.
fn no_api(errors: &[Error]) -> Error {
    let tried = tried(errors);
    let told = errors.iter().find(|error| !error.is_foreign());
    match told {
        Some(_) => {
            let denied = errors.iter().find(|error| error.is_denied()).or(told);
            Error::NoApi { cause: denied.map(Error::cause).unwrap_or_default(), tried }
        }
        None => Error::NoNacos { cause: errors.first().map(Error::cause).unwrap_or_default(), tried },
    }
}

/// A better interface than the one that is used: it works, and in every place where that one does.
async fn better(client: &Client, than: Api, places: &[Place]) -> Option<Api> {
    for api in Api::ALL.into_iter().take_while(|api| *api != than) {
        if replaces(client, api, than, places).await && ready(client, api).await.is_ok() {
            return Some(api);
        }
    }
    None
}

async fn replaces(client: &Client, api: Api, than: Api, places: &[Place]) -> bool {
    let mut works = false;
    for place in places {
        match probe(client, api, place).await {
            Ok(()) => works = true,
            Err(error) if error.is_denied() && probe(client, than, place).await.is_err() => {}
            Err(_) => return false,
        }
    }
    works
}

/// Fails unless the interface works in a place: for all of a namespace, or for one of the groups.
async fn probe(client: &Client, api: Api, place: &Place) -> Result<(), Error> {
    if api.is_bulk() {
        return probe_list(client, api, &place.namespace, ("withInstances", "true")).await;
    }
    let mut outcome = Ok(());
    for group in &place.groups {
        outcome = probe_list(client, api, &place.namespace, ("groupName", group)).await;
        // A right may be given for one group only.
        if !outcome.as_ref().is_err_and(Error::is_denied) {
            break;
        }
    }
    outcome
}

async fn probe_list(client: &Client, api: Api, namespace: &str, more: (&str, &str)) -> Result<(), Error> {
    let query = [("namespaceId", namespace), ("pageNo", "1"), ("pageSize", "1"), more];
    let answer = api.get(client, api.list(), &query).await?;
    match api {
        Api::AdminV3 => json::enveloped::<wire::Page<'_>>(&answer.origin, &answer.body).map(drop),
        Api::CatalogV1 => json::bare::<Vec<&RawValue>>(&answer.origin, &answer.body).map(drop),
        Api::EachV2 | Api::EachV1 | Api::EachGrpc => api.read::<wire::Names>(&answer.origin, &answer.body).map(drop),
    }
}

/// Fails if the server is not ready: one that is starting may answer lists before it has its data.
async fn ready(client: &Client, api: Api) -> Result<(), Error> {
    let Some(path) = api.readiness() else { return Ok(()) };
    match client.http.get(path, &[]).await {
        Err(error) if !error.is_not_offered() => Err(error),
        // Not offered, or not for us: then nothing is known, and the list itself has answered.
        _ => Ok(()),
    }
}
