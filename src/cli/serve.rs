//! `serve`: the product itself.

use crate::{
    app,
    config::{Loaded, Sources},
    telemetry,
};
use anyhow::Context;
use std::time::Duration;

/// How long the end waits for threads that block.
const END: Duration = Duration::from_millis(500);

/// Logs, then runs until a signal ends it.
pub(super) fn run(sources: Sources) -> anyhow::Result<()> {
    let Loaded { config, warnings, .. } = sources.read().result?;
    let (_log, _) = telemetry::init(&config.log.level, config.log.format)?;
    for warning in warnings.iter() {
        tracing::warn!(file = %warning.file, line = warning.place.line, key = %warning.path, "{}", warning.text);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the threads")?;
    let ended = runtime.block_on(app::run(config));
    // A thread that is stuck in the system, on a hung disk or on an answer that nobody reads, does not keep the process.
    runtime.shutdown_timeout(END);
    ended
}
