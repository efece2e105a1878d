//! What an Istiod makes of a server of config sources, for `portolan istio check`: `client` asks as an Istiod does, and
//! [`verdict`] judges each item of its lists as an Istiod would.
//!
//! It is a client of servers, never a part of ours: nothing that serves may name it.

mod client;
mod verdict;

pub use client::{Answer, ProbeError, TYPES, probe};
pub use verdict::{Verdict, verdict};
