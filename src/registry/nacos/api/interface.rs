//! The interfaces by which services are read.
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

use super::by_grpc;
use crate::{
    model::ServiceId,
    registry::{
        nacos::{
            error::Error,
            transport::{Client, json},
        },
        transport::{Answer, Origin},
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use std::fmt;

/// The interface by which services are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// 3.x: the bulk list of its admin interface.
    AdminV3,
    /// 1.x and 2.x: the bulk list of the console's interface.
    CatalogV1,
    /// Names by group, then each service by itself: 2.2 and later, with the right to read a group.
    EachV2,
    /// Like [`Api::EachV2`], in 1.x to 3.x.
    EachV1,
    /// Like [`Api::EachV2`] by gRPC, in 2.x and 3.x: nothing switches it off.
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
    /// All interfaces, the best one first.
    pub(crate) const ALL: [Api; 5] = [Api::AdminV3, Api::CatalogV1, Api::EachV2, Api::EachV1, Api::EachGrpc];

    /// True for the best interface, with which no better one is looked for.
    pub(crate) fn is_best(self) -> bool {
        self == Api::ALL[0]
    }

    /// True if one list shows all groups.
    pub(crate) const fn is_bulk(self) -> bool {
        matches!(self, Api::AdminV3 | Api::CatalogV1)
    }

    /// The path of the list of services, or the type of the request for it by gRPC.
    pub(crate) const fn list(self) -> &'static str {
        match self {
            Api::AdminV3 => "/v3/admin/ns/service/list",
            Api::CatalogV1 => "/v1/ns/catalog/services",
            Api::EachV2 => "/v2/ns/service/list",
            Api::EachV1 => "/v1/ns/service/list",
            Api::EachGrpc => by_grpc::LIST,
        }
    }

    /// The path of the instances of one service, or the type of the request for them by gRPC.
    pub(crate) const fn instances(self) -> &'static str {
        match self {
            Api::EachV2 => "/v2/ns/instance/list",
            Api::EachGrpc => by_grpc::INSTANCES,
            _ => "/v1/ns/instance/list",
        }
    }

    /// The path of the settings of one service.
    const fn settings_path(self) -> &'static str {
        match self {
            Api::AdminV3 => "/v3/admin/ns/service",
            _ => "/v1/ns/service",
        }
    }

    /// The path at which a server says if it is ready; `None` by gRPC, where the connection shows it.
    pub(crate) const fn readiness(self) -> Option<&'static str> {
        Some(match self {
            Api::AdminV3 => "/v3/admin/core/state/readiness",
            Api::EachV2 => "/v2/console/health/readiness",
            Api::CatalogV1 | Api::EachV1 => "/v1/console/health/readiness",
            Api::EachGrpc => return None,
        })
    }

    /// Asks for `what`, which is [`Api::list`] or [`Api::instances`].
    pub(crate) async fn get(
        self,
        client: &Client,
        what: &'static str,
        query: &[(&str, &str)],
    ) -> Result<Answer, Error> {
        if self == Api::EachGrpc { by_grpc::ask(client, what, query).await } else { client.http.get(what, query).await }
    }

    /// The settings of one service, as much of them as `T` has.
    pub(crate) async fn settings<T: DeserializeOwned>(self, client: &Client, id: &ServiceId) -> Result<T, Error> {
        let Answer { origin, body, .. } = client.http.get(self.settings_path(), &named(id)).await?;
        self.read(&origin, &body)
    }

    /// Reads an answer of this interface: it has an envelope in v2 and v3, and none in v1 and by gRPC.
    pub(crate) fn read<'a, T: Deserialize<'a>>(self, origin: &Origin, body: &'a [u8]) -> Result<T, Error> {
        if matches!(self, Api::AdminV3 | Api::EachV2) {
            json::enveloped(origin, body)
        } else {
            json::bare(origin, body)
        }
    }
}

/// The parameters of a query that name one service.
pub(crate) fn named(id: &ServiceId) -> [(&'static str, &str); 3] {
    [("namespaceId", &id.namespace), ("groupName", &id.group), ("serviceName", &id.name)]
}
