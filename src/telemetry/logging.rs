//! Logging: to standard error, so that standard output stays for answers.

use std::{env, fmt, io, io::IsTerminal, sync::Arc};
use tracing_subscriber::{
    EnvFilter,
    filter::LevelFilter,
    util::{SubscriberInitExt, TryInitError},
};

/// What goes before the configured level, in this order.
const VARIABLES: [&str; 2] = ["PORTOLAN_LOG", "RUST_LOG"];

/// Where the filter comes from if none of these is set.
const CONFIGURED: &str = "log.level";

/// Libraries that log for each attempt what we say once. Who names one in the filter hears it.
const SILENT: [&str; 1] = ["zookeeper_client"];

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people (`text`).
    #[default]
    Text,
    /// An object per line, for collectors (`json`).
    Json,
}

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log filter; write error, warn, info, debug, trace or off, or such as info,portolan::xds=debug")]
pub struct FilterError(String);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The level is mistaken.
    #[error("cannot log as {from} says")]
    Filter {
        /// The variable, or the configuration.
        from: &'static str,
        /// Why.
        #[source]
        source: FilterError,
    },
    /// Somebody else logs already.
    #[error("cannot start the log")]
    Taken(#[source] TryInitError),
}

/// Reads a filter. A word that is no level would be taken for the name of a module, and silence all others: it is refused.
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

/// Changes the level of a log that was started.
#[derive(Clone)]
pub struct LogLevel {
    /// `None` where a variable decides.
    reload: Option<Arc<dyn Fn(EnvFilter) + Send + Sync>>,
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevel").field("is_fixed", &self.reload.is_none()).finish()
    }
}

impl LogLevel {
    /// Logs by this filter from now on, unless a variable says otherwise.
    ///
    /// # Errors
    /// If it is no filter.
    pub fn set(&self, level: &str) -> Result<(), FilterError> {
        let filter = parse_filter(level)?;
        if let Some(reload) = &self.reload {
            reload(filter);
        }
        Ok(())
    }
}

/// Starts the log of this process. `level` is the configured filter; `PORTOLAN_LOG` and `RUST_LOG` go before it.
///
/// # Errors
/// If the filter is none, or something else logs already.
pub fn init(level: &str, format: LogFormat) -> Result<LogLevel, InitError> {
    let (from, filter) = choose(level, |name| env::var(name).ok());
    let filter = parse_filter(&filter).map_err(|source| InitError::Filter { from, source })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only when nothing logs any more.
    let reload: Arc<dyn Fn(EnvFilter) + Send + Sync> = match format {
        LogFormat::Text => {
            let log = log.with_ansi(io::stderr().is_terminal()).with_filter_reloading();
            let handle = log.reload_handle();
            log.finish().try_init().map_err(InitError::Taken)?;
            Arc::new(move |filter| drop(handle.reload(filter)))
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_filter_reloading();
            let handle = log.reload_handle();
            log.finish().try_init().map_err(InitError::Taken)?;
            Arc::new(move |filter| drop(handle.reload(filter)))
        }
    };
    Ok(LogLevel { reload: (from == CONFIGURED).then_some(reload) })
}

/// Where the filter comes from, and what it is. A variable that is set to nothing is not set.
fn choose(level: &str, variable: impl Fn(&str) -> Option<String>) -> (&'static str, String) {
    let set = |name: &'static str| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value));
    VARIABLES.into_iter().find_map(set).unwrap_or_else(|| (CONFIGURED, level.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_read_and_misspelt_ones_refused() {
        for good in ["info", "WARN", "off", "info,portolan::xds=debug", "portolan=trace"] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
        for bad in ["", "slow", "inof,portolan::xds=debug", "portolan=slow", "portolan::xds"] {
            assert_eq!(parse_filter(bad).unwrap_err(), FilterError(bad.into()));
        }
    }

    #[test]
    fn libraries_that_repeat_us_are_silent_unless_they_are_named() {
        let shown = |filter: &str| parse_filter(filter).unwrap().to_string();
        assert!(shown("info").contains("zookeeper_client=off"), "{}", shown("info"));
        assert!(shown("info,zookeeper_client=debug").contains("zookeeper_client=debug"));
    }

    #[test]
    fn variables_go_before_the_configured_level() {
        let variable = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        let chosen = |set| choose("info", variable(set));
        assert_eq!(chosen(&[]), ("log.level", "info".into()));
        assert_eq!(chosen(&[("RUST_LOG", "warn"), ("PORTOLAN_LOG", "")]), ("RUST_LOG", "warn".into()));
        assert_eq!(chosen(&[("RUST_LOG", "warn"), ("PORTOLAN_LOG", "debug")]), ("PORTOLAN_LOG", "debug".into()));
    }
}
