//! Files that are followed: how they are written decides nothing, what they say in the end does.

use crate::{
    support::until,
    world::{HEAD, LIMIT, World},
};
use serde_json::Value;
use std::{fs, io::Write, os::unix::fs::symlink, time::Duration};

const ORDERS: (&str, &[&str]) = ("orders.example", &["10.0.0.1:80"]);
const STOCK: (&str, &[&str]) = ("stock.example", &["10.0.2.1:80"]);
const A: &str = "- { name: a, file: { path: a.yaml } }\n";
const B: &str = "- { name: b, file: { path: b.yaml } }\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    World::catalogue(folder.path(), "a.yaml", &[ORDERS]);
    World::catalogue(folder.path(), "b.yaml", &[STOCK]);
    folder
}

async fn following() -> World {
    let world = World::start(folder(), &format!("registries:\n{A}"), true).await;
    world.serves(&[ORDERS]).await;
    world
}

fn last(status: &Value, key: &str) -> String {
    status["last"][key].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_again_is_in_force_soon() {
    let world = following().await;
    world.write(&format!("registries:\n{A}{B}"));
    world.serves(&[ORDERS, STOCK]).await;
    let status = world.json("/api/v1/config").await;
    assert_eq!((last(&status, "cause"), last(&status, "result")), ("file".into(), "reloaded".into()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_emptied_or_deleted_file_changes_nothing_until_it_is_whole() {
    let world = following().await;
    let path = world.folder.path().join("portolan.yaml");
    let hash = world.json("/api/v1/config").await["hash"].clone();
    // Cut within a mapping, it is no YAML.
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(format!("{HEAD}registries:\n- {{ name: b, file: {{").as_bytes()).unwrap();
    file.flush().unwrap();
    let status = world.status("the half file to be refused", |s| last(s, "result") == "refused").await;
    assert_eq!(status["hash"], hash);
    file.write_all(format!(" path: b.yaml }} }}\n{A}").as_bytes()).unwrap();
    drop(file);
    world.serves(&[ORDERS, STOCK]).await;
    for emptied in [true, false] {
        if emptied {
            fs::write(&path, "").unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let status = world.status("it to be refused", |s| last(s, "result") == "refused").await;
        assert!(!status["last"]["problems"].as_array().unwrap().is_empty(), "{status}");
        world.serves(&[ORDERS, STOCK]).await;
        world.write(&format!("registries:\n{B}{A}"));
        world.status("it to be back", |s| last(s, "result") == "unchanged").await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_replacements_in_a_second_the_last_is_in_force() {
    let world = following().await;
    for i in 0..10 {
        World::catalogue(world.folder.path(), &format!("c{i}.yaml"), &[(&format!("c{i}.example"), &["10.0.9.1:80"])]);
        world.write(&format!(
            "registries:\n{A}- {{ name: c{i}, publish: {{ linger: 0s, hold: 0s }}, file: {{ path: c{i}.yaml }} }}\n"
        ));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until("the last registry alone beside a", LIMIT, || async {
        let list = world.json("/api/v1/registries").await;
        let names: Vec<_> = list.as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect();
        if names == ["a", "c9"] { Ok(()) } else { Err(names) }
    })
    .await;
    world.serves(&[("c9.example", &["10.0.9.1:80"]), ORDERS]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_is_swapped_is_followed() {
    // As Kubernetes writes one: files are links through `..data`, which is a link that is replaced.
    let folder = folder();
    let mount = folder.path().join("mount");
    let version = |name: &str, text: &str| {
        fs::create_dir_all(mount.join(name)).unwrap();
        fs::write(mount.join(name).join("portolan.yaml"), format!("{HEAD}{text}")).unwrap();
    };
    let at = folder.path().display().to_string();
    let (a, b) = (A.replace("a.yaml", &format!("{at}/a.yaml")), B.replace("b.yaml", &format!("{at}/b.yaml")));
    version("..1", &format!("registries:\n{a}"));
    symlink("..1", mount.join("..data")).unwrap();
    symlink("..data/portolan.yaml", mount.join("portolan.yaml")).unwrap();
    let sources = portolan::config::Sources::new(Some(mount.join("portolan.yaml")));
    let world = World::of(folder, sources, true).await;
    world.serves(&[ORDERS]).await;
    version("..2", &format!("registries:\n{a}{b}"));
    symlink("..2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    fs::remove_dir_all(mount.join("..1")).unwrap();
    world.serves(&[ORDERS, STOCK]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_followed_where_it_stands() {
    let folder = folder();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    let secret = folder.path().join("secrets/password");
    fs::write(&secret, "one").unwrap();
    let nacos = "- { name: n, required: false, nacos: { servers: 'http://127.0.0.1:9', username: u, password: '${file:secrets/password}' } }\n";
    let world = World::start(folder, &format!("registries:\n{A}{nacos}"), true).await;
    World::replace(&secret, "two");
    let status = world.status("the secret to be in force", |s| last(s, "cause") == "file").await;
    assert_eq!(status["last"]["changes"][0]["key"], "registries[n]");
    fs::remove_file(&secret).unwrap();
    world.status("the secret to be missed", |s| last(s, "result") == "refused").await;
    fs::write(&secret, "two").unwrap();
    world.status("the secret to be back", |s| last(s, "result") == "unchanged").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_enough() {
    let world = World::start(folder(), &format!("registries:\n{A}"), false).await;
    world.serves(&[ORDERS]).await;
    world.write(&format!("registries:\n{A}{B}"));
    // Others in this process reload, too, and find nothing new.
    let own = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &own]).status().unwrap().success());
    world.serves(&[ORDERS, STOCK]).await;
    world.end().await;
}
