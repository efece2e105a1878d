//! All paths of the admin API.

use super::{
    Sources,
    answer::{self, bad_query, json, refusal},
    calls,
    changes::Changes,
    guard::{Guard, Hosts, guard},
    history, holds, meshregistry, page, quarantine, reload, rollout,
    tokens::{Caller, Tokens},
    view::{
        client, finding, ready, registry, resource, route as routing,
        service::{self, Summary},
        slime, views,
    },
    written,
};
use crate::{
    resource::{Dialect, Kind},
    telemetry,
    views::{Loaded, ViewKey},
};
use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::SystemTime};

/// The largest body of a request. Only those that write services use their body; they have a limit of their own.
const MAX_BODY_BYTES: usize = 16 << 10;

#[derive(Clone)]
struct Shared {
    sources: Arc<dyn Sources>,
    metrics: Arc<Registry>,
}

/// What the checks of requests need to know.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) hosts: Hosts,
    pub(super) tokens: Tokens,
    pub(super) changes: Changes,
}

pub(super) fn router(sources: Arc<dyn Sources>, metrics: Arc<Registry>, settings: Settings) -> Router {
    let ours = Guard::new(settings.listen, settings.hosts, settings.tokens, settings.changes);
    Router::new()
        .route("/", get(|| async { Html(page::index()) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .route("/api/v1/registries", get(registries))
        .route("/api/v1/registries/{name}/release", post(release))
        .route("/api/v1/services", get(services))
        .route("/api/v1/services/{*name}", get(one_service).merge(written::of_service(sources.clone())))
        .route("/api/v1/rejected", get(rejected))
        .route("/api/v1/manifests", get(manifests))
        .route("/api/v1/clients", get(clients))
        .route("/api/v1/views", get(views_kept))
        .route("/api/v1/resources/{kind}", get(resources))
        .route("/api/v1/findings", get(findings))
        .route("/api/v1/gateways", get(gateways))
        .route("/api/v1/route", get(route))
        .route("/api/v1/digests", get(digests))
        .merge(meshregistry::router(sources.clone()))
        .merge(calls::router(sources.clone()))
        .merge(reload::router(sources.clone()))
        .merge(rollout::router(sources.clone()))
        .merge(history::router(sources.clone()))
        .merge(quarantine::router(sources.clone()))
        .merge(holds::router(sources.clone()))
        .merge(written::router(sources.clone()))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "no such page; / lists them") })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(move |request, next| guard(ours.clone(), request, next)))
        .with_state(Shared { sources, metrics })
}

/// The parameter `for`: the dialect of the clients, `envoy` by default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadyQuery {
    #[serde(rename = "for")]
    client: Option<String>,
}

async fn ready(
    State(shared): State<Shared>,
    query: Result<Query<ReadyQuery>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    let name = query.client.as_deref().unwrap_or(Dialect::Envoy.name());
    let Some(dialect) = Dialect::named(name) else {
        let known = Dialect::ALL.map(Dialect::name).join(", ");
        return Err(refusal(StatusCode::BAD_REQUEST, &format!("no clients {name:?}; there are {known}")));
    };
    let sources = &shared.sources;
    let facts = ready::Facts {
        catalog: &sources.catalog(),
        served: Dialect::ALL.map(|dialect| sources.is_ready(dialect)),
        manifests: &sources.manifests_pending(),
        rollout: sources.configuration().and_then(|configuration| configuration.rollout().note()),
        stopping: sources.stopping(),
    };
    let ready = ready::ready(&facts, dialect);
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, answer::one(&ready)).into_response())
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    let more = slime::metrics(&shared.sources.catalog(), shared.sources.lists_sent());
    let text = telemetry::encode_with(&shared.metrics, &more);
    ([(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)], text).into_response()
}

async fn registries(State(shared): State<Shared>) -> Response {
    let make = move || registry::registries(&shared.sources.catalog(), SystemTime::now());
    answer::array(move || make().into_iter().map(|registry| json(&registry))).await
}

async fn services(
    State(shared): State<Shared>,
    query: Result<Query<service::Query>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    let catalog = shared.sources.catalog();
    Ok(answer::apart(move || {
        let (head, found) = service::page(&catalog, &query);
        answer::page(&head, "services", found.into_iter().map(|found| json(&Summary::of(&found))))
    })
    .await)
}

async fn one_service(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    let rejected = views::rejected(&*shared.sources).await;
    match service::detail(&shared.sources.catalog(), rejected, &name) {
        Some(detail) => answer::one(&detail),
        None => refusal(
            StatusCode::NOT_FOUND,
            &format!("no service {name:?}; /api/v1/services?q= finds services by a part of their name"),
        ),
    }
}

async fn rejected(State(shared): State<Shared>) -> Response {
    let rejected = views::rejected(&*shared.sources).await;
    answer::array(move || rejected.into_iter().map(|rejected| json(&rejected))).await
}

async fn manifests(State(shared): State<Shared>) -> Response {
    let sources = shared.sources;
    // Without manifests there is nothing for which Istiods' view would have to be made.
    let views = match sources.manifests(&BTreeSet::new()).is_empty() {
        true => Vec::new(),
        false => views::whole(&*sources, &[Dialect::Istio]).await,
    };
    let conflicts = views.first().map(|(_, loaded)| loaded.report.conflicts.clone()).unwrap_or_default();
    answer::array(move || sources.manifests(&conflicts).into_iter().map(|manifest| json(&manifest))).await
}

async fn clients(
    State(shared): State<Shared>,
    query: Result<Query<client::Query>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    Ok(answer::apart(move || {
        let (head, clients) = client::page(shared.sources.clients(), &query);
        answer::page(&head, "clients", clients.into_iter().map(|client| json(&client)))
    })
    .await)
}

async fn views_kept(State(shared): State<Shared>) -> Response {
    answer::one(&views::list(shared.sources.views(), &shared.sources.clients()))
}

/// The view of a key, as it is written in queries. A view with everything is made if it is not kept.
async fn view(sources: &dyn Sources, key: &str) -> Result<(ViewKey, Loaded), Response> {
    let key: ViewKey = key.parse().map_err(|error| refusal(StatusCode::BAD_REQUEST, &format!("{key:?}: {error}")))?;
    match sources.view(&key).await {
        Some(loaded) => Ok((key, loaded)),
        None => Err(refusal(StatusCode::NOT_FOUND, &format!("no view {key}; /api/v1/views lists them"))),
    }
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
    let key = query.view.clone().unwrap_or_else(|| kind.family().dialect().name().to_owned());
    let (key, loaded) = view(&*shared.sources, &key).await?;
    if key.dialect.family() != kind.family() {
        return Err(refusal(
            StatusCode::BAD_REQUEST,
            &format!("a view of {} has no {}", key.dialect.name(), kind.name()),
        ));
    }
    Ok(answer::apart(move || {
        let (head, resources) = resource::page(&loaded.generation, kind, &query);
        answer::page(&head, "resources", resources.into_iter().map(move |r| resource::item(kind, &r)))
    })
    .await)
}

/// The findings of the view with everything, and of all views of proxies that are kept now.
async fn findings(State(shared): State<Shared>) -> Response {
    let sources = &*shared.sources;
    let mut all = views::whole(sources, &[Dialect::Envoy]).await;
    let kept: Vec<ViewKey> = sources.views().into_iter().map(|view| view.key).collect();
    for key in kept.into_iter().filter(|key| key.dialect != Dialect::Istio && *key != ViewKey::whole(Dialect::Envoy)) {
        if let Some(loaded) = sources.view(&key).await {
            all.push((key, loaded));
        }
    }
    answer::array(move || finding::found(&all).into_iter().map(|found| json(&found))).await
}

async fn gateways(State(shared): State<Shared>) -> Response {
    answer::array(move || shared.sources.gateways().into_iter().map(|resource| json(&finding::document(resource))))
        .await
}

async fn route(
    State(shared): State<Shared>,
    query: Result<Query<routing::Query>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    let key = query.view.clone().unwrap_or_else(|| Dialect::Envoy.name().to_owned());
    let (_, loaded) = view(&*shared.sources, &key).await?;
    Ok(answer::apart(move || {
        let decisions = routing::decide(&loaded.generation, &query);
        answer::one(&decisions)
    })
    .await)
}

async fn digests(
    State(shared): State<Shared>,
    query: Result<Query<resource::DigestQuery>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    let views = match &query.view {
        Some(key) => vec![view(&*shared.sources, key).await?],
        None => views::whole(&*shared.sources, &[Dialect::Envoy, Dialect::Istio]).await,
    };
    Ok(answer::one(&resource::digests(&views)))
}

async fn release(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Response {
    if !shared.sources.catalog().registries.iter().any(|r| *r.name == *name) {
        return refusal(StatusCode::NOT_FOUND, &format!("no registry {name:?}; /api/v1/registries lists them"));
    }
    if !shared.sources.release(&name) {
        return refusal(StatusCode::CONFLICT, &format!("nothing of registry {name:?} is held back"));
    }
    tracing::info!(registry = %name, "Released a held-back drop on request.");
    if let Some(history) = shared.sources.history() {
        history.requested("release", format!("registry {name}"), &caller.name(), "", "released".into());
    }
    answer::one(&serde_json::json!({ "released": name }))
}
