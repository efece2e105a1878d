//! The registry of all metrics, and its text.

use super::{Process, VERSION, log};
use prometheus_client::{encoding::text, metrics::info::Info, registry::Registry};

/// The `Content-Type` in HTTP of what [`encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A number as the value of a gauge; the largest value for numbers beyond it.
pub fn count(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A registry under whose prefix `portolan` the parts register their metrics. It has the process's own and the version.
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("portolan");
    registry.register("build", "The version of this program", Info::new(vec![("version", VERSION)]));
    registry.register_collector(Box::new(Process));
    let help = "Lines of the log that could not be written, or not fast enough";
    registry.register("log_lines_lost", help, log::lost().clone());
    let help = "Lines of the log that were left out because too many were alike";
    registry.register("log_lines_suppressed", help, log::suppressed().clone());
    registry
}

/// All metrics, as OpenMetrics text.
pub fn encode(registry: &Registry) -> String {
    encode_with(registry, "")
}

/// As [`encode`], with further lines of OpenMetrics text at the end.
pub fn encode_with(registry: &Registry, more: &str) -> String {
    const END: &str = "# EOF\n";
    let mut out = String::with_capacity(64 << 10);
    text::encode(&mut out, registry).expect("writing to memory does not fail");
    out.truncate(out.len() - END.len());
    out + more + END
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_version_and_process() {
        let text = encode(&registry());
        for part in [
            "portolan_build_info{version=\"0.1.0\"} 1",
            "# TYPE portolan_process_cpu_seconds counter",
            "portolan_process_cpu_seconds_total ",
            "portolan_process_resident_memory_bytes ",
            "portolan_process_open_fds ",
            "portolan_process_start_time_seconds ",
            "# EOF",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}
