//! The reading of catalogue files in rounds: a look at all files, then a pause until something may have changed.

use super::files::Files;
use crate::{
    model::Text,
    registry::{
        Update,
        outbox::{Closed, Outbox},
        rounds::{Round, Rounds},
    },
    util::watch::Watch,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// From a reported change to the look at it, so that the writer has ended by then. Short enough for a reload within 50 ms.
const SETTLE: Duration = Duration::from_millis(5);

/// Reads the files of one registry.
#[derive(Debug)]
pub(super) struct Reader {
    /// Lent to the thread that looks at them.
    files: Option<Files>,
    watch: Watch,
    outbox: Outbox<Update>,
}

impl Reader {
    pub(super) fn new(registry: Text, path: PathBuf, max_file_bytes: usize, outbox: Outbox<Update>) -> Self {
        let folder = if path.is_dir() { path.as_path() } else { parent(&path) };
        let watch = Watch::new([folder]);
        Reader { files: Some(Files::new(registry, path, max_file_bytes)), watch, outbox }
    }
}

impl Rounds for Reader {
    async fn round(&mut self) -> Result<Round, Closed> {
        let mut files = self.files.take().expect("each round gives the files back");
        // Files may be large and slow: the threads of the runtime do not wait for them.
        let look = spawn_blocking(move || {
            let updates = files.look();
            (files, updates)
        });
        let (files, updates) = look.await.expect("looking at files does not panic");
        self.files = Some(files);
        for update in updates {
            self.outbox.send(update).await?;
        }
        self.watch.renew();
        Ok(Round::GOOD)
    }

    async fn rest(&mut self, pause: Duration) -> Result<(), Closed> {
        if timeout(pause, self.watch.changed()).await.is_ok() {
            sleep(SETTLE).await;
            self.watch.forget();
        }
        Ok(())
    }
}

/// The folder that holds a file.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
