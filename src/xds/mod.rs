//! xDS: protocol state as values, and a thin layer that moves bytes.
