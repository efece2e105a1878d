//! Configurations that are refused: every problem with file, line, key and remedy, and what was good stays served.

use crate::{envoy::Envoy, world::World};
use std::fs;

const A: &str = "- { name: a, file: { path: a.yaml } }\n";
const ORDERS: (&str, &[&str]) = ("orders.example", &["10.0.0.1:80"]);

async fn one(config: &str) -> (World, Envoy) {
    let folder = tempfile::tempdir().unwrap();
    World::catalogue(folder.path(), "a.yaml", &[ORDERS]);
    fs::write(folder.path().join("secret"), "hunter2\n").unwrap();
    let world = World::start(folder, config, false).await;
    world.serves(&[ORDERS]).await;
    let envoy = Envoy::connect(&world).await;
    envoy.has(&world.endpoints().await).await;
    (world, envoy)
}

/// Refused with exactly these problems, which begin like this; nothing has changed.
async fn refuses(world: &World, envoy: &Envoy, config: &str, problems: &[&str]) {
    let (before, hash) = (world.digests().await, world.json("/api/v1/config").await["hash"].clone());
    world.write(config);
    let answer = world.reload("").await;
    assert_eq!((answer.status, answer.result.as_str()), (422, "refused"), "{answer:?}");
    assert_eq!(answer.problems.len(), problems.len(), "{answer:?}");
    for (problem, expected) in answer.problems.iter().zip(problems) {
        assert!(problem.starts_with(expected), "{problem}\nis not\n{expected}");
    }
    let status = world.json("/api/v1/config").await;
    assert_eq!((&status["hash"], &status["last"]["result"]), (&hash, &"refused".into()));
    assert_eq!(world.digests().await, before);
    world.serves(&[ORDERS]).await;
    assert_eq!((envoy.take_lost(), envoy.seen(|seen| seen.ended.clone())), (vec![], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_are_told_and_none_of_it_is_taken() {
    let (world, envoy) = one(&format!("registries:\n{A}")).await;
    let wrong = "registries:\n- { name: a, file: { pth: a.yaml } }\n- { name: a, example: , publish: { port: 0 } }\nenvoy: { lb_policy: rondom }\n";
    let expected = [
        "portolan.yaml:5: registries[0].file: the key `path` is missing",
        "portolan.yaml:5: registries[0].file: unknown key `pth`; did you mean `path`?",
        "portolan.yaml:6: registries[1].name: the registry \"a\" is there twice, first on line 5; give one",
        "portolan.yaml:6: registries[1].publish.port: must be a whole number from 1 to 65535",
        "portolan.yaml:7: envoy.lb_policy: must be one of least_request",
    ];
    refuses(&world, &envoy, wrong, &expected).await;
    let text = "registries: [";
    refuses(&world, &envoy, text, &["portolan.yaml:"]).await;
    refuses(&world, &envoy, &format!("registries:\n{A}   - b"), &["portolan.yaml:"]).await;
    world.change(&format!("registries:\n{A}"), "").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_change_while_running_is_named_and_the_rest_waits_for_it() {
    let (world, envoy) = one(&format!("registries:\n{A}")).await;
    let path = world.folder.path().join("portolan.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let other =
        text.replace("xds: { listen: '127.0.0.1:0', drain: 0s }", "xds:\n  drain: 0s\n  listen: 127.0.0.1:16999");
    World::replace(
        &path,
        &format!(
            "{}envoy: {{ unhealthy: omit }}\n",
            other.replace("admin: { listen: '127.0.0.1:0'", "admin: { listen: '127.0.0.1:16998'")
        ),
    );
    let before = world.digests().await;
    let answer = world.reload("").await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let expected = [
        "portolan.yaml:4: xds.listen: cannot change while Portolan runs (127.0.0.1:0 -> 127.0.0.1:16999); restart it, or take this change back",
        "portolan.yaml:5: admin.listen: cannot change while Portolan runs (127.0.0.1:0 -> 127.0.0.1:16998); restart it, or take this change back",
    ];
    assert_eq!(answer.problems, expected);
    let all = [
        "restart xds.listen (127.0.0.1:0 -> 127.0.0.1:16999)",
        "restart admin.listen (127.0.0.1:0 -> 127.0.0.1:16998)",
        "update envoy",
    ];
    assert_eq!(answer.changes, all);
    assert_eq!(world.digests().await, before);
    assert_eq!(envoy.take_lost(), []);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_vanished_is_told_without_its_text_and_the_old_one_stays() {
    let nacos = "- name: n\n  required: false\n  nacos:\n    servers: http://127.0.0.1:9\n    username: reader\n    password: ${file:secret}\n";
    let (world, envoy) = one(&format!("registries:\n{A}{nacos}")).await;
    let secret = world.folder.path().join("secret");
    fs::remove_file(&secret).unwrap();
    let expected = ["portolan.yaml:11: registries[1].nacos.password: cannot read secret: No such file"];
    refuses(&world, &envoy, &format!("registries:\n{A}{nacos}"), &expected).await;
    fs::write(&secret, "hunter3\n").unwrap();
    let answer = world.reload("").await;
    assert_eq!((answer.status, answer.changes), (200, vec!["replace registries[n] (another connection)".to_owned()]));
    let status = world.json("/api/v1/config").await.to_string();
    assert!(!status.contains("hunter"), "{status}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_gone_or_empty_is_told() {
    let (world, envoy) = one(&format!("registries:\n{A}")).await;
    let path = world.folder.path().join("portolan.yaml");
    let text = fs::read_to_string(&path).unwrap();
    for (content, expected) in [
        (None, "portolan.yaml: : cannot read the configuration portolan.yaml: No such file"),
        (Some(""), "portolan.yaml:1: : the key `version` is missing"),
        (Some("version: 1\nregistries: []\n"), "portolan.yaml:2: registries: no registry; name at least one"),
    ] {
        match content {
            None => fs::remove_file(&path).unwrap(),
            Some(content) => World::replace(&path, content),
        }
        let answer = world.reload("").await;
        assert_eq!(answer.status, 422, "{answer:?}");
        assert!(answer.problems[0].starts_with(expected), "{answer:?}");
        world.serves(&[ORDERS]).await;
    }
    World::replace(&path, &text);
    assert_eq!(world.reload("").await.result, "unchanged");
    assert_eq!(envoy.take_lost(), []);
    world.end().await;
}
