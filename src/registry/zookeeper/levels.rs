//! Dubbo's interfaces, applications and rules, read side by side: hands what the trees have read to the directory of all,
//! fetches the metadata of the revisions that instances name, and sends what that amounts to.
//!
//! Nothing is sent before all of it was read: an interface whose providers are known by its applications alone would seem to
//! be gone, and a provider that a rule disables to be there. From then on each can fail by itself, and what is known of it
//! stays in force.

use super::{
    client::{Client, What},
    config::Config,
    error::End,
    layout::{Around, Layout},
    rules::Rules,
    tree::{Change, Changed, Tree},
};
use crate::{
    model::{Scope, Service, ServiceId, Text, Update},
    registry::{
        chain,
        dubbo::{
            Migration, Naming, Publish, Step,
            directory::{self, Directory, Wanted},
        },
        outbox::{Closed, Outbox},
        providers::Interviews,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

/// The most texts of metadata in one request: a server takes them up to 1 MB each.
const AT_ONCE: usize = 8;
/// The groups of the ids under which unreadable metadata and rules are listed.
const METADATA: &str = "metadata";
const CONFIG: &str = "config";

#[derive(Debug)]
pub(super) struct Levels {
    registry: Text,
    directory: Directory,
    publish: Publish,
    /// The node below which metadata stands.
    metadata: String,
    /// The namespace in the ids of applications: their root without its first slash. That of interfaces is `root`.
    namespace: Text,
    root: Text,
    interfaces_read: bool,
    applications_read: bool,
    /// `None` if no rules are applied.
    rules: Option<Rules>,
    /// Providers that are asked for their metadata, and what they have said.
    interviews: Interviews,
    /// Something was sent already, so that no more time is given to the first answers.
    told: bool,
    /// The next report sends all that is known as lists.
    relist: bool,
}

impl Levels {
    /// `None` if only interfaces are read, and as they are.
    pub(super) fn of(config: &Config, registry: &Text) -> Option<Self> {
        let applications = config.applications.as_ref();
        if applications.is_none() && !config.overrides {
            return None;
        }
        let path = config.roots.first().cloned().unwrap_or_else(|| Layout::Dubbo.default_root().into());
        let root: Text = path.trim_start_matches('/').into();
        let metadata = applications.and_then(|applications| applications.metadata.as_ref());
        let metadata = metadata.map_or_else(|| format!("{path}/{METADATA}"), ToString::to_string);
        let publish = applications.map(|applications| applications.reading.publish).unwrap_or_default();
        let only_interfaces = Migration { step: Step::ForceInterface, ..Migration::default() };
        let migration = applications.map_or(only_interfaces, |applications| applications.reading.migration);
        let asks_providers = applications.is_some_and(|applications| applications.reading.ask_providers);
        let namespace = applications.map(|applications| applications.root.trim_start_matches('/').into());
        Some(Levels {
            registry: registry.clone(),
            directory: Directory::new(Naming::Path(root.clone()), migration, asks_providers),
            publish,
            metadata,
            namespace: namespace.unwrap_or_default(),
            root,
            interfaces_read: !publish.has_interfaces(),
            applications_read: applications.is_none(),
            rules: (config.overrides && publish.has_interfaces()).then(|| Rules::new(&path)),
            interviews: Interviews::new(),
            told: false,
            relist: true,
        })
    }

    /// Whether the interface level is read at all.
    pub(super) fn reads_interfaces(&self) -> bool {
        self.publish.has_interfaces()
    }

    /// Reads the rules of the configuration centre, and allows metadata that could not be read to be read again.
    pub(super) async fn read_rules(
        &mut self,
        client: &Client,
        outbox: &Outbox<Update>,
        trees: &[Tree],
    ) -> Result<(), End> {
        self.directory.try_again(None);
        let Some(rules) = &mut self.rules else { return Ok(()) };
        let failed = rules.failed;
        match rules.read_all(client, &mut self.directory).await {
            Ok(()) => self.relist |= failed,
            Err(error) if error.is_lost() => return Err(End::Lost(error)),
            Err(error) => {
                rules.failed = true;
                outbox.failed(scope(trees), &error).await?;
            }
        }
        Ok(())
    }

    /// Reads what has changed beside the services. If it is `due`, also what could not be read; with `all`, all rules
    /// as well. Returns `true` if there was something to read.
    pub(super) async fn look_around(
        &mut self,
        client: &Client,
        outbox: &Outbox<Update>,
        trees: &[Tree],
        around: BTreeSet<Around>,
        (due, all): (bool, bool),
    ) -> Result<bool, End> {
        let mut some = due && self.directory.try_again(None);
        if due && (all || self.rules.as_ref().is_some_and(|rules| rules.failed)) {
            self.read_rules(client, outbox, trees).await?;
            some = true;
        }
        let (mut texts, mut nodes) = (Vec::new(), Vec::new());
        if due && all {
            nodes.extend(trees.iter().filter(|tree| tree.layout == Layout::Dubbo).flat_map(Tree::names).cloned());
        }
        for place in around {
            match place {
                Around::Metadata(application) => {
                    let id = ServiceId::new(self.registry.clone(), self.namespace.clone(), "", application);
                    some |= self.directory.try_again(Some(&id));
                }
                Around::Rule(name) => texts.push(name),
                Around::Beside(node) => nodes.push(node),
                Around::Consumers(_) => {}
            }
        }
        if let Some(rules) = &self.rules {
            rules.read_some(client, &mut self.directory, &texts).await.map_err(End::Lost)?;
            rules.read_beside(client, &mut self.directory, &nodes).await.map_err(End::Lost)?;
            some |= !texts.is_empty() || !nodes.is_empty();
        }
        Ok(some)
    }

    /// Waits for an answer of a provider that is asked for its metadata; the next report takes it in.
    pub(super) async fn hear(&mut self) {
        self.interviews.hear().await;
    }

    /// The next time at which a weight grows by itself.
    pub(super) fn until(&self) -> Option<SystemTime> {
        self.directory.until()
    }

    /// True if a weight has grown by itself since the last report.
    pub(super) fn grown(&self, now: SystemTime) -> bool {
        self.until().is_some_and(|until| until <= now)
    }

    /// Takes in what has changed in a tree, and sends what follows: one by one, or as lists where only a list can show
    /// it.
    pub(super) async fn report(
        &mut self,
        client: &Client,
        outbox: &Outbox<Update>,
        trees: &[Tree],
        changed: Option<Changed>,
    ) -> Result<(), End> {
        let (mut listed, mut whole) = (self.relist, None);
        let mut told = Vec::new();
        if let Some(Changed { index, changes, whole: is_whole }) = changed {
            let tree = &trees[index];
            listed |= is_whole || changes.contains(&Change::Readable);
            whole = is_whole.then_some(tree);
            match tree.layout {
                Layout::Applications => self.applications_read |= is_whole,
                _ => self.interfaces_read |= is_whole,
            }
            if tree.layout == Layout::Applications && self.publish.has_applications() {
                told.extend(changes.iter().filter_map(|change| tree.message(change.clone())));
            }
            changes.into_iter().for_each(|change| self.take(tree.layout, change));
        }
        if self.publish.has_interfaces() {
            let before = self.problems();
            if let (Some(tree), Some(rules)) = (whole.filter(|tree| tree.layout == Layout::Dubbo), &self.rules) {
                let nodes: Vec<String> = tree.names().cloned().collect();
                rules.read_beside(client, &mut self.directory, &nodes).await.map_err(End::Lost)?;
            }
            self.fetch(client).await?;
            told.extend(self.changes(trees));
            if let Some(tree) = whole {
                // Who is no longer in the list seems to be gone, and is not reported as such.
                let services = tree.services().cloned().collect();
                match tree.layout {
                    Layout::Applications => self.directory.replace_applications(services, |_| false),
                    _ => self.directory.replace_interfaces(services, |_| false),
                }
                self.fetch(client).await?;
                told.extend(self.changes(trees).into_iter().filter(|update| matches!(update, Update::Applied(..))));
            }
            listed |= before != self.problems();
        }
        if !self.complete() {
            return Ok(());
        }
        (self.relist, self.told) = (false, true);
        Ok(self.tell(outbox, trees, told, listed).await?)
    }

    /// Sends changes: those that a list shows as lists, if it is to be `listed`, and the others one by one. A level that cannot
    /// be listed now is followed all the same.
    async fn tell(
        &self,
        outbox: &Outbox<Update>,
        trees: &[Tree],
        told: Vec<Update>,
        listed: bool,
    ) -> Result<(), Closed> {
        let lists: Vec<&Tree> = trees.iter().filter(|tree| listed && self.can_list(tree)).collect();
        // A list does not show that a service has no instance left; it would seem to be absent only.
        let is_shown = |update: &Update| match update {
            Update::Applied(scope, _) => lists.iter().any(|tree| tree.scope() == *scope),
            _ => false,
        };
        for update in told.into_iter().filter(|update| !is_shown(update)) {
            outbox.send(update).await?;
        }
        for tree in &lists {
            self.list(outbox, trees, tree.layout).await?;
        }
        Ok(())
    }

    /// True if the list of this level would be whole.
    fn can_list(&self, tree: &Tree) -> bool {
        let lacks_rules = tree.layout == Layout::Dubbo && self.rules.as_ref().is_some_and(|rules| rules.failed);
        self.complete() && !tree.failed && !lacks_rules
    }

    /// Sends the list of one level, once everything was read.
    pub(super) async fn list(&self, outbox: &Outbox<Update>, trees: &[Tree], layout: Layout) -> Result<(), Closed> {
        let tree = trees.iter().find(|tree| tree.layout == layout);
        let Some(tree) = tree.filter(|tree| self.can_list(tree)) else { return Ok(()) };
        let Update::Listed { scope, services, unreadable } = tree.list() else { return Ok(()) };
        let update = match layout {
            Layout::Applications => {
                let services = if self.publish.has_applications() { services } else { Vec::new() };
                let unreadable = unreadable.into_iter().chain(self.problems_of_metadata()).collect();
                Update::Listed { scope, services, unreadable }
            }
            _ => {
                let hidden: BTreeMap<&ServiceId, &Text> = unreadable.iter().map(|(id, why)| (id, why)).collect();
                let is_read = |service: &&Arc<Service>| !hidden.contains_key(&service.id);
                let services = self.directory.services().filter(is_read).cloned().collect();
                let unreadable = unreadable.iter().cloned().chain(self.problems_of_rules()).collect();
                Update::Listed { scope, services, unreadable }
            }
        };
        outbox.send(update).await
    }

    /// True if interfaces, applications and rules were each read once.
    fn complete(&self) -> bool {
        self.interfaces_read && self.applications_read && self.rules.as_ref().is_none_or(|rules| rules.read)
    }

    /// What is wrong with metadata and rules, as entries of the lists' `unreadable`.
    fn problems(&self) -> Vec<(ServiceId, Text)> {
        self.problems_of_metadata().chain(self.problems_of_rules()).collect()
    }

    fn problems_of_metadata(&self) -> impl Iterator<Item = (ServiceId, Text)> {
        let id = |id: ServiceId| ServiceId::new(self.registry.clone(), id.namespace.clone(), METADATA, id.name.clone());
        self.directory.problems().into_iter().map(move |(application, why)| (id(application), why))
    }

    fn problems_of_rules(&self) -> impl Iterator<Item = (ServiceId, Text)> {
        let id = |name: String| ServiceId::new(self.registry.clone(), self.root.clone(), CONFIG, name);
        self.directory.overrides().findings().map(move |(name, why)| (id(name), why.into()))
    }

    fn take(&mut self, layout: Layout, change: Change) {
        match (layout, change) {
            (Layout::Applications, Change::Applied(service)) => self.directory.put_application(service),
            (Layout::Applications, Change::Removed(id)) => self.directory.remove_application(&id),
            (_, Change::Applied(service)) => self.directory.put_interface(service),
            (_, Change::Removed(id)) => self.directory.remove_interface(&id),
            (_, Change::Readable) => {}
        }
    }

    /// The changes of interfaces since the last call, as updates.
    fn changes(&mut self, trees: &[Tree]) -> Vec<Update> {
        let scope = scope(trees);
        let changes = self.directory.settle(SystemTime::now());
        let update = |change| match change {
            directory::Change::Applied(service) => Some(Update::Applied(scope.clone()?, service)),
            directory::Change::Removed(id) => Some(Update::Removed(scope.clone()?, id)),
        };
        changes.into_iter().filter_map(update).collect()
    }

    /// Reads the metadata of revisions that are not known yet, or has it asked for. Only the loss of the session is an error.
    async fn fetch(&mut self, client: &Client) -> Result<(), End> {
        let wanted = self.interviews.look_for(&mut self.directory);
        for wanted in wanted.chunks(AT_ONCE) {
            let path = |wanted: &Wanted| format!("{}/{}/{}", self.metadata, wanted.application.name, wanted.revision);
            let paths: Vec<String> = wanted.iter().map(path).collect();
            let answers = client.read_many(What::Data, &paths).await.map_err(End::Lost)?;
            for ((wanted, path), answer) in wanted.iter().zip(paths).zip(answers) {
                let read = match answer {
                    Ok(Some(found)) => Ok(found.data),
                    Ok(None) => Err(format!("there is no {path}").into()),
                    Err(error) => Err(chain(&error)),
                };
                self.directory.learn(&wanted.application, wanted.revision.clone(), read);
            }
        }
        if !self.told {
            self.interviews.hear_first(&mut self.directory).await;
        }
        Ok(())
    }
}

/// The scope of the interfaces; `None` if they are not read.
fn scope(trees: &[Tree]) -> Option<Scope> {
    trees.iter().find(|tree| tree.layout == Layout::Dubbo).map(Tree::scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Address, Endpoint, Port},
        registry::zookeeper::config::Applications,
    };
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn what_no_list_shows_is_told_one_by_one() {
        let config = Config {
            overrides: true,
            applications: Some(Applications::default()),
            ..Config::new(vec!["zk:2181".into()], Layout::Dubbo)
        };
        let service = |namespace: &str, name: &str| {
            let endpoint = Endpoint::new(Address::parse("192.0.2.1").unwrap(), Port::new(1).unwrap());
            Arc::new(Service::new(ServiceId::new("zk", namespace, "", name), vec![endpoint]))
        };
        let (interface, application) = (service("dubbo", "a.B"), service("services", "shop"));
        for (rules_failed, tree_failed, expected) in [
            (false, false, "-a.C [/dubbo] [/services]"),
            (true, false, "+a.B -a.C [/services]"),
            (false, true, "+a.B -a.C [/services]"),
        ] {
            let tree = |layout: Layout| Tree::new("zk".into(), layout, layout.default_root().into());
            let mut trees = [tree(Layout::Dubbo), tree(Layout::Applications)];
            trees[0].failed = tree_failed;
            let mut levels = Levels::of(&config, &"zk".into()).unwrap();
            (levels.interfaces_read, levels.applications_read) = (true, true);
            let rules = levels.rules.as_mut().unwrap();
            (rules.read, rules.failed) = (true, rules_failed);
            levels.directory.put_interface(interface.clone());
            let mut told = levels.changes(&trees);
            told.push(Update::Removed(trees[0].scope(), ServiceId::new("zk", "dubbo", "", "a.C")));
            told.push(Update::Applied(trees[1].scope(), application.clone()));
            let (out, mut updates) = mpsc::channel(8);
            levels.tell(&Outbox::new(out), &trees, told, true).await.unwrap();
            let mut sent = Vec::new();
            while let Some(update) = updates.recv().await {
                sent.push(match update {
                    Update::Applied(_, service) => format!("+{}", service.id.name),
                    Update::Removed(_, id) => format!("-{}", id.name),
                    Update::Listed { scope, .. } => format!("[{scope}]"),
                    other => panic!("{other:?}"),
                });
            }
            assert_eq!(sent.join(" "), expected, "rules {rules_failed}, tree {tree_failed}");
        }
    }
}
