//! Notices that the files of a configuration have changed: by a watch on their folders, and by looking from time to time
//! where no watch works, as on network file systems.

use crate::{config::Files, util::watch::Watch};
use std::{collections::BTreeSet, path::Path, time::Duration};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// From one look to the next without a hint.
const POLL: Duration = Duration::from_secs(5);

/// Files are read when they have stayed the same for so long: whoever writes them piece by piece is done.
const QUIET: Duration = Duration::from_millis(100);

/// Whoever writes without end is waited for this many times [`QUIET`].
const MOST_LOOKS: u32 = 20;

/// Follows the files of a configuration.
#[derive(Debug)]
pub(super) struct Follow {
    watch: Watch,
    files: Files,
    /// A hint was received, and nobody has looked to the end since.
    hinted: bool,
}

impl Follow {
    /// From this state on.
    pub(super) fn new(files: Files) -> Self {
        let watch = Watch::new(folders(&files));
        Follow { watch, files, hinted: false }
    }

    /// Follows these files, from this state on.
    pub(super) fn set(&mut self, files: Files) {
        self.watch.set(folders(&files));
        self.files = files;
    }

    /// Returns when the files are no longer in the state from which they are followed. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        loop {
            if !self.hinted {
                // The time being over is a reason to look, too.
                let _ = timeout(POLL, self.watch.changed()).await;
                self.hinted = true;
            }
            self.watch.forget();
            let mut now = self.look().await;
            for _ in 0..MOST_LOOKS {
                if now == self.files {
                    break;
                }
                sleep(QUIET).await;
                self.watch.forget();
                let again = self.look().await;
                if std::mem::replace(&mut now, again) == now {
                    break;
                }
            }
            self.watch.renew();
            self.hinted = false;
            if now != self.files {
                return;
            }
        }
    }

    /// The state of the files now.
    async fn look(&self) -> Files {
        let files = self.files.clone();
        // If the runtime ends meanwhile, nobody wants to know any more.
        spawn_blocking(move || crate::config::look(&files)).await.unwrap_or_default()
    }
}

/// The folders of files; of a folder, itself.
fn folders(files: &Files) -> BTreeSet<&Path> {
    files.keys().map(|path| folder(path)).collect()
}

fn folder(path: &Path) -> &Path {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}
