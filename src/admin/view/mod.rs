//! The forms in which admin answers.

pub(super) mod registry;
pub(super) mod resource;
pub(super) mod service;
pub(super) mod time;
