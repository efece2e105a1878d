//! What registries that are read over HTTP share: how servers are reached, and the limits of every request.
//!
//! A registry's section of the configuration reads its [`Connection`] from its own keys, its client sends by `Http`. What
//! a server answers is somebody else's word: no answer is longer than `max_body`, none takes longer than `timeout`, none
//! sends us elsewhere.

mod client;
mod connection;
mod error;
mod login;
mod tls;
mod turn;

#[cfg(test)]
mod tests;

pub(super) use client::{Answer, Http, Origin};
pub use connection::Connection;
pub(super) use error::{Error, Remedies};
pub use login::Login;
pub use tls::{Identity, Tls};
pub(super) use turn::Turn;
