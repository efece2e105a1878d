//! Clients, page by page, in the order in which their streams were opened.

use super::page::{Limit, Page};
use crate::admin::Client;
use serde::{Deserialize, Serialize};

/// The parameters of `/api/v1/clients`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Query {
    /// A part of the node's id.
    q: Option<String>,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    limit: Limit,
    /// The number of the last stream of the previous page.
    r#continue: Option<u64>,
}

/// The fields of a page besides its clients.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Head {
    /// How many clients match, with those of other pages.
    total: usize,
    offset: usize,
    r#continue: Option<String>,
}

/// The page that the query asks for.
pub(in crate::admin) fn page(mut clients: Vec<Client>, query: &Query) -> (Head, Vec<Client>) {
    clients.sort_by_key(|client| client.stream);
    let matching = clients.into_iter().filter(|client| query.q.as_deref().is_none_or(|q| client.node.id.contains(q)));
    let before = |client: &Client| query.r#continue.is_some_and(|last| client.stream <= last);
    let page = Page::of(matching, before, query.offset, query.limit);
    let next = page.next(|last| last.stream.to_string());
    (Head { total: page.total, offset: query.offset, r#continue: next }, page.items)
}
