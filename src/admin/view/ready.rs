//! The answer of `/ready`: whether clients of each dialect are served, and what they wait for.

use crate::{
    catalog::{Catalog, Override, RegistryStatus, State},
    model::Text,
    resource::{Dialect, Readiness},
};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub(in crate::admin) struct Ready {
    pub(in crate::admin) ready: bool,
    reason: String,
    sync: &'static str,
    /// Readiness by dialect of clients: `envoy`, `grpc`, `istio`.
    clients: BTreeMap<&'static str, OfClient>,
    registries: Vec<Brief>,
    /// The pins, which freeze what is served: each with its end and its author.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pinned: Vec<String>,
    /// Why not all clients have the output settings of the configuration, if somebody must act.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<String>,
}

/// Whether new clients of a dialect are answered.
#[derive(Debug, Serialize)]
struct OfClient {
    ready: bool,
    /// The registries that they wait for, with their errors.
    pending: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Brief {
    name: String,
    /// Whether clients wait for its first list.
    required: bool,
    state: &'static str,
    error: Option<String>,
}

/// The inputs of readiness.
#[derive(Debug, Clone)]
pub(in crate::admin) struct Facts<'a> {
    pub(in crate::admin) catalog: &'a Catalog,
    /// By dialect, in the order of [`Dialect::ALL`]: whether its new clients can be answered.
    pub(in crate::admin) served: [bool; Dialect::ALL.len()],
    /// Registries whose manifests were not read completely yet.
    pub(in crate::admin) manifests: &'a [String],
    /// A line on a halted or aborted rollout; `None` otherwise.
    pub(in crate::admin) rollout: Option<String>,
    pub(in crate::admin) stopping: bool,
}

/// The answer for clients of a dialect. Being listed is not enough: the views must have made their first generation.
pub(in crate::admin) fn ready(facts: &Facts<'_>, asked: Dialect) -> Ready {
    let Facts { catalog, served, stopping, .. } = *facts;
    let ready = !stopping && served[asked as usize];
    let reason = match (stopping, served[asked as usize], catalog.sync) {
        (true, ..) => "stopping".to_owned(),
        (_, true, Readiness::Complete) => "every registry was listed".to_owned(),
        (_, true, _) => "some registry is missing; what the others have is served".to_owned(),
        (_, false, _) => match pending(facts, asked) {
            pending if pending.is_empty() => "making the first generation of what was listed".to_owned(),
            pending => format!("waiting for the first list of {}", pending.join(", ")),
        },
    };
    let of_client = |dialect: Dialect| {
        let ready = !stopping && served[dialect as usize];
        let pending = if served[dialect as usize] { Vec::new() } else { pending(facts, dialect) };
        (dialect.name(), OfClient { ready, pending })
    };
    Ready {
        ready,
        reason,
        sync: catalog.sync.name(),
        clients: Dialect::ALL.into_iter().map(of_client).collect(),
        registries: catalog.registries.iter().map(|registry| Brief::of(registry)).collect(),
        pinned: pinned(catalog),
        rollout: facts.rollout.clone(),
    }
}

/// What is pinned, until when, and by whom.
fn pinned(catalog: &Catalog) -> Vec<String> {
    let pins = catalog.overrides.iter().filter(|over| over.deed.name() == "pin");
    let text = |over: &Override| {
        let until = humantime::format_rfc3339_seconds(over.until);
        format!("{} until {until} by {}", over.of, over.by)
    };
    pins.map(text).collect()
}

/// What clients of a dialect wait for: Envoys for required registries, but not longer than the grace; Istiods for all
/// required registries and manifests.
fn pending(facts: &Facts<'_>, dialect: Dialect) -> Vec<String> {
    let waits = match dialect {
        Dialect::Envoy | Dialect::Grpc => facts.catalog.sync == Readiness::Waiting,
        Dialect::Istio => facts.catalog.known != Readiness::Complete,
    };
    // Also a registry that failed after a part of its lists.
    let unheard = |r: &&Brief| waits && r.required && r.state != State::Synced.name();
    let registries: Vec<Brief> = facts.catalog.registries.iter().map(|registry| Brief::of(registry)).collect();
    let named = registries.iter().filter(unheard).map(|r| match &r.error {
        Some(error) => format!("{} ({error})", r.name),
        None => r.name.clone(),
    });
    let manifests = facts.manifests.iter().filter(|_| dialect == Dialect::Istio);
    named.chain(manifests.map(|registry| format!("{registry}'s manifests"))).collect()
}

impl Brief {
    fn of(status: &RegistryStatus) -> Brief {
        let error = status.scopes.iter().find_map(|s| s.error.as_ref()).or(unheard_error(status));
        Brief {
            name: status.name.to_string(),
            required: status.required,
            state: status.state.name(),
            error: error.map(ToString::to_string),
        }
    }
}

/// The newest error of a registry that is not connected; of others it may be long over.
fn unheard_error(status: &RegistryStatus) -> Option<&Text> {
    let unheard = matches!(status.state, State::Connecting | State::Stale);
    status.last_error.as_ref().filter(|_| unheard).map(|(_, text)| text)
}
