//! What registries read of their own sections, until their modules bring it.

/// Nacos servers.
pub mod nacos {
    use crate::util::{
        secret::Secret,
        yaml::{Section, Value},
    };
    use std::time::Duration;

    /// How a Nacos registry is reached.
    #[derive(Debug, Clone)]
    pub struct Config {
        /// Servers.
        pub servers: Vec<String>,
        /// User.
        pub username: Option<String>,
        /// Password.
        pub password: Option<Secret>,
        /// Timeout.
        pub timeout: Duration,
    }

    impl Config {
        /// Reads the section.
        pub fn read(section: &mut Section<'_>) -> Option<Self> {
            let servers = section.need("servers", |v| v.one_or_each(Value::string));
            let seconds = Duration::from_secs(5);
            Some(Config {
                username: section.get("username", Value::string),
                password: section.get("password", Value::secret),
                timeout: section.get("timeout", |v| v.duration(Duration::ZERO..=seconds * 12)).unwrap_or(seconds),
                servers: servers?,
            })
        }
    }
}

/// Catalogue files.
pub mod file {
    use crate::util::yaml::{Section, Value};
    use std::path::PathBuf;

    /// Where catalogue files are.
    #[derive(Debug, Clone)]
    pub struct Config {
        /// File or folder.
        pub path: PathBuf,
    }

    impl Config {
        /// Reads the section.
        pub fn read(section: &mut Section<'_>) -> Option<Self> {
            section.need("path", Value::path).map(|path| Config { path })
        }
    }
}
