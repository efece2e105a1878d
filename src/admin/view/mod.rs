//! The JSON forms of answers, and how they are made from snapshots.

pub(super) mod calls;
pub(super) mod client;
pub(super) mod finding;
mod page;
pub(super) mod ready;
pub(super) mod registry;
pub(super) mod resource;
pub(super) mod route;
pub(super) mod service;
mod service_entry;
pub(super) mod slime;
pub(super) mod views;
