//! Finds circles: files of one room that use each other, directly or through others of the room. A room is a folder of the
//! source; in it a folder below counts as one file, and so does `mod.rs`.
//!
//! The sources are read as text. A file uses another if it names something that is defined there, in a `use` or by a path.
//! What a `mod.rs` only hands on (`pub use`) counts as defined where it comes from, so that a room may show its parts.

use std::collections::{BTreeMap, BTreeSet};

/// The path of a module, such as `registry`, `nacos`.
pub type Module = Vec<String>;

/// Rooms with those of their files that use each other.
pub type Circles = Vec<(String, BTreeSet<String>)>;

/// A name that a `use` brings in.
struct Import {
    is_public: bool,
    path: Vec<String>,
    name: String,
}

struct Source<'a> {
    /// The code of each module, without comments and tests.
    code: &'a BTreeMap<Module, String>,
    imports: BTreeMap<&'a Module, Vec<Import>>,
}

/// Finds the circles in each room. `code` is that of each module, without comments and tests.
pub fn circles(code: &BTreeMap<Module, String>) -> Circles {
    let source = Source { code, imports: code.iter().map(|(module, text)| (module, imports(text))).collect() };
    let uses: Vec<(&Module, BTreeSet<Module>)> = code.keys().map(|module| (module, source.used_by(module))).collect();
    let rooms: BTreeSet<Module> =
        code.keys().filter(|module| !module.is_empty()).map(|module| module[..module.len() - 1].to_vec()).collect();
    let in_room = |room: Module| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (user, used) in &uses {
            let Some(user) = file_in(&room, user) else { continue };
            let used = used.iter().filter_map(|used| file_in(&room, used)).filter(|used| *used != user);
            graph.entry(user.clone()).or_default().extend(used);
        }
        let name = if room.is_empty() { "src".to_owned() } else { room.join("/") };
        groups(&graph).into_iter().map(move |group| (name.clone(), group)).collect::<Vec<_>>()
    };
    rooms.into_iter().flat_map(in_room).collect()
}

/// What a module counts as in a room; `None` outside of it.
fn file_in(room: &[String], module: &[String]) -> Option<String> {
    let inside = module.strip_prefix(room)?;
    Some(inside.first().cloned().unwrap_or_else(|| "mod".into()))
}

/// Sets of at least two files of which each is reached from each other.
fn groups(graph: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for next in graph.get(file).into_iter().flatten() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<&String>> = graph.keys().map(|file| (file, reached(file))).collect();
    let group = |(file, others): (&&String, &BTreeSet<&String>)| {
        let back = others.iter().filter(|other| reach.get(**other).is_some_and(|back| back.contains(*file)));
        back.map(|other| (*other).clone()).collect::<BTreeSet<_>>()
    };
    reach.iter().map(group).filter(|group| group.len() > 1).collect()
}

impl Source<'_> {
    fn used_by(&self, module: &Module) -> BTreeSet<Module> {
        let (rest, mut used) = (without_visibility(&without_imports(&self.code[module])), BTreeSet::new());
        for import in &self.imports[module] {
            let found = self.absolute(module, &import.path).and_then(|path| self.defines(&path, 0));
            // A room that shows its own parts does not use them.
            used.extend(found.filter(|found| !(import.is_public && found.starts_with(module))));
        }
        for path in paths(&rest) {
            let shadowed = self.imports[module].iter().any(|import| import.name == path[0]);
            if !shadowed {
                used.extend(self.absolute(module, &path).and_then(|path| self.defines(&path, 0)));
            }
        }
        used.remove(module);
        used
    }

    /// A path from the root; `None` if it leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match &**first {
            "crate" => Some(rest.to_vec()),
            "self" => self.absolute_below(module, rest),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                self.absolute_below(&module[..module.len().checked_sub(ups)?], &path[ups..])
            }
            _ => {
                let below = [module, path].concat();
                self.code.contains_key(&below[..module.len() + 1]).then_some(below)
            }
        }
    }

    fn absolute_below(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        Some([module, path].concat())
    }

    /// The module that defines what a path from the root names; imports are followed, at most eight in a row.
    fn defines(&self, path: &[String], depth: usize) -> Option<Module> {
        let length = (0..=path.len()).rev().find(|n| self.code.contains_key(&path[..*n]))?;
        let module = path[..length].to_vec();
        let Some(item) = path.get(length).filter(|_| depth < 8) else { return Some(module) };
        let import = self.imports[&module].iter().find(|import| import.name == *item);
        match import.and_then(|import| self.absolute(&module, &import.path)) {
            Some(elsewhere) if elsewhere != path[..=length] => self.defines(&elsewhere, depth + 1),
            _ => Some(module),
        }
    }
}

/// Words, `::`, and what groups names.
fn tokens(text: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(c) = rest.chars().next() {
        let length = match c {
            _ if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => c.len_utf8(),
        };
        if !c.is_whitespace() {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The `use` statements of a file: where each begins and ends, and whether it is public.
fn statements(code: &str) -> Vec<(usize, usize, bool)> {
    let (mut found, mut at) = (Vec::new(), 0);
    for line in code.split_inclusive('\n') {
        let start = line.trim_start();
        let is_public = start.starts_with("pub");
        let after = start.strip_prefix("pub").map_or(start, |rest| rest.split_once("use ").map_or("", |_| rest));
        let visibility = after.split("use ").next().unwrap_or_default().trim();
        let begins = (start.starts_with("use ") || is_public && after.contains("use "))
            && (visibility.is_empty() || visibility.starts_with('(') && visibility.ends_with(')'));
        if begins && let Some(length) = code[at..].find(';') {
            found.push((at, at + length + 1, is_public));
        }
        at += line.len();
    }
    found
}

fn imports(code: &str) -> Vec<Import> {
    let mut imports = Vec::new();
    for (start, end, is_public) in statements(code) {
        let text = &code[start..end];
        let tree = &text[text.find("use ").unwrap_or_default() + 4..text.len() - 1];
        let mut names = Vec::new();
        read_tree(&tokens(tree), &mut 0, &[], &mut names);
        imports.extend(names.into_iter().map(|(path, name)| Import { is_public, path, name }));
    }
    imports
}

/// Reads one branch of a tree of imports: its paths, with the names that they get.
fn read_tree(tokens: &[&str], at: &mut usize, before: &[String], names: &mut Vec<(Vec<String>, String)>) {
    let mut path = before.to_vec();
    let mut alias = None;
    while let Some(token) = tokens.get(*at).copied() {
        match token {
            "," | "}" => break,
            "::" => *at += 1,
            "{" => {
                *at += 1;
                while tokens.get(*at).is_some_and(|token| *token != "}") {
                    read_tree(tokens, at, &path, names);
                    *at += usize::from(tokens.get(*at) == Some(&","));
                }
                *at += 1;
                return;
            }
            "as" => {
                alias = tokens.get(*at + 1).copied();
                *at += 2;
            }
            "self" if !path.is_empty() => *at += 1,
            word => {
                path.push(word.to_owned());
                *at += 1;
            }
        }
    }
    let name = alias.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
    names.push((path, name));
}

fn without_imports(code: &str) -> String {
    let (mut rest, mut at) = (String::new(), 0);
    for (start, end, _) in statements(code) {
        rest.push_str(&code[at.min(start)..start]);
        at = end;
    }
    rest.push_str(&code[at..]);
    rest
}

/// Who may see something is no use: without the path of `pub(in path)`.
fn without_visibility(code: &str) -> String {
    let mut parts = code.split("pub(in ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "pub" + part.split_once(')').map_or("", |(_, rest)| rest))
}

/// Every path of at least two parts.
fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_start = tokens[at].starts_with(is_word) && (at == 0 || !matches!(tokens[at - 1], "::" | "."));
        let mut end = at;
        while is_start
            && tokens.get(end + 1) == Some(&"::")
            && tokens.get(end + 2).is_some_and(|t| t.starts_with(is_word))
        {
            end += 2;
        }
        if end > at {
            paths.push(tokens[at..=end].iter().filter(|t| **t != "::").map(|t| (*t).to_owned()).collect());
        }
        at = end + 1;
    }
    paths
}

fn found(sources: &[(&str, &str)]) -> Circles {
    let module = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    circles(&sources.iter().map(|(path, code)| (module(path), (*code).to_owned())).collect())
}

#[test]
fn circles_are_found_through_imports_paths_and_others() {
    let of = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<BTreeSet<_>>();
    let base = ("", "mod r;");
    let room = ("r", "mod a;\nmod b;\nmod c;\npub use a::A;");
    for (sources, expected) in [
        (vec![base, room, ("r/a", "pub struct A;"), ("r/b", "use super::{a::A};"), ("r/c", "")], None),
        (
            vec![base, room, ("r/a", "use super::b::B;"), ("r/b", "fn f(_: super::a::A) {}"), ("r/c", "")],
            Some(of(&["a", "b"])),
        ),
        (
            vec![
                base,
                room,
                ("r/a", "use super::b;"),
                ("r/b", "use crate::r::{c::{self, C}};"),
                ("r/c", "use super::A;"),
            ],
            Some(of(&["a", "b", "c"])),
        ),
        // What is defined in `mod.rs` is used from there.
        (
            vec![base, ("r", "mod a;\nfn f() { a::g() }\npub struct M;"), ("r/a", "use super::M;")],
            Some(of(&["a", "mod"])),
        ),
        (vec![base, ("r", "mod a;\npub(crate) use a::f as g;"), ("r/a", "use crate::other::M;")], None),
        (vec![base, ("r", "mod a;\nfn f() { a::g() }"), ("r/a", "pub(in crate::r) fn g() {}")], None),
    ] {
        let expected: Circles = expected.map(|files| ("r".to_owned(), files)).into_iter().collect();
        assert_eq!(found(&sources), expected, "{sources:?}");
    }
    let above = [
        base,
        ("r", "mod a;\nmod b;"),
        ("r/a", "mod x;"),
        ("r/a/x", "use crate::r::b::B;"),
        ("r/b", "use super::a::x::X;"),
    ];
    assert_eq!(found(&above), [("r".to_owned(), of(&["a", "b"]))]);
}
