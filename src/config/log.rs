//! `log:`: level and format of the log.

use crate::{
    telemetry::{self, LogFormat},
    util::yaml::Section,
};

/// Level and format of the log. The variables `PORTOLAN_LOG` and `RUST_LOG` go before `level`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info` (the default), `debug` or `trace`, or a filter such as `info,portolan::xds=debug`
    /// (`level`).
    pub level: String,
    /// Lines of text or of JSON (`format`). Text by default.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Log { level: "info".into(), format: LogFormat::Text }
    }
}

impl Log {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let default = Log::default();
        let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let level = section.get("level", |v| {
            let level = v.string()?;
            v.check(telemetry::parse_filter(&level))?;
            Some(level)
        });
        Some(Log {
            level: level.unwrap_or(default.level),
            format: section.get("format", |v| v.word(&words)).unwrap_or(default.format),
        })
    }
}
