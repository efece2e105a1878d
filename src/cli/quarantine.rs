//! `quarantine`: sends again what clients have refused. `get quarantine` lists it.

use super::{ask, history::Request};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(super) enum Quarantine {
    /// Sends clients again what they have refused, by its name, its kind, or both
    Release(Release),
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// The name of the resource
    #[arg(required_unless_present_any = ["kind", "all"])]
    name: Option<String>,
    /// Only of this kind: clusters, endpoints, listeners, routes or secrets
    #[arg(long)]
    kind: Option<String>,
    /// Everything that is withheld
    #[arg(long, conflicts_with_all = ["name", "kind"])]
    all: bool,
    #[command(flatten)]
    request: Request,
}

/// Releases resources from quarantine, and says how many.
///
/// # Errors
/// If the request fails, or no such resource is withheld.
pub(super) fn run(
    Quarantine::Release(Release { name, kind, all, request }): &Quarantine,
) -> Result<String, ask::Error> {
    let given = [("name", name.as_deref()), ("kind", kind.as_deref()), ("all", all.then_some("true"))];
    let answer = request.post("api/v1/quarantine/release", &given)?;
    Ok(format!("Released {}.\n", answer["released"]))
}
