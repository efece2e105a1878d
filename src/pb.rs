//! Protobuf messages: our own few, for everything that is sent as a resource.
//!
//! Translation builds resources from these and nothing else: their maps are ordered, so equal values have equal bytes,
//! on which versions stand. They are wire-compatible with Envoy's and Istio's; `proto/README.md` says how they are made.
//! Where order does not matter (requests, clients in tests), xds-api's types are used directly.

#[allow(missing_docs, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
mod generated;
pub mod kinds;
pub mod schema;

pub use generated::{envoy, google, istio, nacos};
