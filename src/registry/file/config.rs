//! Where catalogue files are.

use crate::{
    registry::Limits,
    util::yaml::{Section, Value},
};
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Everything about one registry of kind `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Path of the files, or the built-in example.
    pub source: Source,
    /// The most bytes of one file; a longer one is refused.
    pub max_file_bytes: usize,
    /// Limits of all files together.
    pub limits: Limits,
    /// How often files are looked at where no change is announced, as on network file systems.
    pub poll: Duration,
}

/// Where the catalogue comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or all `*.yaml`, `*.yml` and `*.json` of a folder.
    Path(PathBuf),
    /// The built-in example, one of whose instances is the admin page at this address.
    Example(SocketAddr),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Path(path) => path.display().fmt(f),
            Source::Example(_) => f.write_str("the built-in catalogue"),
        }
    }
}

impl Config {
    /// A configuration with this source, and the default for every other key.
    pub fn new(source: Source) -> Self {
        Config { source, max_file_bytes: 64 << 20, limits: Limits::default(), poll: Duration::from_secs(2) }
    }

    /// The built-in example, with the address at which admin listens by default.
    pub fn example() -> Self {
        Config::new(Source::Example((Ipv4Addr::LOCALHOST, 8081).into()))
    }

    /// Reads the section `file`: `path`, `max_file`, `limits` and `poll`.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let path = section.need("path", Value::path);
        let max_file_bytes = section.get("max_file", |v| v.bytes(1..=1 << 30));
        let poll = section.get("poll", |v| v.duration(Duration::from_millis(100)..=Duration::from_secs(3600)));
        let limits = Limits::read(section);
        let default = Config::new(Source::Path(path?));
        Some(Config {
            max_file_bytes: max_file_bytes.unwrap_or(default.max_file_bytes),
            limits,
            poll: poll.unwrap_or(default.poll),
            source: default.source,
        })
    }
}
