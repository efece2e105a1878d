//! Istio's kinds: that our schema is Istio's, and that manifests mean to us what they mean to Istio.
//!
//! `tests/golden/manifests/` has manifests as people write them, each kind at least once; `*.txt` is what becomes of them
//! (`UPDATE_GOLDEN=1` writes that). The judge (`tests/istio-judge`, on Istio's own libraries) reads the same ones; without
//! it those tests print `SKIP`, and fail where `PORTOLAN_REAL_SERVERS=required`.

mod support;

use base64::{Engine, engine::general_purpose::STANDARD};
use portolan::{
    pb::{istio::mcp::v1alpha1::Resource as Envelope, kinds},
    resource::{Kind, Resource, version_text},
    translate::istio::manifest,
};
use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};
use support::judge;

const SCHEMA: &str = "proto/istio-kinds/schema.binpb";
const LISTING: &str = "proto/istio-kinds/fields.txt";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All manifests, by path, and what becomes of them.
fn manifests() -> BTreeMap<PathBuf, Vec<(Kind, Resource)>> {
    let files = fs::read_dir(root().join("tests/golden/manifests")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let read = |path: PathBuf| {
        let (name, text) = (path.file_name().unwrap().to_str().unwrap(), fs::read_to_string(&path).unwrap());
        let resources =
            manifest::read(name, &text, &"portolan".into(), 1_577_836_800).unwrap_or_else(|e| panic!("{e}"));
        (path, resources)
    };
    files.map(read).collect()
}

fn body(resource: &Resource) -> DynamicMessage {
    let body = Envelope::decode(resource.body()).unwrap().body.unwrap();
    let name = body.type_url.strip_prefix("type.googleapis.com/").unwrap();
    DynamicMessage::decode(kinds::pool().get_message_by_name(name).unwrap(), &*body.value).unwrap()
}

#[test]
fn manifests_become_what_was_written_down_and_every_kind_is_among_them() {
    let (mut wrong, mut seen) = (String::new(), BTreeSet::new());
    for (path, resources) in manifests() {
        let mut out = String::new();
        for (kind, resource) in &resources {
            seen.insert(*kind);
            let spec = serde_json::to_value(body(resource)).unwrap();
            writeln!(out, "{kind:?} {} {}\n{spec:#}", resource.name(), version_text(resource.version())).unwrap();
        }
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &out).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != out {
            write!(wrong, "--- {} is not what comes out now:\n{out}", expected.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nRead the difference; UPDATE_GOLDEN=1 writes it down.");
    assert!(seen.into_iter().eq(Kind::istio()), "a kind is missing");
}

/// A line for each field and each value of an enumeration, so that people see what a new schema changes.
#[test]
fn the_listing_says_what_the_schema_has() {
    let (pool, mut lines) = (kinds::pool(), BTreeSet::new());
    for message in pool.all_messages().filter(|message| !message.is_map_entry()) {
        lines.insert(message.full_name().to_owned());
        for field in message.fields() {
            let (many, choice) = (if field.is_list() { "repeated " } else { "" }, field.containing_oneof());
            let choice = choice.map(|choice| format!(" of {}", choice.name())).unwrap_or_default();
            let json = Some(field.json_name()).filter(|json| *json != camel(field.name()));
            let json = json.map(|json| format!(" as {json}")).unwrap_or_default();
            let kind = match (field.is_map(), field.kind()) {
                (true, prost_reflect::Kind::Message(entry)) => {
                    format!(
                        "map of {:?} to {:?}",
                        entry.map_entry_key_field().kind(),
                        entry.map_entry_value_field().kind()
                    )
                }
                (_, kind) => format!("{kind:?}"),
            };
            lines.insert(format!("{} = {} {many}{kind}{choice}{json}", field.full_name(), field.number()));
        }
    }
    for names in pool.all_enums() {
        lines.extend(
            names.values().map(|value| format!("{}: {} = {}", names.full_name(), value.name(), value.number())),
        );
    }
    let text = lines.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    let path = root().join(LISTING);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let same = fs::read_to_string(path).unwrap_or_default() == text;
    assert!(same, "{LISTING} is not what {SCHEMA} has: run UPDATE_GENERATED=1 cargo test --test istio_kinds");
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..])
}

#[tokio::test]
async fn the_schema_and_the_kinds_are_istios() {
    let Some(schema) = judge::says(&["schema"], "").await else { return };
    let path = root().join(SCHEMA);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let same = fs::read(path).unwrap() == schema;
    assert!(same, "{SCHEMA} is not what istio.io/api has: run UPDATE_GENERATED=1 cargo test --test istio_kinds");
    let theirs: BTreeMap<String, String> = serde_json::from_slice(&judge::says(&["kinds"], "").await.unwrap()).unwrap();
    let ours = Kind::istio().map(|kind| {
        let (group, word) = kind.group_and_word().unwrap();
        (format!("{group}/{word}"), kinds::message(group, word).unwrap().full_name().to_owned())
    });
    assert_eq!(ours.collect::<BTreeMap<_, _>>(), theirs);
}

#[tokio::test]
async fn istio_reads_the_same_from_every_manifest() {
    for (path, ours) in manifests() {
        let Some(theirs) = judge::says(&["read"], &fs::read_to_string(&path).unwrap()).await else { return };
        let theirs: Vec<Value> = serde_json::from_slice(&theirs).unwrap();
        assert_eq!(ours.len(), theirs.len(), "{}", path.display());
        for ((kind, resource), theirs) in ours.iter().zip(theirs) {
            let ours = body(resource);
            let name = format!("{}/{}", theirs["namespace"].as_str().unwrap(), theirs["name"].as_str().unwrap());
            let name = name.strip_prefix('/').map_or(name.clone(), |name| format!("portolan/{name}"));
            assert_eq!(
                (&**resource.name(), format!("{kind:?}")),
                (&*name, theirs["kind"].as_str().unwrap().to_owned())
            );
            assert_eq!(ours.descriptor().full_name(), theirs["proto"].as_str().unwrap());
            let spec = STANDARD.decode(theirs["spec"].as_str().unwrap_or_default()).unwrap();
            let spec = DynamicMessage::decode(ours.descriptor(), &*spec).unwrap();
            let shown = |message: &DynamicMessage| serde_json::to_value(message).unwrap();
            assert_eq!(ours, spec, "{name}: {:#}\nIstio: {:#}", shown(&ours), shown(&spec));
        }
    }
}

/// What single values mean, to Istio and to us; where it refuses, we do, too.
#[tokio::test]
async fn istio_reads_single_values_as_we_do() {
    let rule =
        |field: &str, value: &str| ("DestinationRule", format!("{{host: a.b, trafficPolicy: {{{field}: {value}}}}}"));
    let mut cases = Vec::new();
    for time in [
        "5s",
        "1h30m",
        "1.5s",
        "100ms",
        "-1s",
        "0s",
        "5",
        "5 s",
        "'1s'",
        "1us",
        "1d",
        "s",
        ".5s",
        "1.s",
        "+2s",
        "1.0000000009s",
        "null",
    ] {
        cases.push(rule("connectionPool", &format!("{{http: {{idleTimeout: {time}}}}}")));
    }
    for number in ["7", "'7'", "7.0", "7e0", "7.5", "-7", "true", "2147483648", "null", "x", "''", "[7]"] {
        cases.push(rule("connectionPool", &format!("{{tcp: {{maxConnections: {number}}}}}")));
    }
    for mode in ["SIMPLE", "'SIMPLE'", "2", "simple", "true", "null"] {
        cases.push(rule("tls", &format!("{{mode: {mode}, clientCertificate: /c, privateKey: /k}}")));
    }
    for flag in ["true", "True", "FALSE", "'true'", "1", "null"] {
        cases.push(rule("outlierDetection", &format!("{{splitExternalLocalOriginErrors: {flag}}}")));
    }
    for text in ["a", "'1'", "1", "true", "1.2.3", "2001-01-01", "0.1.2", "1e", "a b"] {
        cases.push((
            "Gateway",
            format!(
                "{{selector: {{a: {text}}}, servers: [{{hosts: [a.b], port: {{number: 1, name: a, protocol: HTTP}}}}]}}"
            ),
        ));
    }
    let (mut wrong, mut taken) = (String::new(), 0);
    for (kind, spec) in cases {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: a, namespace: ns}}\nspec: {spec}\n"
        );
        let Some((success, theirs)) = judge::judges(&["read"], &text).await else { return };
        let ours = manifest::read("m", &text, &"ns".into(), 0);
        let ours = ours.as_ref().map(|resources| body(&resources[0].1));
        let theirs = success.then(|| {
            let objects: Vec<Value> = serde_json::from_slice(&theirs).unwrap();
            STANDARD.decode(objects[0]["spec"].as_str().unwrap()).unwrap()
        });
        match (&ours, theirs) {
            (Ok(ours), Some(theirs)) => {
                taken += 1;
                let theirs = DynamicMessage::decode(ours.descriptor(), &*theirs).unwrap();
                if *ours != theirs {
                    writeln!(wrong, "{spec}: ours {}, theirs {}", json!(ours), json!(theirs)).unwrap();
                }
            }
            // What they mean is Istiod's to judge: we look at the form.
            (Ok(_), None) | (Err(_), None) => {}
            (Err(error), Some(_)) => writeln!(wrong, "{spec}: Istio takes it: {error}").unwrap(),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(taken > 20, "only {taken} cases prove something");
}
