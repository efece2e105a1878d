//! What a server pushes, as JSON in a message of gRPC. Only what is needed is read: a push says which service has changed,
//! never what it is now (see [`super`]).

use super::names::Change;
use serde::Deserialize;
use std::borrow::Cow;

/// The code of a refusal because the server watches as many patterns as it takes.
pub(crate) const TOO_MANY_PATTERNS: i64 = 50310;
/// The code of a refusal because a pattern fits more names than the server sends.
pub(crate) const TOO_MANY_NAMES: i64 = 50311;

/// A push: of a service of one of the namespaces, which it does not always name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notify<'a> {
    #[serde(borrow, default)]
    pub(crate) namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) service_info: ServiceInfo<'a>,
}

/// Name and group of the service that a push is of.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceInfo<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) group_name: Option<Cow<'a, str>>,
}

/// A service that has come or gone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Name<'a> {
    /// `NAMESPACE@@GROUP@@NAME`.
    #[serde(borrow)]
    pub(crate) service_key: Cow<'a, str>,
    #[serde(borrow)]
    changed_type: Cow<'a, str>,
}

impl Name<'_> {
    /// What has happened to the service; `None` for a type that is not known here.
    pub(crate) fn change(&self) -> Option<Change> {
        match &*self.changed_type {
            "ADD_SERVICE" => Some(Change::Added),
            "DELETE_SERVICE" => Some(Change::Deleted),
            _ => None,
        }
    }
}

/// Names that fit a pattern: those that there are, or what we have missed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Names<'a> {
    #[serde(borrow)]
    pub(crate) group_key_pattern: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) contexts: Option<Vec<Name<'a>>>,
    #[serde(borrow)]
    sync_type: Cow<'a, str>,
}

impl Names<'_> {
    /// True if the server has now sent all names that there were.
    pub(crate) fn is_last(&self) -> bool {
        self.sync_type == "FINISH_FUZZY_WATCH_INIT_NOTIFY"
    }
}
