//! Errors as registries report them.

use crate::{model::Text, util::error};
use std::{error::Error, time::Duration};

/// An error with all its causes, as updates and logs show it.
pub(super) fn chain(error: &dyn Error) -> Text {
    error::chain(error).into()
}

/// The errors of several servers in one text, joined by `; `.
pub(super) fn tried(failures: &[impl Error]) -> String {
    failures.iter().map(|error| error::chain(error)).collect::<Vec<_>>().join("; ")
}

/// Why no server has answered: the one error if there is one alone, else `all` of their number, their texts joined, and
/// the shortest pause that one of them asked for.
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
