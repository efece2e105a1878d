//! What a service becomes: `tests/golden/translate/<case>/in.yaml` and `out.txt`. `UPDATE_GOLDEN=1` rewrites the latter.
//!
//! The resources are decoded with xds-api's types and printed whole, without what is at its default. The versions prove
//! that bytes are the same in every process: each run of this test is another one, with other seeds for hash maps. A
//! real Envoy takes all of them, too.

mod dump;
mod input;
mod real;
#[path = "../support/mod.rs"]
mod support;

use input::Input;
use portolan::translate::envoy::translate;
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn cases() -> Vec<(PathBuf, Input)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/translate");
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 10, "golden cases are missing");
    let read = |case: PathBuf| {
        let text = fs::read_to_string(case.join("in.yaml")).unwrap();
        let input = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
        (case, input)
    };
    cases.into_iter().map(read).collect()
}

#[test]
fn services_become_what_was_written_down() {
    let mut wrong = String::new();
    for (case, input) in cases() {
        let (service, options) = (input.service(), input.options());
        let translated = translate(&service, &options);
        assert_eq!(translate(&service, &options), translated, "{}: the second time", case.display());
        let mut reversed = service;
        reversed.endpoints.reverse();
        assert_eq!(translate(&reversed, &options).0, translated.0, "{}: the other way round", case.display());

        let (out, path) = (dump::print(&translated), case.join("out.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &out).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != out {
            write!(wrong, "--- {} is not what comes out now:\n{out}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nRead the difference; UPDATE_GOLDEN=1 writes it down.");
}
