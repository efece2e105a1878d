//! Catalogue files: a file or a folder of them, read when they change. `registry::spawn` runs it.
//!
//! A scope is a file. What one file does wrong costs no other file, and costs itself nothing that it had right before.

mod config;
mod files;
mod read;
mod reader;
mod workers;

pub use config::{Config, Source};

use super::{
    Adapter, Conventions, Feed, catalogue,
    outbox::Outbox,
    rounds::{self, Pace},
};
use crate::model::{Protocol, Scope, Text, Update};
use futures_util::future::BoxFuture;
use reader::Reader;
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::mpsc;

/// The text of the built-in catalogue, in which an instance of admin has this address.
pub fn example(admin: SocketAddr) -> String {
    include_str!("example.yaml").replace("{admin}", &admin.to_string())
}

impl Adapter for Config {
    fn name(&self) -> &'static str {
        "file"
    }

    /// Catalogue files mostly give hosts themselves; what they give by name ends in `.file`. A file is read whole or not at
    /// all, so what it lacks is gone at once; who asks for two lists gets the second from the next look.
    fn conventions(&self) -> Conventions {
        Conventions {
            host: "{service}.{namespace}.file",
            protocol: Protocol::Http,
            absent_lists: 1,
            local_addresses: true,
        }
    }

    fn address(&self) -> String {
        self.source.to_string()
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        Box::pin(run(feed.registry, self.clone(), feed.updates))
    }
}

/// Reads the registry until nobody receives its updates.
///
/// # Errors
/// If the built-in catalogue cannot be read.
async fn run(registry: Text, config: Config, out: mpsc::Sender<Update>) -> Result<(), Text> {
    let outbox = Outbox::new(out);
    match config.source {
        Source::Example(admin) => {
            for update in example_updates(&registry, admin)? {
                if outbox.send(update).await.is_err() {
                    return Ok(());
                }
            }
            outbox.closed().await;
        }
        Source::Path(path) => {
            // A file that fails is looked at as often as one that does not: its stamp says whether it is worth reading.
            let pace = Pace::new(config.poll, config.poll, config.poll);
            let mut reader = Reader::new(registry, path, config.max_file_bytes, config.limits, outbox);
            rounds::run(&mut reader, pace).await;
        }
    }
    Ok(())
}

/// The built-in catalogue never changes: it is sent once.
fn example_updates(registry: &Text, admin: SocketAddr) -> Result<[Update; 2], Text> {
    let scope = Scope("example.yaml".into());
    let text = example(admin);
    let catalogue = catalogue::parse(registry, &scope.0, text.as_bytes(), text.len())
        .map_err(|problems| Text::from(problems.to_string()))?;
    let services = catalogue.services.into_values().map(Arc::new).collect();
    let unreadable = catalogue.unreadable.into_iter().collect();
    Ok([Update::Scopes(vec![scope.clone()]), Update::Listed { scope, services, unreadable }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Endpoint, Port};

    #[test]
    fn the_example_is_valid_and_holds_the_admin_page() {
        let [_, update] = example_updates(&"example".into(), "[::1]:8081".parse().unwrap()).unwrap();
        let Update::Listed { services, unreadable, .. } = update else { panic!("{update:?}") };
        assert_eq!((services.len(), unreadable.len()), (4, 0));
        let product = services.iter().find(|s| s.id.name.starts_with("product-service")).unwrap();
        let admin = Endpoint::new(Address::parse("::1").unwrap(), Port::new(8081).unwrap());
        assert_eq!(product.endpoints, [admin]);
    }
}
