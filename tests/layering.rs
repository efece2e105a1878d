//! Who may import whom. One direction of data: registry → catalog → views (which translate) → xds; `app` alone sees all.
//!
//! The sources are read as text: a module that is named is a module that is used. Widen the table only with a reason in
//! the commit.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What a part may name of ours, and which crates and paths it must not name.
struct Rule {
    part: &'static str,
    may_use: &'static [&'static str],
    never: &'static [&'static str],
}

const PROTOBUF: [&str; 3] = ["prost::", "xds_api::", "tonic::"];

/// Parts that may use everything (`app`, `cli`, `config`) are not listed; `config` and `cli` hold no logic to protect.
fn rules() -> Vec<Rule> {
    let rule = |part, may_use, never| Rule { part, may_use, never };
    vec![
        rule(
            "model",
            &["model"],
            &["tokio::", "serde::", "prost::", "xds_api::", "tonic::", "axum::", "reqwest::", "Instant", "SystemTime"],
        ),
        // Nacos pushes by gRPC, and its messages stand with the other generated ones.
        rule("registry", &["registry", "model", "util", "telemetry", "pb"], &["xds_api::"]),
        rule(
            "registry/nacos",
            &["registry", "model", "util", "telemetry", "pb"],
            &["registry::file", "registry::eureka", "super::super::file", "pb::envoy", "pb::google"],
        ),
        rule(
            "registry/transport",
            &["registry", "model", "util", "telemetry"],
            &["registry::nacos", "registry::eureka", "registry::file", "super::super::nacos", "super::super::file"],
        ),
        rule(
            "registry/catalogue",
            &["registry", "model", "util"],
            &["tokio::", "std::fs", "registry::nacos", "registry::eureka", "registry::zookeeper", "registry::file"],
        ),
        rule(
            "registry/dubbo",
            &["registry", "model", "util"],
            &["tokio::", "std::fs", "registry::nacos", "registry::eureka", "registry::zookeeper", "registry::file"],
        ),
        rule(
            "registry/eureka",
            &["registry", "model", "util", "telemetry"],
            &["registry::nacos", "registry::zookeeper", "registry::file", "super::super::nacos", "super::super::file"],
        ),
        rule(
            "registry/zookeeper",
            &["registry", "model", "util", "telemetry"],
            &[
                "registry::nacos",
                "registry::eureka",
                "registry::file",
                "super::super::nacos",
                "super::super::file",
                "reqwest::",
            ],
        ),
        rule(
            "registry/file",
            &["registry", "model", "util", "telemetry"],
            &["registry::nacos", "registry::eureka", "registry::zookeeper", "reqwest::"],
        ),
        rule(
            "catalog",
            &["catalog", "model", "util", "telemetry"],
            &["std::net::Tcp", "tokio::net", "reqwest::", "hickory_resolver::", "prost::", "xds_api::", "tonic::"],
        ),
        rule("resolver", &["resolver", "catalog", "model", "util", "telemetry"], &["prost::", "xds_api::", "tonic::"]),
        rule(
            "translate",
            &["translate", "model", "resource", "pb", "util"],
            &["tokio::", "reqwest::", "std::env", "std::fs", "Instant", "SystemTime"],
        ),
        rule(
            "manifests",
            &["manifests", "model", "translate", "resource", "util", "telemetry"],
            &["std::net::Tcp", "tokio::net", "reqwest::", "registry::nacos"],
        ),
        // `Readiness` is one idea from registries to the protocol, and stands with the model.
        rule("resource", &["resource", "model"], &["tokio::", "tonic::", "axum::", "Instant", "SystemTime"]),
        rule(
            "views",
            &["views", "model", "catalog", "manifests", "translate", "resource", "util", "telemetry"],
            &["std::net::Tcp", "std::net::Udp", "tokio::net", "reqwest::"],
        ),
        rule("probe", &["probe", "pb", "resource", "translate"], &["tokio::net", "reqwest::"]),
        rule("xds", &["xds", "resource", "pb", "util", "telemetry"], &["reqwest::"]),
        rule(
            "admin",
            &["admin", "catalog", "model", "registry", "resource", "views", "xds", "pb", "telemetry", "util"],
            &["reqwest::", "registry::nacos", "registry::zookeeper", "registry::file"],
        ),
        rule("pb", &["pb"], &["tokio::"]),
        rule("util", &["util"], &["prost::", "xds_api::", "tonic::"]),
        rule("telemetry", &["telemetry", "util"], &["prost::", "xds_api::", "tonic::"]),
    ]
}

#[test]
fn every_part_uses_only_what_its_layer_may() {
    let mut wrong = Vec::new();
    for rule in rules() {
        let files = files_of(rule.part);
        assert!(!files.is_empty(), "src/{} is not there: correct the table", rule.part);
        for file in files {
            let code = code_of(&file);
            for module in modules_named(&code) {
                if !rule.may_use.contains(&module.as_str()) {
                    wrong.push(format!("{}: names crate::{module}, which {} may not use", file.display(), rule.part));
                }
            }
            for word in rule.never.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{}: names {word}, which {} never contains", file.display(), rule.part));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn protobuf_stays_where_it_belongs() {
    let allowed = ["translate", "resource", "xds", "probe", "pb", "admin", "registry/nacos"];
    for file in files_of("") {
        let relative = file.strip_prefix(source_root()).unwrap().to_string_lossy().replace('\\', "/");
        if allowed.iter().any(|part| relative.starts_with(part)) {
            continue;
        }
        let code = code_of(&file);
        for word in PROTOBUF {
            assert!(!code.contains(word), "{relative} names {word}");
        }
    }
}

#[test]
fn files_keep_to_one_idea() {
    for file in files_of("") {
        let path = file.to_string_lossy();
        if path.contains("/pb/") || path.contains("tests") {
            continue;
        }
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 700, "{path} has {lines} lines: split it along its ideas");
    }
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The Rust files of a part: a folder, a file of that name, or everything for "".
fn files_of(part: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let folder = source_root().join(part);
    let single = source_root().join(format!("{part}.rs"));
    if single.is_file() {
        files.push(single);
    }
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// The code of a file without comments, and without its tests, which may reach across layers to build input.
fn code_of(file: &Path) -> String {
    if file.components().any(|c| c.as_os_str() == "tests") || file.file_name().is_some_and(|name| name == "tests.rs") {
        return String::new();
    }
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every module that stands behind `crate::`, alone or first in a group.
fn modules_named(code: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            modules.extend(heads_of_group(group));
        } else {
            modules.insert(word_of(rest));
        }
    }
    modules.remove("");
    modules
}

/// `{a::b, c::{d, e}, f}` (after its first brace) names a, c and f.
fn heads_of_group(group: &str) -> Vec<String> {
    let (mut heads, mut depth, mut start) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                heads.push(word_of(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    heads
}

fn word_of(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
