//! One text of Nacos' configuration, asked for by itself.

use super::{Api, budget::Budget};
use crate::{
    model::Text,
    registry::{
        nacos::{
            error::Error,
            name::tenant,
            transport::{Client, Question, json},
        },
        transport::Answer,
    },
};
use serde::Deserialize;
use std::borrow::Cow;

/// The code of 3.x for a text that does not exist.
const NOT_FOUND: i64 = 20004;
/// The words of 1.x and 2.x for that, with status 404, which alone may be anybody's.
const NOT_EXIST: &str = "config data not exist";
const NOT_FOUND_TEXT: &str = "resource not found";

/// A text in the envelope of 3.x.
#[derive(Debug, Deserialize)]
pub(crate) struct Content<'a> {
    #[serde(borrow)]
    pub(crate) content: Cow<'a, str>,
}

/// The names by which one text is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) namespace: &'a Text,
    pub(crate) group: &'a str,
    pub(crate) data_id: &'a str,
}

/// The interfaces that give a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The client interface of 3.x, which every client may ask.
    ClientV3,
    /// The interface of 1.x and 2.x, and of 3.x with old interfaces.
    ConfigsV1,
}

/// The text; `None` if the server says that there is none. `api` is the interface by which services are read, and
/// decides which one is asked first.
pub(crate) async fn text(
    client: &Client,
    api: Api,
    named: Named<'_>,
    budget: &Budget,
) -> Result<Option<Vec<u8>>, Error> {
    let ways = match api {
        Api::AdminV3 | Api::EachGrpc => [Way::ClientV3, Way::ConfigsV1],
        Api::CatalogV1 | Api::EachV2 | Api::EachV1 => [Way::ConfigsV1, Way::ClientV3],
    };
    let read = match by(ways[0], client, named).await {
        Err(error) if error.is_not_offered() && !says_nothing_there(&error) => by(ways[1], client, named).await,
        read => read,
    };
    match read {
        Ok(text) => {
            budget.take("texts", 1, text.len())?;
            Ok(Some(text))
        }
        Err(error) if says_nothing_there(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn by(way: Way, client: &Client, Named { namespace, group, data_id }: Named<'_>) -> Result<Vec<u8>, Error> {
    let (path, namespace_key, group_key, namespace) = match way {
        Way::ClientV3 => ("/v3/client/cs/config", "namespaceId", "groupName", &**namespace),
        Way::ConfigsV1 => ("/v1/cs/configs", "tenant", "group", tenant(namespace)),
    };
    let query = [(namespace_key, namespace), (group_key, group), ("dataId", data_id)];
    let question = Question { path, query: &query, config: Some((namespace, group)), wait: None };
    let Answer { origin, body, .. } = client.http.ask(&question).await?;
    match way {
        Way::ClientV3 => Ok(json::enveloped::<Content<'_>>(&origin, &body)?.content.into_owned().into_bytes()),
        Way::ConfigsV1 => Ok(body),
    }
}

/// Only these words of Nacos' own mean that there is no such text; a bare 404 may be a gateway's.
pub(crate) fn says_nothing_there(error: &Error) -> bool {
    match error {
        Error::Refused { code, .. } => *code == NOT_FOUND,
        Error::Http(error) => {
            error.said_with(404).is_some_and(|said| said.contains(NOT_EXIST) || said.contains(NOT_FOUND_TEXT))
        }
        _ => false,
    }
}
