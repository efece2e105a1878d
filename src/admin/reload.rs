//! `/api/v1/config`: the configuration in force; `/api/v1/reload`: reads it again. No value of the configuration is shown.

use super::{
    Sources,
    answer::{bad_query, one, refusal},
    rollout::{RolloutStatus, Steer},
    time,
    tokens::Caller,
};
use axum::{
    Extension, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::SystemTime};

/// The reason of a 404 where no configuration is followed, as in some tests.
const NONE: &str = "this process follows no configuration";

const BUSY: &str = "many reloads wait already, or the process is about to end; try again";

/// The configuration of this process. `app` implements it.
pub trait Configuration: Send + Sync + 'static {
    /// The configuration in force, and the result of the last reading.
    fn status(&self) -> ConfigStatus;

    /// Reads all sources again, and does what follows from them. One at a time, in the order of the calls. `None`: too
    /// many wait already, or the process is about to end.
    fn reload(&self, how: Reload) -> BoxFuture<'static, Option<Attempt>>;

    /// The state of the rollout of changed output settings.
    fn rollout(&self) -> RolloutStatus;

    /// Continues or aborts a rollout, in turn with reloads. The error says why that is not possible now. `None` as with
    /// a reload.
    fn steer(&self, steer: Steer) -> BoxFuture<'static, Option<Result<RolloutStatus, String>>>;
}

/// How the configuration is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reload {
    /// Changes that would be held back, because they take too much away, are made at once.
    pub force: bool,
    /// Nothing is changed; the answer says what would change.
    pub dry_run: bool,
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigStatus {
    /// The hash of all texts that it was read from: equal in all processes with the same configuration.
    pub hash: String,
    /// Since when it is in force.
    #[serde(serialize_with = "time::required")]
    pub since: SystemTime,
    /// Where it comes from: files, variables, arguments.
    pub sources: Vec<String>,
    /// The last time that something was read.
    pub last: Attempt,
}

/// One reading of the configuration, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// When the sources were read.
    #[serde(serialize_with = "time::required")]
    pub at: SystemTime,
    /// What caused it: `start`, `file`, `signal` or `request`.
    pub cause: &'static str,
    /// `reloaded`, `unchanged`, `planned` (a dry run) or `refused`.
    pub result: &'static str,
    /// The hash of the texts that were read. `None`: they could not be read.
    pub hash: Option<String>,
    /// What was changed, or in a dry run would be.
    pub changes: Vec<Change>,
    /// What is held back because it takes much away: it takes effect later, or when it is released.
    pub held: Vec<HeldChange>,
    /// The mistakes for which it was refused; empty otherwise.
    pub problems: Vec<Problem>,
}

/// A part of a configuration in force that is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldChange {
    /// The registry that loses endpoints.
    pub registry: String,
    /// How many endpoints it would lose.
    pub endpoints: usize,
    /// How many endpoints it has now.
    pub of: usize,
    /// When it takes effect even if nobody releases it.
    #[serde(serialize_with = "time::required")]
    pub until: SystemTime,
}

/// A part of Portolan, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The key of the part, such as `registries[nacos]`.
    pub key: String,
    /// `update`, `replace`, `start`, `stop` or `restart`.
    pub action: &'static str,
    /// What of the part differs; may be empty.
    pub detail: String,
}

/// A mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The name of the file, variable or argument.
    pub source: String,
    /// The line, from 1 on. `None`: it is in no file.
    pub line: Option<u32>,
    /// The place on the line, in characters, from 1 on. `None`: it is in no file.
    pub column: Option<u32>,
    /// The path of the key, such as `registries[0].name`; may be empty.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub text: String,
}

pub(super) fn router<S: Clone + Send + Sync + 'static>(sources: Arc<dyn Sources>) -> Router<S> {
    Router::new().route("/api/v1/config", get(status)).route("/api/v1/reload", post(reload)).with_state(sources)
}

/// `?force` and `?dry_run`; each alone, or with `=true` or `=false`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    force: Option<String>,
    dry_run: Option<String>,
}

async fn status(State(sources): State<Arc<dyn Sources>>) -> Response {
    match sources.configuration() {
        Some(configuration) => one(&configuration.status()),
        None => refusal(StatusCode::NOT_FOUND, NONE),
    }
}

async fn reload(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<How>, QueryRejection>,
) -> Response {
    let how = match query {
        Ok(Query(how)) => how.read(),
        Err(rejection) => return bad_query(rejection),
    };
    let (how, configuration) = match (how, sources.configuration()) {
        (Ok(how), Some(configuration)) => (how, configuration),
        (Err(text), _) => return refusal(StatusCode::BAD_REQUEST, &text),
        (_, None) => return refusal(StatusCode::NOT_FOUND, NONE),
    };
    let attempt = configuration.reload(how).await;
    if let (Some(attempt), Some(history), false) = (&attempt, sources.history(), how.dry_run) {
        let force = if how.force { ", with force" } else { "" };
        history.requested("reload", format!("configuration{force}"), &caller.name(), "", attempt.result.into());
    }
    match attempt {
        Some(attempt) if attempt.result == "refused" => {
            (StatusCode::UNPROCESSABLE_ENTITY, one(&attempt)).into_response()
        }
        Some(attempt) => one(&attempt),
        None => refusal(StatusCode::SERVICE_UNAVAILABLE, BUSY),
    }
}

impl How {
    fn read(self) -> Result<Reload, String> {
        Ok(Reload { force: flag("force", self.force)?, dry_run: flag("dry_run", self.dry_run)? })
    }
}

fn flag(name: &str, value: Option<String>) -> Result<bool, String> {
    match value.as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(other) => Err(format!("{name} is true or false, not {other:?}; write ?{name}")),
    }
}
