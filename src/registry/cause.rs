//! Errors as registries report them.

use crate::{model::Text, util::error};
use std::error::Error;

/// An error with all its causes, for people.
pub(super) fn chain(error: &dyn Error) -> Text {
    error::chain(error).into()
}
