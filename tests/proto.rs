//! The committed code in `src/pb/generated/` is that of `proto/`. `proto/generate` makes it, and with `--check` judges it
//! whole; what is looked at here needs no compiler of protobuf.

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_64;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_generated_code_was_made_from_these_files() {
    let proto = root().join("proto");
    let line = |path: &PathBuf| {
        let name = path.strip_prefix(&proto).unwrap().to_str().unwrap();
        format!("{:016x} {name}", xxh3_64(&fs::read(path).unwrap()))
    };
    let mut now: Vec<String> = files(&proto, "proto").iter().map(line).collect();
    let made_from = fs::read_to_string(root().join("src/pb/generated/sources.txt")).unwrap();
    let mut made_from: Vec<&str> = made_from.lines().collect();
    now.sort();
    made_from.sort_unstable();
    assert_eq!(made_from, now, "run cargo run --manifest-path proto/generate/Cargo.toml and commit the result");
}

#[test]
fn the_generated_code_has_ordered_maps_only() {
    for path in files(&root().join("src/pb/generated"), "rs") {
        assert!(!fs::read_to_string(&path).unwrap().contains("HashMap"), "{}", path.display());
    }
}

/// The kinds of Istio's that are obeyed are read whole: a field that is missing here would be skipped without a word.
#[test]
fn the_kinds_that_are_obeyed_have_all_of_istios_fields() {
    let pool = |path: &str| DescriptorPool::decode(fs::read(root().join(path)).unwrap().as_slice()).unwrap();
    let (ours, theirs) = (pool("src/pb/generated/schema.binpb"), pool("proto/istio-kinds/schema.binpb"));
    let mut open: Vec<String> = ["VirtualService", "Gateway", "DestinationRule", "Sidecar", "ServiceEntry"]
        .map(|kind| format!("istio.networking.v1alpha3.{kind}"))
        .to_vec();
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) || !name.starts_with("istio.") {
            continue;
        }
        let message =
            |pool: &DescriptorPool| pool.get_message_by_name(&name).unwrap_or_else(|| panic!("{name} is missing"));
        let (ours, theirs) = (message(&ours), message(&theirs));
        let fields = |message: &MessageDescriptor| -> BTreeMap<String, String> {
            let field = |field: FieldDescriptor| {
                let kind = match field.kind() {
                    Kind::Message(of) => of.full_name().to_owned(),
                    Kind::Enum(of) => {
                        format!("{} {:?}", of.full_name(), of.values().map(|v| v.number()).collect::<BTreeSet<_>>())
                    }
                    kind => format!("{kind:?}"),
                };
                let group = field.containing_oneof().map(|group| group.name().to_owned());
                (field.name().to_owned(), format!("{} {:?} {kind} {group:?}", field.number(), field.cardinality()))
            };
            message.fields().map(field).collect()
        };
        assert_eq!(fields(&ours), fields(&theirs), "{name}");
        open.extend(ours.fields().filter_map(|field| Some(field.kind().as_message()?.full_name().to_owned())));
    }
    assert!(seen.len() > 60, "{seen:?}");
}
