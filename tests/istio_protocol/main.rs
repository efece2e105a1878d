//! What an Istiod needs of a config source, rule by rule, over a socket: one test for each rule, with its number in the
//! name, and the ways in which clients and services misbehave.
//!
//! The client (`istiod`) does what Istiod does: all first requests at once, each with a time for a nonce and only the
//! first with a node; acknowledgements with the node; then Istiod's own treatment of what came.

mod check;
#[path = "../protocol/client.rs"]
#[allow(dead_code, reason = "other test programs use the rest")]
mod client;
mod istiod;
mod manifests;
mod misbehaviour;
mod pace;
mod revisions;
mod rules;
mod served;
#[path = "../support/mod.rs"]
mod support;
