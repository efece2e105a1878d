//! Small helpers that several parts need and that know nothing of registries or xDS.

pub mod backoff;
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod bare_proc;
pub mod descriptors;
pub mod error;
pub mod escape;
pub mod fan_in;
pub mod files;
pub mod host_port;
pub mod label;
pub mod lock;
#[cfg(test)]
pub(crate) mod mutate;
pub mod passing;
pub mod processors;
pub mod redact;
pub mod resolv;
pub mod secret;
pub mod side_by_side;
pub mod sorted_vec;
pub mod suggest;
pub mod systemd;
pub mod time;
pub mod tls;
pub mod transport;
pub mod watch;
pub mod yaml;
