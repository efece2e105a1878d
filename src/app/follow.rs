//! Notices that the files of a configuration have changed: by a watch on their folders, and by looking from time to time
//! where no watch works, as on network file systems.

use crate::{
    config::Files,
    util::{
        files::folder_of,
        watch::{Looks, Watch},
    },
};
use std::{collections::BTreeSet, path::Path};
use tokio::task::spawn_blocking;

/// Follows the files of a configuration.
#[derive(Debug)]
pub(super) struct Follow {
    watch: Watch,
    files: Files,
    /// Whether the watch has reported a change since the files were last compared.
    hinted: bool,
    /// What was seen of files that are being written.
    looks: Option<Looks<Files>>,
}

impl Follow {
    /// Follows files from this state on.
    pub(super) fn new(files: Files) -> Self {
        let watch = Watch::new(folders(&files));
        Follow { watch, files, hinted: false, looks: None }
    }

    /// Follows these files, from this state on.
    pub(super) fn set(&mut self, files: Files) {
        self.watch.set(folders(&files));
        (self.files, self.looks) = (files, None);
    }

    /// Returns when the files are no longer in the state from which they are followed. Safe to cancel: the next call goes on
    /// where this one was.
    pub(super) async fn changed(&mut self) {
        loop {
            if !self.hinted {
                self.watch.changed_or_time().await;
                self.hinted = true;
            }
            let now = self.watch.settled(&mut self.looks, &self.files, look).await;
            self.watch.renew();
            self.hinted = false;
            if now != self.files {
                return;
            }
        }
    }
}

/// The state of the files now.
async fn look(files: Files) -> Files {
    // If the runtime ends meanwhile, nobody wants to know any more.
    spawn_blocking(move || crate::config::look(&files)).await.unwrap_or_default()
}

/// The folders to watch: those of files, and folders themselves.
fn folders(files: &Files) -> BTreeSet<&Path> {
    files.keys().map(|path| folder_of(path)).collect()
}
