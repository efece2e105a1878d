//! From published services to resources: pure functions.
