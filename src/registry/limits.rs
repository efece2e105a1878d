//! What a whole reading of a registry may bring at most. A registry that never ends, or that grew by a mistake, costs a
//! failure: its last services stay, and the memory of the process is bounded.

use crate::util::yaml::Section;
use std::time::Duration;

/// Limits of one reading of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most services in all scopes together.
    pub services: usize,
    /// The most bytes of all answers or files, after decompression.
    pub bytes: usize,
    /// The longest time from the first request to the last answer.
    pub time: Duration,
}

/// Which limit a reading exceeds; the value is the limit.
#[derive(Debug, thiserror::Error)]
pub(super) enum Exceeded {
    #[error("the registry has more than {0} services; raise `limits.services` if that is right")]
    Services(usize),
    #[error("the registry has more than {0} bytes to read; raise `limits.bytes` if that is right")]
    Bytes(usize),
    #[error("the registry is not read within {0:?}; raise `limits.time`, or see why it answers so slowly")]
    Time(Duration),
}

impl Default for Limits {
    fn default() -> Self {
        Limits { services: 100_000, bytes: 256 << 20, time: Duration::from_secs(300) }
    }
}

impl Limits {
    /// Reads, from a registry's own section, `limits`: `services`, `bytes` and `time`.
    pub fn read(section: &mut Section<'_>) -> Self {
        let default = Limits::default();
        let read = section.section("limits", |s| {
            let services = s.get("services", |v| v.integer(1..=100_000_000_i64));
            let bytes = s.get("bytes", |v| v.bytes(1024..=1 << 40));
            let time = s.get("time", |v| v.duration(Duration::from_secs(1)..=Duration::from_secs(24 * 3600)));
            Some(Limits {
                services: services.map_or(default.services, |n| n as usize),
                bytes: bytes.unwrap_or(default.bytes),
                time: time.unwrap_or(default.time),
            })
        });
        read.unwrap_or_default()
    }

    /// An error if `count` is more than [`Limits::services`].
    pub(super) fn check_services(&self, count: usize) -> Result<(), Exceeded> {
        if count > self.services { Err(Exceeded::Services(self.services)) } else { Ok(()) }
    }

    /// An error if `count` is more than [`Limits::bytes`].
    pub(super) fn check_bytes(&self, count: u64) -> Result<(), Exceeded> {
        if count > self.bytes as u64 { Err(Exceeded::Bytes(self.bytes)) } else { Ok(()) }
    }

    /// The error of a reading that is not over within [`Limits::time`].
    pub(super) fn too_slow(&self) -> Exceeded {
        Exceeded::Time(self.time)
    }

    /// Runs `reading`, and ends it after [`Limits::time`].
    #[cfg(feature = "zookeeper")]
    pub(super) async fn in_time<T>(&self, reading: impl Future<Output = T>) -> Result<T, Exceeded> {
        tokio::time::timeout(self.time, reading).await.map_err(|_| self.too_slow())
    }
}
