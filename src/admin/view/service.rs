//! The answers of `/api/v1/services`: published and unpublished services, with the reasons.

use super::page::{Limit, Page};
use crate::{
    admin::Rejected,
    catalog::{Catalog, Record},
    model::{Health, Hostname, Note, PublishedEndpoint, PublishedService, ServiceId, Text},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The parameters of `/api/v1/services`; one that is not given restricts nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Query {
    /// A host or alias of the service, in full.
    host: Option<String>,
    /// The name of a registry that feeds the service.
    registry: Option<String>,
    /// A part of a host, of an alias, or of the name in a registry.
    q: Option<String>,
    /// The code of a note's reason.
    reason: Option<String>,
    /// Only published services, or only unpublished ones.
    published: Option<bool>,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    limit: Limit,
    /// The last service of the previous page.
    r#continue: Option<Token>,
}

/// The fields of a page besides its services.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Head {
    number: u64,
    sync: &'static str,
    /// How many services match, with those of other pages.
    total: usize,
    offset: usize,
    r#continue: Option<String>,
}

#[derive(Debug, Serialize)]
pub(in crate::admin) struct Summary<'a> {
    published: bool,
    host: Option<&'a str>,
    aliases: Vec<&'a str>,
    sources: Vec<String>,
    ports: Vec<Port<'a>>,
    endpoints: Counts,
    protected: bool,
    notes: Vec<NoteView<'a>>,
}

#[derive(Debug, Serialize)]
struct Counts {
    total: usize,
    serving: usize,
}

#[derive(Debug, Serialize)]
struct Port<'a> {
    name: &'a str,
    number: u16,
    protocol: &'static str,
    host: &'a str,
}

#[derive(Debug, Serialize)]
struct NoteView<'a> {
    reason: &'static str,
    subject: &'a str,
    detail: &'a str,
}

#[derive(Debug, Serialize)]
pub(in crate::admin) struct Detail<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    labels: &'a BTreeMap<Text, Text>,
    protect_threshold: Option<f64>,
    dns: bool,
    instances: Vec<Instance<'a>>,
    records: Vec<RecordView<'a>>,
    rejected: Vec<Rejected>,
}

#[derive(Debug, Serialize)]
struct Instance<'a> {
    address: String,
    ports: BTreeMap<&'a str, u16>,
    weight: f64,
    health: &'static str,
    locality: String,
    labels: &'a BTreeMap<Text, Text>,
    secure: bool,
    priority: u32,
}

#[derive(Debug, Serialize)]
struct RecordView<'a> {
    id: String,
    hosts: Vec<&'a str>,
    /// How many instances the registry has, with those that are not served.
    registered: usize,
    notes: Vec<NoteView<'a>>,
}

/// A service that matches: a published one, or a registry's record without a host.
#[derive(Debug)]
pub(in crate::admin) enum Found {
    Published(Arc<PublishedService>),
    Unpublished(Arc<Record>),
}

/// A place in the list: all services up to this one have been shown. Written as a host, or as a list of the parts of an id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
enum Token {
    Published(Hostname),
    Unpublished(ServiceId),
}

impl TryFrom<String> for Token {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if let Ok(host) = Hostname::new(&text) {
            return Ok(Token::Published(host));
        }
        let [registry, namespace, group, name]: [String; 4] =
            serde_json::from_str(&text).map_err(|_| "`continue` is what the page before has there")?;
        Ok(Token::Unpublished(ServiceId::new(registry, namespace, group, name)))
    }
}

impl Token {
    fn text(&self) -> String {
        match self {
            Token::Published(host) => host.to_string(),
            Token::Unpublished(id) => {
                serde_json::json!([&*id.registry, &*id.namespace, &*id.group, &*id.name]).to_string()
            }
        }
    }
}

/// The services that match: first those published, by host, then those not, by id.
pub(in crate::admin) fn page(catalog: &Catalog, query: &Query) -> (Head, Vec<Found>) {
    let published = catalog.services.values().map(|s| Found::Published(s.clone()));
    let unpublished = catalog.records.values().filter(|r| r.hosts.is_empty()).map(|r| Found::Unpublished(r.clone()));
    let matching = published.chain(unpublished).filter(|found| query.matches(catalog, found));
    let before = |found: &Found| query.r#continue.as_ref().is_some_and(|last| found.token() <= *last);
    let page = Page::of(matching, before, query.offset, query.limit);
    let head = Head {
        number: catalog.number,
        sync: catalog.sync.name(),
        total: page.total,
        offset: query.offset,
        r#continue: page.next(|last| last.token().text()),
    };
    (head, page.items)
}

/// All details of a service: by its host or an alias, or by its id or name in a registry. Several may have that name: the first
/// that is published, or else the first.
pub(in crate::admin) fn detail<'a>(catalog: &'a Catalog, rejected: Vec<Rejected>, name: &str) -> Option<Detail<'a>> {
    let by_host = Hostname::new(name).ok().and_then(|host| catalog.services.get(&host));
    let by_alias = || catalog.services.values().find(|s| s.aliases.iter().any(|a| a.as_str() == name));
    if let Some(service) = by_host.or_else(by_alias) {
        return Some(Detail::of_published(catalog, service, rejected));
    }
    let is_meant = |id: &ServiceId| &*id.name == name || id.to_string() == name;
    let records: Vec<&Record> = catalog.records.values().map(Arc::as_ref).filter(|r| is_meant(&r.service.id)).collect();
    match records.iter().flat_map(|record| &record.hosts).find_map(|host| catalog.services.get(host)) {
        Some(service) => Some(Detail::of_published(catalog, service, rejected)),
        None => records.first().map(|record| Detail::of_record(record)),
    }
}

impl Query {
    /// Whether the service matches. A reason may be in a note of the service, or of a record that feeds it.
    fn matches(&self, catalog: &Catalog, found: &Found) -> bool {
        let (hosts, sources, notes) = found.parts();
        let records = || sources.iter().filter_map(|id| catalog.records.get(id)).flat_map(|record| &record.notes);
        let given = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(test);
        self.published.is_none_or(|wanted| wanted == matches!(found, Found::Published(_)))
            && given(&self.host, &|host| hosts.iter().any(|h| h.as_str() == host))
            && given(&self.registry, &|registry| sources.iter().any(|id| &*id.registry == registry))
            && given(&self.reason, &|reason| notes.iter().chain(records()).any(|n| n.reason.code() == reason))
            && given(&self.q, &|q| {
                hosts.iter().any(|h| h.as_str().contains(q)) || sources.iter().any(|id| id.name.contains(q))
            })
    }
}

impl Found {
    fn token(&self) -> Token {
        match self {
            Found::Published(s) => Token::Published(s.host.clone()),
            Found::Unpublished(r) => Token::Unpublished(r.service.id.clone()),
        }
    }

    fn parts(&self) -> (Vec<&Hostname>, &[ServiceId], &[Note]) {
        match self {
            Found::Published(s) => (std::iter::once(&s.host).chain(&s.aliases).collect(), &s.sources, &s.notes),
            Found::Unpublished(r) => (Vec::new(), std::slice::from_ref(&r.service.id), &r.notes),
        }
    }
}

impl<'a> Summary<'a> {
    pub(in crate::admin) fn of(found: &'a Found) -> Self {
        match found {
            Found::Published(service) => Summary::of_published(service),
            Found::Unpublished(record) => Summary::of_record(record),
        }
    }

    fn of_published(service: &'a PublishedService) -> Self {
        let health = service.endpoints.iter().map(|e| e.health);
        Summary {
            published: true,
            host: Some(service.host.as_str()),
            aliases: service.aliases.iter().map(Hostname::as_str).collect(),
            sources: service.sources.iter().map(ToString::to_string).collect(),
            ports: service
                .ports
                .iter()
                .map(|p| Port {
                    name: &p.name,
                    number: p.number.get(),
                    protocol: p.protocol.name(),
                    host: p.host.as_str(),
                })
                .collect(),
            endpoints: Counts {
                total: service.endpoints.len(),
                serving: health.filter(|h| Health::serves(*h)).count(),
            },
            protected: service.protected,
            notes: notes(&service.notes),
        }
    }

    fn of_record(record: &'a Record) -> Self {
        Summary {
            published: false,
            host: None,
            aliases: Vec::new(),
            sources: vec![record.service.id.to_string()],
            ports: Vec::new(),
            endpoints: Counts { total: record.service.endpoints.len(), serving: 0 },
            protected: false,
            notes: notes(&record.notes),
        }
    }
}

impl<'a> Detail<'a> {
    fn of_published(catalog: &'a Catalog, service: &'a PublishedService, rejected: Vec<Rejected>) -> Self {
        let records = service.sources.iter().filter_map(|id| catalog.records.get(id));
        Detail {
            summary: Summary::of_published(service),
            labels: &service.labels,
            protect_threshold: service.protect_threshold.map(|t| t.get()),
            dns: service.dns,
            instances: service.endpoints.iter().map(Instance::of).collect(),
            records: records.map(|r| RecordView::of(r)).collect(),
            rejected: rejected.into_iter().filter(|r| r.host == service.host.as_str()).collect(),
        }
    }

    fn of_record(record: &'a Record) -> Self {
        Detail {
            summary: Summary::of_record(record),
            labels: &record.service.labels,
            protect_threshold: record.service.protect_threshold.map(|t| t.get()),
            dns: false,
            instances: Vec::new(),
            records: vec![RecordView::of(record)],
            rejected: Vec::new(),
        }
    }
}

impl<'a> Instance<'a> {
    fn of(endpoint: &'a PublishedEndpoint) -> Self {
        Instance {
            address: endpoint.address.to_string(),
            ports: endpoint.ports.iter().map(|(name, port)| (&**name, port.get())).collect(),
            weight: endpoint.weight.get(),
            health: endpoint.health.name(),
            locality: endpoint.locality.to_string(),
            labels: &endpoint.labels,
            secure: endpoint.secure,
            priority: endpoint.priority,
        }
    }
}

impl<'a> RecordView<'a> {
    fn of(record: &'a Record) -> Self {
        RecordView {
            id: record.service.id.to_string(),
            hosts: record.hosts.iter().map(Hostname::as_str).collect(),
            registered: record.service.endpoints.len(),
            notes: notes(&record.notes),
        }
    }
}

fn notes(notes: &[Note]) -> Vec<NoteView<'_>> {
    notes.iter().map(|n| NoteView { reason: n.reason.code(), subject: &n.subject, detail: &n.detail }).collect()
}
