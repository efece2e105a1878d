//! `serve`: the product itself.

use crate::{
    app,
    config::{Loaded, Sources},
    telemetry,
};
use anyhow::Context;

/// Logs, then runs until a signal ends it.
pub(super) fn run(sources: Sources) -> anyhow::Result<()> {
    let Loaded { config, warnings, .. } = sources.read().result?;
    telemetry::init(&config.log.level, config.log.format)?;
    for warning in warnings.iter() {
        tracing::warn!(file = %warning.file, line = warning.place.line, key = %warning.path, "{}", warning.text);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the threads")?.block_on(app::run(config))
}
