//! Dubbo's conventions, which are the same in every registry that Dubbo uses. Pure.
//!
//! A provider of an interface has a URL. ZooKeeper holds it as the name of a node; Nacos holds its parameters as the
//! metadata of an instance, and its identity in the name of the service (`providers:INTERFACE:VERSION:GROUP`). In both,
//! `$` of a nested class may be written otherwise. What routers and configurators register serves nobody.
//!
//! At the application level a provider registers itself once, as an instance of its application: `dubbo.endpoints` says
//! what each port speaks, and a revision names the `metadata` that has the interfaces. `directory` puts both levels
//! together, by the steps in which Dubbo's own clients migrate, and applies the `overrides` of administrators.
//!
//! What consumers say that register themselves (`consumer`) is who calls whom, and serves nobody.
//!
//! Parameters are given as a function from a key to its value, which is trimmed and not empty.

mod config;
pub(super) mod consumer;
pub(super) mod directory;
mod identity;
pub(super) mod metadata;
mod migration;
pub(super) mod overrides;
mod places;
mod provider;
pub(super) mod service;
pub(super) mod url;

pub use config::{Applications, Publish};
pub use migration::{Migration, Step};

pub(super) use identity::{Identity, Naming, is_provider, serves};
pub(super) use places::{Places, Provider};
pub(super) use provider::{
    endpoints, in_metadata, is_disabled, no_provider, parts_of_tag, protocol, warm, weight, without_defaults,
};
