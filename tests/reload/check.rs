//! `portolan check --reload`: what a running Portolan would do with its configuration, and who cannot tell.

use crate::world::{HEAD, World};
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
};
use tokio::process::Command;

const A: &str = "- { name: a, file: { path: a.yaml } }\n";
const B: &str = "- { name: b, file: { path: b.yaml } }\n";
const ORDERS: (&str, &[&str]) = ("orders.example", &["10.0.0.1:80"]);
const STOCK: (&str, &[&str]) = ("stock.example", &["10.0.2.1:80", "10.0.2.2:80"]);

async fn two() -> World {
    let folder = tempfile::tempdir().unwrap();
    World::catalogue(folder.path(), "a.yaml", &[ORDERS]);
    World::catalogue(folder.path(), "b.yaml", &[STOCK]);
    let world = World::start(folder, &format!("registries:\n{A}{B}"), false).await;
    world.serves(&[ORDERS, STOCK]).await;
    world
}

/// What the command says of a configuration to the Portolan at that address: its exit code, what it prints, the error.
async fn check_at(config: &Path, admin: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.arg("--config").arg(config).args(["check", "--reload", "--admin", admin]).env_remove("PORTOLAN_ADMIN");
    let output = command.output().await.unwrap();
    let folder = format!("{}/", config.parent().unwrap().display());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&folder, "").replace(admin, "ADMIN");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The same of the configuration of a world, to the Portolan there. What is printed, from the plan on.
async fn check(world: &World) -> (Option<i32>, String, String) {
    let admin = format!("http://{}", world.admin);
    let (code, out, err) = check_at(&world.folder.path().join("portolan.yaml"), &admin).await;
    let plan = out.split_once("\n\n").and_then(|(_, rest)| rest.rsplit_once("\n\n")).map(|(_, plan)| plan.to_owned());
    (code, plan.unwrap_or(out), err)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_nothing_changes_or_what_does_by_name() {
    let world = two().await;
    let nothing = (Some(0), "Nothing changes for the Portolan on ADMIN/.\n".to_owned(), String::new());
    assert_eq!(check(&world).await, nothing);
    world.write(&format!("# A comment is no change.\nregistries:\n{A}{B}"));
    assert_eq!(check(&world).await, nothing);
    let other = "- { name: b, file: { path: b.yaml, poll: 1s } }\n- { name: c, example: }\n";
    world.write(&format!("log: {{ level: debug }}\nenvoy: {{ unhealthy: omit }}\nregistries:\n{A}{other}"));
    let before = (world.json("/api/v1/config").await, world.digests().await);
    let plan = "A reload of the Portolan on ADMIN/ will:\n  \
                replace registries[b] (another connection)\n  \
                start registries[c] (file)\n  \
                update envoy\n  \
                update log.level (info -> debug)\n";
    assert_eq!(check(&world).await, (Some(0), plan.into(), String::new()));
    assert_eq!((world.json("/api/v1/config").await, world.digests().await), before, "nothing was done");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_would_be_held_back_and_until_when() {
    let world = two().await;
    world.write(&format!("registries:\n{A}"));
    let (code, plan, err) = check(&world).await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = plan.lines().collect();
    assert_eq!(lines[..2], ["A reload of the Portolan on ADMIN/ will:", "  stop registries[b] (file)"]);
    assert!(lines[2].starts_with("and hold back what takes endpoints away"), "{plan}");
    assert!(lines[3].ends_with("Z registries[b] (2 of 2 endpoints)") && lines.len() == 4, "{plan}");
    // Trying it out holds nothing back, and tells the truth.
    assert!(!world.json("/api/v1/registries").await.to_string().contains("removal"));
    assert_eq!(world.reload("").await.held, ["b"]);
    world.serves(&[ORDERS, STOCK]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_told_with_file_line_key_and_remedy() {
    let world = two().await;
    let path = world.folder.path().join("portolan.yaml");
    // What every Portolan would refuse, the command says by itself.
    world.write("registries:\n- { name: a, file: { pth: a.yaml } }\n");
    let (code, _, err) = check(&world).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("portolan.yaml:5:22: registries[0].file: unknown key `pth`; did you mean `path`?"), "{err}");
    // What the running one cannot do, it says.
    let other = HEAD.replacen("127.0.0.1:0", "127.0.0.1:16999", 1).replace("127.0.0.1:0", "127.0.0.1:16998");
    fs::write(&path, format!("{other}registries:\n{A}{B}")).unwrap();
    let (code, _, err) = check(&world).await;
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = err.lines().collect();
    let remedy = "restart it, or take this change back";
    let expected = [
        "the Portolan on ADMIN/ would refuse the configuration, and keep its former one:".to_owned(),
        format!(
            "portolan.yaml:2:16: xds.listen: cannot change while Portolan runs (127.0.0.1:0 -> 127.0.0.1:16999); {remedy}"
        ),
        format!(
            "portolan.yaml:3:18: admin.listen: cannot change while Portolan runs (127.0.0.1:0 -> 127.0.0.1:16998); {remedy}"
        ),
    ];
    assert_eq!(lines, expected);
    world.serves(&[ORDERS, STOCK]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_than_that_of_the_running_one_is_told() {
    let world = two().await;
    let other = world.folder.path().join("other.yaml");
    fs::write(&other, format!("{HEAD}registries:\n{A}")).unwrap();
    let (code, _, err) = check_at(&other, &format!("http://{}", world.admin)).await;
    assert_eq!(code, Some(1));
    assert!(err.starts_with("the Portolan on ADMIN/ reads another configuration: "), "{err}");
    assert!(err.contains("It was started with portolan.yaml; give the same --config"), "{err}");
    world.end().await;
}

/// Starts a server that gives this text to every request, and returns its URL.
fn answering(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process.
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { continue };
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(text.as_bytes());
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_running_portolan_is_named_with_the_remedy() {
    let world = two().await;
    let path = world.folder.path().join("portolan.yaml");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let web = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>");
    let json = answering("HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"ok\":true}");
    for (admin, expected) in [
        (format!("http://{free}"), "no Portolan answers on ADMIN/api/v1/reload; start one, or name the admin address"),
        // The other port of a running one.
        (format!("http://{}", world.xds), "no Portolan answers on ADMIN/api/v1/reload; start one, or name the admin"),
        (web, "ADMIN/api/v1/reload answers 404: that is no answer of Portolan's; check the address"),
        (json, "ADMIN/api/v1/reload does not answer as Portolan does; check the address"),
        ("ftp://here".into(), "\"ADMIN\" is no address of an admin; write it as http://127.0.0.1:8081"),
    ] {
        let (code, out, err) = check_at(&path, &admin).await;
        assert_eq!(code, Some(1), "{admin}: {out}{err}");
        assert!(err.starts_with(expected), "{admin}: {err}");
    }
    // A password in the address is for the server alone.
    let (_, out, err) = check_at(&path, &format!("http://me:hunter2@{free}")).await;
    assert!(err.contains("no Portolan answers") && !format!("{out}{err}").contains("hunter2"), "{err}");
    world.end().await;
}
