//! `/api/v1/quarantine`: what clients refuse and are not sent, and its release.

use super::{
    Sources,
    answer::{self, Refusal, json, one},
    history::{who, words},
    time,
    tokens::Caller,
};
use crate::{
    resource::{Kind, version_text},
    xds::{Filter, Quarantined},
};
use axum::{
    Extension, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::SystemTime};

/// The reason of a 404 where no clients are served, as in some tests.
const NONE: &str = "this process serves no clients";

pub(super) fn router<S: Clone + Send + Sync + 'static>(sources: Arc<dyn Sources>) -> Router<S> {
    Router::new()
        .route("/api/v1/quarantine", get(list))
        .route("/api/v1/quarantine/release", post(release))
        .with_state(sources)
}

/// A resource that is withheld from clients.
#[derive(Debug, Serialize)]
struct Entry {
    kind: &'static str,
    name: String,
    /// The hash of the content that is refused; another content is sent.
    version: String,
    /// The key of the view whose clients refuse it.
    view: String,
    /// Whether it is withheld from all clients of that view, except those that already have it.
    for_all: bool,
    #[serde(serialize_with = "time::required")]
    since: SystemTime,
    /// How many open streams it is withheld from.
    streams: usize,
    /// The clients that have refused it.
    nodes: Vec<String>,
    /// `named` by the client, `searched`, or `shared`.
    found: &'static str,
    /// The error message of the client that refused it last.
    message: String,
}

/// The parameters of a release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Releasing {
    kind: Option<String>,
    name: Option<String>,
    /// Whether everything is released; must be set if neither a kind nor a name is given.
    #[serde(default)]
    all: bool,
    by: Option<String>,
    why: Option<String>,
}

async fn list(State(sources): State<Arc<dyn Sources>>) -> Response {
    let list = sources.quarantine().map(|quarantine| quarantine.list()).unwrap_or_default();
    answer::array(move || list.into_iter().map(|entry| json(&Entry::of(entry)))).await
}

async fn release(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<Releasing>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(Releasing { kind, name, all, by, why }) = query.map_err(Refusal::of_query)?;
    if all == (kind.is_some() || name.is_some()) {
        return Err(Refusal::bad("say what is released: name=, kind=, or both; or everything, by all=true"));
    }
    let filter = Filter { kind: kind.as_deref().map(known).transpose()?, name: name.as_deref().map(Into::into) };
    let (by, why) = (who(&caller, by)?, words("why", why)?);
    let Some(quarantine) = sources.quarantine() else { return Err(Refusal(StatusCode::NOT_FOUND, NONE.into())) };
    let count = quarantine.release(&filter);
    let of = format!("{}/{}", filter.kind.map_or("*", Kind::name), name.as_deref().unwrap_or("*"));
    if count == 0 {
        return Err(Refusal(
            StatusCode::NOT_FOUND,
            format!("nothing of {of} is withheld; /api/v1/quarantine lists what is"),
        ));
    }
    tracing::info!(of, %by, %why, count, "Released what clients refuse, on request.");
    if let Some(history) = sources.history() {
        history.requested("release", format!("quarantine of {of}"), &by, &why, format!("released {count}"));
    }
    Ok(one(&serde_json::json!({ "released": count })))
}

fn known(name: &str) -> Result<Kind, Refusal> {
    Kind::named(name).filter(|kind| Kind::ENVOY.contains(kind)).ok_or_else(|| {
        let known = Kind::ENVOY.map(Kind::name).join(", ");
        Refusal::bad(&format!("no kind {name:?} that clients refuse; there are {known}"))
    })
}

impl Entry {
    fn of(Quarantined { item, view, for_all, since, streams, nodes, found, message }: Quarantined) -> Self {
        Entry {
            kind: item.kind.name(),
            name: item.name.to_string(),
            version: version_text(item.version),
            view: view.to_string(),
            for_all,
            since,
            streams,
            nodes: nodes.iter().map(ToString::to_string).collect(),
            found: found.name(),
            message: message.to_string(),
        }
    }
}
