//! Manifests in Nacos' configuration: what is told of them, and when.

mod fake;
mod real;
#[path = "../support/mod.rs"]
mod support;
mod told;
