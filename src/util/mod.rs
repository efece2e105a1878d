//! Small things without an idea of their own that several parts need.

pub mod backoff;
pub mod descriptors;
pub mod error;
pub mod escape;
pub mod fan_in;
pub mod label;
pub mod lock;
pub mod moment;
pub mod nearest;
pub mod redact;
pub mod secret;
pub mod small;
pub mod tls;
pub mod watch;
pub mod yaml;
