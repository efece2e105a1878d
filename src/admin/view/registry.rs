//! The answer of `/api/v1/registries`.

use crate::admin::time;
use crate::{
    catalog::{Catalog, HoldStatus, RegistryStatus},
    model::Cost,
};
use serde::Serialize;
use std::time::SystemTime;

#[derive(Debug, Serialize)]
pub(in crate::admin) struct Registry {
    name: String,
    kind: &'static str,
    state: &'static str,
    #[serde(serialize_with = "time::optional")]
    heard_at: Option<SystemTime>,
    age_seconds: Option<f64>,
    services: usize,
    endpoints: usize,
    scopes: Vec<Scope>,
    last_error: Option<Error>,
    last_cost: Option<CostView>,
    total_cost: CostView,
    hold: Option<Hold>,
}

#[derive(Debug, Serialize)]
struct Scope {
    scope: String,
    #[serde(serialize_with = "time::optional")]
    listed_at: Option<SystemTime>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Error {
    #[serde(serialize_with = "time::required")]
    at: SystemTime,
    text: String,
}

#[derive(Debug, Serialize)]
struct CostView {
    requests: u64,
    bytes: u64,
    duration_ms: f64,
}

#[derive(Debug, Serialize)]
struct Hold {
    cause: &'static str,
    #[serde(serialize_with = "time::required")]
    since: SystemTime,
    #[serde(serialize_with = "time::required")]
    until: SystemTime,
    endpoints: usize,
}

/// All registries, in the order of the configuration.
pub(in crate::admin) fn registries(catalog: &Catalog, now: SystemTime) -> Vec<Registry> {
    catalog.registries.iter().map(|r| Registry::of(r, now)).collect()
}

impl Registry {
    fn of(status: &RegistryStatus, now: SystemTime) -> Self {
        Registry {
            name: status.name.to_string(),
            kind: status.kind,
            state: status.state.name(),
            heard_at: status.heard_at,
            age_seconds: status.heard_at.map(|at| time::age(at, now)),
            services: status.services,
            endpoints: status.endpoints,
            scopes: status
                .scopes
                .iter()
                .map(|s| Scope {
                    scope: s.scope.to_string(),
                    listed_at: s.listed_at,
                    error: s.error.as_ref().map(ToString::to_string),
                })
                .collect(),
            last_error: status.last_error.as_ref().map(|(at, text)| Error { at: *at, text: text.to_string() }),
            last_cost: status.last_cost.map(CostView::of),
            total_cost: CostView::of(status.total_cost),
            hold: status.hold.as_ref().map(|HoldStatus { cause, since, until, endpoints }| Hold {
                cause: cause.name(),
                since: *since,
                until: *until,
                endpoints: *endpoints,
            }),
        }
    }
}

impl CostView {
    fn of(Cost { requests, bytes, duration }: Cost) -> Self {
        CostView { requests, bytes, duration_ms: time::millis(duration) }
    }
}
