//! `serve`: the product itself.

use crate::{
    app::{self, Start},
    config::Sources,
    telemetry,
    util::{
        descriptors,
        processors::processors,
        systemd::{self, Notify},
    },
};
use anyhow::Context;
use std::{path::PathBuf, time::Duration};
use tokio::runtime::Builder;

/// How long the end waits for threads that block.
const END: Duration = Duration::from_millis(500);
/// What is told where the system has no threads left.
const NO_THREADS: &str = "cannot start the threads";

/// Logs, then runs until a signal ends it. With `follow`, the configuration is read again when its files change.
pub(super) fn run(sources: Sources, follow: bool, takeover: Option<PathBuf>) -> anyhow::Result<()> {
    let start = Start::read(sources)?;
    let log = &start.loaded.config.log;
    let (_log, level) = telemetry::init(&log.level, log.format)?;
    // Clients have threads of their own: what they ask for delays no registry, no catalog and no probe.
    let clients = threads("clients").max_blocking_threads(spare()).build().context(NO_THREADS)?;
    let sockets = systemd::inherited().context("cannot take the sockets that were passed to the process")?;
    let notify = Notify::from_environment().context("cannot tell the service manager at NOTIFY_SOCKET")?;
    let clients_handle = Some(clients.handle().clone());
    let start = Start { log: Some(level), follow, clients: clients_handle, sockets, notify, takeover, ..start };
    // Each connection is a file. Where that is not enough the server says so.
    descriptors::raise_limit();
    let runtime = threads("portolan").build().context(NO_THREADS)?;
    let ended = runtime.block_on(app::run(start));
    // A thread that is stuck in the system, on a hung disk or on an answer that nobody reads, does not keep the process.
    runtime.shutdown_timeout(END);
    clients.shutdown_timeout(END);
    ended
}

fn threads(name: &str) -> Builder {
    let mut threads = Builder::new_multi_thread();
    threads.enable_all().thread_name(name);
    threads
}

/// Threads that go on with what another had to do while that reads something large. Each keeps memory: without a bound a fleet
/// that connects at once leaves many of them.
fn spare() -> usize {
    processors().max(2)
}
