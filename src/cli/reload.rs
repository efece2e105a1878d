//! `check --reload`: what a running Portolan would change if it read its configuration now.
//!
//! The running process reads its own sources and answers what would change; no part of the configuration is sent to it.
//! The hashes tell whether it reads the same texts as this command.

use super::ask::{self, Address, Admin};
use crate::config::{Loaded, hash_text};
use reqwest::Url;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::fmt::Write;

/// Why a reload would not apply this configuration, or why that is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Ask(#[from] ask::Error),
    /// The running process reads other texts than this command.
    #[error(
        "the Portolan on {url} reads another configuration: {theirs} there, {ours} here. It was started with {sources}; \
         give the same --config, --set and variables to this command"
    )]
    Other { url: String, theirs: String, ours: String, sources: String },
    /// The running process would refuse the configuration.
    #[error("the Portolan on {url} would refuse the configuration, and keep its former one:\n{problems}")]
    Problems { url: String, problems: String },
}

/// The answer to a dry run. See [`crate::admin::Attempt`].
#[derive(Debug, Deserialize)]
struct Attempt {
    hash: Option<String>,
    changes: Vec<Change>,
    held: Vec<Held>,
    problems: Vec<Problem>,
}

#[derive(Debug, Deserialize)]
struct Change {
    key: String,
    action: String,
    detail: String,
}

#[derive(Debug, Deserialize)]
struct Held {
    registry: String,
    endpoints: usize,
    of: usize,
    until: String,
}

#[derive(Debug, Deserialize)]
struct Problem {
    source: String,
    line: Option<u32>,
    column: Option<u32>,
    key: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    sources: Vec<String>,
}

/// Asks the running process at the admin address for a dry run, and returns the text to print.
pub(super) fn plan(address: &Address, loaded: &Loaded) -> Result<String, Error> {
    let admin = address.client()?;
    let (Attempt { hash, changes, held, problems }, status) = ask::block_on(ask(&admin))?;
    let (url, ours) = (admin.name(), hash_text(loaded.hash));
    if let Some(theirs) = hash.filter(|theirs| *theirs != ours) {
        return Err(Error::Other { url, theirs, ours, sources: status.sources.join(" ") });
    }
    if !problems.is_empty() {
        let problems: Vec<String> = problems.iter().map(shown).collect();
        return Err(Error::Problems { url, problems: problems.join("\n") });
    }
    if changes.is_empty() {
        return Ok(format!("\nNothing changes for the Portolan on {url}.\n"));
    }
    let mut text = format!("\nA reload of the Portolan on {url} will:\n");
    for Change { key, action, detail } in &changes {
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        let _ = writeln!(text, "  {action} {key}{detail}");
    }
    if !held.is_empty() {
        text +=
            "and hold back what takes endpoints away, until a release or a reload with `force`, at the latest until:\n";
    }
    for Held { registry, endpoints, of, until } in &held {
        let _ = writeln!(text, "  {until} registries[{registry}] ({endpoints} of {of} endpoints)");
    }
    Ok(text)
}

async fn ask(admin: &Admin) -> Result<(Attempt, Status), ask::Error> {
    let (mut reload, config) = (admin.page("api/v1/reload"), admin.page("api/v1/config"));
    reload.set_query(Some("dry_run"));
    Ok((read(&reload, admin.post(&reload).await?)?, read(&config, admin.get(&config).await?)?))
}

fn read<T: DeserializeOwned>(url: &Url, answer: Value) -> Result<T, ask::Error> {
    serde_json::from_value(answer).map_err(|source| ask::other(url, source))
}

fn shown(Problem { source, line, column, key, text }: &Problem) -> String {
    let place = line.zip(*column).map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
    let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
    format!("{source}{place}: {key}{text}")
}
