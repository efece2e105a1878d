//! `serve`: runs the server until a signal ends it.

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

/// How long the process waits at its end for blocked threads.
const END: Duration = Duration::from_millis(500);
/// The error if the system has no threads left.
const NO_THREADS: &str = "cannot start the threads";

/// Starts the log and serves. With `follow`, the configuration is read again when its files change; `takeover` is the
/// socket of `--takeover`.
pub(super) fn run(sources: Sources, follow: bool, takeover: Option<PathBuf>) -> anyhow::Result<()> {
    let start = Start::read(sources)?;
    let log = &start.loaded.config.log;
    let (_log, level) = telemetry::init(&log.level, log.format)?;
    // Clients have threads of their own: what they ask for delays no registry, no catalog and no probe.
    let clients = threads("clients").max_blocking_threads(spare()).build().context(NO_THREADS)?;
    let sockets = systemd::inherited().context(
        "cannot take the sockets that were passed to the process; a unit with SystemCallFilter= has to allow pidfd_getfd",
    )?;
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

/// The most blocking threads of the clients' runtime, which take over the work of a thread that reads something large.
/// Each uses memory, so many clients that connect at once must not start more.
fn spare() -> usize {
    processors().max(2)
}
