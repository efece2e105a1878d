//! Host-name instances: resolves the names that the catalog wants resolved.
