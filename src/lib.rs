//! Portolan reads service registries live and serves what it finds over xDS.
//!
//! `ARCHITECTURE.md` is the map. One direction of data: registry → catalog → views (which translate) → xds.

// The other lints stand in Cargo.toml. This one is for what runs in production: in tests it is the way to fail.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod admin;
pub mod app;
pub mod calls;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod csds;
pub mod history;
pub mod identity;
pub mod manifests;
pub mod model;
pub mod pb;
pub mod probe;
pub mod registry;
pub mod resolver;
pub mod resource;
pub mod scope;
pub mod state;
pub mod telemetry;
pub mod translate;
pub mod util;
pub mod views;
pub mod xds;
