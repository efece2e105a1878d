//! What happens to the files. One function per event writes the log and counts.

use crate::{model::Text, telemetry::count, util::time::unix_seconds};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{
    fmt::Display,
    path::Path,
    time::{Duration, SystemTime},
};
use tracing::{debug, error, info, warn};

/// The metrics of the state on disk. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    bytes: Family<FileLabels, Gauge>,
    written: Family<FileLabels, Gauge>,
    successful: Gauge,
    set_aside: Family<AsideLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    registry: String,
    content: &'static str,
}

impl FileLabels {
    fn of(registry: &Text, content: &'static str) -> Self {
        FileLabels { registry: registry.to_string(), content }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AsideLabel {
    cause: &'static str,
}

impl Metrics {
    /// Registers the metrics under their names, `state_...`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("state_bytes", "Size of the file that keeps what a registry has", self.bytes.clone());
        let help = "When the file that keeps what a registry has was last written";
        registry.register("state_last_write_timestamp_seconds", help, self.written.clone());
        let help = "1 if the last writing of state succeeded, or nothing was written yet";
        registry.register("state_last_write_successful", help, self.successful.clone());
        registry.register("state_set_aside", "Files of state that could not be used", self.set_aside.clone());
        self.successful.set(1);
    }

    pub(super) fn recalled(&self, registry: &Text, content: &'static str, number: usize, age: Duration) {
        let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
        info!(%registry, content, number, %age, "Serving what is known of the registry from before the restart, until it is read.");
    }

    pub(super) fn set_aside(&self, registry: &Text, cause: &'static str, why: &dyn Display, now: &Path) {
        self.set_aside.get_or_create(&AsideLabel { cause }).inc();
        warn!(%registry, cause, why = %why, file = %now.display(), "Set aside the state of a registry: it begins without.");
    }

    pub(super) fn unreadable(&self, registry: &Text, why: &dyn Display, path: &Path) {
        self.set_aside.get_or_create(&AsideLabel { cause: "unreadable" }).inc();
        warn!(%registry, why = %why, file = %path.display(), "Cannot read the state of a registry: it begins without.");
    }

    pub(super) fn written(
        &self,
        registry: &Text,
        content: &'static str,
        bytes: usize,
        took: Duration,
        now: SystemTime,
    ) {
        let labels = FileLabels::of(registry, content);
        self.bytes.get_or_create(&labels).set(count(bytes));
        self.written.get_or_create(&labels).set(unix_seconds(now));
        debug!(%registry, content, bytes, ?took, "Wrote the state of a registry.");
    }

    /// All files of a turn were written, or `failed` says why not. `again`: the turn before failed, too.
    pub(super) fn turn(&self, failed: Option<&dyn Display>, again: bool) {
        self.successful.set(failed.is_none().into());
        match failed {
            Some(why) if !again => {
                error!(why = %why, "Cannot write the state; what was written before stays. Serving goes on without it.");
            }
            None if again => info!("The state can be written again."),
            _ => {}
        }
    }

    pub(super) fn forget(&self, registry: &Text, content: &'static str) {
        let labels = FileLabels::of(registry, content);
        self.bytes.remove(&labels);
        self.written.remove(&labels);
    }
}
