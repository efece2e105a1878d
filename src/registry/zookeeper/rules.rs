//! Reads the rules that Dubbo keeps beside its services, into the directory that applies them: those of the configuration
//! centre, each by itself, and those of Dubbo 2.6 beside the providers of each interface; of those by which consumers choose
//! how many there are.

use super::{
    client::{Client, What},
    error::Error,
    layout::{configurators, routers, routers_of, rules_folder, rules_of},
};
use crate::registry::dubbo::{directory::Directory, overrides::Overrides};
use tracing::debug;

/// The most rules in one request: a server takes them up to 1 MB each.
const AT_ONCE: usize = 16;
/// The most lists of names in one request.
const LISTS_AT_ONCE: usize = 32;

#[derive(Debug)]
pub(super) struct Rules {
    root: String,
    /// All rules were read at least once.
    pub(super) read: bool,
    /// The last reading of all rules has failed.
    pub(super) failed: bool,
}

impl Rules {
    pub(super) fn new(root: &str) -> Self {
        Rules { root: root.into(), read: false, failed: false }
    }

    /// Reads all rules of the configuration centre. After an error, what was known before stays.
    pub(super) async fn read_all(&mut self, client: &Client, directory: &mut Directory) -> Result<(), Error> {
        let found = client.read(What::Children, &rules_folder(&self.root)).await?;
        let mut names: Vec<String> = found.map(|found| found.children).unwrap_or_default();
        names.retain(|name| Overrides::is_one(name));
        let gone: Vec<String> = directory.overrides().names().filter(|name| !names.contains(name)).collect();
        gone.iter().for_each(|name| directory.put_rule(name, None));
        for names in names.chunks(AT_ONCE) {
            self.read_some(client, directory, names).await?;
        }
        (self.read, self.failed) = (true, false);
        Ok(())
    }

    /// Reads some rules of the configuration centre by their names. One that cannot be read stays as it was.
    pub(super) async fn read_some(
        &self,
        client: &Client,
        directory: &mut Directory,
        names: &[String],
    ) -> Result<(), Error> {
        let folder = rules_folder(&self.root);
        let names: Vec<&String> = names.iter().filter(|name| Overrides::is_one(name)).collect();
        let paths: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
        if paths.is_empty() {
            return Ok(());
        }
        for (name, answer) in names.into_iter().zip(client.read_many(What::Data, &paths).await?) {
            match answer {
                Ok(found) => directory.put_rule(name, found.as_ref().map(|found| &found.data[..])),
                Err(error) => debug!(%name, %error, "Cannot read a rule; it stays as it was."),
            }
        }
        Ok(())
    }

    /// Reads the rules beside the providers of interfaces, given the names of the interfaces' nodes.
    pub(super) async fn read_beside(
        &self,
        client: &Client,
        directory: &mut Directory,
        nodes: &[String],
    ) -> Result<(), Error> {
        for nodes in nodes.chunks(LISTS_AT_ONCE) {
            for (node, names) in self.lists(client, nodes, configurators).await? {
                let (interface, rules) = rules_of(node, &names);
                directory.put_beside(&interface, rules);
            }
            for (node, names) in self.lists(client, nodes, routers).await? {
                let (interface, count) = routers_of(node, &names);
                directory.put_routers(&interface, count);
            }
        }
        Ok(())
    }

    /// For each node, the names of the children in a folder of it. Nodes that cannot be read are left out.
    async fn lists<'a>(
        &self,
        client: &Client,
        nodes: &'a [String],
        folder: fn(&str, &str) -> String,
    ) -> Result<Vec<(&'a String, Vec<String>)>, Error> {
        let paths: Vec<String> = nodes.iter().map(|node| folder(&self.root, node)).collect();
        let mut lists = Vec::new();
        for (node, answer) in nodes.iter().zip(client.read_many(What::Children, &paths).await?) {
            match answer {
                Ok(found) => lists.push((node, found.map(|found| found.children).unwrap_or_default())),
                Err(error) => debug!(%node, %error, "Cannot read the rules of an interface; they stay as they were."),
            }
        }
        Ok(lists)
    }
}
