//! Every rule of reading, and every mistake.

use super::*;
use crate::pb::{istio::mcp::v1alpha1::Resource as Envelope, schema};
use proptest::{collection::vec, prelude::*};
use prost_reflect::{DynamicMessage, Kind as Type};
use serde_json::{Value, json};

const HEAD: &str = "apiVersion: networking.istio.io/v1\nkind: ";

fn read(text: &str) -> Result<Vec<(Kind, Resource)>, Problems> {
    super::read("m.yaml", text, &"portolan".into(), 7)
}

fn envelope(resource: &Resource) -> (Metadata, Any) {
    let envelope = Envelope::decode(resource.body()).unwrap();
    (envelope.metadata.unwrap(), envelope.body.unwrap())
}

/// The spec of a resource, as JSON.
fn shown(resource: &Resource) -> Value {
    let (_, body) = envelope(resource);
    serde_json::from_str(&schema::json(&body.type_url, &body.value).unwrap()).unwrap()
}

/// A resource of that kind with that spec, which is JSON or YAML in one line.
fn spec(kind: &str, spec: &str) -> Result<Value, String> {
    let text = format!("{HEAD}{kind}\nmetadata: {{name: a}}\nspec: {spec}\n");
    read(&text).map(|resources| shown(&resources[0].1)).map_err(|problems| problems.to_string())
}

fn check(kind: &str, text: &str, expected: Value) {
    assert_eq!(spec(kind, text), Ok(expected), "{text}");
}

fn refused(kind: &str, text: &str, expected: &str) {
    let error = spec(kind, text).expect_err(text);
    assert!(error.contains(expected), "{text}: {error}");
}

#[test]
fn an_object_has_its_name_namespace_labels_and_annotations() {
    let text = "
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata:
  name: strict.mesh
  namespace: shop
  labels: {istio.io/rev: blue, app: orders}
  annotations: {note: 'anything, at all'}
  creationTimestamp: 2024-01-01T00:00:00Z
  uid: 6d8d
  resourceVersion: '12'
  generation: 3
  managedFields: [{manager: kubectl}]
spec: {mtls: {mode: STRICT}}
status: {whatever: true}
---
# nothing
---
{\"apiVersion\": \"networking.istio.io/v9\", \"kind\": \"Sidecar\", \"metadata\": {\"name\": \"default\"}}
";
    let resources = read(text).unwrap();
    let [(Kind::PeerAuthentication, first), (Kind::Sidecar, second)] = &resources[..] else { panic!("{resources:?}") };
    let (metadata, body) = envelope(first);
    assert_eq!((&*metadata.name, first.revision()), ("shop/strict.mesh", Some("blue")));
    assert_eq!(metadata.create_time, Some(Timestamp { seconds: 7 }));
    assert_eq!(
        (metadata.labels["app"].as_str(), metadata.annotations["note"].as_str()),
        ("orders", "anything, at all")
    );
    assert_eq!(body.type_url, "type.googleapis.com/istio.security.v1beta1.PeerAuthentication");
    assert_eq!(shown(first), json!({"mtls": {"mode": "STRICT"}}));
    let (metadata, body) = envelope(second);
    assert_eq!((&*metadata.name, &*body.value), ("portolan/default", &b""[..]));
    assert_eq!(metadata.version.len(), 16);
    assert_eq!(read("").unwrap(), []);
}

#[test]
fn every_kind_is_read_in_every_version_of_its_group() {
    for kind in Kind::istio().filter(|kind| *kind != Kind::ServiceEntry) {
        let (group, word) = kind.group_and_word().unwrap();
        for version in ["v1", "v1beta1", "v1alpha3", "v2"] {
            let text = format!("apiVersion: {group}/{version}\nkind: {word}\nmetadata: {{name: a}}\n");
            let resources = read(&text).unwrap();
            assert_eq!((resources[0].0, &**resources[0].1.name()), (kind, "portolan/a"), "{text}");
        }
    }
}

#[test]
fn names_of_fields_are_those_of_json_or_of_the_message() {
    let expected = json!({"trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 5}}}});
    check("DestinationRule", "{trafficPolicy: {connectionPool: {tcp: {maxConnections: 5}}}}", expected.clone());
    check("DestinationRule", "{traffic_policy: {connection_pool: {tcp: {max_connections: 5}}}}", expected);
    let twice = "{trafficPolicy: {}, traffic_policy: {}}";
    refused("DestinationRule", twice, "\"traffic_policy\" is there twice, under both of its names");
    refused("DestinationRule", "{host: a, host: b}", "m.yaml:4:17: spec: \"host\" is there twice");
}

#[test]
fn values_are_read_as_protobufs_json_has_them() {
    for (kind, text, expected) in [
        // Texts.
        ("DestinationRule", "{host: a.b}", json!({"host": "a.b"})),
        ("DestinationRule", "{host: '80'}", json!({"host": "80"})),
        ("DestinationRule", "{host: \"yes\"}", json!({"host": "yes"})),
        ("DestinationRule", "{host: ''}", json!({})),
        ("DestinationRule", "{host: null}", json!({})),
        ("DestinationRule", "{host: 1.2.3.4}", json!({"host": "1.2.3.4"})),
        // Numbers, also as texts, and with nothing behind the point.
        ("Gateway", "{servers: [{port: {number: 80}}]}", json!({"servers": [{"port": {"number": 80}}]})),
        ("Gateway", "{servers: [{port: {number: '80'}}]}", json!({"servers": [{"port": {"number": 80}}]})),
        ("Gateway", "{servers: [{port: {number: 80.0}}]}", json!({"servers": [{"port": {"number": 80}}]})),
        ("Gateway", "{servers: [{port: {number: 8e1}}]}", json!({"servers": [{"port": {"number": 80}}]})),
        (
            "Gateway",
            "{servers: [{port: {number: 4294967295}}]}",
            json!({"servers": [{"port": {"number": 4294967295_u32}}]}),
        ),
        ("VirtualService", "{http: [{route: [{weight: -5}]}]}", json!({"http": [{"route": [{"weight": -5}]}]})),
        (
            "VirtualService",
            "{http: [{fault: {abort: {percentage: {value: 0.1}}}}]}",
            json!({"http": [{"fault": {"abort": {"percentage": {"value": 0.1}}}}]}),
        ),
        (
            "VirtualService",
            "{http: [{fault: {abort: {percentage: {value: 'NaN'}}}}]}",
            json!({"http": [{"fault": {"abort": {"percentage": {"value": "NaN"}}}}]}),
        ),
        // Wrappers are what they wrap, and are there when they are zero.
        (
            "VirtualService",
            "{http: [{corsPolicy: {allowCredentials: false}}]}",
            json!({"http": [{"corsPolicy": {"allowCredentials": false}}]}),
        ),
        (
            "DestinationRule",
            "{trafficPolicy: {outlierDetection: {consecutive5xxErrors: 0}}}",
            json!({"trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 0}}}),
        ),
        (
            "DestinationRule",
            "{trafficPolicy: {outlierDetection: {consecutive5xxErrors: null}}}",
            json!({"trafficPolicy": {"outlierDetection": {}}}),
        ),
        // Enumerations by name and number.
        (
            "DestinationRule",
            "{trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
            json!({"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}),
        ),
        (
            "DestinationRule",
            "{trafficPolicy: {tls: {mode: 3}}}",
            json!({"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}),
        ),
        // Times.
        ("VirtualService", "{http: [{timeout: 5s}]}", json!({"http": [{"timeout": "5s"}]})),
        ("VirtualService", "{http: [{timeout: 1h30m}]}", json!({"http": [{"timeout": "5400s"}]})),
        ("VirtualService", "{http: [{timeout: 1.5s}]}", json!({"http": [{"timeout": "1.500s"}]})),
        ("VirtualService", "{http: [{timeout: 100ms}]}", json!({"http": [{"timeout": "0.100s"}]})),
        ("VirtualService", "{http: [{timeout: 0s}]}", json!({"http": [{"timeout": "0s"}]})),
        ("VirtualService", "{http: [{timeout: -1s}]}", json!({"http": [{"timeout": "-1s"}]})),
        // One of several, also when it is empty or zero.
        (
            "VirtualService",
            "{http: [{match: [{uri: {prefix: ''}}]}]}",
            json!({"http": [{"match": [{"uri": {"prefix": ""}}]}]}),
        ),
        (
            "DestinationRule",
            "{trafficPolicy: {loadBalancer: {simple: UNSPECIFIED}}}",
            json!({"trafficPolicy": {"loadBalancer": {"simple": "UNSPECIFIED"}}}),
        ),
        // Maps, in the order of their keys.
        ("Gateway", "{selector: {b: x, a: z}}", json!({"selector": {"a": "z", "b": "x"}})),
        ("Gateway", "{selector: {'1': x}}", json!({"selector": {"1": "x"}})),
        ("Gateway", "{selector: {1: x}}", json!({"selector": {"1": "x"}})),
        // Anything at all.
        (
            "EnvoyFilter",
            "{configPatches: [{patch: {value: {n: 1.5, i: 3, t: text, q: '7', b: true, z: null, l: [1, [a], {}], m: {k: v}}}}]}",
            json!({"configPatches": [{"patch": {"value":
                {"n": 1.5, "i": 3.0, "t": "text", "q": "7", "b": true, "z": null, "l": [1.0, ["a"], {}], "m": {"k": "v"}}}}]}),
        ),
        // An alias is what it stands for.
        ("Gateway", "{selector: {a: &x z, b: *x}}", json!({"selector": {"a": "z", "b": "z"}})),
    ] {
        check(kind, text, expected);
    }
}

#[test]
fn mistakes_have_their_place_and_a_remedy() {
    for (kind, text, expected) in [
        (
            "VirtualService",
            "{http: [{rout: []}]}",
            "m.yaml:4:16: spec.http[0].rout: VirtualService's HTTPRoute has no field \"rout\"; did you mean \"route\"?",
        ),
        ("VirtualService", "{hots: []}", "spec.hots: VirtualService has no field \"hots\"; did you mean \"hosts\"?"),
        ("VirtualService", "{nothingLikeIt: 1}", "VirtualService has no field \"nothingLikeIt\""),
        ("VirtualService", "[]", "spec: VirtualService must be a mapping of keys to values, but is a list"),
        ("VirtualService", "{hosts: a}", "spec.hosts: must be a list, but is a single value"),
        ("VirtualService", "{hosts: [null]}", "spec.hosts[0]: an item of a list must not be empty"),
        ("VirtualService", "{hosts: [80]}", "spec.hosts[0]: must be text, but 80 is a number; put it in quotes"),
        ("VirtualService", "{hosts: [true]}", "must be text, but true is a boolean; put it in quotes"),
        (
            "VirtualService",
            "{hosts: [no]}",
            "must be text, but no is not the same to all who read YAML; put it in quotes",
        ),
        ("VirtualService", "{hosts: [{}]}", "must be text, but is a mapping"),
        (
            "VirtualService",
            "{http: [{timeout: 5}]}",
            "must be a time with its unit, such as 5s, 100ms or 1h30m, but 5 is a number",
        ),
        (
            "VirtualService",
            "{http: [{timeout: 5 s}]}",
            "must be a time with its unit, such as 5s, 100ms or 1h30m, not \"5 s\"",
        ),
        ("VirtualService", "{http: [{timeout: 9999999h}]}", "must be a time"),
        (
            "VirtualService",
            "{http: [{match: [{uri: {exact: a, prefix: b}}]}]}",
            "StringMatch has either \"exact\" or \"prefix\", not both",
        ),
        (
            "VirtualService",
            "{http: [{route: [{weight: 1.5}]}]}",
            "must be a whole number from -2147483648 to 2147483647, not 1.5",
        ),
        ("Gateway", "{servers: [{port: {number: -1}}]}", "must be a whole number from 0 to 4294967295, not -1"),
        ("Gateway", "{servers: [{port: {number: 4294967296}}]}", "must be a whole number"),
        ("Gateway", "{servers: [{port: {number: 1e99}}]}", "must be a whole number"),
        (
            "Gateway",
            "{servers: [{port: {number: 010}}]}",
            "010 is not the same to all who read YAML; write a plain number",
        ),
        ("Gateway", "{servers: [{port: {number: 0x50}}]}", "0x50 is not the same"),
        ("Gateway", "{servers: [{port: {number: 1_000}}]}", "1_000 is not the same"),
        ("Gateway", "{servers: [{port: {number: {}}}]}", "must be a whole number, but is a mapping"),
        ("Gateway", "{servers: [{port: {number: true}}]}", "must be a whole number, but true is a boolean"),
        ("Gateway", "{selector: {a: null}}", "spec.selector.a: a value must not be empty"),
        ("Gateway", "{selector: [a]}", "selector must be a mapping"),
        (
            "DestinationRule",
            "{trafficPolicy: {tls: {mode: MUTAUL}}}",
            "must be one of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL, not \"MUTAUL\"",
        ),
        ("DestinationRule", "{trafficPolicy: {tls: {mode: 1.5}}}", "must be a whole number"),
        (
            "DestinationRule",
            "{trafficPolicy: {outlierDetection: {splitExternalLocalOriginErrors: 'true'}}}",
            "must be true or false, but \"true\" is text",
        ),
        (
            "DestinationRule",
            "{trafficPolicy: {outlierDetection: {splitExternalLocalOriginErrors: yes}}}",
            "yes is not the same to all who read YAML; write a plain number, true or false",
        ),
        (
            "EnvoyFilter",
            "{configPatches: [{patch: {value: {a: on}}}]}",
            "configPatches[0].patch.value.a: on is not the same",
        ),
        ("EnvoyFilter", "{configPatches: [{patch: {value: {a: 1e999}}}]}", "must be a number"),
        ("EnvoyFilter", "{configPatches: [{patch: {value: {a: 1, a: 2}}}]}", "\"a\" is there twice"),
        ("VirtualService", "{http: [{fault: {abort: {percentage: {value: none}}}}]}", "must be a number, not \"none\""),
        ("Nothing", "{}", "kind: Istio has no kind \"Nothing\""),
        ("VirtualServices", "{}", "did you mean \"VirtualService\"?"),
        (
            "Telemetry",
            "{}",
            "apiVersion: Telemetry is no kind of \"networking.istio.io/v1\"; it is of \"telemetry.istio.io\", in any version",
        ),
        (
            "ServiceEntry",
            "{hosts: [a_b], resolution: STATIC}",
            "Istio would refuse the ServiceEntry portolan/a: the host \"a_b\"",
        ),
    ] {
        refused(kind, text, expected);
    }
    for (text, expected) in [
        ("a: [", "not YAML"),
        ("text", "m.yaml:1:1: a resource must be a mapping of keys to values, but is a single value"),
        ("a: 1", "a resource has no key \"a\""),
        ("kind: Gateway", "it has no \"apiVersion\""),
        ("kind: Gateway", "it has no metadata"),
        (
            "apiVersion: networking.istio.io/v1\nknd: Gateway",
            "m.yaml:2:1: a resource has no key \"knd\"; did you mean \"kind\"?",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}",
            "is none of Istio's kinds; only those are served",
        ),
        ("apiVersion: v1\nkind: List\nmetadata: {name: a}\nspec: {}", "is none of Istio's kinds"),
        ("kind: [a]", "kind: must be text, but is a list"),
    ] {
        let error = read(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    for (metadata, expected) in [
        ("{}", "metadata: it has no name"),
        ("{name: Orders}", "metadata.name: \"Orders\" is no name: it has at most 253 of a-z"),
        ("{name: a/b}", "is no name"),
        ("{name: -a}", "is no name"),
        ("{name: 7}", "must be text, but 7 is a number"),
        ("{name: a, namespace: a.b}", "metadata.namespace: \"a.b\" is no namespace"),
        ("{name: a, namespace: ''}", "is no namespace"),
        ("{name: a, labels: {v: 1}}", "metadata.labels.v: must be text, but 1 is a number; put it in quotes"),
        ("{name: a, labels: {'bad key!': x}}", "\"bad key!\" is no label"),
        ("{name: a, labels: {a: 'no label'}}", "metadata.labels: \"a\" is no label"),
        ("{name: a, annotations: {ResourceVersion: x}}", "\"ResourceVersion\" is Istiod's own; leave it out"),
        ("{name: a, lables: {}}", "metadata has no key \"lables\"; did you mean \"labels\"?"),
        ("[a]", "metadata must be a mapping"),
    ] {
        let error = read(&format!("{HEAD}Gateway\nmetadata: {metadata}\n")).expect_err(metadata).to_string();
        assert!(error.contains(expected), "{metadata}: {error}");
    }
}

#[test]
fn all_problems_are_told_at_once_and_in_order_and_one_makes_the_whole_wrong() {
    let good = format!("{HEAD}Gateway\nmetadata: {{name: good}}\n");
    let text = format!("{good}---\n{HEAD}Gateway\nmetadata: {{name: A}}\nspec: {{servers: 1, x: 2}}\n---\n{good}");
    let problems: Vec<String> = read(&text).unwrap_err().iter().map(ToString::to_string).collect();
    let [name, servers, field, twice] = &problems[..] else { panic!("{problems:#?}") };
    assert!(name.starts_with("m.yaml:7:18: metadata.name: \"A\" is no name"), "{name}");
    assert!(servers.starts_with("m.yaml:8:17: spec.servers: must be a list"), "{servers}");
    assert!(field.starts_with("m.yaml:8:20: spec.x: Gateway has no field \"x\""), "{field}");
    assert_eq!(twice, "m.yaml:10:1: portolan/good stands here already");
}

#[test]
fn a_manifest_is_bounded() {
    let items = |what: &str, n: usize| vec![what; n].join(", ");
    let deep = format!("{HEAD}EnvoyFilter\nmetadata: {{name: a}}\nspec: {}{}", "[".repeat(100), "]".repeat(100));
    let laugh = format!(
        "{HEAD}EnvoyFilter\nmetadata: {{name: a}}\nspec: {{x: &a [{}], y: &b [{}], z: [{}]}}",
        items("t", 1_000),
        items("*a", 1_000),
        items("*b", 1_000)
    );
    let long = format!(
        "{HEAD}VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [&a {}, {}]}}",
        "x".repeat(500_000),
        items("*a", 100_000)
    );
    let documents = format!("{HEAD}Gateway\nmetadata: {{name: a}}\n---\n").repeat(1_001);
    for (text, expected) in [
        (" ".repeat((1 << 20) + 1), "has 1048577 bytes; at most 1048576 are read"),
        (deep, "more than 64 lists and mappings"),
        (laugh, "more than 200000 values"),
        (long, "more than 200000 values"),
        (documents, "more than 1000 documents"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let wrong = format!("{HEAD}VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [{}]}}", items("1", 500));
    assert_eq!(read(&wrong).unwrap_err().iter().count(), 100);
    let name = "k".repeat(100_000);
    let quoted = read(&format!("{HEAD}VirtualService\nmetadata: {{name: a}}\nspec: {{{name}: 1}}")).unwrap_err();
    assert!(quoted.to_string().len() < 2_000);
}

#[test]
fn the_schema_has_every_kind_and_nothing_that_is_not_read() {
    for kind in Kind::istio() {
        let (group, word) = kind.group_and_word().unwrap();
        assert!(kinds::message(group, word).is_some(), "{word}");
    }
    let known = ["Duration", "Struct", "ListValue", "Value", "BoolValue", "DoubleValue", "Int32Value", "UInt32Value"];
    for message in kinds::pool().all_messages() {
        if let Some(name) = message.full_name().strip_prefix("google.protobuf.") {
            let known =
                known.into_iter().chain(["FloatValue", "Int64Value", "UInt64Value", "StringValue", "BytesValue"]);
            assert!(message.is_map_entry() || known.into_iter().any(|known| known == name), "{name}");
        }
        if message.is_map_entry() {
            let key = message.map_entry_key_field().kind();
            assert!(matches!(key, Type::String | Type::Uint32 | Type::Int32), "{}", message.full_name());
        }
    }
}

/// Some value of a message, in protobuf's JSON.
fn any_message(message: &MessageDescriptor, depth: u32) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        "[a-z:' #]{0,6}".prop_map(Value::from),
        (-9..9_i32).prop_map(|n| json!(n))
    ];
    match message.full_name() {
        "google.protobuf.Duration" => (0..100_000_u32).prop_map(|ms| json!(format!("{ms}ms"))).boxed(),
        "google.protobuf.Struct" => {
            prop::collection::btree_map("[a-z.]{1,4}", leaf, 0..3).prop_map(|m| json!(m)).boxed()
        }
        "google.protobuf.Value" => leaf.boxed(),
        "google.protobuf.ListValue" => vec(leaf, 0..3).prop_map(|list| json!(list)).boxed(),
        name if name.starts_with("google.protobuf.") => {
            any_single(&message.get_field_by_name("value").unwrap().kind(), depth)
        }
        _ if depth == 0 => Just(json!({})).boxed(),
        _ => {
            let mut groups = BTreeSet::new();
            let fields: Vec<_> = message
                .fields()
                // The first of a oneof stands for it.
                .filter(|f| f.containing_oneof().is_none_or(|o| groups.insert(o.name().to_owned())))
                .map(|field| {
                    let single = any_single(&field.kind(), depth - 1);
                    let value = match (field.is_map(), field.is_list()) {
                        (true, _) => {
                            let Type::Message(entry) = field.kind() else { unreachable!() };
                            let value = any_single(&entry.map_entry_value_field().kind(), depth - 1);
                            let keys = match entry.map_entry_key_field().kind() {
                                Type::String => "[a-z/.]{0,4}",
                                _ => "[1-9][0-9]{0,3}",
                            };
                            prop::collection::btree_map(keys, value, 0..3).prop_map(|m| json!(m)).boxed()
                        }
                        (_, true) => vec(single, 0..3).prop_map(|list| json!(list)).boxed(),
                        _ => single,
                    };
                    let name = field.json_name().to_owned();
                    prop::option::weighted(0.4, value).prop_map(move |value| value.map(|value| (name.clone(), value)))
                })
                .collect();
            fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect())).boxed()
        }
    }
}

fn any_single(kind: &Type, depth: u32) -> BoxedStrategy<Value> {
    match kind {
        Type::Message(message) => any_message(message, depth),
        Type::Enum(names) => prop::sample::select(names.values().map(|v| v.name().to_owned()).collect::<Vec<_>>())
            .prop_map(Value::from)
            .boxed(),
        Type::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Type::String => "[a-zA-Z0-9 :#'\"{}\\[\\]*&!|>%@-]{0,8}".prop_map(Value::from).boxed(),
        Type::Double | Type::Float => (-1000..1000_i32).prop_map(|n| json!(f64::from(n) / 8.0)).boxed(),
        Type::Uint32 | Type::Uint64 => any::<u32>().prop_map(Value::from).boxed(),
        _ => any::<i32>().prop_map(Value::from).boxed(),
    }
}

fn any_resource() -> impl Strategy<Value = (Kind, Value)> {
    let kinds: Vec<Kind> = Kind::istio().filter(|kind| *kind != Kind::ServiceEntry).collect();
    prop::sample::select(kinds).prop_flat_map(|kind| {
        let (group, word) = kind.group_and_word().unwrap();
        any_message(&kinds::message(group, word).unwrap(), 4).prop_map(move |spec| (kind, spec))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(300)))]

    #[test]
    fn what_is_written_is_what_another_reader_of_the_same_schema_reads((kind, spec) in any_resource()) {
        let (group, word) = kind.group_and_word().unwrap();
        let object = json!({"apiVersion": format!("{group}/v1"), "kind": word, "metadata": {"name": "a"}, "spec": &spec});
        let message = kinds::message(group, word).unwrap();
        // The one form of times that it does not know is Go's.
        let mut theirs = spec;
        in_seconds(&mut theirs);
        let theirs = DynamicMessage::deserialize(message.clone(), theirs).unwrap();
        // It remembers that a field was set to what it is anyway.
        let theirs = DynamicMessage::decode(message.clone(), &*theirs.encode_to_vec()).unwrap();
        for text in [object.to_string(), serde_saphyr::to_string(&object).unwrap()] {
            let resources = read(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            let (_, body) = envelope(&resources[0].1);
            let ours = DynamicMessage::decode(message.clone(), &*body.value).unwrap();
            prop_assert_eq!(&ours, &theirs, "{}", text);
            prop_assert_eq!(read(&text).unwrap(), resources, "the same bytes");
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "[-a-z0-9:{}\\[\\],&*!|>'\"#%@`?~ \n]{0,80}") {
        drop(read(&text));
        drop(read(&format!("{HEAD}VirtualService\nmetadata: {{name: a}}\nspec: {text}")));
    }
}

/// Writes all times as protobuf's JSON does: `1500ms` becomes `1.500s`.
fn in_seconds(value: &mut Value) {
    match value {
        Value::String(text) => {
            let ms = text.strip_suffix("ms").and_then(|ms| ms.parse::<u32>().ok());
            if let Some(ms) = ms {
                *text = format!("{}.{:03}s", ms / 1000, ms % 1000);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(in_seconds),
        Value::Object(fields) => fields.values_mut().for_each(in_seconds),
        _ => {}
    }
}

#[test]
fn mutated_manifests_are_read_or_refused() {
    let good = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: orders, namespace: shop}\n\
                spec:\n  hosts: [orders.example]\n  http:\n  - match: [{uri: {prefix: /a}, headers: {x: {exact: '1'}}}]\n    \
                timeout: 1.5s\n    route: [{destination: {host: users.example, port: {number: 80}}, weight: 100}]\n---\n\
                apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\n\
                spec: {servers: [{port: {number: 80, protocol: HTTP, name: http}, hosts: ['*']}]}\n";
    crate::util::mutate::mutated(&[good.as_bytes()], |input| {
        drop(super::read("a.yaml", &String::from_utf8_lossy(input), &"portolan".into(), 7));
    });
}
