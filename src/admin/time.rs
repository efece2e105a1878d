//! Times as RFC 3339 in UTC.

use serde::{Serialize, Serializer};
use std::time::{Duration, SystemTime};

pub(in crate::admin) fn required<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

pub(in crate::admin) fn optional<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|t| humantime::format_rfc3339_millis(t).to_string()).serialize(serializer)
}

/// How long ago a time was, in seconds. 0 for the future, which is possible if the clock was set back.
pub(super) fn age(time: SystemTime, now: SystemTime) -> f64 {
    millis(now.duration_since(time).unwrap_or_default()) / 1000.0
}

/// In milliseconds, with three decimal places.
pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
