//! Names of a group and instances of a service, asked for by gRPC: what every client of Nacos 2 and 3 may ask, also where
//! the old HTTP interfaces are switched off and the user is no administrator.
//!
//! **Measured** on 3.1.0: the answers show what v1's lists show. Disabled instances are left out; once the protection
//! threshold is reached all are shown as healthy, with `reachProtectionThreshold`; nothing is said of the service's own
//! metadata. A right that is missing is code 403. (By its sources, a namespace or a service that does not exist has an
//! empty list, as in v1.)

use crate::registry::{
    nacos::{
        error::Error,
        transport::{Client, json, service},
    },
    transport::{Answer, Origin},
};
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use xxhash_rust::xxh3::xxh3_64;

/// The type of the request for a page of a group's service names.
pub(crate) const LIST: &str = "ServiceListRequest";
/// The type of the request for the instances of a service.
pub(crate) const INSTANCES: &str = "ServiceQueryRequest";

/// The part of the answer that has the instances.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Queried<'a> {
    #[serde(borrow)]
    service_info: &'a RawValue,
}

/// Asks with the keys and values of a query by HTTP. The answer has no envelope, as in v1.
pub(crate) async fn ask(client: &Client, kind: &'static str, query: &[(&str, &str)]) -> Result<Answer, Error> {
    let answer = client.call(kind, service(query), &body(query)).await?;
    let origin = Origin::new(format!("gRPC {kind}"), client.http.redactor().clone());
    let body = if kind == INSTANCES {
        json::bare::<Queried<'_>>(&origin, &answer)?.service_info.get().as_bytes().to_vec()
    } else {
        answer
    };
    Ok(Answer { origin, hash: xxh3_64(&body), body, headers: HeaderMap::new() })
}

fn body(query: &[(&str, &str)]) -> Value {
    let field = |(key, value): &(&str, &str)| {
        let number = value.parse::<u32>().ok().filter(|_| key.starts_with("page"));
        let value = number.map_or_else(|| Value::from(*value), Value::from);
        (if *key == "namespaceId" { "namespace" } else { *key }.to_owned(), value)
    };
    let mut body: Map<String, Value> = query.iter().map(field).collect();
    body.insert("module".into(), "naming".into());
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_query_becomes_a_body() {
        let query = [("namespaceId", "7"), ("groupName", "g"), ("pageNo", "2"), ("pageSize", "500")];
        let expected = json!({"namespace": "7", "groupName": "g", "pageNo": 2, "pageSize": 500, "module": "naming"});
        assert_eq!(body(&query), expected);
    }
}
