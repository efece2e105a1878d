//! The rules of the protocol, over a socket: one test for each, with its id in the name.
//!
//! G: both variants; S: state of the world; D: incremental; M: sizes.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod client;
mod delta;
mod general;
mod limits;
mod metrics;
mod sotw;
