//! From published services to resources: pure functions.
//!
//! Views call them, once for each change of a service. They see one service at a time and know neither clock nor
//! environment: equal services and options give equal bytes, in every process. What cannot be sent is left out and reported
//! as [`Rejected`]; it never spoils what stands beside it.

pub mod envoy;
pub mod istio;
mod refusal;
mod rejected;
mod weight;

pub use rejected::{MAX_UNIX_PATH, Rejected, Why};
