//! Which of its interfaces a server answers, and which namespaces it has: found by asking, best first.

use super::{client::Client, error::Error, wire};
use crate::model::Text;
use crate::registry::chain;
use std::fmt;

/// How services are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// 3.x: bulk list of its admin interface.
    AdminV3,
    /// 1.x and 2.x: bulk list of the console's interface.
    CatalogV1,
    /// Names by group, then each service by itself: 1.x to 3.x, with no more than the right to read.
    EachV1,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Api::AdminV3 => "v3 admin, bulk",
            Api::CatalogV1 => "v1 catalog, bulk",
            Api::EachV1 => "v1, service by service",
        })
    }
}

impl Api {
    /// Best first.
    const ALL: [Api; 3] = [Api::AdminV3, Api::CatalogV1, Api::EachV1];

    /// Whether one list shows all groups.
    pub(super) const fn is_bulk(self) -> bool {
        matches!(self, Api::AdminV3 | Api::CatalogV1)
    }

    /// Where the list is.
    pub(super) const fn list(self) -> &'static str {
        match self {
            Api::AdminV3 => "/v3/admin/ns/service/list",
            Api::CatalogV1 => "/v1/ns/catalog/services",
            Api::EachV1 => "/v1/ns/service/list",
        }
    }

    const fn readiness(self) -> &'static str {
        match self {
            Api::AdminV3 => "/v3/admin/core/state/readiness",
            Api::CatalogV1 | Api::EachV1 => "/v1/console/health/readiness",
        }
    }

    async fn probe(self, client: &Client, namespace: &str) -> Result<(), Error> {
        let mut query = vec![("namespaceId", namespace), ("pageNo", "1"), ("pageSize", "1")];
        query.push(if self.is_bulk() { ("withInstances", "true") } else { ("groupName", super::DEFAULT_GROUP) });
        let answer = client.get(self.list(), &query).await?;
        match self {
            Api::AdminV3 => wire::enveloped::<wire::Page<'_>>(&answer.url, &answer.body).map(drop),
            Api::CatalogV1 => wire::bare::<Vec<&serde_json::value::RawValue>>(&answer.url, &answer.body).map(drop),
            Api::EachV1 => wire::bare::<wire::Names>(&answer.url, &answer.body).map(drop),
        }
    }

    /// A server that is starting may answer lists before it has its data.
    async fn ready(self, client: &Client) -> Result<(), Error> {
        match client.get(self.readiness(), &[]).await {
            Err(error) if !error.is_not_offered() => Err(error),
            // Not offered, or not for us: then nothing is known, and the list itself has answered.
            _ => Ok(()),
        }
    }
}

/// The best interface that works for one of the namespaces: rights may be given for some only, and one may be broken. A
/// server that fails outright is starting or gone, and is asked later, lest a worse interface be chosen for good.
pub(super) async fn detect(client: &Client, namespaces: &[Text]) -> Result<Api, Error> {
    let mut tried = Vec::new();
    for api in Api::ALL {
        let mut failure = None;
        for namespace in namespaces {
            match api.probe(client, namespace).await {
                Ok(()) => return api.ready(client).await.map(|()| api),
                Err(error) if error.is_not_offered() => tried.push(chain(&error).to_string()),
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
            Ok(list) => return Ok(list.into_iter().map(named).collect()),
            Err(error) if error.is_not_offered() => tried.push(chain(&error).to_string()),
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoNamespaceList(tried.join("; ")))
}

fn named(listed: wire::Namespace) -> Namespace {
    let id: Text = match listed.namespace.as_deref() {
        None | Some("") => super::PUBLIC.into(),
        Some(id) => id.into(),
    };
    Namespace { name: listed.namespace_show_name.map_or_else(|| id.clone(), Text::from), id }
}
