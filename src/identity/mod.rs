//! Who a client is: what it proves by a certificate or a token, and what is asked of it.
//!
//! `config` makes [`Settings`]; `app` loads them, again whenever a file changes; `xds` asks the [`Policy`] at each handshake and
//! stream, and again when another one takes its place. Everything but loading is pure: a certificate or token, and a time.

mod authorities;
mod certificate;
mod der;
#[expect(clippy::module_inception, reason = "the noun of the folder")]
mod identity;
pub mod jwt;
mod pattern;
mod policy;
mod settings;
mod spiffe;
#[cfg(test)]
mod tests;
mod token;

pub use authorities::{BundleError, Disbelief};
pub use certificate::NameError;
pub use identity::Identity;
pub use pattern::{NamePattern, NodeRule, NodeRuleError};
pub use policy::{Policy, Refusal, Tls};
pub use settings::{JwtFiles, LoadError, MOST, Settings, TlsFiles};
pub use spiffe::{SpiffeError, is_trust_domain};
pub use token::{Digest, SHORTEST};
