//! Configuration: one typed tree, checked whole.
