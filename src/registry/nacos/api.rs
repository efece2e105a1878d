//! Which of its interfaces a server answers, and which namespaces it has: found by asking, best first.
//!
//! **Measured** on 2.3.2 and 3.1.0, by settings and rights:
//! - 2.3.2 answers all of v1 and v2. 3.1.0 answers v1's names and instances with
//!   `nacos.core.api.compatibility.client.enabled`, those of v2 with `.admin.enabled`, v1's catalog with `.console.enabled`
//!   (and then 500 as soon as there is a service); all others are 410. `v3/client` has no list of services, and a list of
//!   instances of one cluster, `DEFAULT` unless `clusterName` names others: it is of no use here.
//! - v2's lists are v1's in an envelope: no disabled instances, all healthy once a threshold is reached, an empty list for
//!   a namespace or a service that does not exist. (`v2/ns/service` says 400 with code 21008 of the latter.)
//! - A bulk list takes the right to read all of a namespace, `ID:*:*`, also in 3.x' admin interface; names and instances
//!   take that to one group, `ID:GROUP:*`. The list of namespaces takes an administrator in 3.1.0, and nothing in 2.3.2.

use super::{client::Client, error::Error, grpc, wire};
use crate::{
    model::{ServiceId, Text},
    registry::{chain, transport::Answer},
};
use serde::de::DeserializeOwned;
use std::fmt;

/// How services are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// 3.x: bulk list of its admin interface.
    AdminV3,
    /// 1.x and 2.x: bulk list of the console's interface.
    CatalogV1,
    /// Names by group, then each service by itself: 2.2 and later, with the right to read a group.
    EachV2,
    /// The same, in 1.x to 3.x.
    EachV1,
    /// The same by gRPC, in 2.x and 3.x: nothing switches it off.
    EachGrpc,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Api::AdminV3 => "v3 admin, bulk",
            Api::CatalogV1 => "v1 catalog, bulk",
            Api::EachV2 => "v2, service by service",
            Api::EachV1 => "v1, service by service",
            Api::EachGrpc => "gRPC, service by service",
        })
    }
}

impl Api {
    /// Best first.
    const ALL: [Api; 5] = [Api::AdminV3, Api::CatalogV1, Api::EachV2, Api::EachV1, Api::EachGrpc];

    /// Whether there is none to look for.
    pub(super) fn is_best(self) -> bool {
        self == Api::ALL[0]
    }

    /// Whether one list shows all groups.
    pub(super) const fn is_bulk(self) -> bool {
        matches!(self, Api::AdminV3 | Api::CatalogV1)
    }

    /// Where the list is.
    pub(super) const fn list(self) -> &'static str {
        match self {
            Api::AdminV3 => "/v3/admin/ns/service/list",
            Api::CatalogV1 => "/v1/ns/catalog/services",
            Api::EachV2 => "/v2/ns/service/list",
            Api::EachV1 => "/v1/ns/service/list",
            Api::EachGrpc => grpc::LIST,
        }
    }

    /// Where the instances of one service are.
    pub(super) const fn instances(self) -> &'static str {
        match self {
            Api::EachV2 => "/v2/ns/instance/list",
            Api::EachGrpc => grpc::INSTANCES,
            _ => "/v1/ns/instance/list",
        }
    }

    /// Where the settings of one service are.
    const fn settings_path(self) -> &'static str {
        match self {
            Api::AdminV3 => "/v3/admin/ns/service",
            _ => "/v1/ns/service",
        }
    }

    /// None where a connection says it.
    const fn readiness(self) -> Option<&'static str> {
        Some(match self {
            Api::AdminV3 => "/v3/admin/core/state/readiness",
            Api::EachV2 => "/v2/console/health/readiness",
            Api::CatalogV1 | Api::EachV1 => "/v1/console/health/readiness",
            Api::EachGrpc => return None,
        })
    }

    /// Asks what [`Api::list`] or [`Api::instances`] names.
    pub(super) async fn get(
        self,
        client: &Client,
        what: &'static str,
        query: &[(&str, &str)],
    ) -> Result<Answer, Error> {
        if self == Api::EachGrpc { grpc::ask(client, what, query).await } else { client.get(what, query).await }
    }

    /// The settings of one service, as much of them as `T` has.
    pub(super) async fn settings<T: DeserializeOwned>(self, client: &Client, id: &ServiceId) -> Result<T, Error> {
        let Answer { url, body, .. } = client.get(self.settings_path(), &named(id)).await?;
        wire::answered(self, &url, &body)
    }

    /// Whether it works in one place at least: all of a namespace, or one of the groups.
    async fn probe(self, client: &Client, place: &Place) -> Result<(), Error> {
        if self.is_bulk() {
            return self.probe_list(client, &place.namespace, ("withInstances", "true")).await;
        }
        let mut outcome = Ok(());
        for group in &place.groups {
            outcome = self.probe_list(client, &place.namespace, ("groupName", group)).await;
            // A right may be given for one group only.
            if !outcome.as_ref().is_err_and(Error::is_denied) {
                break;
            }
        }
        outcome
    }

    async fn probe_list(self, client: &Client, namespace: &str, more: (&str, &str)) -> Result<(), Error> {
        let query = [("namespaceId", namespace), ("pageNo", "1"), ("pageSize", "1"), more];
        let answer = self.get(client, self.list(), &query).await?;
        match self {
            Api::AdminV3 => wire::enveloped::<wire::Page<'_>>(&answer.url, &answer.body).map(drop),
            Api::CatalogV1 => wire::bare::<Vec<&serde_json::value::RawValue>>(&answer.url, &answer.body).map(drop),
            Api::EachV2 | Api::EachV1 | Api::EachGrpc => {
                wire::answered::<wire::Names>(self, &answer.url, &answer.body).map(drop)
            }
        }
    }

    /// A server that is starting may answer lists before it has its data.
    async fn ready(self, client: &Client) -> Result<(), Error> {
        let Some(path) = self.readiness() else { return Ok(()) };
        match client.get(path, &[]).await {
            Err(error) if !error.is_not_offered() => Err(error),
            // Not offered, or not for us: then nothing is known, and the list itself has answered.
            _ => Ok(()),
        }
    }
}

/// A service as a query names it.
pub(super) fn named(id: &ServiceId) -> [(&'static str, &str); 3] {
    [("namespaceId", &id.namespace), ("groupName", &id.group), ("serviceName", &id.name)]
}

/// Where an interface is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: Text,
    /// Those that are read where groups are read one by one; at least one.
    pub(super) groups: Vec<Text>,
}

/// The best interface that works in one of the places: rights may be given for some only, and one may be broken. A
/// server that fails outright is starting or gone, and is asked later, lest a worse interface be chosen for good. For the
/// same reason those that were refused are asked once more at the end: meanwhile an old token may have been replaced, or the
/// server has loaded our rights.
pub(super) async fn detect(client: &Client, places: &[Place]) -> Result<Api, Error> {
    let found = first_that_works(client, places).await?;
    Ok(better(client, found, places).await.unwrap_or(found))
}

async fn first_that_works(client: &Client, places: &[Place]) -> Result<Api, Error> {
    let mut tried = Vec::new();
    for api in Api::ALL {
        let mut failure = None;
        for place in places {
            match api.probe(client, place).await {
                Ok(()) => return api.ready(client).await.map(|()| api),
                Err(error) if error.is_not_offered() => {
                    tried.push(chain(&error).to_string());
                    if error.is_absent() {
                        break;
                    }
                }
                Err(error) if error.is_unreachable() => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
    }
    Err(Error::NoApi(tried.join("; ")))
}

/// A better interface than the one that is used: it works, and in every place where that one does.
pub(super) async fn better(client: &Client, than: Api, places: &[Place]) -> Option<Api> {
    for api in Api::ALL.into_iter().take_while(|api| *api != than) {
        if replaces(client, api, than, places).await && api.ready(client).await.is_ok() {
            return Some(api);
        }
    }
    None
}

async fn replaces(client: &Client, api: Api, than: Api, places: &[Place]) -> bool {
    let mut works = false;
    for place in places {
        match api.probe(client, place).await {
            Ok(()) => works = true,
            Err(error) if error.is_denied() && than.probe(client, place).await.is_err() => {}
            Err(_) => return false,
        }
    }
    works
}

/// A namespace of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Namespace {
    pub(super) id: Text,
    pub(super) name: Text,
}

/// The namespaces; the public one always has the id `public`.
pub(super) async fn namespaces(client: &Client) -> Result<Vec<Namespace>, Error> {
    let mut tried = Vec::new();
    for path in ["/v3/admin/core/namespace/list", "/v1/console/namespaces", "/v2/console/namespace/list"] {
        let listed = match client.get(path, &[]).await {
            Ok(answer) => wire::enveloped::<Vec<wire::Namespace>>(&answer.url, &answer.body),
            Err(error) => Err(error),
        };
        match listed {
            Ok(list) if list.is_empty() => return Err(Error::NoNamespaces),
            Ok(list) => return Ok(list.into_iter().map(shown).collect()),
            Err(error) if error.is_not_offered() => tried.push(chain(&error).to_string()),
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoNamespaceList(tried.join("; ")))
}

fn shown(listed: wire::Namespace) -> Namespace {
    let id: Text = match listed.namespace.as_deref() {
        None | Some("") => super::PUBLIC.into(),
        Some(id) => id.into(),
    };
    Namespace { name: listed.namespace_show_name.map_or_else(|| id.clone(), Text::from), id }
}
