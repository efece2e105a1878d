//! Keeps `src/pb/generated/` equal to `proto/`. It uses nothing of the library, so that it builds while the two differ.

use protox::file::{ChainFileResolver, IncludeFileResolver};
use std::{collections::BTreeMap, fs, path::Path};

const FILES: [&str; 7] = [
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    "google/protobuf/values.proto",
    "istio/mcp/v1alpha1/resource.proto",
    "istio/networking/v1alpha3/service_entry.proto",
    "nacos.proto",
];

/// Name and text of every generated file.
fn generate() -> BTreeMap<String, String> {
    let mut files = ChainFileResolver::new();
    files.add(IncludeFileResolver::new(root().join("proto")));
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).include_source_info(true).open_files(FILES).unwrap();

    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        .out_dir(out.path())
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .btree_map(["."])
        .bytes(["."])
        .compile_well_known_types()
        .include_file("mod.rs")
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();
    read(out.path())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(folder: &Path) -> BTreeMap<String, String> {
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
    };
    fs::read_dir(folder).map(|entries| entries.map(file).collect()).unwrap_or_default()
}

#[test]
fn generated_code_is_what_the_protos_give() {
    let (folder, fresh) = (root().join("src/pb/generated"), generate());
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in &fresh {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    assert!(
        read(&folder) == fresh,
        "proto/ and src/pb/generated/ differ: run UPDATE_GENERATED=1 cargo test --test proto"
    );
}

#[test]
fn generated_code_has_ordered_maps_only() {
    for (name, text) in generate() {
        assert!(!text.contains("HashMap"), "{name}");
    }
}
