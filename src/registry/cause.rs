//! Errors as registries report them.

use crate::{model::Text, util::error};
use std::error::Error;

/// An error with all its causes, for people.
pub(super) fn chain(error: &dyn Error) -> Text {
    error::chain(error).into()
}

/// What each of several has answered, in one text.
pub(super) fn tried(failures: &[impl Error]) -> String {
    failures.iter().map(|error| error::chain(error)).collect::<Vec<_>>().join("; ")
}
