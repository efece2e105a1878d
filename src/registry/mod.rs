//! Registries: each keeps a connection and tells what it hears as [`Update`]s of the neutral model.
//!
//! A registry knows nothing of the other registries, of publishing policy, or of what is served. Failures are updates,
//! too; they never remove anything.

mod update;

pub use update::{Cost, Scope, Update};
