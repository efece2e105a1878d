//! How many processors there are for us.

use std::{sync::LazyLock, thread::available_parallelism};

/// Asked once: the answer is read from several files of the system.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from));

/// At least one; one where the system does not say. What a control group or a mask leaves, as it was at the first call.
pub fn processors() -> usize {
    *PROCESSORS
}
