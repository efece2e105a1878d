//! The rules of the protocol, over a socket: one test for each, with its id in the name.
//!
//! G: both variants; S: state of the world; D: incremental; M: sizes.

#[allow(dead_code, reason = "other test programs use the rest")]
mod client;
mod delta;
mod general;
mod limits;
mod metrics;
mod refusals;
mod sotw;
