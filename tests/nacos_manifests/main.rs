//! Manifests in Nacos' configuration: what is told of them, and when.

mod fake;
mod real;
mod recorder;
#[path = "../support/mod.rs"]
mod support;
mod told;
