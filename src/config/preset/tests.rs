//! What services become for Istio: `tests/golden/istio/<case>/`, `in.yaml` and `out.yaml`. The former holds what a
//! registry would tell, and the configuration's `publish` and `istio` for it; the latter the entries, as people write
//! them, without what is at its default. `UPDATE_GOLDEN=1` writes an `out.yaml` that is not there.

use super::*;
use crate::{
    catalog::{Core, Desired, Now},
    config::{istio, publish},
    model::{
        Address, DeclaredPort, Endpoint, EndpointPort, Health, Labels, Locality, Port, Scope, Service, ServiceId,
        Update, Weight,
    },
    pb::istio::{
        mcp::v1alpha1::Resource as Envelope,
        networking::v1alpha3::{ServiceEntry, WorkloadEntry, service_entry::Resolution},
    },
    registry::{consul, eureka, file, nacos, zookeeper},
    translate::istio::{Options, translate},
    util::yaml::{Document, Limits},
};
use prost::Message;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::{
    env, fs,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/istio");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    kind: String,
    /// The default protocol of the registry's instances.
    protocol: Option<String>,
    #[serde(default, rename = "publish")]
    _publish: Json,
    #[serde(default, rename = "istio")]
    _istio: Json,
    services: Vec<InputService>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputService {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    group: String,
    name: String,
    #[serde(default)]
    ports: Vec<InputPort>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    endpoints: Vec<InputEndpoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputPort {
    name: String,
    number: i64,
    protocol: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEndpoint {
    address: String,
    port: Option<i64>,
    /// The instance's ports, by the name of the service's port.
    #[serde(default)]
    ports: BTreeMap<String, i64>,
    protocol: Option<String>,
    weight: Option<f64>,
    health: Option<String>,
    enabled: Option<bool>,
    #[serde(default)]
    locality: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn labels(texts: &BTreeMap<String, String>) -> Labels {
    texts.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

impl InputService {
    fn service(&self) -> Service {
        let text = |text: &str| Text::from(text);
        let id = ServiceId::new("r", text(&self.namespace), text(&self.group), text(&self.name));
        let port = |port: &InputPort| DeclaredPort {
            name: text(&port.name),
            number: Port::new(port.number).unwrap(),
            protocol: Protocol::parse(&port.protocol).unwrap(),
        };
        Service {
            ports: self.ports.iter().map(port).collect(),
            labels: labels(&self.labels),
            ..Service::new(id, self.endpoints.iter().map(InputEndpoint::endpoint).collect())
        }
    }
}

impl InputEndpoint {
    fn endpoint(&self) -> Endpoint {
        let protocol = self.protocol.as_ref().map(|p| Protocol::parse(p).unwrap());
        let port = |number: i64, name: Option<&str>| EndpointPort {
            number: Port::new(number).unwrap(),
            protocol,
            name: name.map(Text::from),
        };
        let named = self.ports.iter().map(|(name, number)| port(*number, Some(name)));
        Endpoint {
            address: Address::parse(&self.address).unwrap(),
            ports: self.port.map(|number| port(number, None)).into_iter().chain(named).collect(),
            weight: self.weight.map_or(Weight::DEFAULT, |w| Weight::relative(w, 1.0).unwrap()),
            health: self.health.as_ref().map_or(Health::Healthy, |h| Health::parse(h).unwrap()),
            enabled: self.enabled.unwrap_or(true),
            locality: Locality::parse(&self.locality),
            labels: labels(&self.labels),
            secure: false,
        }
    }
}

/// The policy and the options that a case's `publish` and `istio` give.
fn settings(text: &str, kind: &str, protocol: Protocol) -> (Policy, Options) {
    let kind = match kind {
        "nacos" => Kind::Nacos(nacos::Config::new(Vec::new())),
        "eureka" => Kind::Eureka(eureka::Config::new(Vec::new())),
        "consul" => Kind::Consul(consul::Config::new(Vec::new())),
        "zookeeper" => Kind::Zookeeper(zookeeper::Config::new(Vec::new(), zookeeper::Layout::Dubbo)),
        _ => Kind::File(file::Config::example()),
    };
    let mut policy = Policy::new("r", kind.name(), Template::parse("{service}.{namespace}.example").unwrap());
    policy.protocol = protocol;
    // The label of empty entries is ours, and not a convention of theirs.
    let mut options = Options { vip: Vec::new(), mark_empty: false, ..Options::default() };
    let document = Document::parse("in.yaml", text.as_bytes(), &Limits::default()).unwrap();
    let reading = document.read(None, |root| {
        root.section(|section| {
            let _ = ["kind", "protocol", "services"].map(|key| section.take(key));
            section.section("publish", |s| publish::read(s, &kind, &mut policy, &mut options.rules));
            let rules = options.rules.clone();
            section.section("istio", |s| {
                options.rules = istio::read_rules(s, rules);
                Some(())
            });
            Some(())
        })
    });
    reading.finish().unwrap();
    (policy, options)
}

/// The ServiceEntries of a case, and what was rejected.
fn entries(text: &str) -> (Vec<Json>, Vec<String>) {
    let input: Input = serde_saphyr::from_str(text).unwrap();
    let protocol = input.protocol.as_ref().map_or(Protocol::Http, |p| Protocol::parse(p).unwrap());
    let (policy, options) = settings(text, &input.kind, protocol);
    let now = Now { instant: Instant::now(), wall: SystemTime::now() };
    let mut core = Core::new(Duration::ZERO, now);
    let desired = Desired { registries: vec![policy.into()], ..Desired::default() };
    let reading = core.configure(desired, false, now).begun.remove(0);
    let scope = Scope("".into());
    let services = input.services.iter().map(|service| Arc::new(service.service())).collect();
    core.apply(&reading, Update::Scopes(vec![scope.clone()]), now);
    core.apply(&reading, Update::Listed { scope, services, unreadable: Vec::new() }, now);
    let catalog = core.snapshot();
    let (mut entries, mut rejected) = (Vec::new(), Vec::new());
    for service in catalog.services.values() {
        let (resources, refused) = translate(service, &options, &|_| Vec::new());
        entries.extend(resources.iter().map(|(_, resource)| entry(&Envelope::decode(resource.body()).unwrap())));
        rejected.extend(refused.iter().map(|r| format!("{} {}: {}", r.host, r.subject, r.why.code())));
    }
    (entries, rejected)
}

fn entry(envelope: &Envelope) -> Json {
    let metadata = envelope.metadata.as_ref().unwrap();
    let (namespace, name) = metadata.name.split_once('/').unwrap();
    let spec = ServiceEntry::decode(&*envelope.body.as_ref().unwrap().value).unwrap();
    let ports = spec.ports.iter().map(|p| json!({ "number": p.number, "name": p.name, "protocol": p.protocol }));
    set(json!({
        "metadata": set(json!({
            "namespace": namespace,
            "name": name,
            "labels": metadata.labels,
            "annotations": metadata.annotations,
        })),
        "spec": set(json!({
            "hosts": spec.hosts,
            "addresses": spec.addresses,
            "ports": ports.collect::<Vec<_>>(),
            "location": if spec.location == 1 { "MESH_INTERNAL" } else { "" },
            "resolution": Resolution::try_from(spec.resolution).unwrap().as_str_name(),
            "endpoints": spec.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            "exportTo": spec.export_to,
            "subjectAltNames": spec.subject_alt_names,
        })),
    }))
}

fn endpoint(e: &WorkloadEntry) -> Json {
    set(json!({
        "address": e.address,
        "ports": e.ports,
        "labels": e.labels,
        "network": e.network,
        "locality": e.locality,
        "weight": if e.weight == 0 { Json::Null } else { e.weight.into() },
        "serviceAccount": e.service_account,
    }))
}

/// An object without the fields that have their default.
fn set(object: Json) -> Json {
    let Json::Object(fields) = object else { panic!("no object: {object}") };
    let default =
        |value: &Json| matches!(value, Json::Null) || ["\"\"", "[]", "{}"].contains(&value.to_string().as_str());
    Json::Object(fields.into_iter().filter(|(_, value)| !default(value)).collect::<Map<_, _>>())
}

#[test]
fn services_become_the_entries_that_were_written_down() {
    let mut cases: Vec<_> = fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 3, "the cases are gone: {cases:?}");
    for case in cases {
        let text = fs::read_to_string(case.join("in.yaml")).unwrap();
        let (entries, rejected) = entries(&text);
        let out = case.join("out.yaml");
        if !out.exists() && env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&out, yaml(&entries, &rejected)).unwrap();
        }
        let text = fs::read_to_string(&out).unwrap();
        let expected: Vec<Json> = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(entries, expected, "{}: not as written, but:\n{}", case.display(), yaml(&entries, &rejected));
        let expected_rejected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# not sent: ")).collect();
        assert_eq!(rejected, expected_rejected, "{}", case.display());
    }
}

/// The text of an `out.yaml`; what was rejected stands in comments.
fn yaml(entries: &[Json], rejected: &[String]) -> String {
    let rejected = rejected.iter().map(|line| format!("# not sent: {line}\n"));
    let mut text: String = rejected.collect();
    text.push_str(&serde_saphyr::to_string(&entries).unwrap());
    text
}
