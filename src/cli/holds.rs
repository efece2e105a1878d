//! `release` and `prolong`: a hold on a service or a registry ends at once, or lasts longer.

use super::{ask, history::Request};
use clap::Args;

/// Of what something is held back.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// The host of a service
    host: Option<String>,
    /// A registry, with all its services
    #[arg(long, value_name = "NAME")]
    registry: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    request: Request,
}

#[derive(Debug, Args)]
pub(super) struct Prolong {
    #[command(flatten)]
    of: Of,
    /// For how long from now at least, at most 7d
    #[arg(long = "for", default_value = "1h", value_name = "TIME")]
    time: String,
    #[command(flatten)]
    request: Request,
}

/// Ends a hold: what the registry says now is followed at once.
///
/// # Errors
/// If there is no answer, or nothing is held back.
pub(super) fn release(Release { of, request }: &Release) -> Result<String, ask::Error> {
    let answer = request.post("api/v1/release", &of.given())?;
    Ok(format!("Released {}.\n", answer["released"].as_str().unwrap_or_default()))
}

/// Makes a hold last longer.
///
/// # Errors
/// If there is no answer, or nothing is held back.
pub(super) fn prolong(Prolong { of, time, request }: &Prolong) -> Result<String, ask::Error> {
    let [host, registry] = of.given();
    let answer = request.post("api/v1/prolong", &[host, registry, ("for", Some(time))])?;
    let word = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    Ok(format!("What is held back of {} is served on until {}.\n", word("prolonged"), word("until")))
}

impl Of {
    fn given(&self) -> [(&str, Option<&str>); 2] {
        [("host", self.host.as_deref()), ("registry", self.registry.as_deref())]
    }
}
