//! Writes `src/pb/generated/`, the code and the descriptors, from `proto/`; with `--check` it only compares the two, and fails when they differ.
//!
//! Beside the code it leaves the hash of every file that the code was made from, by which `tests/proto.rs` knows without a
//! compiler of protobuf that somebody changed one and did not run this.

use anyhow::{Context as _, Result, bail};
use protox::file::IncludeFileResolver;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_64;

/// Those that no other one imports.
const FILES: [&str; 27] = [
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/filters/http/cors/v3/cors.proto",
    "envoy/extensions/filters/http/fault/v3/fault.proto",
    "envoy/extensions/filters/http/grpc_web/v3/grpc_web.proto",
    "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.proto",
    "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/load_balancing_policies/least_request/v3/least_request.proto",
    "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.proto",
    "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto",
    "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    "envoy/service/discovery/v3/discovery.proto",
    "envoy/service/status/v3/csds.proto",
    "istio/mcp/v1alpha1/resource.proto",
    "istio/networking/v1alpha3/service_entry.proto",
    "nacos.proto",
    "state.proto",
];

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (folder, fresh) = (root.join("src/pb/generated"), generate(&root.join("proto"))?);
    match std::env::args().nth(1).as_deref() {
        None => write(&folder, &fresh),
        Some("--check") if read(&folder)? == fresh => Ok(()),
        Some("--check") => bail!(
            "proto/ and src/pb/generated/ differ: run cargo run --manifest-path proto/generate/Cargo.toml and commit the result"
        ),
        Some(word) => bail!("{word}: only --check is known"),
    }
}

/// Name and content of every generated file.
fn generate(proto: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let compiler = compile(proto, true)?;
    let out = tempfile::tempdir()?;
    prost_build::Config::new()
        .out_dir(out.path())
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .btree_map(["."])
        .bytes(["."])
        .compile_well_known_types()
        .include_file("mod.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    let mut files = read(out.path())?;
    files.insert("sources.txt".into(), hashes(proto, &compiler)?.into_bytes());
    files.insert("schema.binpb".into(), compile(proto, false)?.encode_file_descriptor_set());
    Ok(files)
}

fn compile(proto: &Path, comments: bool) -> Result<protox::Compiler> {
    let mut compiler = protox::Compiler::with_file_resolver(IncludeFileResolver::new(proto.to_owned()));
    compiler.include_imports(true).include_source_info(comments).open_files(FILES)?;
    Ok(compiler)
}

/// A line for every file that was read: its hash and its path below `proto/`.
fn hashes(proto: &Path, compiler: &protox::Compiler) -> Result<String> {
    let mut names: Vec<&str> = compiler.files().map(|file| file.name()).collect();
    names.sort();
    let line = |name: &str| Ok(format!("{:016x} {name}\n", xxh3_64(&fs::read(proto.join(name))?)));
    names.into_iter().map(line).collect()
}

fn read(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let content = |path: PathBuf| {
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        Ok((name, fs::read(&path)?))
    };
    fs::read_dir(folder)?.map(|entry| content(entry?.path())).collect()
}

fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    fs::remove_dir_all(folder)?;
    fs::create_dir_all(folder)?;
    files.iter().try_for_each(|(name, content)| Ok(fs::write(folder.join(name), content)?))
}
