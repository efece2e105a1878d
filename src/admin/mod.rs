//! Admin HTTP: what people and scripts ask of a running Portolan.
