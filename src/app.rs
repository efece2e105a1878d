//! The one place that sees every part: starts, joins and stops them.

use crate::config::Config;

/// Runs everything until a signal ends it.
pub async fn run(_config: Config) -> anyhow::Result<()> {
    Ok(())
}
