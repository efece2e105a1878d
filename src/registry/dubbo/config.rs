//! What is configured of Dubbo in every registry that has it. Plain values with defaults.

use super::migration::{Migration, Step};
use crate::util::yaml::{Section, Value};

/// How the application level is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applications {
    /// As which services instances of applications are published.
    pub publish: Publish,
    /// Which level counts for a service that is registered at both.
    pub migration: Migration,
    /// Providers are asked for metadata that the registry does not have.
    pub ask_providers: bool,
}

/// As what instances of applications are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Publish {
    /// As providers of the interfaces that their metadata names.
    #[default]
    Interfaces,
    /// As instances of services with the applications' names; the interface level is not read.
    Applications,
    /// Under both: as providers of interfaces and as instances of applications.
    Both,
}

impl Publish {
    /// True if services of interfaces are published.
    pub const fn has_interfaces(self) -> bool {
        !matches!(self, Publish::Applications)
    }

    /// True if services of applications are published.
    pub const fn has_applications(self) -> bool {
        !matches!(self, Publish::Interfaces)
    }
}

impl Applications {
    /// Reads `publish` (`interfaces`, `applications` or `both`), `migration` (`force_interface`, `application_first` or
    /// `force_application`), `threshold` and `ask_providers`.
    pub fn read(section: &mut Section<'_>) -> Self {
        let publish = section.get("publish", |v| {
            v.word(&[
                ("interfaces", Publish::Interfaces),
                ("applications", Publish::Applications),
                ("both", Publish::Both),
            ])
        });
        let step = section.get("migration", |v| {
            v.word(&[
                ("force_interface", Step::ForceInterface),
                ("application_first", Step::ApplicationFirst),
                ("force_application", Step::ForceApplication),
            ])
        });
        let threshold = section.get("threshold", |v| v.number(0.0..=100.0));
        let ask_providers = section.get("ask_providers", Value::bool).unwrap_or_default();
        let defaults = Migration::default();
        let (step, threshold) = (step.unwrap_or(defaults.step), threshold.unwrap_or(defaults.threshold));
        let migration = Migration { step, threshold };
        Applications { publish: publish.unwrap_or_default(), migration, ask_providers }
    }
}
