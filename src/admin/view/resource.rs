//! Resources as they are on the wire, in protobuf's JSON form.

use super::{
    page::{Limit, Page},
    service_entry,
};
use crate::{
    admin::answer::{json, safe},
    pb::{istio::mcp::v1alpha1::Resource as Envelope, schema},
    resource::{Kind, Resource, ViewGeneration, version_text},
    views::{Loaded, ViewKey},
};
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// The parameters of `/api/v1/resources/{kind}`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Query {
    /// A part of the resource's name.
    q: Option<String>,
    name: Option<String>,
    /// The key of the view. `None`: the one that has everything.
    pub(in crate::admin) view: Option<String>,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    limit: Limit,
    /// The last name of the previous page.
    r#continue: Option<String>,
}

/// The parameters of `/api/v1/digests`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct DigestQuery {
    /// The key of the view. `None`: those of Envoy and Istio that have everything.
    pub(in crate::admin) view: Option<String>,
}

/// The fields of a page besides its items.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Head {
    type_url: &'static str,
    version: String,
    total: usize,
    offset: usize,
    r#continue: Option<String>,
}

/// The digest of a kind: equal content has equal digests, on every replica.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::admin) struct Digest {
    count: usize,
    digest: String,
}

/// The resources of a kind that match, by name.
pub(in crate::admin) fn page(view: &ViewGeneration, kind: Kind, query: &Query) -> (Head, Vec<Arc<Resource>>) {
    let generation = view.get(kind);
    let wanted = |resource: &&Arc<Resource>| {
        query.name.as_deref().is_none_or(|name| &**resource.name() == name)
            && query.q.as_deref().is_none_or(|q| resource.name().contains(q))
    };
    let before = |resource: &&Arc<Resource>| query.r#continue.as_deref().is_some_and(|last| &**resource.name() <= last);
    let page = Page::of(generation.iter().filter(wanted), before, query.offset, query.limit);
    let head = Head {
        type_url: kind.type_url(),
        version: generation.version(),
        total: page.total,
        offset: query.offset,
        r#continue: page.next(|last| last.name().to_string()),
    };
    (head, page.items.into_iter().cloned().collect())
}

/// A resource of a page, as JSON.
pub(in crate::admin) fn item(kind: Kind, resource: &Resource) -> Vec<u8> {
    #[derive(Serialize)]
    struct Item<'a> {
        name: &'a str,
        version: String,
    }
    let body = if kind.is_istio() {
        envelope(resource.body())
    } else {
        schema::json(kind.type_url(), resource.body()).map(safe)
    };
    let body = body.unwrap_or_else(|why| json(&json!({ "undecodable": why })));
    with(&Item { name: resource.name(), version: version_text(resource.version()) }, "resource", &body)
}

/// The digests of all kinds that these views have, by kind.
pub(in crate::admin) fn digests(views: &[(ViewKey, Loaded)]) -> BTreeMap<&'static str, Digest> {
    let digest = |(kind, view): (Kind, &ViewGeneration)| {
        let generation = view.get(kind);
        (kind.name(), Digest { count: generation.len(), digest: version_text(generation.digest()) })
    };
    let kinds = |(key, loaded): &'_ (ViewKey, Loaded)| -> Vec<(&'static str, Digest)> {
        let made = |kind: &Kind| loaded.generation.readiness_of(*kind).is_some();
        Kind::of_family(key.dialect.family()).filter(made).map(|kind| digest((kind, &loaded.generation))).collect()
    };
    views.iter().flat_map(kinds).collect()
}

/// Metadata and spec of one of Istio's resources, as JSON.
fn envelope(body: &[u8]) -> Result<Vec<u8>, String> {
    let envelope = Envelope::decode(body).map_err(|error| error.to_string())?;
    let spec = match &envelope.body {
        Some(spec) => safe(schema::json(&spec.type_url, &spec.value)?),
        None => json(&Value::Null),
    };
    let metadata = envelope.metadata.as_ref().map_or(Value::Null, service_entry::metadata);
    Ok(with(&json!({ "metadata": metadata }), "spec", &spec))
}

/// An object with one more field, whose value is JSON already.
fn with(head: &impl Serialize, name: &str, value: &[u8]) -> Vec<u8> {
    let mut object = json(head);
    object.pop();
    object.extend_from_slice(format!(",\"{name}\":").as_bytes());
    object.extend_from_slice(value);
    object.push(b'}');
    object
}
