//! `/api/v1/rollout`: the rollout of changed output settings, and two commands for it: continue and abort.

use super::{
    Sources,
    answer::{Refusal, one},
    history::{Answer, Asked, who, words},
    time,
    tokens::Caller,
};
use axum::{
    Extension, Router,
    extract::{Query, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::SystemTime};

/// The reason of a 404 where no configuration is followed, as in some tests.
const NONE: &str = "this process follows no configuration";

const BUSY: &str = "many reloads wait already, or the process is about to end; try again";

/// A command for a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Makes the next step now. An aborted rollout begins again with its first step.
    Continue,
    /// Takes the new settings back from all nodes.
    Abort,
}

/// The state of a rollout of changed output settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolloutStatus {
    /// `none`, `running`, `halted` or `aborted`.
    pub state: &'static str,
    /// The share of nodes that get the settings of the configuration, 0 to 1.
    pub share: f64,
    /// The shares of all steps, in their order; empty without a rollout.
    pub steps: Vec<f64>,
    /// When the rollout began. `None`: there is no rollout.
    #[serde(serialize_with = "time::optional")]
    pub since: Option<SystemTime>,
    /// When the next step follows if no node refuses. `None`: none follows by itself.
    #[serde(serialize_with = "time::optional")]
    pub next_at: Option<SystemTime>,
    /// The nodes that refuse a resource made with the new settings.
    pub refusals: Vec<Refusing>,
}

/// A node that refuses something of what is rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusing {
    /// `node.id`, as the client sends it.
    pub node: String,
    /// The kind of the resource that it refuses.
    pub kind: &'static str,
    /// The client's error message.
    pub message: String,
}

impl Default for RolloutStatus {
    /// The state without a rollout: all nodes have the settings of the configuration.
    fn default() -> Self {
        let (steps, refusals) = (Vec::new(), Vec::new());
        RolloutStatus { state: "none", share: 1.0, steps, since: None, next_at: None, refusals }
    }
}

impl RolloutStatus {
    /// A line for `/ready` if somebody must act: the rollout is halted or aborted.
    pub(super) fn note(&self) -> Option<String> {
        let share = self.share * 100.0;
        match self.state {
            "halted" => {
                Some(format!("a rollout is halted at {share}% of nodes by {} that refuse", self.refusals.len()))
            }
            "aborted" => {
                Some("a rollout was taken back: the output settings of the configuration are in force nowhere".into())
            }
            _ => None,
        }
    }
}

impl Steer {
    const fn name(self) -> &'static str {
        match self {
            Steer::Continue => "continue",
            Steer::Abort => "abort",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asking {
    by: Option<String>,
    why: Option<String>,
}

pub(super) fn router<S: Clone + Send + Sync + 'static>(sources: Arc<dyn Sources>) -> Router<S> {
    Router::new()
        .route("/api/v1/rollout", get(status))
        .route("/api/v1/rollout/continue", post(go_on))
        .route("/api/v1/rollout/abort", post(abort))
        .with_state(sources)
}

async fn status(State(sources): State<Arc<dyn Sources>>) -> Response {
    one(&sources.configuration().map(|configuration| configuration.rollout()).unwrap_or_default())
}

async fn go_on(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Asked<Asking>,
) -> Answer {
    steer(&*sources, Steer::Continue, &caller, query).await
}

async fn abort(
    State(sources): State<Arc<dyn Sources>>,
    Extension(caller): Extension<Caller>,
    query: Asked<Asking>,
) -> Answer {
    steer(&*sources, Steer::Abort, &caller, query).await
}

async fn steer(sources: &dyn Sources, steer: Steer, caller: &Caller, query: Asked<Asking>) -> Answer {
    let Query(Asking { by, why }) = query.map_err(Refusal::of_query)?;
    let (by, why) = (who(caller, by)?, words("why", why)?);
    let Some(configuration) = sources.configuration() else { return Err(Refusal(StatusCode::NOT_FOUND, NONE.into())) };
    let Some(answer) = configuration.steer(steer).await else {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, BUSY.into()));
    };
    let result = match &answer {
        Ok(status) => format!("{} at {}% of nodes", status.state, status.share * 100.0),
        Err(why) => format!("refused: {why}"),
    };
    tracing::info!(action = steer.name(), %by, %why, result, "Steered a rollout, on request.");
    if let Some(history) = sources.history() {
        history.requested(&format!("rollout {}", steer.name()), "output settings".into(), &by, &why, result);
    }
    answer.map(|status| one(&status)).map_err(|why| Refusal(StatusCode::CONFLICT, why))
}
