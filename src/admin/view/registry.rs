//! Registries, and readiness, which follows from them.

use crate::admin::time;
use crate::{
    catalog::{Catalog, HoldStatus, RegistryStatus, State},
    model::Cost,
    resource::Readiness,
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

#[derive(Debug, Serialize)]
pub(in crate::admin) struct Ready {
    pub(in crate::admin) ready: bool,
    reason: String,
    sync: &'static str,
    registries: Vec<Brief>,
}

#[derive(Debug, Serialize)]
struct Brief {
    name: String,
    /// Answers wait for it.
    required: bool,
    state: &'static str,
    error: Option<String>,
}

/// Whether clients may be sent here, and why not. What was listed is not served before there is a generation of it.
pub(in crate::admin) fn ready(catalog: &Catalog, served: Option<Readiness>, stopping: bool) -> Ready {
    let registries: Vec<Brief> = catalog
        .registries
        .iter()
        .map(|r| Brief {
            name: r.name.to_string(),
            required: r.required,
            state: r.state.name(),
            error: r.scopes.iter().find_map(|s| s.error.as_ref()).or(unheard_error(r)).map(ToString::to_string),
        })
        .collect();
    let waiting = || {
        // Also one that failed after a part of its lists.
        let unheard = registries.iter().filter(|r| r.required && r.state != State::Synced.name());
        let names: Vec<String> = unheard
            .map(|r| match &r.error {
                Some(error) => format!("{} ({error})", r.name),
                None => r.name.clone(),
            })
            .collect();
        format!("waiting for the first list of {}", names.join(", "))
    };
    let (ready, reason) = match catalog.sync {
        _ if stopping => (false, "stopping".to_owned()),
        Readiness::Waiting => (false, waiting()),
        _ if served.is_none_or(|served| served == Readiness::Waiting) => {
            (false, "making the first generation of what was listed".to_owned())
        }
        Readiness::Partial => (true, "some registry is missing; what the others have is served".to_owned()),
        Readiness::Complete => (true, "every registry was listed".to_owned()),
    };
    Ready { ready, reason, sync: catalog.sync.name(), registries }
}

/// The newest error of a registry of which no scope is known yet; of others it may be long over.
fn unheard_error(status: &RegistryStatus) -> Option<&crate::model::Text> {
    let unheard = matches!(status.state, State::Connecting | State::Stale);
    status.last_error.as_ref().filter(|_| unheard).map(|(_, text)| text)
}
