//! For which provider rules are looked at, and on whose behalf. Pure.

use crate::registry::dubbo::Identity;

/// Any host.
pub(super) const ANY_HOST: &str = "0.0.0.0";
/// Who applies a configurator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Provider,
    Consumer,
    /// Those of Dubbo 2.6 are applied by both.
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
