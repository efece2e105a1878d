//! Errors as registries report them.

use crate::{model::Text, util::error};
use std::{error::Error, time::Duration};

/// An error with all its causes, for people.
pub(super) fn chain(error: &dyn Error) -> Text {
    error::chain(error).into()
}

/// What each of several has answered, in one text.
pub(super) fn tried(failures: &[impl Error]) -> String {
    failures.iter().map(|error| error::chain(error)).collect::<Vec<_>>().join("; ")
}

/// Why none of several has answered: what the only one said, or an error of all of them, made of their number, of what they
/// said, and of the shortest time for which one asked to be left alone.
pub(super) fn of_all<E: Error>(
    mut failures: Vec<E>,
    retry_after: impl Fn(&E) -> Option<Duration>,
    all: impl FnOnce(usize, String, Option<Duration>) -> E,
) -> E {
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let retry_after = failures.iter().filter_map(retry_after).min();
    all(failures.len(), tried(&failures), retry_after)
}
