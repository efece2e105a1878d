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

/// Where nothing is followed, as in tests of other parts.
const NONE: &str = "this process follows no configuration";

const BUSY: &str = "many reloads wait already, or the process is about to end; try again";

/// The configuration of this process. `app` implements it.
pub trait Configuration: Send + Sync + 'static {
    /// What is in force, and how the last reading went.
    fn status(&self) -> ConfigStatus;

    /// Reads all sources again, and does what follows from them. One at a time, in the order of the calls. `None`: too
    /// many wait already, or the process is about to end.
    fn reload(&self, how: Reload) -> BoxFuture<'static, Option<Attempt>>;

    /// How far other output settings have come.
    fn rollout(&self) -> RolloutStatus;

    /// Does that with a rollout, in turn with reloads; or says why there is none of which it can be done. `None` as with a reload.
    fn steer(&self, steer: Steer) -> BoxFuture<'static, Option<Result<RolloutStatus, String>>>;
}

/// How the configuration is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reload {
    /// What would be held back because it takes too much away is done at once.
    pub force: bool,
    /// Nothing is changed; the answer says what would be.
    pub dry_run: bool,
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigStatus {
    /// Of the texts that it was read from: equal in all processes that were given the same.
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
    /// Of the texts that were read; none if they could not be read.
    pub hash: Option<String>,
    /// What was changed, or would be.
    pub changes: Vec<Change>,
    /// What takes effect later, or when it is released, because it takes much away; of a dry run, what would.
    pub held: Vec<HeldChange>,
    /// Why it was refused.
    pub problems: Vec<Problem>,
}

/// What is held back of a configuration that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldChange {
    /// The registry that loses endpoints.
    pub registry: String,
    /// How many it would lose.
    pub endpoints: usize,
    /// Out of so many.
    pub of: usize,
    /// When it takes effect all the same.
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
    /// What of it differs; may be empty.
    pub detail: String,
}

/// A mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, variable or argument.
    pub source: String,
    /// Where in the file.
    pub line: Option<u32>,
    /// Where on the line, in characters.
    pub column: Option<u32>,
    /// The way to the key; may be empty.
    pub key: String,
    /// What is wrong, and the remedy.
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
