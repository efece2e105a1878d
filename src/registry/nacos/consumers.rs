//! Who calls whom: Dubbo's consumers that register themselves (`register-consumer-url`) as instances of
//! `consumers:INTERFACE:VERSION:GROUP`.
//!
//! They are no services, and none of the services' ways holds for them: an instance of theirs has the port 0. So they
//! are read apart, by names and then each by itself: new names with each period, all of them with each `resync`. What
//! cannot be read stays as it was.

use super::{
    api::{
        Api,
        budget::{Budget, Limits},
        named,
        namespaces::Namespaces,
        pages::{List, Page, Size},
        wire,
    },
    config::Config,
    error::Error,
    name::{DEFAULT_GROUP, group_and_name},
    transport::{Client, json},
};
use crate::{
    model::{CallUpdate, Needs, ServiceId, Text},
    registry::{
        callers::Callers,
        dubbo::{consumer, in_metadata},
        metadata,
        transport::Answer,
    },
    util::backoff::jittered,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, value::RawValue};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tracing::debug;

/// The ways in which names and single services are read, best first.
const WAYS: [Api; 3] = [Api::EachV2, Api::EachV1, Api::EachGrpc];

struct Reader {
    registry: Text,
    config: Config,
    client: Arc<Client>,
    namespaces: Namespaces,
    /// What was last told; each place is the id of a service.
    callers: Callers,
}

/// Reads and sends again and again, until it is dropped with the registry's reading.
pub(super) async fn run(registry: Text, config: Config, client: Arc<Client>, out: mpsc::Sender<CallUpdate>) {
    let (period, resync) = (config.period, config.resync);
    let (namespaces, callers) = Default::default();
    let mut reader = Reader { registry, config, client, namespaces, callers };
    let mut whole = Instant::now();
    loop {
        let all = whole <= Instant::now();
        let update = match reader.read(all).await {
            Ok(update) => {
                if all {
                    whole = Instant::now() + jittered(resync);
                }
                update
            }
            Err(error) => {
                whole = Instant::now();
                Some(reader.callers.fail(reader.client.http.shown(&error)))
            }
        };
        // A newer reading may have taken this one's place: then nobody wants what this one says.
        if let Some(update) = update {
            let _ = out.send(update).await;
        }
        sleep(jittered(period)).await;
    }
}

impl Reader {
    /// Reads the consumers of all services, or only of new ones. `None` if nothing has changed.
    async fn read(&mut self, all: bool) -> Result<Option<CallUpdate>, Error> {
        self.client.http.find_servers().await?;
        let budget = Budget::new(Limits::of(&self.config.connection));
        let mut read = BTreeMap::new();
        let mut unread = BTreeSet::new();
        for (namespace, wrong) in self.namespaces.wanted(&self.config, &self.client).await? {
            if let Some(error) = wrong {
                return Err(error);
            }
            for group in self.groups() {
                let source = Source { reader: self, namespace: &namespace, group: &group, budget: &budget };
                source.read(all, &mut read, &mut unread).await?;
            }
        }
        Ok(self.callers.list(read, unread))
    }

    /// The groups that are configured by name, or else the default group: lists cannot be asked for by a pattern.
    fn groups(&self) -> BTreeSet<Text> {
        let named = self.config.groups.iter().filter(|group| !group.contains(['*', '?'])).cloned();
        let default = self.config.groups.iter().all(|group| group.contains(['*', '?']));
        named.chain(default.then(|| DEFAULT_GROUP.into())).collect()
    }
}

/// One group of a namespace, to be read.
struct Source<'a> {
    reader: &'a Reader,
    namespace: &'a Text,
    group: &'a Text,
    budget: &'a Budget,
}

impl Source<'_> {
    async fn read(
        &self,
        all: bool,
        read: &mut BTreeMap<Text, Arc<Needs>>,
        unread: &mut BTreeSet<Text>,
    ) -> Result<(), Error> {
        let (api, ids) = self.names().await?;
        let callers = &self.reader.callers;
        let mut questions = Vec::new();
        for id in ids {
            let place = Text::from(id.to_string());
            match callers.of(&place).filter(|_| !all) {
                Some(known) => drop(read.insert(place, known.clone())),
                None => questions.push(async move { (self.callers(api, &id).await, place) }),
            }
        }
        let mut answers = stream::iter(questions).buffer_unordered(self.reader.config.concurrency);
        while let Some((answer, place)) = answers.next().await {
            match answer {
                Ok(said) => {
                    let said = callers.same(&place, said);
                    read.insert(place, said);
                }
                Err(error) if error.is_server_lost() || matches!(error, Error::OverLimit { .. }) => return Err(error),
                Err(error) => {
                    debug!(%place, error = %self.reader.client.http.shown(&error), "Cannot read the consumers of an interface; they stay as they were.");
                    unread.insert(place);
                }
            }
        }
        Ok(())
    }

    /// The services of consumers in the group, and the interface that shows them.
    async fn names(&self) -> Result<(Api, BTreeSet<ServiceId>), Error> {
        let mut last = None;
        for api in WAYS {
            let list = List { what: "services", path: api.list(), budget: self.budget };
            match list.whole(|number| self.page(api, number)).await {
                Ok(names) => {
                    return Ok((api, names.into_keys().filter(|id| consumer::needed(&id.name).is_some()).collect()));
                }
                Err(error) if error.is_not_offered() => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(Error::NoGroups))
    }

    async fn page(&self, api: Api, number: usize) -> Result<Page<ServiceId, ()>, Error> {
        let (number, size) = (number.to_string(), self.reader.config.page_size.to_string());
        let query = [
            ("namespaceId", &**self.namespace),
            ("groupName", &**self.group),
            ("pageNo", &number),
            ("pageSize", &size),
        ];
        let Answer { origin, body, .. } = api.get(&self.reader.client, api.list(), &query).await?;
        let names: wire::Names = api.read(&origin, &body)?;
        let id = |name: &String| {
            let (_, name) = group_and_name(name, Some(self.group));
            ServiceId::new(self.reader.registry.clone(), self.namespace.clone(), self.group.clone(), name)
        };
        let entries = names.doms.iter().map(|name| (id(name), ())).collect();
        Ok(Page { entries, total: Some(names.count), size: Size { bytes: body.len(), parts: 0 } })
    }

    async fn callers(&self, api: Api, id: &ServiceId) -> Result<Needs, Error> {
        let Answer { origin, body, .. } = api.get(&self.reader.client, api.instances(), &named(id)).await?;
        let list: wire::Instances<'_> = api.read(&origin, &body)?;
        let hosts: Vec<&RawValue> = json::bare(&origin, list.hosts.get().as_bytes())?;
        self.budget.take("instances", hosts.len(), body.len())?;
        let mut callers = Needs::default();
        let Some(named) = consumer::needed(&id.name) else { return Ok(callers) };
        for host in hosts {
            let read = serde_json::from_str::<wire::Instance>(host.get()).map_err(|error| error.to_string());
            let read = read.and_then(|instance| {
                let Value::Object(fields) = instance.metadata else { return Err("has no metadata".to_owned()) };
                let labels = metadata::labels(fields);
                let ip = instance.ip.as_str().unwrap_or_default();
                consumer::in_service(&named, in_metadata(&labels)).map_err(|why| format!("{ip} {why}"))
            });
            callers.add(&named.interface, read);
        }
        Ok(callers.finish())
    }
}
