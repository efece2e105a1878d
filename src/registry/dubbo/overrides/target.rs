//! The provider for which rules are looked at, and the side that applies them. Pure.

use crate::registry::dubbo::Identity;

/// Stands for any host in rules.
pub(super) const ANY_HOST: &str = "0.0.0.0";
/// The side that applies a configurator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Provider,
    Consumer,
    /// Configurators of Dubbo 2.6 are applied by both sides.
    Both,
}

/// A provider for which rules are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) application: Option<&'a str>,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}
