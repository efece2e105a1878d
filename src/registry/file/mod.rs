//! Catalogue files: a file or a folder of them, read when they change. `registry::spawn` runs it.
//!
//! A scope is a file. What one file does wrong costs no other file, and costs itself nothing that it had right before.

mod catalogue;
mod config;
mod files;
mod watch;

#[cfg(test)]
mod tests;

pub use config::{Config, Source};

use super::{Scope, Update};
use crate::model::Text;
use files::Files;
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use watch::Watch;

/// After a hint, so that a file is looked at when its writer has ended; short enough for a reload within 50 ms.
const SETTLE: Duration = Duration::from_millis(5);

/// The text of the built-in catalogue.
pub fn example(admin: SocketAddr) -> String {
    include_str!("example.yaml").replace("{admin}", &admin.to_string())
}

/// Reads the registry until nobody listens.
pub(super) async fn run(registry: Text, config: Config, out: mpsc::Sender<Update>) -> Result<(), Text> {
    match config.source {
        Source::Example(admin) => tell_example(registry, admin, out).await,
        Source::Path(path) => {
            let folder = if path.is_dir() { path.as_path() } else { parent(&path) };
            let mut watch = Watch::new(folder);
            let mut files = Files::new(registry, path, config.max_file_bytes);
            loop {
                // Files may be large and slow: the executor's threads are not kept waiting.
                let look = spawn_blocking(move || {
                    let updates = files.look();
                    (files, updates)
                });
                let updates;
                (files, updates) = look.await.map_err(|error| Text::from(error.to_string()))?;
                for update in updates {
                    if out.send(update).await.is_err() {
                        return Ok(());
                    }
                }
                watch.renew();
                if timeout(config.poll, watch.changed()).await.is_ok() {
                    sleep(SETTLE).await;
                    watch.forget();
                }
            }
        }
    }
}

/// The folder that holds a file.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The example never changes: told once.
async fn tell_example(registry: Text, admin: SocketAddr, out: mpsc::Sender<Update>) -> Result<(), Text> {
    let scope = Scope("example.yaml".into());
    let text = example(admin);
    let catalogue = catalogue::parse(&registry, &scope.0, text.as_bytes(), text.len())
        .map_err(|problems| Text::from(problems.to_string()))?;
    let services = catalogue.services.into_values().map(Arc::new).collect();
    let unreadable = catalogue.unreadable.into_iter().collect();
    for update in [Update::Scopes(vec![scope.clone()]), Update::Listed { scope, services, unreadable }] {
        if out.send(update).await.is_err() {
            return Ok(());
        }
    }
    out.closed().await;
    Ok(())
}
