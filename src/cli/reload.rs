//! `check --reload`: what a running Portolan would do with its configuration as it is now.
//!
//! The running one reads its own sources and says what would change; nothing of the configuration is sent to it. Whether it
//! reads the same texts as this command is told by their hashes.

use crate::{
    config::{Loaded, hash_text},
    util::tls,
};
use reqwest::{Url, header};
use serde::{Deserialize, de::DeserializeOwned};
use std::{fmt::Write, time::Duration};

/// For the whole answer: reloads wait for each other.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nobody is there, or not whom we expect.
    #[error("no Portolan answers on {url}; start one, or name the admin address of another with --admin")]
    Ask {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    /// It says no.
    #[error("{url} answers {status}: {text}")]
    Refused { url: Url, status: u16, text: String },
    /// It says something else.
    #[error("{url} does not answer as Portolan does; check the address")]
    Format {
        url: Url,
        #[source]
        source: serde_json::Error,
    },
    /// It reads other texts.
    #[error(
        "the Portolan on {url} reads another configuration: {theirs} there, {ours} here. It was started with {sources}; \
         give the same --config, --set and variables to this command"
    )]
    Other { url: String, theirs: String, ours: String, sources: String },
    /// It would refuse it.
    #[error("the Portolan on {url} would refuse the configuration, and keep its former one:\n{problems}")]
    Problems { url: Url, problems: String },
    /// There is nothing to wait with.
    #[error("cannot start")]
    Start(#[source] std::io::Error),
}

/// The answer to a dry run. See [`crate::admin::Attempt`].
#[derive(Debug, Deserialize)]
struct Attempt {
    hash: Option<String>,
    changes: Vec<Change>,
    problems: Vec<Problem>,
}

#[derive(Debug, Deserialize)]
struct Change {
    key: String,
    action: String,
    detail: String,
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

#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
}

/// Asks the Portolan whose admin address this is, and says what it would do.
pub(super) fn plan(admin: &Url, loaded: &Loaded) -> Result<String, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let (attempt, status) = runtime.block_on(ask(admin))?;
    let ours = hash_text(loaded.hash);
    match &attempt.hash {
        Some(theirs) if *theirs != ours => {
            let (url, sources) = (admin.to_string(), status.sources.join(" "));
            return Err(Error::Other { url, theirs: theirs.clone(), ours, sources });
        }
        _ if !attempt.problems.is_empty() => {
            let problems: Vec<String> = attempt.problems.iter().map(shown).collect();
            return Err(Error::Problems { url: admin.clone(), problems: problems.join("\n") });
        }
        _ => {}
    }
    if attempt.changes.is_empty() {
        return Ok(format!("\nNothing changes for the Portolan on {admin}.\n"));
    }
    let mut text = format!("\nA reload of the Portolan on {admin} will:\n");
    for Change { key, action, detail } in &attempt.changes {
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        let _ = writeln!(text, "  {action} {key}{detail}");
    }
    Ok(text)
}

async fn ask(admin: &Url) -> Result<(Attempt, Status), Error> {
    let failed = |source: reqwest::Error| Error::Ask { url: admin.clone(), source: source.without_url() };
    // Admin is near; a proxy that is meant for the world outside would look elsewhere.
    let client = tls::http_client().timeout(TIMEOUT).build().map_err(failed)?;
    let page = |path: &str| {
        let mut url = admin.clone();
        url.set_path(&format!("{}/{path}", admin.path().trim_end_matches('/')));
        url
    };
    let mut reload = page("api/v1/reload");
    reload.set_query(Some("dry_run"));
    let answer = client.post(reload).header(header::CONTENT_TYPE, "application/json").send().await.map_err(failed)?;
    let status = answer.status();
    if !(status.is_success() || status.as_u16() == 422) {
        let body = answer.bytes().await.map_err(failed)?;
        let text = serde_json::from_slice::<Refusal>(&body).map_or_else(|_| "nothing more".into(), |r| r.error);
        return Err(Error::Refused { url: admin.clone(), status: status.as_u16(), text });
    }
    let attempt = read(admin, &answer.bytes().await.map_err(failed)?)?;
    let status = client.get(page("api/v1/config")).send().await.map_err(failed)?;
    Ok((attempt, read(admin, &status.bytes().await.map_err(failed)?)?))
}

fn read<T: DeserializeOwned>(admin: &Url, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Format { url: admin.clone(), source })
}

fn shown(Problem { source, line, column, key, text }: &Problem) -> String {
    let place = line.zip(*column).map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
    let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
    format!("{source}{place}: {key}{text}")
}
