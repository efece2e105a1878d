//! Who may import whom. One direction of data: registry → catalog → views (which translate) → xds; `app` alone sees all.
//!
//! The table is the one under "Folders" in ARCHITECTURE.md, read here as it stands there: the names in backticks of its first and
//! third columns, the words of its fourth. The sources are read as text: a module that is named is a module that is used.

#[path = "layering/circles.rs"]
mod circles;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A row of the table.
#[derive(Debug)]
struct Rule {
    /// Below `src/`; a folder, or a file without `.rs`.
    part: String,
    /// Modules of ours; `None` for all.
    may_use: Option<BTreeSet<String>>,
    /// The fourth column's words, each with what it means in code.
    never: Vec<(String, Vec<String>)>,
}

/// What the words of the fourth column mean: crates, paths and types that the code must not name. Words of rows that may use
/// everything are for people.
const WORDS: [(&str, &[&str]); 14] = [
    ("async", &["tokio::"]),
    ("clocks", &["Instant", "SystemTime"]),
    ("environment", &["std::env"]),
    ("HTTP", &["reqwest::", "axum::", "hyper::"]),
    ("HTTP clients", &["reqwest::"]),
    ("IO", &["std::fs", "std::net::Tcp", "std::net::Udp", "tokio::fs", "tokio::net", "reqwest::"]),
    ("logic", &[]),
    ("policy", &[]),
    ("protobuf", &["prost::", "prost_reflect::", "xds_api::", "tonic::", "tonic_prost::"]),
    ("protocol", &[]),
    ("serde", &["serde::"]),
    ("serving", &["axum::", "TcpListener"]),
    ("sockets", &["std::net::Tcp", "std::net::Udp", "tokio::net", "reqwest::", "hickory_resolver::"]),
    ("Envoy's types", &["pb::envoy", "pb::istio"]),
];

/// The folders of registries, which do not know each other.
const REGISTRIES: [&str; 8] = ["api", "consul", "dns", "eureka", "file", "http", "nacos", "zookeeper"];

fn rules() -> Vec<Rule> {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let folders = map.split("\n## Folders\n").nth(1).expect("ARCHITECTURE.md has a section Folders");
    let rows = folders.split("\n## ").next().unwrap_or_default().lines().filter(|line| line.starts_with("| `src/"));
    let mut rules: Vec<Rule> = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [parts, _, may_use, never] = cells[..] else { panic!("four cells: {row}") };
        for part in in_backticks(parts) {
            let part = part.trim_start_matches("src/").trim_end_matches(".rs").to_owned();
            let may_use = modules(&part, may_use, &rules);
            let never = never
                .split(", ")
                .filter(|word| !word.is_empty())
                .map(|word| (word.to_owned(), code_of_word(&part, word)));
            rules.push(Rule { may_use, never: never.collect(), part });
        }
    }
    rules
}

/// "`a`, `b` (why)", "the same, and `c`" as the row of the folder above, "nothing else of ours", "all".
fn modules(part: &str, cell: &str, above: &[Rule]) -> Option<BTreeSet<String>> {
    let own = part.split('/').next().unwrap_or_default();
    if cell.starts_with("all") {
        return None;
    }
    let mut named: BTreeSet<String> = in_backticks(cell).map(str::to_owned).collect();
    if cell.starts_with("the same") {
        let row = above.iter().find(|rule| rule.part == own).unwrap_or_else(|| panic!("{part}: the same as what?"));
        named.extend(row.may_use.clone().unwrap_or_default());
    }
    named.insert(own.to_owned());
    Some(named)
}

fn code_of_word(part: &str, word: &str) -> Vec<String> {
    let own = part.rsplit('/').next().unwrap_or_default();
    let registries = REGISTRIES.iter().filter(|registry| **registry != own);
    match word {
        "registries" | "other registries" => {
            registries.flat_map(|r| [format!("registry::{r}"), format!("super::super::{r}")]).collect()
        }
        _ => {
            let known = WORDS.iter().find(|(known, _)| *known == word);
            let (_, code) = known.unwrap_or_else(|| panic!("{part}: no code is known for {word:?}"));
            code.iter().map(ToString::to_string).collect()
        }
    }
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_part_uses_only_what_its_layer_may() {
    let (mut wrong, rules) = (Vec::new(), rules());
    for rule in &rules {
        let files = files_of(&rule.part);
        assert!(!files.is_empty(), "src/{} is not there: correct the table", rule.part);
        // What a folder in this one may use, its own row says.
        let inner: BTreeSet<PathBuf> = rules
            .iter()
            .filter(|other| other.part.starts_with(&format!("{}/", rule.part)))
            .flat_map(|other| files_of(&other.part))
            .collect();
        for file in files {
            let code = code_of(&file);
            for module in modules_named(&code).into_iter().filter(|_| !inner.contains(&file)) {
                if rule.may_use.as_ref().is_some_and(|may| !may.contains(&module)) {
                    wrong.push(format!("{}: names crate::{module}, which {} may not use", file.display(), rule.part));
                }
            }
            for (word, names) in &rule.never {
                for name in names.iter().filter(|name| code.contains(name.as_str())) {
                    wrong.push(format!("{}: names {name}; {} never contains {word}", file.display(), rule.part));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A folder that is missing in the table would be free to use everything.
#[test]
fn every_folder_has_a_row() {
    let rows: BTreeSet<String> = rules().into_iter().map(|rule| rule.part).collect();
    for entry in fs::read_dir(source_root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let part = name.trim_end_matches(".rs");
        assert!(["lib", "main"].contains(&part) || rows.contains(part), "ARCHITECTURE.md has no row for src/{name}");
    }
}

/// Rooms whose files may use each other in a circle, and why.
const CIRCLES: [(&str, &str); 1] = [("util/yaml", "a section holds values, and a value may be a section")];

#[test]
fn no_files_of_a_room_use_each_other_in_a_circle() {
    let found = circles::circles(&code_of_modules());
    let is_listed = |room: &str| CIRCLES.iter().any(|(allowed, _)| *allowed == room);
    let new: Vec<_> = found.iter().filter(|(room, _)| !is_listed(room)).collect();
    assert!(new.is_empty(), "files that use each other in a circle: {new:#?}");
    let listed = CIRCLES.iter().map(|(room, _)| *room);
    let gone: Vec<_> = listed.filter(|listed| !found.iter().any(|(room, _)| room == listed)).collect();
    assert!(gone.is_empty(), "there is no circle any more in {gone:?}: take it out of the list");
}

/// The code of every module that people write.
fn code_of_modules() -> BTreeMap<circles::Module, String> {
    let mut modules = BTreeMap::new();
    for file in files_of("") {
        let relative = file.strip_prefix(source_root()).unwrap().with_extension("");
        let mut module: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        match module.last().map(String::as_str) {
            Some("mod") => drop(module.pop()),
            Some("lib") => module.clear(),
            _ => {}
        }
        if module != ["main"] && !module.iter().any(|part| part == "generated") {
            modules.insert(module, code_of(&file));
        }
    }
    modules
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
