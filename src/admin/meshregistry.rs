//! `/meshregistry/...`: the pages that users of Slime's meshregistry have scripts for, with its parameters and shapes.
//!
//! They are read from what is served to Istiods and from the catalog, so they hold what Istiods hold.

use super::{
    Sources,
    answer::{self, Format, Parts, bad_query, joined, json, refusal, safe},
    view::slime::{self, Form, Wanted},
};
use crate::{
    resource::{Dialect, Readiness, ViewGeneration},
    views::ViewKey,
};
use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

type Queried<T> = Result<Query<T>, QueryRejection>;

pub(super) fn router<S: Clone + Send + Sync + 'static>(sources: Arc<dyn Sources>) -> Router<S> {
    Router::new()
        .route("/meshregistry/ready", get(ready))
        .route("/meshregistry/xdsCache", get(xds_cache))
        .route("/meshregistry/clients", get(clients))
        .route("/meshregistry/nacos", get(|s, q| registry("nacos", s, q)))
        .route("/meshregistry/eureka", get(|s, q| registry("eureka", s, q)))
        .route("/meshregistry/zk", get(zookeeper))
        .route("/meshregistry/zks", get(counts))
        .with_state(sources)
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

async fn ready(State(sources): State<Arc<dyn Sources>>) -> Response {
    let served = sources.is_ready(Dialect::Istio);
    let reason = slime::unready(&sources.catalog(), served, &sources.manifests_pending(), sources.stopping());
    match reason {
        None => StatusCode::OK.into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn xds_cache(State(sources): State<Arc<dyn Sources>>, query: Queried<CacheQuery>) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    if sources.stopping() || sources.catalog().sync == Readiness::Waiting {
        return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "not ready; /meshregistry/ready says why"));
    }
    let layout = match query.layout.as_deref() {
        None | Some("" | "gvk") => Layout::ByType,
        Some("list") => Layout::List,
        Some("plain") => Layout::Plain,
        Some(other) => return Err(bad(&format!("no layout {other:?}; there are gvk, list and plain"))),
    };
    let yaml = match query.format.as_deref() {
        None | Some("" | "json") => false,
        Some("yaml") => true,
        Some(other) => return Err(bad(&format!("no format {other:?}; there are json and yaml"))),
    };
    let form = if query.k8s_rsc.is_some() { Form::Kubernetes } else { Form::Cached };
    let view = entries(&*sources).await?;
    let wanted = Wanted { namespace: query.ns, name: query.name, of_type: query.res, other_than: query.ver };
    let format = match (layout, yaml) {
        (_, true) => Format::Yaml,
        (Layout::Plain, false) => Format::Text,
        (_, false) => Format::Json,
    };
    Ok(answer::whole(format, move || {
        let entries = slime::cached(view, wanted, form);
        if yaml { as_yaml(layout, entries) } else { as_json(layout, entries) }
    })
    .await)
}

/// The value of `layout`: how a list of entries is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `gvk`: an object with the list of entries under their type.
    ByType,
    List,
    /// `plain`: one document after the other, with `---` between them.
    Plain,
}

fn as_json(layout: Layout, entries: impl Iterator<Item = Value> + Send + 'static) -> Parts {
    let mut entries = entries.map(|entry| json(&entry)).peekable();
    match layout {
        Layout::List => joined(b"[".to_vec(), b",", entries, b"]"),
        Layout::Plain => joined(Vec::new(), b"\n---\n", entries, b"\n"),
        Layout::ByType if entries.peek().is_none() => joined(b"{".to_vec(), b"", entries, b"}"),
        Layout::ByType => joined(format!("{{\"{}\":[", slime::TYPE).into_bytes(), b",", entries, b"]}"),
    }
}

fn as_yaml(layout: Layout, entries: impl Iterator<Item = Value> + Send + 'static) -> Parts {
    // Lists of one, one after the other, are one list.
    let item = |entry: Value| safe(serde_saphyr::to_string(&[entry]).unwrap_or_default());
    let text = |entry: Value| safe(serde_saphyr::to_string(&entry).unwrap_or_default().trim_end().to_owned());
    let mut entries = entries.peekable();
    let start = match layout {
        Layout::Plain => return joined(Vec::new(), b"\n---\n", entries.map(text), b"\n"),
        Layout::List if entries.peek().is_none() => "[]\n".to_owned(),
        Layout::ByType if entries.peek().is_none() => "{}\n".to_owned(),
        Layout::List => String::new(),
        Layout::ByType => format!("{}:\n", slime::TYPE),
    };
    joined(start.into_bytes(), b"", entries.map(item), b"")
}

async fn clients(State(sources): State<Arc<dyn Sources>>) -> Response {
    object(move || sources.clients().into_iter().map(|client| slime::client(&client))).await
}

async fn registry(
    kind: &'static str,
    State(sources): State<Arc<dyn Sources>>,
    query: Queried<RegistryQuery>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    if query.registries {
        return Ok(answer::one(&slime::registries(&sources.catalog(), kind)));
    }
    let view = entries(&*sources).await?;
    Ok(object(move || slime::entries_of(&sources.catalog(), &view, kind)).await)
}

async fn zookeeper(
    State(sources): State<Arc<dyn Sources>>,
    query: Queried<RegistryQuery>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    let interface = query.interface_name;
    if query.registry_services {
        let instances = move || slime::instances(&sources.catalog(), interface.as_deref());
        return Ok(answer::array(move || instances().map(|instance| json(&instance))).await);
    }
    let view = entries(&*sources).await?;
    Ok(answer::whole(Format::Json, move || {
        let interfaces = slime::interfaces(&sources.catalog(), &view, interface.as_deref());
        joined(b"{\"cache\":{".to_vec(), b",", interfaces.map(field), b"}}")
    })
    .await)
}

/// `all`, which Slime wants where no interface is named, is what is shown anyway.
#[derive(Debug, Deserialize)]
struct CountQuery {
    iface: Option<String>,
}

async fn counts(State(sources): State<Arc<dyn Sources>>, query: Queried<CountQuery>) -> Result<Response, Response> {
    let Query(query) = query.map_err(bad_query)?;
    let interface = query.iface.filter(|interface| !interface.is_empty());
    Ok(object(move || slime::counts(&sources.catalog(), interface.as_deref()).into_iter()).await)
}

/// The entries that Istiods get; `Err`: 503, since this process ends.
async fn entries(sources: &dyn Sources) -> Result<Arc<ViewGeneration>, Response> {
    let loaded = sources.view(&ViewKey::whole(Dialect::Istio)).await;
    loaded.map(|loaded| loaded.generation).ok_or_else(|| refusal(StatusCode::SERVICE_UNAVAILABLE, "stopping"))
}

/// An answer that is one JSON object, whose fields `make` gives.
async fn object<I: Iterator<Item = (String, Value)> + Send + 'static>(
    make: impl FnOnce() -> I + Send + 'static,
) -> Response {
    answer::whole(Format::Json, || joined(b"{".to_vec(), b",", make().map(field), b"}")).await
}

fn field((name, value): (String, Value)) -> Vec<u8> {
    [json(&name), json(&value)].join(&b':')
}

fn bad(text: &str) -> Response {
    refusal(StatusCode::BAD_REQUEST, text)
}
