//! The documents say what the program does: what they show is accepted by its own readers, what can be written or read
//! stands in them, and what they point to is there.

mod support;

use portolan::{
    config::{self, Loaded},
    model::Reason,
    registry::{Kind, file},
    translate::Why,
    util::yaml::{Problems, Resolver},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use support::reading::Reading;

/// A key that nobody knows, and that is like none that somebody knows: readers answer with all keys that they know.
const UNKNOWN: &str = "qqqqqqqqqqqqqqqqqqqq";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All documents that people read, as paths from the root.
fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/adr", "envoy-examples", "benches", "proto"];
    let mut found = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    found.sort();
    found.into_iter().map(|path| path.strip_prefix(root()).unwrap().into()).collect()
}

/// The blocks of a document that are marked as YAML, each with the line that it begins on.
fn yaml_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim()) {
            (Some(_), "```") => blocks.extend(open.take()),
            (Some((_, block)), _) => block.extend([line, "\n"]),
            (None, "```yaml") => open = Some((number + 2, String::new())),
            (None, _) => {}
        }
    }
    blocks
}

/// All blocks whose first key is this one, with the place of each.
fn blocks_of(key: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for document in documents() {
        for (line, block) in yaml_blocks(&read(&document)) {
            let first = block.lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
            let known = ["version:", "publish:", "services:"].iter().any(|known| first.starts_with(known));
            let place = format!("{}:{line}", document.display());
            assert!(known, "{place}: a block marked `yaml` begins with version:, publish: or services:, not {first:?}");
            if first.starts_with(key) {
                found.push((place, block));
            }
        }
    }
    found
}

/// Reads a configuration in which every variable is set and the file of the examples is there.
fn configuration(text: &str) -> Result<Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    fs::write(folder.path().join("secrets/nacos-password"), "secret\n").unwrap();
    fs::create_dir(folder.path().join("tls")).unwrap();
    for (name, from) in [
        ("tls.crt", "shop-server.pem"),
        ("tls.key", "shop-server.key"),
        ("ca.crt", "shop.pem"),
        ("ca.crl", "none-revoked.crl"),
        ("jwks.json", "jwks.json"),
    ] {
        fs::write(folder.path().join("tls").join(name), support::mesh::text(from)).unwrap();
    }
    // Each its own: no two tokens are the same.
    let variables = |name: &str| Some(format!("the value of {name}").replace(' ', "-"));
    config::parse("block", text.as_bytes(), &Resolver::with_variables(folder.path(), variables))
}

/// Reads a catalogue file until it was listed or refused.
async fn catalogue(text: &str) -> Reading {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("services.yaml");
    fs::write(&path, text).unwrap();
    let mut reading = Reading::new(Kind::File(file::Config::new(file::Source::Path(path))));
    reading.until("a list or an error", |h| h.listed + h.failed > 0).await;
    reading
}

/// The keys in all "known here: a, b, c" of these problems, and in how many mappings.
fn known_keys(problems: &str) -> (BTreeSet<String>, usize) {
    let lists: Vec<&str> = problems.lines().filter_map(|line| Some(line.split_once("known here: ")?.1)).collect();
    (lists.iter().flat_map(|list| list.split(", ")).map(str::to_owned).collect(), lists.len())
}

/// All keys of the configuration, as its own reader tells them.
fn configuration_keys() -> BTreeSet<String> {
    let text = "version: 1
?: 1
xds: { ?: 1, limits: { ?: 1 }, rollout: { ?: 1 }, listeners: [{ ?: 1, tls: { ?: 1, client_authorities: tls/ca.crt }, jwt: { ?: 1 } }] }
admin: { ?: 1, tls: { ?: 1 }, tokens: { ?: 1 } }
envoy: { ?: 1, zones: { ?: 1 }, services: [{ ?: 1, rate_limit: { ?: 1 }, health_check: { ?: 1 } }] }
istio: { ?: 1 }
traffic: { ?: 1, default_http_retry_policy: { ?: 1 }, rate_limits: [{ ?: 1 }] }
gateways: [{ ?: 1, name: a, tls: { ?: 1 } }]
catalog: { ?: 1 }
calls: { ?: 1, sidecars: { ?: 1 } }
log: { ?: 1 }
csds: { ?: 1 }
scopes: [{ ?: 1, match: { ?: 1 }, declared: { ?: 1 }, calls: { ?: 1 } }]
registries:
- ?: 1
  name: a
  nacos: { ?: 1, manifests: { ?: 1, group: g }, tls: { ?: 1 }, dubbo: { ?: 1, applications: { ?: 1 } } }
  include: { ?: 1 }
  istio: { ?: 1 }
  publish: { ?: 1, ports: [{ ?: 1 }], relabel: [{ set: a, ?: 1 }, { rename: a, ?: 1 }] }
- { name: b, file: { ?: 1 } }
- { name: c, zookeeper: { ?: 1, auth: { ?: 1 }, tls: { ?: 1 }, dubbo: { ?: 1, applications: { ?: 1 } } } }
- { name: d, zookeeper: { ?: 1, spring: { ?: 1 } } }
- { name: e, eureka: { ?: 1 } }
- { name: f, consul: { ?: 1, tags: { ?: 1 }, limits: { ?: 1 }, tls: { ?: 1 } } }
- { name: g, http: { ?: 1, prometheus: { ?: 1 }, map: { ?: 1 } } }
- { name: h, dns: { ?: 1, names: [{ ?: 1 }] } }
- { name: i, api: { ?: 1 } }
"
    .replace('?', UNKNOWN);
    let (keys, mappings) = known_keys(&configuration(&text).unwrap_err().to_string());
    assert_eq!(mappings, text.matches(UNKNOWN).count(), "a mapping is no longer where this test looks for it");
    keys
}

#[test]
fn every_configuration_that_is_shown_is_accepted() {
    let complete = blocks_of("version:");
    let publishing = blocks_of("publish:").into_iter().map(|(place, block)| {
        let indented: String = block.lines().map(|line| format!("  {line}\n")).collect();
        (place, format!("version: 1\nregistries:\n- name: a\n  example:\n{indented}"))
    });
    let all: Vec<_> = complete.into_iter().chain(publishing).collect();
    assert!(all.len() >= 9, "the blocks are gone: {all:?}");
    for (place, text) in all {
        if let Err(problems) = configuration(&text) {
            panic!("{place}: {problems}");
        }
    }
}

#[tokio::test]
async fn every_catalogue_that_is_shown_is_accepted() {
    let all = blocks_of("services:");
    assert!(!all.is_empty(), "the blocks are gone");
    for (place, text) in all {
        let reading = catalogue(&text).await;
        let unreadable: Vec<_> = reading.unreadable.values().flatten().collect();
        assert!(reading.errors.is_empty() && unreadable.is_empty(), "{place}: {:?} {unreadable:?}", reading.errors);
    }
}

#[test]
fn every_key_of_the_configuration_is_documented_and_in_the_example() {
    let (document, example) = (read("docs/configuration.md"), read("docs/portolan.example.yaml"));
    for key in configuration_keys() {
        let named = [format!("`{key}`"), format!("{{ {key}: "), format!(", {key}: ")];
        assert!(named.iter().any(|name| document.contains(name)), "docs/configuration.md does not tell of `{key}`");
        let word = |line: &str| {
            line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).any(|w| w == format!("{key}:"))
        };
        assert!(example.lines().any(word), "docs/portolan.example.yaml does not have `{key}`");
    }
}

#[tokio::test]
async fn every_key_of_the_catalogue_is_documented() {
    let service = "{ name: a, ?: 1, ports: [{ port: 1, ?: 1 }], endpoints: [{ address: 10.0.0.1, port: 1, ?: 1 }] }";
    let reading = catalogue(&format!("services: [{service}]").replace('?', UNKNOWN)).await;
    let problems: Vec<String> = reading.unreadable.values().flatten().map(|(_, why)| why.to_string()).collect();
    let (keys, mappings) = known_keys(&problems.join("\n"));
    assert_eq!(mappings, 3, "{problems:?}");
    let document = read("docs/catalogue.md");
    for key in keys {
        assert!(document.contains(&format!("`{key}`")), "docs/catalogue.md does not tell of `{key}`");
    }
}

#[test]
fn the_example_configuration_passes_check() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(["check", "--config", "docs/portolan.example.yaml"]).current_dir(root());
    let output = command
        .env("NACOS_USER", "reader")
        .env("NACOS_PASSWORD", "secret")
        .env("ZK_PASSWORD", "secret")
        .output()
        .unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{printed}");
    assert!(printed.starts_with("docs/portolan.example.yaml is good.\n"), "{printed}");
}

#[test]
fn every_reason_and_metric_is_documented() {
    let document = read("docs/admin.md");
    let codes = Reason::ALL.map(Reason::code).into_iter().chain(Why::CODES);
    for code in codes {
        assert!(document.contains(&format!("| `{code}` |")), "docs/admin.md does not tell of the reason {code}");
    }
    let names: Vec<String> =
        ["calls", "catalog", "registry", "views", "xds"].into_iter().flat_map(registered).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(document.contains(&name), "docs/admin.md does not tell of the metric {name}");
    }
}

/// The names of an area's metrics, as its source registers them.
fn registered(area: &str) -> Vec<String> {
    let source = read(format!("src/{area}/metrics.rs"));
    let calls = source.split("registry.register").skip(1);
    let argument =
        |call: &str| call.split_once('(')?.1.trim_start().strip_prefix('"')?.split_once('"').map(|n| n.0.to_owned());
    let own =
        |name: String| if area == "views" { format!("portolan_views_{name}") } else { format!("portolan_{name}") };
    calls.filter_map(argument).map(own).collect()
}

#[test]
fn every_line_of_the_log_that_is_explained_is_logged() {
    let document = read("docs/operations.md");
    let table = document.split("Log lines at `warn`").nth(1).expect("docs/operations.md explains lines of the log");
    let cells = table.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split(" | ").next());
    let explained: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(explained.len() > 15, "{explained:?}");
    let source = text_below(&root().join("src"));
    let unknown = explained.iter().filter(|line| !source.contains(line.trim_end_matches(" ...")));
    let unknown: Vec<_> = unknown.collect();
    assert!(unknown.is_empty(), "docs/operations.md explains what is never logged: {unknown:#?}");
}

/// The text of every source file in a folder.
fn text_below(folder: &Path) -> String {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.extension().is_some_and(|extension| extension == "rs") {
        true => fs::read_to_string(path).unwrap(),
        false if path.is_dir() => text_below(&path),
        false => String::new(),
    };
    paths.map(text).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)) {
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let there = root().join(&file).exists();
            if !there || !(anchor.is_empty() || anchors(&read(&file)).contains(anchor)) {
                wrong.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links to nowhere:\n{}", wrong.join("\n"));
}

/// The anchors of a document's headings, as forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let anchor = |heading: &str| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-");
    let headings = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    headings.map(anchor).collect()
}

#[test]
fn every_file_that_the_map_names_exists() {
    let folders = ["src/", "tests/", "docs/", "proto/", "benches/", "tools/", "envoy-examples/", "deploy/"];
    let mut named = 0;
    for document in ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"] {
        let text = read(document);
        for path in text.split('`').skip(1).step_by(2).filter(|part| folders.iter().any(|f| part.starts_with(f))) {
            let plain = !path.contains(['*', ' ']) && !path.ends_with("NAME");
            named += usize::from(plain);
            assert!(!plain || root().join(path).exists(), "{document} names {path}, which is not there");
        }
    }
    assert!(named > 50, "the names are gone: {named}");
}

/// A row of the table of promises has what is promised, where that stands, and the tests that hold it, behind their files.
#[test]
fn every_promise_names_tests_that_exist() {
    let text = read("docs/reliability.md");
    let rows = text.lines().skip_while(|line| !line.starts_with("## Promises")).filter(|line| line.starts_with("| "));
    let mut named = 0;
    for row in rows.skip(1) {
        let held_by = row.split('|').nth(3).unwrap_or_default();
        for part in held_by.split(';') {
            let (files, tests): (Vec<&str>, Vec<&str>) =
                part.split('`').skip(1).step_by(2).partition(|name| name.contains('/'));
            assert!(!files.is_empty(), "no file holds it: {row}");
            let found = |test: &&str| files.iter().any(|file| read(file).contains(&format!("fn {test}(")));
            assert!(files.iter().all(|file| root().join(file).exists()), "a file is not there: {part}");
            assert!(tests.iter().all(found), "a test is not there: {part}");
            named += tests.len();
        }
    }
    assert!(named > 60, "the names are gone: {named}");
}
