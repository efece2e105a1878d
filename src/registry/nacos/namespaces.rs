//! Which namespaces are meant: ids, names, or patterns for either, as the server lists them now.

use super::{
    PUBLIC,
    api::{self, Namespace},
    client::Client,
    config::{self, Config},
    error::Error,
};
use crate::model::Text;
use std::collections::HashMap;
use tracing::debug;
use wildmatch::WildMatch;

/// A namespace's id, and why it cannot be read if it is named and not there.
pub(super) type Found = (Text, Option<Error>);

/// The ids that the configured names have had: one that is removed is still known by its id.
#[derive(Debug, Default)]
pub(super) struct Namespaces(HashMap<Text, Text>);

impl Namespaces {
    /// Those that are meant, by id, each once. The public one exists on every server, and the list of namespaces may be
    /// forbidden: then what is configured is taken for ids.
    pub(super) async fn wanted(&mut self, config: &Config, client: &Client) -> Result<Vec<Found>, Error> {
        let named = match &config.namespaces {
            config::Namespaces::All => {
                return Ok(api::namespaces(client).await?.into_iter().map(|n| (n.id, None)).collect());
            }
            config::Namespaces::Named(named) => named,
        };
        let public = |name: &Text| name.is_empty() || **name == *PUBLIC;
        if named.iter().all(public) {
            return Ok(vec![(PUBLIC.into(), None)]);
        }
        let listed = match api::namespaces(client).await {
            Ok(listed) => listed,
            Err(error @ Error::NoNamespaceList(_)) if !named.iter().any(is_pattern) => {
                debug!(%error, "Taking the configured namespaces for ids.");
                let id = |name: &Text| if public(name) { PUBLIC.into() } else { self.known(name) };
                return Ok(named.iter().map(|name| (id(name), None)).collect());
            }
            Err(error) => return Err(error),
        };
        let mut found: Vec<Found> = Vec::new();
        for name in named {
            match () {
                () if public(name) => found.push((PUBLIC.into(), None)),
                () if is_pattern(name) => found.extend(matching(name, &listed)),
                () => found.push(self.resolve(name, &listed)),
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found.dedup_by(|(a, _), (b, _)| a == b);
        Ok(found)
    }

    /// By id, then by name. One that is gone keeps the id that it had, under which it is known.
    fn resolve(&mut self, name: &Text, listed: &[Namespace]) -> Found {
        let found = listed.iter().find(|n| n.id == *name).or_else(|| listed.iter().find(|n| n.name == *name));
        if let Some(namespace) = found {
            self.0.insert(name.clone(), namespace.id.clone());
            return (namespace.id.clone(), None);
        }
        let there: Vec<String> = listed.iter().map(|n| format!("{} ({})", n.id, n.name)).collect();
        let error = Error::NoNamespace { name: name.to_string(), known: there.join(", ") };
        (self.known(name), Some(error))
    }

    fn known(&self, name: &Text) -> Text {
        self.0.get(name).unwrap_or(name).clone()
    }
}

/// What configuration up to 2.x calls a namespace: the public one has no name there.
pub(super) fn tenant(namespace: &str) -> &str {
    if namespace == PUBLIC { "" } else { namespace }
}

fn is_pattern(name: &Text) -> bool {
    name.contains(['*', '?'])
}

/// Those whose id or name fits. There may be none today and some tomorrow.
fn matching(pattern: &Text, listed: &[Namespace]) -> impl Iterator<Item = Found> {
    let pattern = WildMatch::new(pattern);
    let fits = move |n: &&Namespace| pattern.matches(&n.id) || pattern.matches(&n.name);
    listed.iter().filter(fits).map(|n| (n.id.clone(), None))
}
