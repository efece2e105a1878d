//! The committed code in `src/pb/generated/` is that of `proto/`. `proto/generate` makes it, and with `--check` judges it
//! whole; what is looked at here needs no compiler of protobuf.

use std::{
    fs,
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_64;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder that end so.
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
