//! Reading a root: the list of its nodes, then the nodes, many at a time.

use super::{
    client::{Answer, Client, Found, OneshotWatcher, What},
    error::Error,
    layout::{Entry, Layout},
    watch::{Armed, Watches},
};
use futures_util::{StreamExt, stream};

/// The most nodes in one request. Twenty providers of each make an answer of some 200 KB.
const AT_ONCE: usize = 32;

/// A node, and what was read of it; `None` if there is no such node.
pub(super) type Read = (String, Entries);

type Entries = Result<Option<Vec<Entry>>, Error>;

/// A path and the watch that is to wait there.
type Watch = (String, OneshotWatcher);

/// The root that is read, and the session that reads it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    pub(super) layout: Layout,
    pub(super) root: &'a str,
    pub(super) concurrency: usize,
}

impl Source<'_> {
    /// The names of the services' nodes; `None` if there is no root.
    pub(super) async fn names(&self, watches: &mut Watches) -> Result<Option<Vec<String>>, Error> {
        let found = if watches.fires_once() && !watches.armed().waits_at(self.root) {
            let (found, watcher) = self.client.read_and_watch(What::Children, self.root).await?;
            watches.arm(self.root.into(), watcher);
            found
        } else {
            self.client.read(What::Children, self.root).await?
        };
        Ok(found.map(|found| found.children.into_iter().filter(|name| self.layout.is_service(name)).collect()))
    }

    /// Reads the nodes of these names. The only error is the loss of the session.
    pub(super) async fn nodes(&self, names: Vec<String>, watches: &mut Watches) -> Result<Vec<Read>, Error> {
        if watches.fires_once() { self.watched(names, watches).await } else { self.plain(names).await }
    }

    async fn plain(&self, names: Vec<String>) -> Result<Vec<Read>, Error> {
        let batches: Vec<_> = names.chunks(AT_ONCE).map(|names| self.batch(names.to_vec())).collect();
        let mut answers = stream::iter(batches).buffer_unordered(self.concurrency);
        let mut read = Vec::with_capacity(names.len());
        while let Some(batch) = answers.next().await {
            read.extend(batch?);
        }
        Ok(read)
    }

    async fn batch(&self, names: Vec<String>) -> Result<Vec<Read>, Error> {
        let folders: Vec<String> = names.iter().map(|name| self.layout.folder(self.root, name)).collect();
        let answers = self.client.read_many(What::Children, &folders).await?;
        let mut read = Vec::with_capacity(names.len());
        for ((name, folder), answer) in names.into_iter().zip(folders).zip(answers) {
            let entries = match answer {
                Ok(Some(found)) if self.layout.reads_data() => self.data(&folder, found.children).await?,
                answer => answer.map(|found| found.map(bare)),
            };
            read.push((name, entries));
        }
        Ok(read)
    }

    async fn data(&self, folder: &str, names: Vec<String>) -> Result<Entries, Error> {
        let mut entries = Vec::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            let paths: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
            for (name, answer) in names.iter().zip(self.client.read_many(What::Data, &paths).await?) {
                match answer {
                    Ok(found) => entries.extend(entry(name, found)),
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
        Ok(Ok(Some(entries)))
    }

    async fn watched(&self, names: Vec<String>, watches: &mut Watches) -> Result<Vec<Read>, Error> {
        let mut read = Vec::with_capacity(names.len());
        let mut fresh = Vec::new();
        {
            let armed = watches.armed();
            let nodes: Vec<_> = names.into_iter().map(|name| self.node(name, armed)).collect();
            let mut answers = stream::iter(nodes).buffer_unordered(self.concurrency);
            while let Some((name, entries, own)) = answers.next().await {
                match entries {
                    Err(error) if error.is_lost() => return Err(error),
                    entries => read.push((name, entries)),
                }
                fresh.extend(own);
            }
        }
        for (path, watcher) in fresh {
            watches.arm(path, watcher);
        }
        Ok(read)
    }

    async fn node(&self, name: String, armed: &Armed) -> (String, Entries, Vec<Watch>) {
        let mut fresh = Vec::new();
        let entries = self.entries(&name, armed, &mut fresh).await;
        (name, entries, fresh)
    }

    async fn entries(&self, name: &str, armed: &Armed, fresh: &mut Vec<Watch>) -> Entries {
        let folder = self.layout.folder(self.root, name);
        let Some(found) = self.arm(What::Children, folder.clone(), armed, fresh).await? else { return Ok(None) };
        if !self.layout.reads_data() {
            return Ok(Some(bare(found)));
        }
        let mut entries = Vec::with_capacity(found.children.len());
        for name in found.children {
            let found = self.arm(What::Data, format!("{folder}/{name}"), armed, fresh).await?;
            entries.extend(entry(&name, found));
        }
        Ok(Some(entries))
    }

    /// Reads a node, and sets its watch unless one waits there. An entry that is gone gets no watch.
    async fn arm(&self, what: What, path: String, armed: &Armed, fresh: &mut Vec<Watch>) -> Answer {
        if armed.waits_at(&path) {
            return self.client.read(what, &path).await;
        }
        let (found, watcher) = self.client.read_and_watch(what, &path).await?;
        if found.is_some() || what == What::Children {
            fresh.push((path, watcher));
        }
        Ok(found)
    }
}

fn bare(folder: Found) -> Vec<Entry> {
    folder.children.into_iter().map(|name| Entry { name, data: Vec::new() }).collect()
}

/// `None` for an entry that is gone by now.
fn entry(name: &str, found: Option<Found>) -> Option<Entry> {
    found.map(|found| Entry { name: name.into(), data: found.data })
}
