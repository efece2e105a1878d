//! Writing of services: `PUT`, `PATCH` and `DELETE /api/v1/services/{registry}/...`, and whole lists by `PUT
//! /api/v1/registries/{name}/services`. Before, [`super::guard`] decides if a request may change something.

use super::{
    Sources,
    answer::{Refusal, one},
};
use crate::registry::{Entry, Expected, Refused, Store};
use axum::{
    Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, Path, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, patch, put},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::task::spawn_blocking;

/// The largest body of a change: enough for 10,000 services with ten instances each.
const MAX_BODY_BYTES: usize = 16 << 20;

/// The range of `ttl`: how long a written service may live before it must be written again.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600);

type Shared = Arc<dyn Sources>;

/// The parameter `ttl`, such as `30s`. `None`: the service does not expire.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    ttl: Option<String>,
}

/// A written service, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    endpoints: usize,
}

/// The answer to a written list.
#[derive(Debug, Serialize)]
struct Replaced {
    registry: String,
    services: usize,
}

/// The methods that change one service, for its path.
pub(super) fn of_service<S: Clone + Send + Sync + 'static>(sources: Shared) -> MethodRouter<S> {
    let methods = put(put_service).merge(patch(patch_service)).delete(delete_service);
    methods.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(sources)
}

pub(super) fn router<S: Clone + Send + Sync + 'static>(sources: Shared) -> Router<S> {
    let methods = put(replace).get(list).layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    Router::new().route("/api/v1/registries/{name}/services", methods).with_state(sources)
}

impl How {
    fn ttl(&self) -> Result<Option<Duration>, Refusal> {
        let Some(text) = &self.ttl else { return Ok(None) };
        let read = humantime::parse_duration(text).ok().filter(|ttl| TTL.contains(ttl));
        let refused = || Refusal::bad(&format!("ttl is a time from 1s to 30d, not {text:?}"));
        read.map(Some).ok_or_else(refused)
    }
}

impl Shown {
    fn of(entry: &Entry) -> Self {
        Shown {
            id: entry.service.id.to_string(),
            version: entry.version.to_string(),
            ttl: entry.ttl.map(|ttl| humantime::format_duration(ttl).to_string()),
            endpoints: entry.service.endpoints.len(),
        }
    }
}

async fn put_service(
    State(sources): State<Shared>,
    Path(path): Path<String>,
    query: Result<Query<How>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let (store, name) = store_of_service(&*sources, &path)?;
    let (ttl, expected, body) = (query.map_err(Refusal::of_query)?.0.ttl()?, expected(&headers)?, read(body)?);
    let (entry, is_new) = apart(move || store.put(&store.id(&name)?, &body, ttl, &expected)).await?;
    Ok(shown(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &entry))
}

async fn patch_service(
    State(sources): State<Shared>,
    Path(path): Path<String>,
    query: Result<Query<How>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let (store, name) = store_of_service(&*sources, &path)?;
    let (ttl, expected, body) = (query.map_err(Refusal::of_query)?.0.ttl()?, expected(&headers)?, read(body)?);
    let entry = apart(move || store.patch(&store.id(&name)?, &body, ttl, &expected)).await?;
    Ok(shown(StatusCode::OK, &entry))
}

async fn delete_service(
    State(sources): State<Shared>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (store, name) = store_of_service(&*sources, &path)?;
    let expected = expected(&headers)?;
    apart(move || store.delete(&store.id(&name)?, &expected)).await?;
    Ok(one(&serde_json::json!({ "deleted": path })))
}

async fn list(State(sources): State<Shared>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let entries = store(&*sources, &name)?.entries();
    Ok(super::answer::array(move || entries.into_iter().map(|entry| super::answer::json(&Shown::of(&entry)))).await)
}

async fn replace(
    State(sources): State<Shared>,
    Path(name): Path<String>,
    query: Result<Query<How>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let store = store(&*sources, &name)?;
    let (ttl, body) = (query.map_err(Refusal::of_query)?.0.ttl()?, read(body)?);
    let services = apart(move || store.replace(&body, ttl)).await?;
    Ok(one(&Replaced { registry: name, services }))
}

/// The registry that the path begins with, and the rest of it.
fn store_of_service(sources: &dyn Sources, path: &str) -> Result<(Arc<Store>, String), Refusal> {
    let (registry, name) = path.split_once('/').unwrap_or((path, ""));
    Ok((store(sources, registry)?, name.to_owned()))
}

fn store(sources: &dyn Sources, registry: &str) -> Result<Arc<Store>, Refusal> {
    let written = sources.written();
    written.and_then(|written| written.get(registry)).ok_or_else(|| {
        let known = written.map(|written| written.names().join(", ")).filter(|names| !names.is_empty());
        let known = known.map_or("there is none; add one with `api: {}`".into(), |names| format!("there are {names}"));
        let text = format!("{registry:?} is no registry of kind `api`, to which services can be written: {known}");
        Refusal(StatusCode::NOT_FOUND, text)
    })
}

/// What `If-Match: "VERSION"` or `If-None-Match: *` asks for.
fn expected(headers: &HeaderMap) -> Result<Expected, Refusal> {
    match (headers.get(header::IF_MATCH), headers.get(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Expected::Anything),
        (None, Some(any)) if any == "*" => Ok(Expected::Nothing),
        (Some(version), None) => match version.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'))
        {
            Some(version) => Ok(Expected::Version(version.into())),
            None => Err(Refusal::bad("write the header `if-match: \"VERSION\"`, with one version in quotes")),
        },
        _ => Err(Refusal::bad("write `if-match: \"VERSION\"`, or `if-none-match: *`, or neither")),
    }
}

fn read(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| {
        let most = format!("; a body has at most {MAX_BODY_BYTES} bytes");
        let more = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE { &*most } else { "" };
        Refusal(rejection.status(), format!("{}{more}", rejection.body_text()))
    })
}

/// Makes a change on a blocking thread: to read a long body takes a while, and other requests must not wait for it.
async fn apart<T: Send + 'static>(change: impl FnOnce() -> Result<T, Refused> + Send + 'static) -> Result<T, Refusal> {
    match spawn_blocking(change).await {
        Ok(outcome) => outcome.map_err(|refused| Refusal(status(&refused), refused.to_string())),
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::Missing(_) => StatusCode::NOT_FOUND,
        Refused::Exists(..) | Refused::Stale(..) => StatusCode::PRECONDITION_FAILED,
        Refused::Invalid(_) => StatusCode::BAD_REQUEST,
        Refused::TooMany(_) => StatusCode::INSUFFICIENT_STORAGE,
        Refused::Paused => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn shown(status: StatusCode, entry: &Entry) -> Response {
    let mut answer = (status, one(&Shown::of(entry))).into_response();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", entry.version)) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}
