//! File descriptors that are reserved for admin: when xDS connections use all others, probes are still answered.

use std::{fs::File, io, sync::Mutex};

use crate::util::lock::lock;

/// How many file descriptors are reserved.
const KEPT: usize = 16;

/// How many are closed for one connection: for its socket, and for the files that its answer is read from.
const STEP: usize = 4;

/// `EMFILE` and `ENFILE`: the process, or the machine, has no descriptors left.
const NONE_LEFT: [i32; 2] = [24, 23];

/// Open files that are only there to be closed.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    files: Mutex<Vec<File>>,
}

impl Reserve {
    /// Opens files until [`KEPT`] are open, as far as the system allows.
    pub(super) fn fill(&self) {
        let mut files = lock(&self.files);
        while files.len() < KEPT {
            let Ok(file) = File::open("/dev/null") else { return };
            files.push(file);
        }
    }

    /// After a failed accept: closes some files if there were no descriptors left. Returns whether to try again at once.
    pub(super) fn yield_to(&self, error: &io::Error) -> bool {
        let mut files = lock(&self.files);
        let yields = !files.is_empty() && error.raw_os_error().is_some_and(|code| NONE_LEFT.contains(&code));
        if yields {
            let left = files.len().saturating_sub(STEP);
            files.truncate(left);
        }
        yields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_yields_only_when_descriptors_are_missing_and_is_filled_again() {
        let reserve = Reserve::default();
        let [none_left, other] = [24, 104].map(io::Error::from_raw_os_error);
        assert!(!reserve.yield_to(&none_left), "it is empty");
        reserve.fill();
        assert!(!reserve.yield_to(&other));
        let yields = std::iter::repeat_with(|| reserve.yield_to(&none_left)).take_while(|yields| *yields).count();
        assert_eq!(yields, KEPT / STEP);
        reserve.fill();
        assert!(reserve.yield_to(&none_left));
    }
}
