//! What we depend on is what `deny.toml` allows: licences, sources, names that must not be there, names in two versions. And
//! there is a limit to how much it is. Known advisories need a database and are not judged here.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

/// Packages in the lock, ours included. Raise it only with a reason in the commit.
const MOST: usize = 325;

/// Names in several versions. Each has its reason in `deny.toml`; why there cannot be fewer says docs/adr/0023-doubled-names.md.
const MOST_DOUBLED: usize = 11;

/// All packages that any feature, system or test needs, as `cargo metadata` has them.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

/// The items of the list `key` in a section of `deny.toml`, which has each on a line of its own: its first text in quotes.
fn list(section: &str, key: &str) -> BTreeSet<String> {
    let file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).unwrap();
    let lines = file.lines().skip_while(|line| *line != format!("[{section}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('[')).skip_while(|line| *line != format!("{key} = ["));
    let items: BTreeSet<String> = lines
        .skip(1)
        .take_while(|line| *line != "]")
        .map(|line| line.split('"').nth(1).unwrap_or_else(|| panic!("no text in quotes: {line}")).to_owned())
        .collect();
    assert!(!items.is_empty(), "deny.toml has no list {key} in [{section}]");
    items
}

#[test]
fn there_are_not_too_many() {
    let count = packages().len();
    assert!(count <= MOST, "{count} packages; {MOST} are allowed. What do the new ones replace?");
}

#[test]
fn all_come_from_the_public_registry() {
    let strange = |package: &&Value| {
        let ours = package["source"].is_null() && text(package, "name") == "portolan";
        !ours && text(package, "source") != "registry+https://github.com/rust-lang/crates.io-index"
    };
    let strange: Vec<String> = packages().iter().filter(strange).map(|p| p["id"].to_string()).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn licences_are_among_those_allowed() {
    let allowed = list("licenses", "allow");
    let refused = |package: &&Value| !is_allowed(text(package, "license"), &allowed);
    let name = |package: &Value| format!("{}: {}", text(package, "name"), text(package, "license"));
    let refused: Vec<String> = packages().iter().filter(refused).map(name).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Whether one of the ways to take this SPDX expression needs nothing but what is allowed. Exceptions only widen a licence.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.trim();
    let either = split(expression, &[" OR ", "/"]);
    if either.len() > 1 {
        return either.iter().any(|part| is_allowed(part, allowed));
    }
    let all = split(expression, &[" AND "]);
    if all.len() > 1 {
        return all.iter().all(|part| is_allowed(part, allowed));
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_allowed(inner, allowed),
        None => allowed.contains(expression.split(" WITH ").next().unwrap_or_default()),
    }
}

/// The parts of an expression between these words, outside of brackets. OR binds weaker than AND.
fn split<'a>(expression: &'a str, words: &[&str]) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in expression.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        let word = words.iter().find(|word| depth == 0 && at >= start && expression[at..].starts_with(**word));
        if let Some(word) = word {
            parts.push(&expression[start..at]);
            start = at + word.len();
        }
    }
    parts.push(&expression[start..]);
    parts
}

#[test]
fn expressions_of_licences_are_understood() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "ISC".into()]);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0 AND MIT OR ISC", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR MIT) AND BSD-3-Clause", false),
        ("MIT WITH LLVM-exception", true),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn nothing_is_there_that_is_banned() {
    let banned = list("bans", "deny");
    let found: Vec<String> =
        packages().iter().map(|p| text(p, "name").to_owned()).filter(|n| banned.contains(n)).collect();
    assert!(found.is_empty(), "{found:?}; deny.toml says why not");
}

/// Of a name in several versions the newest needs no reason; each other one has its own, and no reason is left over.
#[test]
fn names_in_two_versions_have_a_reason() {
    let mut versions: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for package in packages() {
        let mut numbers = text(&package, "version").split('.').map(|number| number.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        versions.entry(text(&package, "name").to_owned()).or_default().push(version);
    }
    let doubled: Vec<&String> = versions.iter().filter(|(_, all)| all.len() > 1).map(|(name, _)| name).collect();
    assert!(doubled.len() <= MOST_DOUBLED, "{} names in several versions: {doubled:?}", doubled.len());
    let mut older = BTreeSet::new();
    for (name, mut versions) in versions {
        versions.sort_unstable();
        versions.pop();
        let line = |(major, minor)| if major == 0 { format!("{name}@0.{minor}") } else { format!("{name}@{major}") };
        older.extend(versions.into_iter().map(line));
    }
    assert_eq!(
        list("bans", "skip"),
        older,
        "on the left those with a reason in deny.toml, on the right those in the lock"
    );
}
