//! A wall clock of its own for a process, which a test sets while the process runs (libfaketime). Its monotonic clock
//! goes on as ever.

use super::servers::lacking;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A clock that processes read from the file `clock` in the folder given to [`Clock::new`].
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock that shows the system's time at first. `None` if libfaketime is missing and not required ([`lacking`]):
    /// the test then passes.
    pub fn new(folder: &Path) -> Option<Clock> {
        let libraries = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let library =
            libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists());
        let Some(library) = library else {
            lacking("faketime", "libfaketime is not installed (Debian: faketime)");
            return None;
        };
        let clock = Clock { library, file: folder.join("clock") };
        clock.set(0);
        Some(clock)
    }

    /// From now on (within a second) it shows so many seconds more than the system's clock; fewer if negative.
    pub fn set(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// Environment variables that make a process use this clock.
    pub fn variables(&self) -> [(&'static str, String); 6] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]
    }
}
