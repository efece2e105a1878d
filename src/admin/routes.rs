//! Which path answers what.

use super::{
    Sources, meshregistry, page,
    view::{registry, resource, service, slime},
};
use crate::{resource::Kind, telemetry};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde_json::json;
use std::{sync::Arc, time::SystemTime};

/// The one request that has a body needs none.
const MAX_BODY_BYTES: usize = 16 << 10;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) sources: Arc<dyn Sources>,
    metrics: Arc<Registry>,
}

pub(super) fn router(sources: Arc<dyn Sources>, metrics: Arc<Registry>) -> Router {
    Router::new()
        .route("/", get(|| async { Html(page::index()) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .route("/api/v1/registries", get(registries))
        .route("/api/v1/registries/{name}/release", post(release))
        .route("/api/v1/services", get(services))
        .route("/api/v1/services/{*name}", get(one_service))
        .route("/api/v1/rejected", get(rejected))
        .route("/api/v1/manifests", get(manifests))
        .route("/api/v1/clients", get(clients))
        .route("/api/v1/resources/{kind}", get(resources))
        .route("/api/v1/digests", get(digests))
        .merge(meshregistry::router())
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "no such page; / lists them") })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Shared { sources, metrics })
}

async fn ready(State(shared): State<Shared>) -> Response {
    let Shared { sources, .. } = shared;
    let ready = registry::ready(&sources.catalog(), sources.view().readiness_of(Kind::Cluster), sources.stopping());
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready)).into_response()
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    let more = slime::metrics(&shared.sources.catalog(), shared.sources.lists_sent());
    let text = telemetry::encode_with(&shared.metrics, &more);
    ([(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)], text).into_response()
}

async fn registries(State(shared): State<Shared>) -> Response {
    Json(registry::registries(&shared.sources.catalog(), SystemTime::now())).into_response()
}

async fn services(
    State(shared): State<Shared>,
    query: Result<Query<service::Query>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    let catalog = shared.sources.catalog();
    Ok(large(move || encoded(&service::list(&catalog, &query))).await)
}

async fn one_service(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    match service::detail(&shared.sources.catalog(), shared.sources.rejected(), &name) {
        Some(detail) => Json(detail).into_response(),
        None => refusal(
            StatusCode::NOT_FOUND,
            &format!("no service {name:?}; /api/v1/services?q= finds services by a part of their name"),
        ),
    }
}

async fn rejected(State(shared): State<Shared>) -> Response {
    Json(shared.sources.rejected()).into_response()
}

async fn manifests(State(shared): State<Shared>) -> Response {
    large(move || encoded(&shared.sources.manifests())).await
}

async fn clients(State(shared): State<Shared>) -> Response {
    Json(shared.sources.clients()).into_response()
}

async fn resources(
    State(shared): State<Shared>,
    Path(kind): Path<String>,
    query: Result<Query<resource::Query>, QueryRejection>,
) -> Result<Response, Response> {
    let Some(kind) = Kind::named(&kind) else {
        let known = Kind::ALL.map(Kind::name).join(", ");
        return Err(refusal(StatusCode::NOT_FOUND, &format!("no resources {kind:?}; there are {known}")));
    };
    let Query(query) = query.map_err(bad_query)?;
    let view = if kind.is_istio() { shared.sources.entries() } else { shared.sources.view() };
    Ok(large(move || encoded(&resource::list(&view, kind, &query))).await)
}

async fn digests(State(shared): State<Shared>) -> Response {
    Json(resource::digests(&shared.sources.view(), &shared.sources.entries())).into_response()
}

/// A page of another site can make a browser post a form here, but not with this content type.
async fn release(State(shared): State<Shared>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let json = headers.get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"application/json"));
    if !json {
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the header `content-type: application/json`");
    }
    if !shared.sources.catalog().registries.iter().any(|r| *r.name == *name) {
        return refusal(StatusCode::NOT_FOUND, &format!("no registry {name:?}; /api/v1/registries lists them"));
    }
    if !shared.sources.release(&name) {
        return refusal(StatusCode::CONFLICT, &format!("nothing of registry {name:?} is held back"));
    }
    tracing::info!(registry = %name, "Released a held-back drop on request.");
    Json(json!({ "released": name })).into_response()
}

/// What may be large is made off the threads that serve clients.
pub(super) async fn large(make: impl FnOnce() -> Response + Send + 'static) -> Response {
    let made = tokio::task::spawn_blocking(make).await;
    made.unwrap_or_else(|error| refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
}

fn encoded(value: &impl Serialize) -> Response {
    Json(value).into_response()
}

pub(super) fn bad_query(rejection: QueryRejection) -> Response {
    refusal(StatusCode::BAD_REQUEST, &rejection.body_text())
}

pub(super) fn refusal(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}
