//! The product between real servers: what real registries hold, real Envoys carry.
//!
//! Without the servers these tests print `SKIP` and pass; with `PORTOLAN_REAL_SERVERS=required`, as `tests/run` sets it,
//! a missing server fails them.

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod consul;
mod declared;
mod eureka;
mod examples;
mod gateways;
mod health;
mod limits;
mod missing;
mod nacos;
mod nearness;
mod own_streams;
mod programs;
mod refusals;
mod reload;
mod restart;
mod rollout;
mod rotation;
mod scopes;
mod secure;
mod takeover;
mod ways;
