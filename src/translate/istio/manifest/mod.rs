//! From a manifest's text to resources: a pure function.
//!
//! A manifest holds Istio's resources as people write them for `kubectl`: YAML documents, or JSON, which is YAML, too. Each
//! has a kind and metadata, read here, and a spec, which `walk` checks against Istio's own messages and encodes, with
//! every mistake at its line and column. One mistake makes the whole manifest wrong: half of it would be a state that
//! nobody wanted.
//!
//! What is checked is the form. What it means, Istiod checks; where it refuses a resource it keeps the former one.

mod duration;
mod number;
mod scalar;
#[cfg(test)]
mod tests;
mod walk;

use super::{enveloped, label, validate::refusal};
use crate::{
    model::Text,
    pb::{
        google::protobuf::{Any, Timestamp},
        istio::{
            mcp::v1alpha1::Metadata,
            networking::v1alpha3::{ServiceEntry, TrafficPolicy},
        },
        kinds,
    },
    resource::{Kind, Name, Resource},
    util::{
        label::{MAX_LABEL, is_label},
        yaml::{Document, Limits, Node, Problems, Shape},
    },
};
use prost::Message;
use prost_reflect::MessageDescriptor;
use std::collections::{BTreeMap, BTreeSet};
use walk::{Walk, hint};

/// The most YAML documents of one manifest; one with more is refused.
const MAX_DOCUMENTS: usize = 1_000;

/// The limits of one manifest. Istio's own messages are some ten deep, but an `EnvoyFilter` holds any message of
/// Envoy's.
const LIMITS: Limits = Limits { bytes: 1 << 20, nodes: 200_000, depth: 64 };

/// The most characters of a resource's name, as in Kubernetes.
const MAX_SUBDOMAIN: usize = 253;

/// The keys of a resource. `METADATA`: the keys of its metadata. `IGNORED`: further ones, which Kubernetes adds by
/// itself.
const OBJECT: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
const METADATA: [&str; 4] = ["name", "namespace", "labels", "annotations"];
const IGNORED: [&str; 10] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "uid",
];

/// The annotation that Istiod itself sets; a manifest must not have it.
const RESERVED: &str = "ResourceVersion";

/// The resources of a manifest, in the order in which they stand, each name once. `file` is its name in problems;
/// resources that name no namespace get this one; `create_time` is in seconds since 1970.
///
/// # Errors
/// All problems at once, at most 100, by position.
pub fn read(file: &str, text: &str, namespace: &Text, create_time: i64) -> Result<Vec<(Kind, Resource)>, Problems> {
    let documents = Document::parse_all(file, text.as_bytes(), &LIMITS, MAX_DOCUMENTS)?;
    let mut walk = Walk::new(file);
    let (mut resources, mut known) = (Vec::new(), BTreeSet::<(Kind, Name)>::new());
    for document in &documents {
        let Some((kind, resource)) = object(&mut walk, document.root(), namespace, create_time) else { continue };
        if !known.insert((kind, resource.name().clone())) {
            walk.problem::<()>(document.root().place(), format!("{} stands here already", resource.name()));
        }
        resources.push((kind, resource));
    }
    walk.finish().map(|()| resources)
}

/// Reads `traffic_policy` of the configuration, written like `trafficPolicy` of a DestinationRule.
///
/// # Errors
/// All problems at once, by position.
pub fn traffic_policy(node: &Node) -> Result<TrafficPolicy, Problems> {
    let mut walk = Walk::new("traffic_policy");
    let message = kinds::pool().get_message_by_name("istio.networking.v1alpha3.TrafficPolicy");
    let bytes = message.map(|message| walk.spec(node, &message)).unwrap_or_default();
    walk.finish().map(|()| TrafficPolicy::decode(&*bytes).unwrap_or_default())
}

/// The resource of one document. `None` if a problem in it was noted that leaves no resource.
fn object(walk: &mut Walk, root: &Node, namespace: &Text, create_time: i64) -> Option<(Kind, Resource)> {
    let fields = known_fields(walk, root, "a resource", &OBJECT, &[])?;
    let kind = kind(walk, root, &fields);
    let metadata = match fields.get("metadata") {
        Some(node) => walk.within("metadata", |walk| metadata(walk, node, namespace)),
        None => walk.problem(root.place(), "it has no metadata; write `metadata` with at least a `name`"),
    };
    let (kind, message) = kind?;
    let spec = match fields.get("spec") {
        Some(node) => walk.within("spec", |walk| walk.spec(node, &message)),
        None => Vec::new(),
    };
    let metadata = Metadata { create_time: Some(Timestamp { seconds: create_time }), ..metadata? };
    if kind == Kind::ServiceEntry && walk.is_right() {
        service_entry(walk, root, &metadata.name, &spec);
    }
    let type_url = format!("type.googleapis.com/{}", message.full_name());
    Some((kind, enveloped(kind, metadata, Any { type_url, value: spec.into() })))
}

/// Which of Istio's kinds it is, in any version of its API.
fn kind(walk: &mut Walk, root: &Node, fields: &BTreeMap<&str, &Node>) -> Option<(Kind, MessageDescriptor)> {
    let mut need = |key: &'static str| match fields.get(key) {
        Some(node) => walk.within(key, |walk| walk.text(node)).map(|text| (*node, text)),
        None => walk.problem(root.place(), format!("it has no {key:?}; write one, as in kubectl's files")),
    };
    let (version, word) = (need("apiVersion"), need("kind"));
    let ((version_node, version), (kind_node, word)) = (version?, word?);
    let group = version.split_once('/').map_or("", |(group, _)| group);
    if let Some(kind) = Kind::of_istio(group, &word) {
        return Some((kind, kinds::message(group, &word)?));
    }
    let groups: BTreeSet<&str> = Kind::istio().filter_map(|kind| Some(kind.group_and_word()?.0)).collect();
    if let Some((right, _)) = Kind::istio().filter_map(Kind::group_and_word).find(|(_, known)| *known == word) {
        let text = format!("{word} is no kind of {version:?}; it is of {right:?}, in any version");
        return walk.within("apiVersion", |walk| walk.problem(version_node.place(), text));
    }
    let words = Kind::istio().filter_map(Kind::group_and_word).map(|(_, word)| word);
    let text = match groups.contains(group) {
        true => format!("Istio has no kind {word:?}{}", hint(&word, words)),
        false => format!("{word:?} of {version:?} is none of Istio's kinds; only those are served"),
    };
    walk.within("kind", |walk| walk.problem(kind_node.place(), text))
}

/// The metadata of a resource; its `name` is `namespace/name`.
fn metadata(walk: &mut Walk, node: &Node, namespace: &Text) -> Option<Metadata> {
    let fields = known_fields(walk, node, "metadata", &METADATA, &IGNORED)?;
    let mut read = |key: &'static str, fits: fn(&str) -> bool, what: &str| {
        let node = fields.get(key)?;
        let text = walk.within(key, |walk| walk.text(node))?;
        match fits(&text) {
            true => Some(text),
            false => walk.within(key, |walk| walk.problem(node.place(), format!("{text:?} is no {key}: {what}"))),
        }
    };
    let name = read("name", is_subdomain, "it has at most 253 of a-z, 0-9, '-' and '.', the last two only inside");
    let own = read("namespace", is_label, "it has at most 63 of a-z, 0-9 and '-', the latter only inside");
    if !fields.contains_key("name") {
        walk.problem::<()>(node.place(), "it has no name");
    }
    let own = if fields.contains_key("namespace") { own } else { Some(namespace.to_string()) };
    let labels = texts(walk, &fields, "labels", |key, value| {
        let fine = label::is_key(key) && label::is_value(value) && value.len() <= MAX_LABEL;
        (!fine)
            .then(|| "is no label: letters, digits, '-', '_' and '.', at most 63, letters or digits at the ends".into())
    });
    let annotations =
        texts(walk, &fields, "annotations", |key, _| (key == RESERVED).then(|| "is Istiod's own; leave it out".into()));
    let name = format!("{}/{}", own?, name?);
    Some(Metadata { name, labels, annotations, ..Metadata::default() })
}

/// Reads a mapping of texts, such as labels. `wrong` says what is wrong with a key and its value.
fn texts(
    walk: &mut Walk,
    fields: &BTreeMap<&str, &Node>,
    key: &'static str,
    wrong: fn(&str, &str) -> Option<String>,
) -> BTreeMap<String, String> {
    let Some(node) = fields.get(key) else { return BTreeMap::new() };
    walk.within(key, |walk| {
        let mut read = BTreeMap::new();
        for (name, node) in walk.entries(node, key).into_iter().flatten() {
            let Some(value) = walk.within(name.text(), |walk| walk.text(node)) else { continue };
            if let Some(text) = wrong(name.text(), &value) {
                walk.problem::<()>(name.place(), format!("{:?} {text}", name.text()));
            }
            read.insert(name.text().to_owned(), value);
        }
        read
    })
}

/// The fields of a mapping with these keys, without those that are `null`.
fn known_fields<'a>(
    walk: &mut Walk,
    node: &'a Node,
    what: &str,
    known: &[&'static str],
    ignored: &[&str],
) -> Option<BTreeMap<&'a str, &'a Node>> {
    let mut fields = BTreeMap::new();
    for (key, value) in walk.entries(node, what)? {
        if known.contains(&key.text()) {
            if !matches!(value.shape(), Shape::Null) {
                fields.insert(key.text(), value);
            }
        } else if !ignored.contains(&key.text()) {
            let near = hint(key.text(), known.iter().copied());
            walk.problem::<()>(key.place(), format!("{what} has no key {:?}{near}", key.text()));
        }
    }
    Some(fields)
}

/// Notes a problem if Istiod would refuse this ServiceEntry. For other kinds only the form is checked.
fn service_entry(walk: &mut Walk, root: &Node, name: &str, spec: &[u8]) {
    let Ok(entry) = ServiceEntry::decode(spec) else { return };
    // Newer resolutions have rules that are not ours.
    let entry = match entry.resolution {
        0..=2 => entry,
        3 => ServiceEntry { resolution: 2, ..entry },
        _ => return,
    };
    if let Some(why) = refusal(name, &entry) {
        walk.problem::<()>(root.place(), format!("Istio would refuse the ServiceEntry {name}: {why}"));
    }
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_label)
}
