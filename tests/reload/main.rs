//! A configuration that changes while Portolan runs: the whole app in this process, on free ports.

#[path = "../protocol/client.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod client;
#[path = "../support/mod.rs"]
mod support;

mod changes;
mod check;
mod envoy;
mod follow;
mod property;
mod refused;
mod rollout;
mod settings;
mod world;
