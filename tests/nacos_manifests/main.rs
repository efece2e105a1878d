//! Manifests in Nacos' configuration: what is received of them, and when.

mod fake;
mod real;
mod received;
#[path = "../support/mod.rs"]
mod support;
