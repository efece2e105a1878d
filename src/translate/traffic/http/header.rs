//! Changes of headers.

use crate::{
    pb::{
        envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        istio::networking::v1alpha3::{Headers, headers::HeaderOperations},
    },
    translate::traffic::check::is_authority,
};
use std::collections::BTreeMap;

/// The changes that a route or a destination makes to headers of requests and answers.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) request_add: Vec<HeaderValueOption>,
    pub(super) request_remove: Vec<String>,
    pub(super) response_add: Vec<HeaderValueOption>,
    pub(super) response_remove: Vec<String>,
    /// The new host of requests, from `set` or `add` of `:authority` or `host`. `None`: it stays.
    pub(super) authority: Option<String>,
}

impl Changes {
    pub(super) fn of(headers: Option<&Headers>) -> Self {
        let Some(headers) = headers else { return Changes::default() };
        let (request, response) = (headers.request.as_ref(), headers.response.as_ref());
        let authority = |values: &BTreeMap<String, String>| {
            values.iter().find(|(name, _)| is_authority(name)).map(|(_, value)| value.clone())
        };
        let authority = request.and_then(|request| {
            authority(&request.set).filter(|host| !host.is_empty()).or_else(|| authority(&request.add))
        });
        Changes {
            request_add: added(request),
            request_remove: removed(request),
            response_add: added(response),
            response_remove: removed(response),
            authority: authority.filter(|host| !host.is_empty()),
        }
    }
}

/// Headers that proxies do not let be changed.
fn is_internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

fn added(of: Option<&HeaderOperations>) -> Vec<HeaderValueOption> {
    use HeaderAppendAction::{AppendIfExistsOrAdd, OverwriteIfExistsOrAdd};
    let option = |action: HeaderAppendAction| {
        move |(key, value): (&String, &String)| HeaderValueOption {
            header: Some(HeaderValue { key: key.clone(), value: value.clone() }),
            append_action: action.into(),
            ..HeaderValueOption::default()
        }
    };
    let Some(of) = of else { return Vec::new() };
    let changeable = |(name, _): &(&String, &String)| !is_internal(name);
    let set = of.set.iter().filter(changeable).map(option(OverwriteIfExistsOrAdd));
    set.chain(of.add.iter().filter(changeable).map(option(AppendIfExistsOrAdd))).collect()
}

fn removed(of: Option<&HeaderOperations>) -> Vec<String> {
    of.iter().flat_map(|of| &of.remove).filter(|name| !is_internal(name)).cloned().collect()
}
