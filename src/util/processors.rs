//! The number of processors that this process may use.

use std::{sync::LazyLock, thread::available_parallelism};

/// Computed once, because the system reads several files for it.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from));

/// The number of processors that control group and CPU mask allow, as it was at the first call. 1 if it is unknown.
pub fn processors() -> usize {
    *PROCESSORS
}
