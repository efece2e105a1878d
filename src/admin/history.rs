//! `/api/v1/history`, `/api/v1/diff`, and overrides of what is published: pins, rollbacks and edits, each with its
//! author and its end.

use super::{
    Sources,
    answer::{self, Refusal, json, one},
    time,
    tokens::Caller,
};
use crate::{
    catalog::{Deed, LONGEST, Override, Target, Wish},
    history::{self, Difference, Refused, Wanted},
    model::{Hostname, Text, Weight},
};
use axum::{
    Extension, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The reason of a 404 where no history is kept, as in some tests.
const NONE: &str = "this process keeps no history";
/// How long an override lasts if the request has no `for`.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// The most characters of `by` and `why`.
const WORDS: usize = 200;

pub(super) type Asked<T> = Result<Query<T>, QueryRejection>;
pub(super) type Answer = Result<Response, Refusal>;

pub(super) fn router<S: Clone + Send + Sync + 'static>(sources: Arc<dyn Sources>) -> Router<S> {
    Router::new()
        .route("/api/v1/history", get(list))
        .route("/api/v1/diff", get(diff))
        .route("/api/v1/overrides", get(overrides).post(edit))
        .route("/api/v1/overrides/{id}/lift", post(lift))
        .route("/api/v1/pin", post(pin))
        .route("/api/v1/unpin", post(unpin))
        .route("/api/v1/rollback", post(rollback))
        .with_state(sources)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// A time as in RFC 3339, or how long ago, such as `10m`.
    since: Option<String>,
    host: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiffQuery {
    from: u64,
    /// The number of a catalog; `None`: the current one.
    to: Option<u64>,
}

/// The parameters of a new override.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Laying {
    host: Option<String>,
    instance: Option<String>,
    deed: Option<String>,
    weight: Option<f64>,
    to: Option<u64>,
    #[serde(rename = "for")]
    time: Option<String>,
    by: Option<String>,
    why: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifting {
    host: Option<String>,
    by: Option<String>,
    why: Option<String>,
}

/// An override that is in force, as it is shown.
#[derive(Debug, Serialize)]
struct OverrideView {
    id: u64,
    deed: &'static str,
    host: Option<String>,
    instance: Option<String>,
    weight: Option<f64>,
    #[serde(serialize_with = "time::required")]
    since: SystemTime,
    #[serde(serialize_with = "time::required")]
    until: SystemTime,
    by: String,
    why: String,
}

impl OverrideView {
    fn of(over: &Override) -> Self {
        OverrideView {
            id: over.id,
            deed: over.deed.name(),
            host: over.of.host().map(ToString::to_string),
            instance: match &over.of {
                Target::Instance(_, place) => Some(place.to_string()),
                _ => None,
            },
            weight: match over.deed {
                Deed::Weight(weight) => Some(weight.get()),
                _ => None,
            },
            since: over.since,
            until: over.until,
            by: over.by.to_string(),
            why: over.why.to_string(),
        }
    }
}

async fn list(State(sources): State<Arc<dyn Sources>>, query: Asked<ListQuery>) -> Answer {
    let Query(ListQuery { since, host, limit }) = query.map_err(Refusal::of_query)?;
    let since = since.map(|text| moment(&text, SystemTime::now())).transpose()?;
    let mut entries = sources.history().map(|history| history.list(since, host.as_deref())).unwrap_or_default();
    let limit = limit.unwrap_or(usize::MAX);
    entries.drain(..entries.len().saturating_sub(limit));
    Ok(answer::array(move || entries.into_iter().map(|entry| json(&entry))).await)
}

async fn diff(State(sources): State<Arc<dyn Sources>>, query: Asked<DiffQuery>) -> Answer {
    let Query(DiffQuery { from, to }) = query.map_err(Refusal::of_query)?;
    let history = history(&*sources)?.clone();
    let compared = tokio::task::spawn_blocking(move || history.difference(from, to)).await;
    let difference: Difference = compared.unwrap_or(Err(Refused::Ending)).map_err(refused)?;
    Ok(one(&difference))
}

async fn overrides(State(sources): State<Arc<dyn Sources>>) -> Answer {
    let all = sources.history().map(|history| history.overrides()).unwrap_or_default();
    Ok(one(&all.iter().map(OverrideView::of).collect::<Vec<_>>()))
}

async fn edit(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Asked<Laying>,
) -> Answer {
    let Query(laying) = query.map_err(Refusal::of_query)?;
    let wish = laying.wish()?;
    laying.without("to", laying.to.is_some())?;
    let laid = history(&*sources)?.edit(laying.wanted(&caller)?, wish).await.map_err(refused)?;
    Ok(one(&OverrideView::of(&laid)))
}

async fn pin(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Asked<Laying>,
) -> Answer {
    let Query(laying) = query.map_err(Refusal::of_query)?;
    laying.alone()?;
    laying.without("to", laying.to.is_some())?;
    let laid = history(&*sources)?.pin(laying.wanted(&caller)?, None).await.map_err(refused)?;
    Ok(one(&OverrideView::of(&laid)))
}

async fn rollback(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Asked<Laying>,
) -> Answer {
    let Query(laying) = query.map_err(Refusal::of_query)?;
    laying.alone()?;
    let (history, wanted) = (history(&*sources)?, laying.wanted(&caller)?);
    let laid = match laying.to {
        Some(number) => history.pin(wanted, Some(number)).await,
        None => history.back(wanted).await,
    };
    Ok(one(&OverrideView::of(&laid.map_err(refused)?)))
}

async fn unpin(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Asked<Lifting>,
) -> Answer {
    let Query(Lifting { host, by, why }) = query.map_err(Refusal::of_query)?;
    let of = target(host.as_deref(), None)?;
    let lifted = history(&*sources)?.unpin(of, who(&caller, by)?, words("why", why)?).await.map_err(refused)?;
    Ok(one(&lifted.iter().map(OverrideView::of).collect::<Vec<_>>()))
}

async fn lift(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
    query: Asked<Lifting>,
) -> Answer {
    let Query(Lifting { host, by, why }) = query.map_err(Refusal::of_query)?;
    if host.is_some() {
        return Err(Refusal::bad("host is not asked for here: the number says what is lifted"));
    }
    let lifted = history(&*sources)?.lift_one(id, who(&caller, by)?, words("why", why)?).await.map_err(refused)?;
    Ok(one(&lifted.iter().map(OverrideView::of).collect::<Vec<_>>()))
}

impl Laying {
    fn wanted(&self, caller: &Caller) -> Result<Wanted, Refusal> {
        let time = match &self.time {
            None => HOUR,
            Some(text) => duration(text)?,
        };
        Ok(Wanted {
            of: target(self.host.as_deref(), self.instance.as_deref())?,
            time,
            by: who(caller, self.by.clone())?,
            why: words("why", self.why.clone())?,
        })
    }

    fn wish(&self) -> Result<Wish, Refusal> {
        let weight = self.weight.map(|weight| Weight::relative(weight, 1.0)).transpose();
        let weight = weight.map_err(|error| Refusal::bad(&error.to_string()))?;
        match (self.deed.as_deref(), weight) {
            (Some("drain"), None) => Ok(Wish::Drain),
            (Some("disable"), None) => Ok(Wish::Disable),
            (Some("keep"), None) => Ok(Wish::Keep),
            (Some("weight"), Some(weight)) => Ok(Wish::Weight(weight)),
            (Some("weight"), None) => Err(Refusal::bad("deed=weight needs weight=, relative to 1")),
            (Some("drain" | "disable" | "keep"), Some(_)) => Err(Refusal::bad("weight= goes with deed=weight")),
            _ => Err(Refusal::bad("deed is drain, disable, weight or keep; pins have /api/v1/pin")),
        }
    }

    /// Refuses the parameters of an edit, which a pin and a rollback do not have.
    fn alone(&self) -> Result<(), Refusal> {
        self.without("deed", self.deed.is_some())?;
        self.without("weight", self.weight.is_some())
    }

    fn without(&self, name: &str, is_there: bool) -> Result<(), Refusal> {
        if is_there { Err(Refusal::bad(&format!("{name} is not asked for here"))) } else { Ok(()) }
    }
}

pub(super) fn history(sources: &dyn Sources) -> Result<&history::Handle, Refusal> {
    sources.history().ok_or_else(|| Refusal(StatusCode::NOT_FOUND, NONE.into()))
}

fn target(host: Option<&str>, instance: Option<&str>) -> Result<Target, Refusal> {
    let host = host.map(hostname).transpose()?;
    Ok(match (host, instance) {
        (None, None) => Target::Everything,
        (None, Some(_)) => return Err(Refusal::bad("an instance is one of a service; name its host")),
        (Some(host), None) => Target::Service(host),
        (Some(host), Some(instance)) => Target::Instance(host, instance.into()),
    })
}

pub(super) fn hostname(text: &str) -> Result<Hostname, Refusal> {
    Hostname::new(text).map_err(|error| Refusal::bad(&format!("{text:?}: {error}")))
}

/// The name of the author for the history: that of the token, and `by` of the request, as far as they are there.
pub(super) fn who(caller: &Caller, by: Option<String>) -> Result<Text, Refusal> {
    let by = words("by", by)?;
    Ok(match &caller.0 {
        _ if by.is_empty() => caller.name(),
        None => by,
        Some(name) => format!("{name} ({by})").into(),
    })
}

/// A text for the history; refused if it has more than [`WORDS`] characters.
pub(super) fn words(name: &str, text: Option<String>) -> Result<Text, Refusal> {
    let text = text.unwrap_or_default();
    match text.chars().count() {
        length if length > WORDS => Err(Refusal::bad(&format!("{name} has {length} characters; {WORDS} are enough"))),
        _ => Ok(text.into()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, Refusal> {
    let time =
        humantime::parse_duration(text).map_err(|error| Refusal::bad(&format!("for={text:?}: {error}; write 30m")))?;
    match time {
        Duration::ZERO => Err(Refusal::bad("for=0 would end at once")),
        time if time > LONGEST => {
            Err(Refusal::bad("what is laid over ends within 7 days; lay it again where it is still wanted"))
        }
        time => Ok(time),
    }
}

/// Reads a time as in RFC 3339, or how long ago, such as `10m`.
fn moment(text: &str, now: SystemTime) -> Result<SystemTime, Refusal> {
    let ago = humantime::parse_duration(text).ok().and_then(|ago| now.checked_sub(ago));
    ago.or_else(|| humantime::parse_rfc3339_weak(text).ok()).ok_or_else(|| {
        Refusal::bad(&format!("since={text:?} is no time; write 10m for ten minutes ago, or 2026-01-31T12:00:00Z"))
    })
}

pub(super) fn refused(why: Refused) -> Refusal {
    let status = match &why {
        Refused::Unknown(_) | Refused::NothingLies(_) => StatusCode::NOT_FOUND,
        Refused::Ending => StatusCode::SERVICE_UNAVAILABLE,
        Refused::Catalog(_) | Refused::TooOld(_) | Refused::NothingBefore | Refused::NothingHeld(_) => {
            StatusCode::CONFLICT
        }
    };
    Refusal(status, why.to_string())
}
