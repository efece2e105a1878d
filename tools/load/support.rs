//! What the tests start and write to, too.
#![allow(dead_code, reason = "the load generator uses a part")]

#[path = "../../tests/support/process.rs"]
pub mod process;
#[path = "../../tests/support/servers.rs"]
pub mod servers;
#[path = "../../tests/support/until.rs"]
mod until;
#[path = "../../tests/support/zookeeper.rs"]
pub mod zookeeper;

pub use until::until;
