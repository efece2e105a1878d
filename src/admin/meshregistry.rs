//! `/meshregistry/...`: the pages that users of Slime's meshregistry have scripts for, with its parameters and shapes.
//!
//! They are read from what is served to Istiods and from the catalog, so they hold what Istiods hold.

use super::{
    Sources,
    routes::{Shared, bad_query, large, refusal},
    view::slime::{self, Cached, Layout, Wanted},
};
use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

type Queried<T> = Result<Query<T>, QueryRejection>;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/meshregistry/ready", get(ready))
        .route("/meshregistry/xdsCache", get(xds_cache))
        .route("/meshregistry/clients", get(clients))
        .route("/meshregistry/nacos", get(|s, q| registry("nacos", s, q)))
        .route("/meshregistry/eureka", get(|s, q| registry("eureka", s, q)))
        .route("/meshregistry/zk", get(zookeeper))
}

/// Slime ignores parameters that it does not know, and so do scripts.
#[derive(Debug, Deserialize)]
struct CacheQuery {
    ns: Option<String>,
    name: Option<String>,
    #[serde(alias = "typeUrl", alias = "gvk")]
    res: Option<String>,
    ver: Option<String>,
    layout: Option<String>,
    format: Option<String>,
    #[serde(rename = "k8sRsc")]
    k8s_rsc: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RegistryQuery {
    #[serde(default)]
    registries: bool,
    #[serde(default)]
    registry_services: bool,
    #[serde(rename = "interfaceName")]
    interface_name: Option<String>,
}

async fn ready(State(shared): State<Shared>) -> Response {
    let reason = slime::unready(&shared.sources.catalog(), shared.sources.stopping());
    match reason {
        None => StatusCode::OK.into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn xds_cache(State(shared): State<Shared>, query: Queried<CacheQuery>) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    if slime::unready(&shared.sources.catalog(), shared.sources.stopping()).is_some() {
        return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "not ready; /meshregistry/ready says why"));
    }
    let layout = match query.layout.as_deref() {
        None | Some("" | "gvk") => Layout::ByType,
        Some("list") => Layout::List,
        Some("plain") => Layout::Plain,
        Some(other) => {
            return Err(refusal(
                StatusCode::BAD_REQUEST,
                &format!("no layout {other:?}; there are gvk, list and plain"),
            ));
        }
    };
    let yaml = match query.format.as_deref() {
        None | Some("" | "json") => false,
        Some("yaml") => true,
        Some(other) => {
            return Err(refusal(StatusCode::BAD_REQUEST, &format!("no format {other:?}; there are json and yaml")));
        }
    };
    let entries = shared.sources.entries();
    let kubernetes = query.k8s_rsc.is_some();
    let wanted = Wanted { namespace: query.ns, name: query.name, of_type: query.res, other_than: query.ver };
    Ok(large(move || match slime::cached(&entries, &wanted, kubernetes, layout) {
        Cached::One(value) => written(&value, yaml),
        Cached::Several(values) => separated(&values, yaml),
    })
    .await)
}

async fn clients(State(shared): State<Shared>) -> Response {
    Json(slime::clients(&shared.sources.clients())).into_response()
}

async fn registry(
    kind: &'static str,
    State(shared): State<Shared>,
    query: Queried<RegistryQuery>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    let (catalog, entries) = both(&shared.sources);
    Ok(large(move || match query.registries {
        true => Json(slime::registries(&catalog, kind)).into_response(),
        false => Json(slime::entries_of(&catalog, &entries, kind)).into_response(),
    })
    .await)
}

async fn zookeeper(State(shared): State<Shared>, query: Queried<RegistryQuery>) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    let (catalog, entries) = both(&shared.sources);
    Ok(large(move || match query.registry_services {
        true => Json(slime::instances(&catalog, query.interface_name.as_deref())).into_response(),
        false => Json(slime::interfaces(&catalog, &entries, query.interface_name.as_deref())).into_response(),
    })
    .await)
}

fn both(sources: &Arc<dyn Sources>) -> (Arc<crate::catalog::Catalog>, Arc<crate::resource::ViewGeneration>) {
    (sources.catalog(), sources.entries())
}

fn written(value: &impl Serialize, yaml: bool) -> Response {
    if !yaml {
        return Json(value).into_response();
    }
    match serde_saphyr::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/yaml")], text).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn separated(values: &[serde_json::Value], yaml: bool) -> Response {
    let text = |value| if yaml { serde_saphyr::to_string(value).ok() } else { serde_json::to_string(value).ok() };
    let texts: Vec<String> = values.iter().filter_map(text).map(|text| text.trim_end().to_owned()).collect();
    let kind = if yaml { "application/yaml" } else { "text/plain; charset=utf-8" };
    ([(header::CONTENT_TYPE, kind)], texts.join("\n---\n") + "\n").into_response()
}
