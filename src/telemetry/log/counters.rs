//! Counts lines that are missing in the log. The counters are the process's, as the log is.

use prometheus_client::metrics::counter::Counter;
use std::sync::LazyLock;

/// Lines that could not be written, or not fast enough.
pub(in crate::telemetry) fn lost() -> &'static Counter {
    static LOST: LazyLock<Counter> = LazyLock::new(Counter::default);
    &LOST
}

/// Lines that were left out because their place logged too many.
pub(in crate::telemetry) fn suppressed() -> &'static Counter {
    static SUPPRESSED: LazyLock<Counter> = LazyLock::new(Counter::default);
    &SUPPRESSED
}
