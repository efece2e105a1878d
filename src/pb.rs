//! Protobuf messages: our own few, for everything that is sent as a resource.
//!
//! Translation builds resources from these and nothing else: their maps are ordered, so equal values have equal bytes,
//! on which versions stand. They are wire-compatible with Envoy's and Istio's; `proto/README.md` says how they are made.

#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "written by prost-build")]
#[rustfmt::skip]
mod generated;
pub mod kinds;
pub mod schema;

pub use generated::{envoy, google, istio, nacos, portolan::state};
