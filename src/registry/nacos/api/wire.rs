//! Nacos' JSON about services and namespaces, as the servers really write it.
//!
//! What makes a list a list is required (`pageItems`, `doms`, `hosts`): an error's JSON must never read as an empty list.
//! Everything else is optional; `null` and absent are the same.

use crate::model::Fraction;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// A page of the bulk list of 3.x.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<'a> {
    pub(crate) total_count: usize,
    #[serde(borrow)]
    pub(crate) page_items: Vec<&'a RawValue>,
}

/// The name of a service in a bulk list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named<'a> {
    #[serde(borrow)]
    pub(crate) service_name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) group_name: Option<Cow<'a, str>>,
}

/// The name of a service in a list of names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Short<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    group_name: Option<Cow<'a, str>>,
}

impl<'a> From<Short<'a>> for Named<'a> {
    fn from(short: Short<'a>) -> Self {
        Named { service_name: short.name, group_name: short.group_name }
    }
}

/// A page of the names of 3.x.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamePage<'a> {
    pub(crate) total_count: usize,
    #[serde(borrow)]
    pub(crate) page_items: Vec<Short<'a>>,
}

/// A page of the names of 2.x.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OldNamePage<'a> {
    pub(crate) count: usize,
    #[serde(borrow)]
    pub(crate) service_list: Vec<Short<'a>>,
}

/// The other fields of a service in a bulk list. 2.x and 3.x always write protectThreshold 0.0 here, so it is not read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Detail<'a> {
    /// Required: without it nobody can say that there are no instances.
    #[serde(borrow)]
    pub(crate) cluster_map: BTreeMap<String, Cluster<'a>>,
    #[serde(default)]
    pub(crate) metadata: Value,
}

/// One cluster of a service, with its instances.
#[derive(Debug, Deserialize)]
pub(crate) struct Cluster<'a> {
    #[serde(borrow)]
    pub(crate) hosts: Vec<&'a RawValue>,
}

/// An instance, whose values are read one by one. `valid` is what v1's bulk list calls healthy; `clusterName` stands only in
/// lists of instances.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Instance {
    pub(crate) ip: Value,
    pub(crate) port: Value,
    pub(crate) weight: Value,
    pub(crate) healthy: Value,
    pub(crate) valid: Value,
    pub(crate) enabled: Value,
    pub(crate) cluster_name: Value,
    pub(crate) metadata: Value,
}

/// A page of v1's list of names, and of v2's.
#[derive(Debug, Deserialize)]
pub(crate) struct Names {
    pub(crate) count: usize,
    #[serde(alias = "services", alias = "serviceNames")]
    pub(crate) doms: Vec<String>,
}

/// The instances of one service in v1 and v2.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instances<'a> {
    #[serde(borrow)]
    pub(crate) hosts: &'a RawValue,
    #[serde(default)]
    pub(crate) reach_protection_threshold: bool,
}

/// The settings of a service.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    pub(crate) protect_threshold: f64,
    #[serde(alias = "clusterMap", default)]
    clusters: Option<Clusters>,
    #[serde(default)]
    pub(crate) metadata: Value,
}

impl Settings {
    /// The names of the clusters, each once; `None` if the server does not show them.
    pub(crate) fn cluster_names(&self) -> Option<BTreeSet<String>> {
        self.clusters.as_ref().map(Clusters::names)
    }
}

/// The clusters of a service: a list of 1.x and 2.x, a map of 3.x.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Clusters {
    List(Vec<NamedCluster>),
    Map(BTreeMap<String, IgnoredAny>),
}

#[derive(Debug, Deserialize)]
struct NamedCluster {
    name: String,
}

impl Clusters {
    fn names(&self) -> BTreeSet<String> {
        match self {
            Clusters::List(list) => list.iter().map(|cluster| cluster.name.clone()).collect(),
            Clusters::Map(map) => map.keys().cloned().collect(),
        }
    }
}

/// An instance of which only the health is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Health {
    pub(crate) healthy: bool,
}

/// The instances of a cluster in 1.x and 2.x.
#[derive(Debug, Deserialize)]
pub(crate) struct ClusterPage<'a> {
    #[serde(borrow)]
    pub(crate) list: Vec<&'a RawValue>,
    pub(crate) count: usize,
}

/// A threshold, limited to 0 to 1: Nacos does not check what people set, and protects beyond 1 as at 1.
pub(crate) fn threshold(set: f64) -> Fraction {
    Fraction::new(set.clamp(0.0, 1.0)).unwrap_or(Fraction::ZERO)
}

/// A namespace. 2.x writes the public one's id as "".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Namespace {
    pub(crate) namespace: Option<String>,
    #[serde(default)]
    pub(crate) namespace_show_name: Option<String>,
}
