//! Logging and metrics.

mod logging;

pub use logging::{FilterError, parse_filter};
