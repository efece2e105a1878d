//! Features, seen from outside: the product as a process, catalogue files and configurations in, admin HTTP out.

#[path = "../support/mod.rs"]
mod support;

mod bad_starts;
mod isolation;
mod metrics;
mod quiet;
mod replicas;
mod secrets;
