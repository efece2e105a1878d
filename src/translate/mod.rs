//! From published services, and Istio's rules, to resources: pure functions.
//!
//! Views call them, once for each change of a service. `envoy` and `istio` see one service at a time; `traffic` obeys Istio's rules. They know neither clock nor
//! environment: equal services and options give equal bytes, in every process. What cannot be sent is left out and reported
//! as [`Rejected`]; it never spoils what stands beside it.

mod beyond;
pub mod envoy;
pub mod gateway;
pub mod istio;
mod origin;
mod refusal;
mod rejected;
pub mod traffic;
mod weight;

pub use beyond::{Beyond, CheckWay, HealthCheck, Limit};
pub use origin::Origin;
pub use rejected::{MAX_UNIX_PATH, Rejected, Why};
