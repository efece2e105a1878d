//! The JSON of Nacos' configuration, as the servers write it.
//!
//! What makes a list a list, and a text a text, is required: an error's JSON must never read as an empty list.

use serde::Deserialize;
use std::borrow::Cow;

/// A page of a list of texts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<'a> {
    pub(crate) total_count: usize,
    #[serde(borrow)]
    pub(crate) page_items: Vec<Item<'a>>,
}

/// A text in a list. Servers up to 2.x write the content and no md5, 3.x the md5 and no content.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item<'a> {
    #[serde(borrow)]
    pub(crate) data_id: Cow<'a, str>,
    #[serde(borrow, alias = "groupName")]
    pub(crate) group: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) md5: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) content: Option<Cow<'a, str>>,
}
