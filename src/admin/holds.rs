//! `/api/v1/release` and `/api/v1/prolong`: a hold on a service or a registry ends at once, or lasts longer.

use super::{
    Sources,
    answer::{Refusal, one},
    history::{Answer, Asked, HOUR, duration, history, hostname, refused, who, words},
    time,
    tokens::Caller,
};
use crate::{catalog::HeldPart, model::Text};
use axum::{
    Extension, Router,
    extract::{Query, State},
    routing::post,
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::SystemTime};

pub(super) fn router<S: Clone + Send + Sync + 'static>(sources: Arc<dyn Sources>) -> Router<S> {
    Router::new().route("/api/v1/release", post(release)).route("/api/v1/prolong", post(prolong)).with_state(sources)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asking {
    host: Option<String>,
    registry: Option<String>,
    #[serde(rename = "for")]
    time: Option<String>,
    by: Option<String>,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct Prolonged {
    prolonged: String,
    #[serde(serialize_with = "time::required")]
    until: SystemTime,
}

async fn release(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Asked<Asking>,
) -> Answer {
    let Query(asking) = query.map_err(Refusal::of_query)?;
    if asking.time.is_some() {
        return Err(Refusal::bad("a release has no time"));
    }
    let of = asking.of(&*sources)?;
    let (by, why) = (who(&caller, asking.by)?, words("why", asking.why)?);
    history(&*sources)?.release(&of, &by, &why).await.map_err(refused)?;
    Ok(one(&serde_json::json!({ "released": of.to_string() })))
}

async fn prolong(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Asked<Asking>,
) -> Answer {
    let Query(asking) = query.map_err(Refusal::of_query)?;
    let time = asking.time.as_deref().map_or(Ok(HOUR), duration)?;
    let of = asking.of(&*sources)?;
    let (by, why) = (who(&caller, asking.by)?, words("why", asking.why)?);
    let until = history(&*sources)?.prolong(&of, time, &by, &why).await.map_err(refused)?;
    Ok(one(&Prolonged { prolonged: of.to_string(), until }))
}

impl Asking {
    fn of(&self, sources: &dyn Sources) -> Result<HeldPart, Refusal> {
        match (&self.host, &self.registry) {
            (Some(host), None) => hostname(host).map(HeldPart::Service),
            (None, Some(name)) if sources.catalog().registries.iter().any(|status| *status.name == **name) => {
                Ok(HeldPart::Registry(Text::from(&**name)))
            }
            (None, Some(name)) => Err(Refusal::bad(&format!("no registry {name:?}; /api/v1/registries lists them"))),
            _ => Err(Refusal::bad("name either the host of a service or a registry")),
        }
    }
}
