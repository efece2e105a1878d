//! The log: to standard error, so that standard output stays for answers.
//!
//! An event becomes a [`line`], cut and escaped, on the thread that logs it. The line goes through a bounded [`queue`] to the
//! one thread that writes, so an output that is full, closed or slow blocks nothing else.

mod counters;
mod layer;
mod line;
mod queue;
mod rate;
#[cfg(test)]
mod tests;

pub(super) use counters::{lost, suppressed};
pub use line::LogFormat;

use layer::Lines;
use line::{Fields, Format, Line};
use queue::Queue;
use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env, io,
    io::IsTerminal,
    panic,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::LevelFilter,
    layer::SubscriberExt,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

/// Environment variables that go before the configured level, in this order.
const VARIABLES: [&str; 2] = ["PORTOLAN_LOG", "RUST_LOG"];

/// How long the end of the process waits for lines that are not written yet.
const FLUSH: Duration = Duration::from_secs(1);

/// The key of the configuration with the filter, where none of [`VARIABLES`] is set.
const CONFIGURED: &str = "log.level";

/// Libraries that log for each attempt what Portolan logs once. A filter that names one of them switches it on.
const SILENT: [&str; 1] = ["zookeeper_client"];

/// The refusal of a filter; holds its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log filter; write error, warn, info, debug, trace or off, or such as info,portolan::xds=debug")]
pub struct FilterError(String);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The text is no filter.
    #[error("{from} is no filter of the log")]
    Filter {
        /// The variable, or the key of the configuration.
        from: &'static str,
        /// The text, and how a filter is written.
        #[source]
        source: FilterError,
    },
    /// The process logs already.
    #[error("cannot start the log")]
    Running(#[source] TryInitError),
    /// The thread that writes cannot be started.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
}

/// Changes the running log.
#[derive(Debug, Clone)]
pub struct LogControl {
    /// Replaces the filter; `None` where an environment variable decides.
    filter: Option<reload::Handle<EnvFilter, Registry>>,
    format: Format,
}

impl LogControl {
    /// Writes lines in this form from now on.
    pub fn set_format(&self, format: LogFormat) {
        self.format.set(format);
    }

    /// Logs by this filter from now on, unless a variable decides.
    ///
    /// # Errors
    /// If it is no filter.
    pub fn set_level(&self, level: &str) -> Result<(), FilterError> {
        let parsed = parse_filter(level)?;
        if let Some(filter) = &self.filter {
            // Fails only when the log has ended.
            drop(filter.reload(parsed));
        }
        Ok(())
    }
}

/// The running log. When it is dropped, lines that still wait are written, for up to a second.
#[derive(Debug)]
#[must_use = "the last lines are written when it is dropped"]
pub struct Log {
    queue: Arc<Queue>,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.flush(FLUSH);
    }
}

/// Reads a filter. A word that is no level is refused: it would count as the name of a module, and silence all others.
///
/// # Errors
/// If it is no filter.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, FilterError> {
    let refused = || FilterError(filter.into());
    let plain = |part: &&str| !part.contains(['=', '[']);
    if filter.is_empty() || filter.split(',').filter(plain).any(|part| part.trim().parse::<LevelFilter>().is_err()) {
        return Err(refused());
    }
    let parsed = EnvFilter::builder().parse(filter).map_err(|_| refused())?;
    let silent = SILENT.iter().filter(|library| !filter.contains(**library));
    silent
        .map(|library| format!("{library}=off").parse().map_err(|_| refused()))
        .try_fold(parsed, |parsed, directive| directive.map(|directive| parsed.add_directive(directive)))
}

/// Starts the log of this process. `level` is the configured filter; `PORTOLAN_LOG` and `RUST_LOG` go before it.
///
/// # Errors
/// If the filter is mistaken, or the process logs already.
pub fn init(level: &str, format: LogFormat) -> Result<(Log, LogControl), InitError> {
    let (from, filter) = choose(level, |name| env::var(name).ok());
    let filter = parse_filter(&filter).map_err(|source| InitError::Filter { from, source })?;
    let format = Format::new(format);
    let of_notice = format.clone();
    let queue = Queue::start(io::stderr(), move |lost| notice(lost, of_notice.get()));
    let queue = queue.map_err(InitError::Thread)?;
    let (color, rates) = (io::stderr().is_terminal(), Mutex::default());
    let lines = Lines { format: format.clone(), color, queue: queue.clone(), rates };
    let (filter, handle) = reload::Layer::new(filter);
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(InitError::Running)?;
    log_panics();
    Ok((Log { queue }, LogControl { filter: (from == CONFIGURED).then_some(handle), format }))
}

/// A panic is a line of the log as any other: the standard library would write to an output that may be stuck.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let (payload, place) = (panic.payload(), panic.location().map(ToString::to_string));
        let reason = payload.downcast_ref::<&str>().copied();
        let reason = reason.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        // Where it is asked for by RUST_BACKTRACE.
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        tracing::error!(place, reason, trace, "A part of Portolan panicked.");
    }));
}

/// The line that reports how many lines are missing.
fn notice(lost: u64, format: LogFormat) -> String {
    let event = Fields::of("Lines of the log were lost: they could not be written, or not fast enough.", lost);
    let line = Line { at: SystemTime::now(), level: Level::WARN, target: module_path!(), spans: Vec::new(), event };
    line.render(format, false)
}

/// Where the filter comes from, and what it is. A variable that is set to nothing is not set.
fn choose(level: &str, variable: impl Fn(&str) -> Option<String>) -> (&'static str, String) {
    let set = |name: &'static str| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value));
    VARIABLES.into_iter().find_map(set).unwrap_or_else(|| (CONFIGURED, level.to_owned()))
}
