//! By which level a service's providers are taken while a fleet goes from interfaces to applications: Dubbo's own steps
//! (`MigrationStep`, `DefaultMigrationAddressComparator`). A provider that registers itself in both ways is in both, so one
//! level counts and never a mixture. Pure.

/// A step of the migration, by Dubbo's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Step {
    /// Only providers that register by interface count.
    ForceInterface,
    /// Providers that register by application count, if there is one and the threshold is reached; else those by
    /// interface.
    #[default]
    ApplicationFirst,
    /// Only providers that register by application count.
    ForceApplication,
}

/// A step of the migration with its threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Migration {
    /// The step that counts for all services of the registry.
    pub step: Step,
    /// How many providers must be registered by application, for each that is registered by interface. Dubbo's default is
    /// 0: one is enough.
    pub threshold: f64,
}

/// One of the two ways of registering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Interface,
    Application,
}

impl Default for Migration {
    fn default() -> Self {
        Migration { step: Step::default(), threshold: 0.0 }
    }
}

// A threshold is read from a configuration, which has no NaN.
impl Eq for Migration {}

impl Migration {
    /// The level that counts for a service with these numbers of providers.
    pub(crate) fn level(self, by_interface: usize, by_application: usize) -> Level {
        let enough = || match (by_interface, by_application) {
            (_, 0) => false,
            (0, _) => true,
            (old, new) => new as f64 / old as f64 >= self.threshold,
        };
        let is_application = match self.step {
            Step::ForceInterface => false,
            Step::ForceApplication => true,
            Step::ApplicationFirst => enough(),
        };
        if is_application { Level::Application } else { Level::Interface }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_decide_as_dubbo_does() {
        use Step::{ApplicationFirst as First, ForceApplication, ForceInterface};
        for (step, threshold, old, new, expected) in [
            (ForceInterface, 0.0, 0, 5, Level::Interface),
            (ForceApplication, 1.0, 5, 0, Level::Application),
            (First, 0.0, 0, 0, Level::Interface),
            (First, 0.0, 5, 0, Level::Interface),
            (First, 0.0, 5, 1, Level::Application),
            (First, 0.8, 5, 3, Level::Interface),
            (First, 0.8, 5, 4, Level::Application),
            (First, 1.0, 5, 5, Level::Application),
            (First, 9.0, 0, 1, Level::Application),
        ] {
            let level = Migration { step, threshold }.level(old, new);
            assert_eq!(level, expected, "{step:?} {threshold}: {old} by interface, {new} by application");
        }
    }
}
