//! `/api/v1/calls`: which application needs which services; and the same in the pages that users of Slime know.

use super::{
    Sources,
    answer::{self, Format, bad_query, joined, json, safe},
    view::calls::{self, Providers},
};
use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
    routing::get,
};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};

pub(super) fn router<S: Clone + Send + Sync + 'static>(sources: Arc<dyn Sources>) -> Router<S> {
    Router::new()
        .route("/api/v1/calls", get(all))
        .route("/meshregistry/dubboCallModel", get(|s, q| of_slime(true, s, q)))
        .route("/meshregistry/sidecarDubboCallModel", get(|s, q| of_slime(false, s, q)))
        .with_state(sources)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    application: Option<String>,
}

async fn all(
    State(sources): State<Arc<dyn Sources>>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(Asked { application }) = query.map_err(bad_query)?;
    Ok(answer::apart(move || {
        let (model, providers) = (sources.calls(), Providers::of(&sources.catalog()));
        let applications = calls::wanted(&model, application.as_deref()).into_iter();
        let items = applications.map(move |(name, known)| json(&calls::calling(&name, &known, &providers)));
        answer::page(&calls::head(&model), "applications", items)
    })
    .await)
}

/// Slime ignores parameters that it does not know.
#[derive(Debug, Deserialize)]
struct SlimeQuery {
    app: Option<String>,
}

/// `provided`: the services that applications provide are shown, too, and applications that need none.
async fn of_slime(
    provided: bool,
    State(sources): State<Arc<dyn Sources>>,
    query: Result<Query<SlimeQuery>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(SlimeQuery { app }) = query.map_err(bad_query)?;
    let app = app.filter(|app| !app.is_empty());
    Ok(answer::whole(Format::Yaml, move || {
        let (model, catalog) = (sources.calls(), sources.catalog());
        let providers = Providers::of(&catalog);
        let mut provides = if provided { calls::provided(&catalog) } else { BTreeMap::new() };
        let names: Vec<String> = match app {
            Some(app) => vec![app],
            None => {
                let mut names: Vec<String> =
                    model.applications.keys().chain(provides.keys()).map(ToString::to_string).collect();
                names.sort();
                names.dedup();
                names
            }
        };
        let start = if names.is_empty() { "{}\n" } else { "" };
        // Maps of one, one after the other, are one map.
        let texts = names.into_iter().map(move |name| {
            let (own, known) = (provides.remove(&*name), model.applications.get(&*name).map(|known| &**known));
            let entry: BTreeMap<_, _> = [calls::of_slime(&name, own.as_ref(), known, &providers)].into();
            safe(serde_saphyr::to_string(&entry).unwrap_or_default())
        });
        joined(start.into(), b"", texts, b"")
    })
    .await)
}

#[cfg(test)]
mod tests {
    use crate::admin::tests::Running;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn who_calls_whom_is_shown_in_our_form_and_in_slimes() {
        let admin = Running::good().await;
        let all = admin.json("/api/v1/calls").await;
        let need = |service: &str, gone: Value| json!({ "service": service, "hosts": [], "gone_since": gone });
        let cart = [need("a.A:*:1.0", Value::Null), need("a.A:g:1.0", json!("1970-01-01T00:00:01.500Z"))];
        let cart = json!({ "application": "cart", "everything": false, "needs": cart });
        let console = json!({ "application": "console", "everything": true, "needs": [need("*:*:*", Value::Null)] });
        let notes = json!([{ "registry": "zk", "subject": "a.A", "detail": "10.0.0.1 says no application" }]);
        let registries = json!([{ "name": "zk", "listed": true, "error": "denied" }]);
        assert_eq!(all, json!({ "registries": registries, "notes": notes, "applications": [cart, console] }));
        assert_eq!(admin.json("/api/v1/calls?application=cart").await["applications"], json!([cart]));
        let model = "cart:\n  application: cart\n  consumeservices:\n    a.A:*:1.0: {}\n    a.A:g:1.0: {}\n  provideservices: {}\n";
        for page in ["dubboCallModel", "sidecarDubboCallModel"] {
            let (_, text) = admin.get(&format!("/meshregistry/{page}?app=cart")).await;
            assert_eq!(
                serde_saphyr::from_str::<Value>(&text).unwrap(),
                serde_saphyr::from_str::<Value>(model).unwrap(),
                "{text}"
            );
            let (_, unknown) = admin.get(&format!("/meshregistry/{page}?app=nobody")).await;
            assert_eq!(serde_saphyr::from_str::<Value>(&unknown).unwrap()["nobody"]["application"], "", "{unknown}");
        }
    }
}
