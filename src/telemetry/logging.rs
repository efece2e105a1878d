//! Logging: what is written, and how.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log filter; write error, warn, info, debug, trace or off, or such as info,portolan::xds=debug")]
pub struct FilterError(String);

/// Reads a filter. A word that is no level would be taken for the name of a module, and silence all others: it is refused.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, FilterError> {
    let refused = || FilterError(filter.into());
    let plain = |part: &&str| !part.contains(['=', '[']);
    if filter.split(',').filter(plain).any(|part| part.trim().parse::<LevelFilter>().is_err()) {
        return Err(refused());
    }
    EnvFilter::builder().parse(filter).map_err(|_| refused())
}
