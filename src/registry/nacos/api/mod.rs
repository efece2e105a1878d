//! What Nacos' interfaces are asked, and how their answers are written: paths, pages, JSON forms.

pub(crate) mod budget;
mod by_grpc;
pub(crate) mod configuration;
mod interface;
pub(crate) mod namespaces;
pub(crate) mod pages;
pub(crate) mod wire;

pub(crate) use interface::{Api, named};
