//! `rollout`: the state of a rollout of changed output settings, and the commands to continue or abort it.

use super::{
    ask::{self, Address},
    history::{Request, get},
    table::{Table, items, text as cell},
};
use clap::Subcommand;
use serde_json::Value;
use std::fmt::Write;

#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    /// Says how far it has come, and who refuses
    Status {
        #[command(flatten)]
        admin: Address,
    },
    /// Takes the next step now; after an abort the first
    Continue {
        #[command(flatten)]
        request: Request,
    },
    /// Gives all nodes the former settings again, until it is continued or the configuration changes
    Abort {
        #[command(flatten)]
        request: Request,
    },
}

/// Runs the command, and shows the state of the rollout.
///
/// # Errors
/// If the request fails, or the rollout cannot be continued or aborted.
pub(super) fn run(command: &Rollout) -> Result<String, ask::Error> {
    let answer = match command {
        Rollout::Status { admin } => get(admin, "api/v1/rollout", &[])?,
        Rollout::Continue { request } => request.post("api/v1/rollout/continue", &[])?,
        Rollout::Abort { request } => request.post("api/v1/rollout/abort", &[])?,
    };
    Ok(shown(&answer))
}

fn shown(status: &Value) -> String {
    let percent = |share: &Value| format!("{}%", (share.as_f64().unwrap_or(0.0) * 10_000.0).round() / 100.0);
    let mut table = Table::new(["STATE", "SHARE", "STEPS", "SINCE", "NEXT"]);
    let steps: Vec<String> = items(&status["steps"]).iter().map(percent).collect();
    table.row([
        cell(&status["state"]),
        percent(&status["share"]),
        steps.join(" "),
        cell(&status["since"]),
        cell(&status["next_at"]),
    ]);
    let mut text = table.to_string();
    let refusals = items(&status["refusals"]);
    if !refusals.is_empty() {
        let mut table = Table::new(["NODE", "REFUSES", "MESSAGE"]);
        refusals.iter().for_each(|of| table.row(["node", "kind", "message"].map(|field| cell(&of[field]))));
        let _ = write!(text, "\n{table}");
    }
    text
}
