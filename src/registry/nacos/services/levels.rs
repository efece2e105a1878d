//! Dubbo's interfaces and applications in one scope, put together by the directory of both: what is read goes in under Nacos'
//! names, what is sent comes out. Services of others pass.

use super::{rules::Texts, spellings::Lists};
use crate::{
    model::{Service, ServiceId, Text},
    registry::{
        dubbo::{
            self, Migration, Naming, Publish, Step,
            directory::{Change, Directory, Wanted},
        },
        nacos::{
            api::{
                Api,
                budget::Budget,
                configuration::{Named, text},
            },
            config::Config,
            error::Error,
            transport::Client,
        },
        providers::Interviews,
    },
    util::error::chain,
};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

/// The groups of the ids under which unreadable metadata and rules are listed.
const METADATA: &str = "metadata";
const CONFIG: &str = "config";
/// The name under which it is listed that no rules can be read.
const ALL_RULES: &str = "rules";

/// The namespace of which metadata is read, and by which client and interface.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    pub(super) api: Api,
    pub(super) namespace: &'a Text,
    pub(super) budget: &'a Budget,
    pub(super) concurrency: usize,
}

#[derive(Debug)]
pub(super) struct Levels {
    directory: Directory,
    publish: Publish,
    registry: Text,
    namespace: Text,
    /// Applications are read as such. If not, they are services like any other.
    reads_applications: bool,
    /// The scope was listed at least once.
    listed: bool,
    /// The rules that the directory has now.
    rules: Arc<Texts>,
    /// Rules that cannot be read now, with the reason. What they said before stays in force.
    unread: Vec<(Text, Text)>,
    /// Why the rules as a whole cannot be read now; `None` if they can.
    trouble: Option<Text>,
    /// Providers that are asked for their metadata, and what they have said.
    interviews: Interviews,
    /// Services that are instances of Dubbo's applications; also while they have none.
    applications: BTreeSet<ServiceId>,
}

impl Levels {
    pub(super) fn new(registry: &Text, config: &Config) -> Self {
        let applications = config.applications.as_ref();
        let only_interfaces = Migration { step: Step::ForceInterface, ..Migration::default() };
        let migration = applications.map_or(only_interfaces, |applications| applications.migration);
        let asks_providers = applications.is_some_and(|applications| applications.ask_providers);
        Levels {
            directory: Directory::new(Naming::Nacos, migration, asks_providers),
            publish: applications.map(|applications| applications.publish).unwrap_or_default(),
            registry: registry.clone(),
            namespace: Text::default(),
            reads_applications: applications.is_some(),
            listed: false,
            rules: Arc::default(),
            unread: Vec::new(),
            trouble: None,
            interviews: Interviews::new(),
            applications: BTreeSet::new(),
        }
    }

    /// Takes the rules of the namespace, and why they cannot be read now. `true` if other findings are to be reported
    /// than before.
    pub(super) fn rule(&mut self, namespace: &Text, (rules, trouble): (Arc<Texts>, Option<Text>)) -> bool {
        self.namespace = namespace.clone();
        let other_trouble = trouble.is_some() != self.trouble.is_some();
        self.trouble = trouble;
        if Arc::ptr_eq(&rules, &self.rules) {
            return other_trouble;
        }
        let before = self.problems_of_rules();
        let known = std::mem::replace(&mut self.rules, rules);
        for name in known.keys().filter(|name| !self.rules.contains_key(*name)) {
            self.directory.put_rule(name, None);
        }
        for (name, text) in self.rules.iter() {
            if let Ok(text) = &text.text
                && known.get(name).is_none_or(|known| known.text.as_ref() != Ok(text))
            {
                self.directory.put_rule(name, Some(text.as_bytes()));
            }
        }
        let unread = self.rules.iter().filter_map(|(name, text)| Some((name.clone(), text.text.clone().err()?)));
        self.unread = unread.collect();
        other_trouble || before != self.problems_of_rules()
    }

    /// Waits for an answer of a provider that is asked for its metadata; the next look takes it in.
    pub(super) async fn hear(&mut self) {
        self.interviews.hear().await;
    }

    /// Takes the services of the scope, and returns them as they are published.
    ///
    /// # Errors
    /// If the server is lost or the budget is used up while metadata is read: then the services are not known.
    pub(super) async fn list(&mut self, source: Source<'_>, (services, unreadable): Lists) -> Result<Lists, Error> {
        let unread: BTreeSet<ServiceId> = unreadable.iter().map(|(id, _)| id.clone()).collect();
        let is_unread = |id: &ServiceId| unread.contains(id);
        let (mut others, mut interfaces, mut applications) = (Vec::new(), Vec::new(), Vec::new());
        let listed: BTreeSet<&ServiceId> = services.iter().map(|s| &s.id).collect();
        self.applications.retain(|id| listed.contains(id) || is_unread(id));
        drop(listed);
        for service in services {
            if dubbo::is_provider(&service.id.name) {
                interfaces.push(service);
            } else if self.is_application(&service) {
                self.applications.insert(service.id.clone());
                applications.push(service);
            } else {
                others.push(service);
            }
        }
        if self.publish.has_applications() {
            others.extend(applications.iter().cloned());
        }
        if self.publish.has_interfaces() {
            self.directory.replace_interfaces(interfaces, is_unread);
            self.directory.replace_applications(applications, is_unread);
            self.directory.try_again(None);
            self.fetch(source).await?;
            if !self.listed {
                self.interviews.hear_first(&mut self.directory).await;
            }
            self.listed = true;
            self.directory.settle(SystemTime::now());
            others.extend(self.directory.services().filter(|service| !is_unread(&service.id)).cloned());
        }
        others.sort_by(|a, b| a.id.cmp(&b.id));
        let unreadable = unreadable.into_iter().chain(self.problems()).collect();
        Ok((others, unreadable))
    }

    /// Takes services that have changed, and returns what that changes. With an error it is not all: the next look
    /// brings the rest.
    pub(super) async fn changed(
        &mut self,
        source: Source<'_>,
        services: Vec<Arc<Service>>,
    ) -> (Vec<Arc<Service>>, Option<Error>) {
        let mut changed = Vec::new();
        for service in services {
            if dubbo::is_provider(&service.id.name) {
                self.directory.put_interface(service);
            } else if self.is_application(&service) {
                self.applications.insert(service.id.clone());
                if self.publish.has_applications() {
                    changed.push(service.clone());
                }
                self.directory.put_application(service);
            } else {
                changed.push(service);
            }
        }
        self.settled(source, changed).await
    }

    /// Reads metadata again that could not be read, and returns what that, or time, changes. Errors are as for
    /// [`Levels::changed`].
    pub(super) async fn look(&mut self, source: Source<'_>) -> (Vec<Arc<Service>>, Option<Error>) {
        self.directory.try_again(None);
        self.settled(source, Vec::new()).await
    }

    async fn settled(
        &mut self,
        source: Source<'_>,
        mut changed: Vec<Arc<Service>>,
    ) -> (Vec<Arc<Service>>, Option<Error>) {
        if !self.publish.has_interfaces() || !self.listed {
            return (changed, None);
        }
        match self.settle(source).await {
            Ok(more) => changed.extend(more),
            Err(error) => return (changed, Some(error)),
        }
        (changed, None)
    }

    async fn settle(&mut self, source: Source<'_>) -> Result<Vec<Arc<Service>>, Error> {
        let before: BTreeMap<ServiceId, Arc<Service>> =
            self.directory.services().map(|service| (service.id.clone(), service.clone())).collect();
        self.fetch(source).await?;
        let changes = self.directory.settle(SystemTime::now());
        // That nobody provides it any more is said at once; that it is gone, by the next list.
        let emptied = |id| {
            let last: &Arc<Service> = before.get(&id)?;
            Some(Arc::new(Service { endpoints: Vec::new(), notes: Vec::new(), ..Service::clone(last) }))
        };
        let service = |change| match change {
            Change::Applied(service) => Some(service),
            Change::Removed(id) => emptied(id),
        };
        Ok(changes.into_iter().filter_map(service).collect())
    }

    /// True for a service with instances that name a revision, or that had some.
    fn is_application(&self, service: &Service) -> bool {
        if !self.reads_applications {
            return false;
        }
        let says = service.endpoints.iter().any(|instance| instance.labels.contains_key(dubbo::metadata::REVISION));
        says || service.endpoints.is_empty() && self.applications.contains(&service.id)
    }

    /// Reads the metadata of revisions that are not known yet, or has providers asked for it.
    async fn fetch(&mut self, source: Source<'_>) -> Result<(), Error> {
        let wanted = self.interviews.look_for(&mut self.directory);
        let questions = wanted.into_iter().map(|Wanted { application, revision, .. }| async move {
            let named = Named { namespace: source.namespace, group: &revision, data_id: &application.name };
            let read = text(source.client, source.api, named, source.budget).await;
            (application, revision, read)
        });
        let mut answers = stream::iter(questions.collect::<Vec<_>>()).buffer_unordered(source.concurrency);
        let mut read = Vec::new();
        while let Some((application, revision, answer)) = answers.next().await {
            let text = match answer {
                Ok(Some(text)) => Ok(text),
                Ok(None) => Err(format!("there is no configuration {} in group {revision}", application.name).into()),
                Err(error) if error.is_server_lost() || matches!(error, Error::OverLimit { .. }) => return Err(error),
                Err(error) => Err(chain(&error).into()),
            };
            read.push((application, revision, text));
        }
        drop(answers);
        read.into_iter().for_each(|(application, revision, text)| self.directory.learn(&application, revision, text));
        Ok(())
    }

    fn problems(&self) -> Vec<(ServiceId, Text)> {
        let id = |id: ServiceId| ServiceId::new(id.registry.clone(), id.namespace.clone(), METADATA, id.name.clone());
        let problems = if self.publish.has_interfaces() { self.directory.problems() } else { Vec::new() };
        let problems = problems.into_iter().map(|(application, why)| (id(application), why));
        problems.chain(self.problems_of_rules()).collect()
    }

    fn problems_of_rules(&self) -> Vec<(ServiceId, Text)> {
        let all = self.trouble.as_ref().map(|why| (ALL_RULES.into(), format!("they stay as they were: {why}")));
        let id = |name| ServiceId::new(self.registry.clone(), self.namespace.clone(), CONFIG, name);
        let stays =
            |(name, why): &(Text, Text)| (name.to_string(), format!("what it said before stays in force: {why}"));
        let is_read = |(name, _): &(String, String)| self.unread.iter().all(|(unread, _)| **unread != **name);
        let findings = self.directory.overrides().findings().filter(is_read).chain(self.unread.iter().map(stays));
        findings.chain(all).map(|(name, why): (String, String)| (id(name), why.into())).collect()
    }
}
