//! Features, seen from outside: catalogue files and configurations in, admin HTTP out. The product runs in this process,
//! or in one of its own where the process is the subject: its outputs, its log, its exit code.

#[path = "../protocol/client.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod client;
#[path = "../support/mod.rs"]
mod support;

mod activation;
mod admin_load;
mod admin_tokens;
mod bad_starts;
mod bare;
mod csds;
mod declared;
mod descriptors;
mod grpc;
mod history;
mod holds;
mod hosts;
mod isolation;
mod leave;
mod listeners;
mod metrics;
mod outputs;
mod quiet;
mod refusals;
mod replicas;
mod rules;
mod scopes;
mod secrets;
mod state;
mod takeover;
mod written;
