//! Which namespaces are meant: ids, names, or patterns for either, as the server lists them now.

use super::wire;
use crate::{
    model::Text,
    registry::nacos::{
        config::{self, Config},
        error::Error,
        name::{self, PUBLIC},
        transport::{Client, json},
    },
    util::error::chain,
};
use std::collections::{HashMap, HashSet};
use tracing::debug;
use wildmatch::WildMatch;

/// The most namespaces, since each is read by itself.
const MAX_NAMESPACES: usize = 10_000;

/// The id of a namespace, with an error if it is configured and does not exist.
pub(crate) type Found = (Text, Option<Error>);

/// The ids that the configured names have had, so that a namespace that is removed is still known by its id.
#[derive(Debug, Default)]
pub(crate) struct Namespaces(HashMap<Text, Text>);

impl Namespaces {
    /// The namespaces that are configured, by id, each once. The public one exists on every server. If the list of
    /// namespaces is forbidden, what is configured is taken for ids.
    pub(crate) async fn wanted(&mut self, config: &Config, client: &Client) -> Result<Vec<Found>, Error> {
        let named = match &config.namespaces {
            config::Namespaces::All => {
                return Ok(list(client).await?.into_iter().map(|n| (n.id, None)).collect());
            }
            config::Namespaces::Named(named) => named,
        };
        let public = |name: &Text| name.is_empty() || **name == *PUBLIC;
        if named.iter().all(public) {
            return Ok(vec![(PUBLIC.into(), None)]);
        }
        let listed = match list(client).await {
            Ok(listed) => listed,
            Err(error @ Error::NoNamespaceList { .. }) if !named.iter().any(is_pattern) => {
                debug!(error = %client.http.shown(&error), "Taking the configured namespaces for ids.");
                let id = |name: &Text| if public(name) { PUBLIC.into() } else { self.known(name) };
                return Ok(sorted(named.iter().map(|name| (id(name), None)).collect()));
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
        Ok(sorted(found))
    }

    /// Finds a namespace by id, then by name. One that is gone keeps the id that it had.
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

/// Sorted by id, each once.
fn sorted(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.dedup_by(|(a, _), (b, _)| a == b);
    found
}

fn is_pattern(name: &Text) -> bool {
    name.contains(['*', '?'])
}

/// The namespaces whose id or name fits. There may be none today and some tomorrow.
fn matching(pattern: &Text, listed: &[Namespace]) -> impl Iterator<Item = Found> {
    let pattern = WildMatch::new(pattern);
    let fits = move |n: &&Namespace| pattern.matches(&n.id) || pattern.matches(&n.name);
    listed.iter().filter(fits).map(|n| (n.id.clone(), None))
}

/// A namespace as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Namespace {
    id: Text,
    name: Text,
}

/// Lists the namespaces; the public one always has the id `public`.
async fn list(client: &Client) -> Result<Vec<Namespace>, Error> {
    let (mut tried, mut causes) = (Vec::new(), Vec::new());
    for path in ["/v3/admin/core/namespace/list", "/v1/console/namespaces", "/v2/console/namespace/list"] {
        let listed = match client.http.get(path, &[]).await {
            Ok(answer) => json::enveloped::<Vec<wire::Namespace>>(&answer.origin, &answer.body),
            Err(error) => Err(error),
        };
        match listed {
            Ok(list) if list.is_empty() => return Err(Error::NoNamespaces),
            Ok(list) => return each_once(list),
            Err(error) if error.is_not_offered() => {
                causes.push((!error.is_denied(), error.cause()));
                tried.push(chain(&error));
            }
            Err(error) => return Err(error),
        }
    }
    // That it is forbidden says more than that it is not there.
    let cause = causes.into_iter().min().map(|(_, cause)| cause).unwrap_or_default();
    Err(Error::NoNamespaceList { cause, tried: tried.join("; ") })
}

/// The namespaces, each once: servers list the public one as ``, as `public`, or as both.
fn each_once(list: Vec<wire::Namespace>) -> Result<Vec<Namespace>, Error> {
    let mut seen = HashSet::new();
    let mut namespaces: Vec<Namespace> = list.into_iter().map(shown).collect();
    namespaces.retain(|namespace| seen.insert(namespace.id.clone()));
    if namespaces.len() > MAX_NAMESPACES {
        return Err(Error::OverLimit {
            what: "namespaces",
            limit: format!("{MAX_NAMESPACES}; name those that are meant"),
        });
    }
    Ok(namespaces)
}

fn shown(listed: wire::Namespace) -> Namespace {
    let id: Text = name::namespace(listed.namespace.as_deref()).into();
    Namespace { name: listed.namespace_show_name.map_or_else(|| id.clone(), Text::from), id }
}
