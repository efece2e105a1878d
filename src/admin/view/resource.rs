//! Resources as they are on the wire, in protobuf's JSON form. Only what is sent has a field here.

use super::service_entry::{self, ShowError};
use crate::{
    pb::{
        envoy::config::{
            cluster::v3::{self as cluster, Cluster, cluster as of_cluster},
            core::v3::{self as core, address::Address},
            endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints},
        },
        google::protobuf::{Any, Struct},
        istio::mcp::v1alpha1::Resource as Envelope,
    },
    resource::{Kind, Resource, ViewGeneration, version_text},
};
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Which resources are asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Query {
    /// A part of the name.
    q: Option<String>,
    /// The whole name.
    name: Option<String>,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(in crate::admin) struct List {
    type_url: &'static str,
    version: String,
    total: usize,
    offset: usize,
    resources: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    name: String,
    version: String,
    resource: Value,
}

/// The digest of a kind: equal content has equal digests, on every replica.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::admin) struct Digest {
    count: usize,
    digest: String,
}

/// The resources of a kind that match, by name.
pub(in crate::admin) fn list(view: &ViewGeneration, kind: Kind, query: &Query) -> List {
    let generation = view.get(kind);
    let wanted = |resource: &&std::sync::Arc<Resource>| {
        query.name.as_deref().is_none_or(|name| &**resource.name() == name)
            && query.q.as_deref().is_none_or(|q| resource.name().contains(q))
    };
    let matching: Vec<_> = generation.iter().filter(wanted).collect();
    let part = matching.iter().skip(query.offset).take(query.limit.unwrap_or(usize::MAX));
    let item = |r: &&std::sync::Arc<Resource>| Item {
        name: r.name().to_string(),
        version: version_text(r.version()),
        resource: decoded(kind, r.body()),
    };
    List {
        type_url: kind.type_url(),
        version: generation.version(),
        total: matching.len(),
        offset: query.offset,
        resources: part.map(item).collect(),
    }
}

/// By kind.
pub(in crate::admin) fn digests(envoy: &ViewGeneration, istio: &ViewGeneration) -> BTreeMap<&'static str, Digest> {
    let digest = |kind: Kind| {
        let generation = if kind.is_istio() { istio.get(kind) } else { envoy.get(kind) };
        Digest { count: generation.len(), digest: version_text(generation.digest()) }
    };
    let sent = |kind: &Kind| !kind.is_istio() || istio.readiness_of(*kind).is_some();
    Kind::ALL.into_iter().filter(sent).map(|kind| (kind.name(), digest(kind))).collect()
}

fn decoded(kind: Kind, body: &[u8]) -> Value {
    let decoded = match kind {
        Kind::Cluster => Cluster::decode(body).map(|c| cluster_view(&c)).map_err(ShowError::from),
        Kind::Endpoint => ClusterLoadAssignment::decode(body).map(|a| assignment(&a)).map_err(ShowError::from),
        kind if kind.is_istio() => {
            Envelope::decode(body).map_err(ShowError::from).and_then(|e| service_entry::envelope(&e))
        }
        _ => return json!({ "bytes": body.len() }),
    };
    decoded.unwrap_or_else(|error| json!({ "undecodable": error.to_string() }))
}

/// An object without the fields that are at their default, as protobuf's JSON has it.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let set = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Bool(value) => *value,
        _ => true,
    };
    Value::Object(fields.into_iter().filter(|(_, v)| set(v)).map(|(k, v)| (k.to_owned(), v)).collect())
}

fn cluster_view(c: &Cluster) -> Value {
    let word = |name: Result<&'static str, i32>| name.map_or_else(Value::from, Value::from);
    let discovery = of_cluster::DiscoveryType::try_from(c.r#type).map(|t| t.as_str_name()).map_err(|e| e.0);
    let policy = of_cluster::LbPolicy::try_from(c.lb_policy).map(|p| p.as_str_name()).map_err(|e| e.0);
    let family = of_cluster::DnsLookupFamily::try_from(c.dns_lookup_family).map(|f| f.as_str_name()).map_err(|e| e.0);
    let threshold = c.common_lb_config.as_ref().and_then(|l| l.healthy_panic_threshold.as_ref());
    let options = c.typed_extension_protocol_options.iter().map(|(key, any)| (key.clone(), extension(any)));
    let options: Map<String, Value> = options.collect();
    object([
        ("name", c.name.clone().into()),
        ("altStatName", c.alt_stat_name.clone().into()),
        ("type", word(discovery)),
        ("edsClusterConfig", c.eds_cluster_config.as_ref().map_or(Value::Null, eds_config)),
        ("connectTimeout", c.connect_timeout.as_ref().map_or(Value::Null, |t| duration(t.seconds, t.nanos))),
        ("lbPolicy", word(policy)),
        ("dnsLookupFamily", if c.dns_lookup_family == 0 { Value::Null } else { word(family) }),
        ("commonLbConfig", threshold.map_or(Value::Null, |t| json!({ "healthyPanicThreshold": { "value": t.value } }))),
        ("typedExtensionProtocolOptions", if options.is_empty() { Value::Null } else { options.into() }),
        ("loadAssignment", c.load_assignment.as_ref().map_or(Value::Null, assignment)),
    ])
}

fn eds_config(config: &cluster::cluster::EdsClusterConfig) -> Value {
    let source = config.eds_config.as_ref().map_or(Value::Null, |source| {
        let version = core::ApiVersion::try_from(source.resource_api_version).map(|v| v.as_str_name());
        object([
            ("ads", source.ads.as_ref().map_or(Value::Null, |_| json!({}))),
            ("resourceApiVersion", version.map_or_else(|e| e.0.into(), Value::from)),
        ])
    });
    object([("edsConfig", source), ("serviceName", config.service_name.clone().into())])
}

/// The one extension that is sent says HTTP/2 by being there.
fn extension(any: &Any) -> Value {
    json!({ "@type": any.type_url, "explicitHttpConfig": { "http2ProtocolOptions": {} } })
}

/// `5s`, `0.250s`.
fn duration(seconds: i64, nanos: i32) -> Value {
    if nanos == 0 {
        return format!("{seconds}s").into();
    }
    format!("{}s", format!("{seconds}.{nanos:09}").trim_end_matches("000")).into()
}

fn assignment(a: &ClusterLoadAssignment) -> Value {
    let groups: Vec<Value> = a.endpoints.iter().map(group).collect();
    object([("clusterName", a.cluster_name.clone().into()), ("endpoints", groups.into())])
}

fn group(g: &LocalityLbEndpoints) -> Value {
    let locality = g.locality.as_ref().map_or(Value::Null, |l| {
        object([
            ("region", l.region.clone().into()),
            ("zone", l.zone.clone().into()),
            ("subZone", l.sub_zone.clone().into()),
        ])
    });
    object([
        ("locality", locality),
        ("lbEndpoints", g.lb_endpoints.iter().map(endpoint).collect::<Vec<_>>().into()),
        ("loadBalancingWeight", g.load_balancing_weight.as_ref().map_or(Value::Null, |w| w.value.into())),
        ("priority", if g.priority == 0 { Value::Null } else { g.priority.into() }),
    ])
}

fn endpoint(e: &LbEndpoint) -> Value {
    let place = e.endpoint.as_ref().and_then(|e| e.address.as_ref()).and_then(|a| a.address.as_ref());
    let address = place.map_or(Value::Null, |address| match address {
        Address::SocketAddress(s) => json!({ "socketAddress": { "address": s.address, "portValue": s.port_value } }),
        Address::Pipe(pipe) => json!({ "pipe": { "path": pipe.path } }),
    });
    let health = core::HealthStatus::try_from(e.health_status).map(|h| h.as_str_name());
    let metadata = e.metadata.as_ref().map_or(Value::Null, |m| {
        let filters: Map<String, Value> = m.filter_metadata.iter().map(|(k, s)| (k.clone(), fields(s))).collect();
        json!({ "filterMetadata": filters })
    });
    object([
        ("endpoint", json!({ "address": address })),
        ("healthStatus", health.map_or_else(|e| e.0.into(), Value::from)),
        ("metadata", metadata),
        ("loadBalancingWeight", e.load_balancing_weight.as_ref().map_or(Value::Null, |w| w.value.into())),
    ])
}

fn fields(s: &Struct) -> Value {
    let text = |v: &crate::pb::google::protobuf::Value| v.string_value.clone().map_or(Value::Null, Value::from);
    Value::Object(s.fields.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}
