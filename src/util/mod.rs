//! Small things without an idea of their own that several parts need.

pub mod secret;
pub mod small;
pub mod yaml;
