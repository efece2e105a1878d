//! The file registry on a real folder: changes, replacements, removals and everything that files can be.

mod support;

use portolan::registry::{
    Kind, Limits,
    file::{Config, Source},
};
use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};
use support::reading::Reading;
use tempfile::TempDir;

/// Longer than any test: what is heard was announced by the watch, not found by looking now and then.
const NEVER: Duration = Duration::from_secs(3600);

fn read(path: &Path, poll: Duration) -> Reading {
    Reading::new(Kind::File(Config { poll, max_file_bytes: 1 << 20, ..Config::new(Source::Path(path.into())) }))
}

fn service(name: &str, port: u16) -> String {
    format!("- host: {name}.example\n  endpoints: ['10.0.0.1:{port}']\n")
}

fn catalogue(names: &[&str]) -> String {
    let services: String = names.iter().map(|name| service(name, 80)).collect();
    format!("services:\n{services}")
}

fn folder(files: &[(&str, &[&str])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, names) in files {
        fs::write(folder.path().join(file), catalogue(names)).unwrap();
    }
    folder
}

fn names(reading: &Reading) -> Vec<String> {
    reading.endpoints().into_keys().map(|host| host.trim_end_matches(".example").to_owned()).collect()
}

/// Replaces a file in one step: it is written under another name, and renamed.
fn replace(path: &Path, text: &str) {
    let new = path.with_file_name(".new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_file_beyond_a_limit_fails_alone_and_the_others_serve() {
    let limits = Limits::default();
    for (limits, expected) in [
        (Limits { services: 3, ..limits.clone() }, "more than 3 services; raise `limits.services`"),
        (Limits { bytes: 300, ..limits }, "more than 300 bytes to read; raise `limits.bytes`"),
    ] {
        let folder = folder(&[("a.yaml", &["a"]), ("b.yaml", &["b"])]);
        let source = Source::Path(folder.path().into());
        let mut reading = Reading::new(Kind::File(Config { limits, poll: NEVER, ..Config::new(source) }));
        reading.until("both", |h| names(h) == ["a", "b"]).await;
        let more: Vec<String> = (0..9).map(|n| format!("b{n}")).collect();
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        replace(&folder.path().join("b.yaml"), &catalogue(&more));
        reading.until("the failure", |h| h.errors.get("b.yaml").is_some_and(|error| error.contains(expected))).await;
        assert_eq!(names(&reading), ["a", "b"]);
        replace(&folder.path().join("a.yaml"), &catalogue(&["c"]));
        reading.until("the change of the other", |h| names(h) == ["b", "c"]).await;
        replace(&folder.path().join("b.yaml"), &catalogue(&["d"]));
        reading.until("what fits again", |h| h.errors.is_empty() && names(h) == ["c", "d"]).await;
    }
}

#[tokio::test]
async fn what_was_too_much_is_read_again_when_others_have_less_or_are_gone() {
    let folder = folder(&[("a.yaml", &["a", "b", "c"]), ("b.yaml", &["d", "e"])]);
    let (source, limits) = (Source::Path(folder.path().into()), Limits { services: 3, ..Limits::default() });
    let poll = Duration::from_millis(100);
    let mut reading = Reading::new(Kind::File(Config { limits, poll, ..Config::new(source) }));
    reading
        .until("the failure of the second", |h| h.lists.contains_key("a.yaml") && h.errors.contains_key("b.yaml"))
        .await;
    replace(&folder.path().join("a.yaml"), &catalogue(&["a"]));
    reading.until("both", |h| h.errors.is_empty() && names(h) == ["a", "d", "e"]).await;
    // The other way round: the first fails, and the second goes.
    replace(&folder.path().join("a.yaml"), &catalogue(&["a", "b", "c"]));
    reading.until("the failure of the first", |h| h.errors.contains_key("a.yaml")).await;
    fs::remove_file(folder.path().join("b.yaml")).unwrap();
    reading.until("all of the first", |h| h.errors.is_empty() && names(h) == ["a", "b", "c"]).await;
}

#[tokio::test]
async fn a_file_with_another_name_counts_once_for_the_limits() {
    let folder = folder(&[("a.yaml", &["a", "b"])]);
    let (source, limits) = (Source::Path(folder.path().into()), Limits { services: 3, ..Limits::default() });
    let mut reading = Reading::new(Kind::File(Config { limits, poll: NEVER, ..Config::new(source) }));
    reading.list().await;
    fs::rename(folder.path().join("a.yaml"), folder.path().join("b.yaml")).unwrap();
    reading.until("the scope of the other name", |h| h.scopes == ["b.yaml"]).await;
    assert_eq!((names(&reading), reading.failures.len()), (vec!["a".into(), "b".into()], 0), "{:?}", reading.failures);
}

#[tokio::test]
async fn a_folder_is_read_file_by_file_and_followed() {
    let folder = folder(&[("a.yaml", &["a"]), ("b.json", &["b"]), (".hidden.yaml", &["h"]), ("notes.txt", &["n"])]);
    let mut reading = read(folder.path(), NEVER);
    reading.until("both files", |h| h.lists.len() == 2).await;
    assert_eq!(
        (reading.scopes.clone(), names(&reading)),
        (vec!["a.yaml".into(), "b.json".into()], vec!["a".into(), "b".into()])
    );
    fs::write(folder.path().join("c.yml"), catalogue(&["c"])).unwrap();
    reading.until("the new file", |h| h.lists.contains_key("c.yml")).await;
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    reading.until("the scopes without it", |h| h.scopes == ["b.json", "c.yml"]).await;
}

#[tokio::test]
async fn a_reload_keeps_what_is_equal() {
    let folder = folder(&[("a.yaml", &["a", "b"])]);
    let file = folder.path().join("a.yaml");
    let mut reading = read(&file, NEVER);
    reading.list().await;
    let kept = reading.service("a.example").unwrap().clone();
    for port in 8000..8010 {
        replace(&file, &format!("services:\n{}{}", service("a", 80), service("b", port)));
        reading.until("the change", |h| h.endpoints()["b.example"] == [format!("10.0.0.1:{port}")]).await;
    }
    assert!(Arc::ptr_eq(reading.service("a.example").unwrap(), &kept));
}

#[tokio::test]
async fn a_config_map_that_is_swapped_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (version, name) in [("..1", "a"), ("..2", "b")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("services.yaml"), catalogue(&[name])).unwrap();
    }
    symlink("..1", path("..data")).unwrap();
    symlink("..data/services.yaml", path("services.yaml")).unwrap();
    let mut reading = read(&path("services.yaml"), NEVER);
    reading.list().await;
    symlink("..2", path("..data_tmp")).unwrap();
    fs::rename(path("..data_tmp"), path("..data")).unwrap();
    reading.until("the other version", |h| names(h) == ["b"]).await;
}

#[tokio::test]
async fn a_file_that_fails_keeps_its_services_and_says_why() {
    let folder = folder(&[("a.yaml", &["a"]), ("b.yaml", &["b"])]);
    let file = folder.path().join("a.yaml");
    let mut reading = read(folder.path(), NEVER);
    reading.until("both files", |h| h.lists.len() == 2).await;
    let large = format!("services: [] #{}", "x".repeat(2 << 20));
    for (text, expected) in [
        ("services: [{ host: a.ex", "a.yaml:1"),
        ("", "`services` is missing"),
        ("services: []\nservices: []", "there twice"),
        (large.as_str(), "at most 1048576"),
    ] {
        replace(&file, text);
        let failure = reading.failure().await;
        assert!(failure.starts_with("a.yaml: ") && failure.contains(expected), "{failure}");
        assert_eq!(names(&reading), ["a", "b"]);
    }
    replace(&file, &catalogue(&["a2"]));
    reading.until("recovery", |h| names(h) == ["a2", "b"] && h.errors.is_empty()).await;
}

#[tokio::test]
async fn a_mistaken_service_is_told_apart_from_its_neighbours() {
    let folder = folder(&[("a.yaml", &["a", "b"])]);
    let mut reading = read(folder.path(), NEVER);
    reading.list().await;
    replace(
        &folder.path().join("a.yaml"),
        &format!("services:\n{}{}", service("a", 80).replace(":80", ":0"), service("b", 81)),
    );
    reading.until("the other one's change", |h| h.endpoints()["b.example"] == ["10.0.0.1:81"]).await;
    let (id, why) = &reading.unreadable["a.yaml"][0];
    assert_eq!(&*id.name, "a.example");
    assert!(why.contains("a.yaml:3:") && why.contains("services[0].endpoints[0]"), "{why}");
}

#[tokio::test]
async fn a_service_that_vanishes_is_listed_as_absent_twice() {
    let folder = folder(&[("a.yaml", &["a", "b"])]);
    let mut reading = read(folder.path(), Duration::from_millis(100));
    reading.list().await;
    replace(&folder.path().join("a.yaml"), &catalogue(&["a"]));
    reading.until("the removal", |h| names(h) == ["a"]).await;
    let lists = reading.listed;
    reading.until("its confirmation", |h| h.listed == lists + 1).await;
    assert_eq!(names(&reading), ["a"]);
}

#[tokio::test]
async fn a_folder_may_be_removed_emptied_and_come_back() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("services");
    let create = || {
        fs::create_dir(&folder).unwrap();
        replace(&folder.join("a.yaml"), &catalogue(&["a"]));
    };
    let mut reading = read(&folder, Duration::from_millis(50));
    let failure = reading.failure().await;
    assert!(failure.contains("cannot read"), "{failure}");
    create();
    reading.list().await;
    fs::remove_dir_all(&folder).unwrap();
    reading.until("the failure", |h| h.errors.contains_key("")).await;
    create();
    reading.until("its return", |h| h.errors.is_empty()).await;
    // The watch follows to the new folder.
    replace(&folder.join("a.yaml"), &catalogue(&["a2"]));
    reading.until("a change in it", |h| names(h) == ["a2"]).await;
}

#[tokio::test]
async fn a_folder_that_comes_back_as_it_was_is_listed_anew() {
    let above = tempfile::tempdir().unwrap();
    let (folder, away) = (above.path().join("services"), above.path().join("away"));
    fs::create_dir(&folder).unwrap();
    replace(&folder.join("a.yaml"), &catalogue(&["a"]));
    let mut reading = read(&folder, Duration::from_millis(50));
    reading.list().await;
    fs::rename(&folder, &away).unwrap();
    reading.until("the failure", |h| h.errors.contains_key("")).await;
    fs::rename(&away, &folder).unwrap();
    reading.until("its return", |h| h.errors.is_empty()).await;
    assert_eq!(names(&reading), ["a"]);
}

#[tokio::test]
async fn what_cannot_be_read_fails_alone_and_never_hangs() {
    let folder = folder(&[("a.yaml", &["a"])]);
    let path = |name: &str| folder.path().join(name);
    symlink("loop.yaml", path("loop.yaml")).unwrap();
    // It can be opened, also by root, and every reading of it fails.
    symlink("/proc/self/mem", path("mem.yaml")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path("pipe.yaml")).status().unwrap().success());
    symlink("/dev/zero", path("zero.yaml")).unwrap();
    fs::File::create(path("huge.yaml")).unwrap().set_len(100 << 20).unwrap();
    let mut reading = read(folder.path(), NEVER);
    reading.until("all", |h| h.errors.len() == 5 && h.lists.len() == 1).await;
    assert_eq!(names(&reading), ["a"]);
    for (file, expected) in [
        ("loop.yaml", "cannot read"),
        ("mem.yaml", "cannot read"),
        ("pipe.yaml", "no regular file"),
        ("zero.yaml", "no regular file"),
        ("huge.yaml", "has 104857600 bytes; at most 1048576 are read"),
    ] {
        let error = &reading.errors[file];
        assert!(error.contains(expected) && error.contains(path(file).to_str().unwrap()), "{file}: {error}");
    }
}

#[tokio::test]
async fn a_catalogue_of_100_megabytes_is_refused_unread_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("huge.yaml");
    fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
    let mut reading = Reading::new(Kind::File(Config::new(Source::Path(file))));
    reading.round().await;
    assert!(reading.errors["huge.yaml"].contains("at most 67108864 are read"), "{:?}", reading.errors);
    assert_eq!(reading.cost.bytes, 0);
}

#[tokio::test]
async fn a_file_with_another_name_takes_its_services_along() {
    let folder = folder(&[("b.yaml", &["b"])]);
    let mut reading = read(folder.path(), NEVER);
    reading.list().await;
    for name in ["c.yaml", "a.yaml"] {
        let old = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        fs::rename(old, folder.path().join(name)).unwrap();
        // Before the old name is given up, its services are listed under the new one.
        let mut listed = false;
        while reading.scopes != [name] {
            reading.next().await;
            listed |= reading.lists.contains_key(name);
        }
        assert!(listed, "{name}: {:?}", reading.scopes);
        reading.lists.retain(|scope, _| scope == name);
    }
}

#[tokio::test]
async fn a_link_to_nowhere_fails_alone() {
    let folder = folder(&[("a.yaml", &["a"])]);
    symlink("nowhere", folder.path().join("b.yaml")).unwrap();
    let mut reading = read(folder.path(), NEVER);
    reading.until("both", |h| h.errors.contains_key("b.yaml") && h.lists.contains_key("a.yaml")).await;
    assert_eq!(reading.scopes, ["a.yaml", "b.yaml"]);
}
