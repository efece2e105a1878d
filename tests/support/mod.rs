//! What several tests need. Each test program uses a part of it.
#![allow(dead_code)]

pub mod envoy;
pub mod portolan;
mod until;
pub mod upstream;

pub use until::until;
