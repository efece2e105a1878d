//! Logging and metrics: what an operator sees of the inside. `app` starts both; every part brings its own metrics and
//! registers them in the one [`registry`].

mod label;
mod log;
mod metrics;
mod process;

pub use label::RegistryLabel;
pub use log::{FilterError, InitError, Log, LogControl, LogFormat, init, parse_filter};
pub use metrics::{CONTENT_TYPE, count, encode, encode_with, registry};
pub use process::Process;

/// The version of this program, from `Cargo.toml`, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
