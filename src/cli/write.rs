//! `put` and `delete`: write and delete services of a registry of kind `api`.

use super::ask::{self, Address};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use std::{
    io::{self, Read},
    path::PathBuf,
};

#[derive(Debug, Subcommand)]
pub(super) enum Put {
    /// Writes a service to a registry of kind `api`, or changes it
    Service(PutService),
}

#[derive(Debug, Subcommand)]
pub(super) enum Delete {
    /// Takes a service away that was written to a registry of kind `api`
    Service(DeleteService),
}

#[derive(Debug, Args)]
pub(super) struct PutService {
    /// REGISTRY/NAME, REGISTRY/NAMESPACE/NAME or REGISTRY/NAMESPACE/GROUP/NAME
    service: String,
    /// What it is, in the catalogue's form: a file in YAML or JSON, or - for standard input
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// The service is gone after this time without a further `put` or heartbeat, such as 30s
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
    #[command(flatten)]
    seen: Seen,
    #[command(flatten)]
    address: Address,
}

#[derive(Debug, Args)]
pub(super) struct DeleteService {
    /// REGISTRY/NAME, REGISTRY/NAMESPACE/NAME or REGISTRY/NAMESPACE/GROUP/NAME
    service: String,
    #[command(flatten)]
    seen: Seen,
    #[command(flatten)]
    address: Address,
}

#[derive(Debug, Args)]
struct Seen {
    /// Only if the service is of this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<String>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Ask(#[from] ask::Error),
    /// The file of the service cannot be read.
    #[error("cannot read {}; check the path and the permissions", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Writes a service, and shows its new version.
pub(super) fn put(Put::Service(arguments): &Put) -> Result<String, Error> {
    let PutService { service, file, ttl, seen, address } = arguments;
    let body = read(file).map_err(|source| Error::Read { path: file.clone(), source })?;
    let admin = address.client()?;
    let mut url = admin.page(&format!("api/v1/services/{service}"));
    if let Some(ttl) = ttl {
        url.query_pairs_mut().append_pair("ttl", ttl);
    }
    let answer = ask::block_on(async { admin.change(Method::PUT, &url, &seen.headers(), body).await })?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(format!("{} is of version {}.\n", text("id"), text("version")))
}

/// Deletes a service that was written through the API, and returns what to print.
pub(super) fn delete(Delete::Service(arguments): &Delete) -> Result<String, Error> {
    let DeleteService { service, seen, address } = arguments;
    let admin = address.client()?;
    let url = admin.page(&format!("api/v1/services/{service}"));
    ask::block_on(async { admin.change(Method::DELETE, &url, &seen.headers(), Vec::new()).await })?;
    Ok(format!("{service} is deleted.\n"))
}

impl Seen {
    fn headers(&self) -> Vec<(&'static str, String)> {
        self.if_version.iter().map(|version| ("if-match", format!("\"{version}\""))).collect()
    }
}

fn read(file: &PathBuf) -> io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text)?;
        return Ok(text);
    }
    std::fs::read(file)
}
