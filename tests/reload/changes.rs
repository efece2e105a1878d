//! What a reload changes, and what goes on meanwhile.

use crate::{
    envoy::Envoy,
    support::{http::client, until},
    world::{LIMIT, World, host},
};
use std::{fs, time::Duration};

/// An entry of `registries:` that reads `<name>.yaml`, with further keys such as `, publish: { port: 80 }`.
fn file(name: &str, policy: &str) -> String {
    format!("- {{ name: {name}, file: {{ path: {name}.yaml }}{policy} }}\n")
}

/// A Portolan with two registries, `a` with orders and users, `b` with stock, and a client that has everything.
async fn two() -> (World, Envoy) {
    let folder = tempfile::tempdir().unwrap();
    World::catalogue(
        folder.path(),
        "a.yaml",
        &[("orders.example", &["10.0.0.1:80", "10.0.0.2:80"]), ("users.example", &["10.0.1.1:80"])],
    );
    World::catalogue(folder.path(), "b.yaml", &[("stock.example", &["10.0.2.1:80"])]);
    let world = World::start(folder, &format!("registries:\n{}{}", file("a", ""), file("b", "")), false).await;
    world.serves(&ALL).await;
    let envoy = Envoy::connect(&world).await;
    envoy.has(&world.endpoints().await).await;
    (world, envoy)
}

const ORDERS: (&str, &[&str]) = ("orders.example", &["10.0.0.1:80", "10.0.0.2:80"]);
const STOCK: (&str, &[&str]) = ("stock.example", &["10.0.2.1:80"]);
const USERS: (&str, &[&str]) = ("users.example", &["10.0.1.1:80"]);
const ALL: [(&str, &[&str]); 3] = [ORDERS, STOCK, USERS];

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_nobody_sends_nothing_and_reconnects_nobody() {
    let (world, envoy) = two().await;
    let (before, answers) = (world.digests().await, envoy.seen(|seen| seen.answers));
    let registries = format!("registries:\n{}{}", file("a", ""), file("b", ""));
    let answer = world.change(&format!("# A comment.\n{registries}"), "").await;
    assert_eq!((answer.result.as_str(), answer.changes.len()), ("unchanged", 0));
    let answer =
        world.change(&format!("catalog: {{ debounce: 11ms }}\nlog: {{ level: debug }}\n{registries}"), "").await;
    assert_eq!(answer.changes, ["update catalog", "update log.level (info -> debug)"]);
    // Then something that concerns the client: it is the first that it receives.
    let answer = world.change(&format!("envoy: {{ connect_timeout: 6s }}\n{registries}"), "").await;
    assert_eq!(answer.changes, ["update envoy", "update catalog", "update log.level (debug -> info)"]);
    until("the client to have the other clusters", LIMIT, || async {
        let seen = envoy.seen(|seen| seen.answers);
        if seen > answers { Ok(()) } else { Err(seen) }
    })
    .await;
    envoy.seen(|seen| assert_eq!((&seen.lost, &seen.ended), (&Vec::new(), &None)));
    assert_ne!(world.digests().await, before);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_the_catalog_and_views_is_one_generation() {
    let (world, envoy) = two().await;
    let generation = async || {
        let views = world.json("/api/v1/views").await;
        let view = views.as_array().unwrap().iter().find(|view| view["key"] == "envoy").cloned().unwrap_or_default();
        view["generation"].as_u64().unwrap_or_else(|| panic!("no generation of envoy in {views}"))
    };
    for round in 0..10 {
        let (port, timeout) = if round % 2 == 0 { (8080, 6) } else { (8081, 7) };
        let policy = format!(", publish: {{ port: {port} }}");
        let registries = format!("registries:\n{}{}", file("a", &policy), file("b", &policy));
        let (before, clusters) = (generation().await, format!("|{port}|"));
        let answer = world.change(&format!("envoy: {{ connect_timeout: {timeout}s }}\n{registries}"), "").await;
        let publishing = ["update registries[a] (publishing)", "update registries[b] (publishing)"];
        assert_eq!(answer.changes, [&publishing[..], &["update envoy"]].concat());
        // The last of what it changes is there: with a second step it would be the second generation.
        until("the new clusters with the new timeout", LIMIT, || async {
            let all = world.json("/api/v1/resources/clusters").await["resources"].take();
            let wanted = |c: &serde_json::Value| {
                c["name"].as_str().unwrap().contains(&clusters)
                    && c["resource"]["connectTimeout"] == format!("{timeout}s")
            };
            if all.as_array().is_some_and(|all| all.len() == 3 && all.iter().all(wanted)) { Ok(()) } else { Err(all) }
        })
        .await;
        assert_eq!(generation().await, before + 1, "round {round}");
    }
    envoy.has(&world.endpoints().await).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_start_and_stop_beside_those_that_go_on() {
    let (world, envoy) = two().await;
    World::catalogue(world.folder.path(), "c.yaml", &[("cart.example", &["10.0.3.1:80"])]);
    let added = format!("registries:\n{}{}{}", file("c", ""), file("a", ""), file("b", ""));
    let answer = world.change(&added, "").await;
    assert_eq!(answer.changes, ["start registries[c] (file)"]);
    let cart: (&str, &[&str]) = ("cart.example", &["10.0.3.1:80"]);
    world.serves(&[cart, ORDERS, STOCK, USERS]).await;
    let answer = world
        .change(&format!("registries:\n{}{}", file("b", ", publish: { linger: 0s }"), file("a", "")), "?force")
        .await;
    let changes =
        ["stop registries[c] (file)", "update registries[b] (publishing, order)", "update registries[a] (order)"];
    assert_eq!(answer.changes, changes);
    until("the registries to be those of the file", LIMIT, || async {
        let list = world.json("/api/v1/registries").await;
        let names: Vec<_> = list.as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect();
        if names == ["b", "a"] { Ok(()) } else { Err(names) }
    })
    .await;
    let lost = envoy.take_lost();
    assert!(lost.iter().all(|(cluster, _)| host(cluster) == "cart.example"), "{lost:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_removed_is_held_and_goes_by_force_or_stays_when_it_is_back() {
    let (world, envoy) = two().await;
    let (both, only_b) =
        (format!("registries:\n{}{}", file("a", ""), file("b", "")), format!("registries:\n{}", file("b", "")));
    let answer = world.change(&only_b, "").await;
    assert_eq!((answer.changes, answer.held), (vec!["stop registries[a] (file)".into()], vec!["a".to_owned()]));
    world.serves(&ALL).await;
    // A reload while a drop is held: what it takes back is as before, without a gap.
    world.change(&both, "").await;
    world.serves(&ALL).await;
    assert_eq!(envoy.take_lost(), []);
    world.change(&only_b, "").await;
    assert_eq!(world.reload("?force").await.status, 200);
    until("the endpoints of a to go", LIMIT, || async {
        let left = world.endpoints().await;
        let gone = left.iter().all(|(cluster, all)| host(cluster) == "stock.example" || all.is_empty());
        if gone { Ok(()) } else { Err(left) }
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_connection_or_kind_under_one_name_loses_no_endpoint_that_stays() {
    let (world, envoy) = two().await;
    // The same services elsewhere, one instance more, one less.
    World::catalogue(world.folder.path(), "a2.yaml", &[("orders.example", &["10.0.0.2:80", "10.0.0.3:80"]), USERS]);
    let other = format!("registries:\n- {{ name: a, file: {{ path: a2.yaml }} }}\n{}", file("b", ""));
    let answer = world.change(&other, "").await;
    assert_eq!(answer.changes, ["replace registries[a] (another connection)"]);
    world.serves(&[("orders.example", &["10.0.0.2:80", "10.0.0.3:80"]), STOCK, USERS]).await;
    let lost = envoy.take_lost();
    assert!(lost.iter().all(|(_, endpoint)| endpoint == "10.0.0.1:80"), "{lost:?}");
    // Of another kind, whose server is not there: what was good stays.
    let nowhere = "registries:\n- { name: a, nacos: { servers: 'http://127.0.0.1:9', period: 200ms } }\n";
    let answer = world.change(&format!("{nowhere}{}", file("b", "")), "").await;
    assert_eq!(answer.changes, ["replace registries[a] (file -> nacos)"]);
    until("the new reading to fail", LIMIT, || async {
        let list = world.json("/api/v1/registries").await;
        let error = list.to_string().contains("127.0.0.1:9");
        if error { Ok(()) } else { Err(list) }
    })
    .await;
    world.serves(&[("orders.example", &["10.0.0.2:80", "10.0.0.3:80"]), STOCK, USERS]).await;
    assert_eq!(envoy.take_lost(), []);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_registry_that_never_answers_delays_nobody() {
    let (world, envoy) = two().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let more = format!(
        "registries:\n{}{}- {{ name: silent, required: true, eureka: {{ servers: 'http://{address}/eureka' }} }}\n",
        file("a", ""),
        file("b", "")
    );
    assert_eq!(world.change(&more, "").await.changes, ["start registries[silent] (eureka)"]);
    World::catalogue(world.folder.path(), "b.yaml", &[("stock.example", &["10.0.2.2:80"])]);
    let expected = [ORDERS, ("stock.example", &["10.0.2.2:80"] as &[&str]), USERS];
    world.serves(&expected).await;
    envoy.has(&world.endpoints().await).await;
    assert_eq!(world.ready().await, 200);
    // It can be taken back, and its reading ends.
    world.change(&format!("registries:\n{}{}", file("a", ""), file("b", "")), "").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_registry_loses_no_endpoint() {
    let (world, envoy) = two().await;
    let renamed = format!("registries:\n- {{ name: z, file: {{ path: a.yaml }} }}\n{}", file("b", ""));
    let answer = world.change(&renamed, "").await;
    assert_eq!(answer.changes, ["stop registries[a] (file)", "start registries[z] (file)"]);
    world.serves(&ALL).await;
    until("the new name to be listed", LIMIT, || async {
        let list = world.json("/api/v1/registries").await;
        let z = list.as_array().unwrap().iter().find(|r| r["name"] == "z").cloned().unwrap_or_default();
        if z["state"] == "synced" { Ok(()) } else { Err(list) }
    })
    .await;
    assert_eq!(envoy.take_lost(), []);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let (world, _envoy) = two().await;
    world.write(&format!("envoy: {{ unhealthy: omit }}\nregistries:\n{}", file("b", "")));
    let before = (world.json("/api/v1/config").await, world.digests().await);
    let planned = world.reload("?dry_run").await;
    assert_eq!((planned.status, planned.result.as_str()), (200, "planned"));
    assert_eq!(planned.changes, ["stop registries[a] (file)", "update envoy"]);
    assert_eq!((world.json("/api/v1/config").await, world.digests().await), before);
    for (query, status) in [("?dry_run=perhaps", 400), ("?dryrun", 400), ("?dry_run=false", 200)] {
        assert_eq!(world.reload(query).await.status, status, "{query}");
    }
    let form = client().post(format!("http://{}/api/v1/reload", world.admin)).body("a=b").send().await.unwrap();
    assert_eq!(form.status(), 415);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_while_starting_and_while_draining_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    World::catalogue(folder.path(), "a.yaml", &[ORDERS]);
    World::catalogue(folder.path(), "b.yaml", &[STOCK]);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let waits = format!("- {{ name: w, eureka: {{ servers: 'http://{}/eureka' }} }}\n", silent.local_addr().unwrap());
    let world = World::start(folder, &format!("registries:\n{}{waits}", file("a", "")), false).await;
    // Nothing is complete yet: nobody is answered before the new configuration is.
    assert_eq!(world.ready().await, 503);
    world.change(&format!("registries:\n{}{}", file("a", ""), file("b", "")), "?force").await;
    until("readiness", LIMIT, || async {
        match world.ready().await {
            200 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    world.serves(&[ORDERS, STOCK]).await;
    world.write(&format!("registries:\n{}", file("b", "")));
    // From here on it drains; admin answers until the end.
    world.shutdown.cancel();
    let post =
        client().post(format!("http://{}/api/v1/reload", world.admin)).header("content-type", "application/json");
    if let Ok(answer) = post.timeout(Duration::from_secs(30)).send().await {
        assert_eq!(answer.status(), 503);
    }
    tokio::time::timeout(LIMIT, world.running).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_status_say_what_is_in_force() {
    let (world, _envoy) = two().await;
    let status = world.json("/api/v1/config").await;
    let hash = status["hash"].as_str().unwrap().to_owned();
    assert_eq!((status["last"]["cause"].as_str(), hash.len()), (Some("start"), 16));
    assert!(status["sources"][0].as_str().unwrap().ends_with("portolan.yaml"), "{status}");
    assert_eq!(world.metric(&format!("portolan_config_info{{hash=\"{hash}\"}}")).await, 1.0);
    assert_eq!(world.metric("portolan_config_last_reload_successful").await, 1.0);
    let since = world.metric("portolan_config_last_reload_success_timestamp_seconds").await;
    world.write("registries: nonsense\n");
    assert_eq!(world.reload("").await.status, 422);
    assert_eq!(world.metric("portolan_config_last_reload_successful").await, 0.0);
    assert_eq!(world.json("/api/v1/config").await["hash"], hash);
    world.change(&format!("registries:\n{}", file("a", "")), "?force").await;
    let status = world.json("/api/v1/config").await;
    assert_ne!(status["hash"], hash);
    assert_eq!(world.metric("portolan_config_last_reload_successful").await, 1.0);
    assert!(world.metric("portolan_config_last_reload_success_timestamp_seconds").await >= since);
    let hash = status["hash"].as_str().unwrap();
    assert_eq!(world.metric(&format!("portolan_config_info{{hash=\"{hash}\"}}")).await, 1.0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_registry_that_is_gone_is_left_in_metrics() {
    let (world, _envoy) = two().await;
    let eureka = "- { name: gone, eureka: { servers: 'http://127.0.0.1:9/eureka', period: 200ms } }\n";
    let both = format!("registries:\n{}{}", file("a", ""), file("b", ""));
    world.change(&format!("{both}{eureka}"), "").await;
    let metrics = || async {
        client().get(format!("http://{}/metrics", world.admin)).send().await.unwrap().text().await.unwrap()
    };
    until("requests of it to be counted", LIMIT, || async {
        let text = metrics().await;
        if text.contains("portolan_registry_requests_total{registry=\"gone\"") { Ok(()) } else { Err(text) }
    })
    .await;
    world.change(&both, "?force").await;
    until("the labels to go", LIMIT, || async {
        let text = metrics().await;
        if text.contains("\"gone\"") { Err(text) } else { Ok(()) }
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_variables_and_arguments_is_read_again_whole() {
    let folder = tempfile::tempdir().unwrap();
    World::catalogue(folder.path(), "orders.yaml", &[ORDERS]);
    let config = folder.path().join("conf");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("a.yaml"), "version: 1\nregistries:\n- { name: a, file: { path: ../orders.yaml } }\n")
        .unwrap();
    let variables = [
        ("PORTOLAN_XDS__LISTEN", "127.0.0.1:0"),
        ("PORTOLAN_XDS__DRAIN", "0s"),
        ("PORTOLAN_ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = vec!["registries[a].publish.protocol=tcp".to_owned()];
    let sources =
        portolan::config::Sources::new(Some(config.clone())).with_variables(variables).with_settings(settings);
    let world = World::of(folder, sources, false).await;
    world.serves(&[ORDERS]).await;
    World::catalogue(world.folder.path(), "stock.yaml", &[STOCK]);
    World::replace(&config.join("b.yaml"), "version: 1\nregistries:\n- { name: b, file: { path: ../stock.yaml } }\n");
    let answer = world.reload("").await;
    assert_eq!((answer.status, answer.changes), (200, vec!["start registries[b] (file)".to_owned()]));
    world.serves(&[ORDERS, STOCK]).await;
    // Two files that name one registry.
    World::replace(&config.join("c.yaml"), "version: 1\nregistries:\n\n- { name: a, example: }\n");
    let answer = world.reload("").await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.problems[0]
            .starts_with("conf/c.yaml:4: registries[2].name: the registry \"a\" is there twice, first in "),
        "{answer:?}"
    );
    assert!(answer.problems[0].contains("conf/a.yaml on line 3"), "{answer:?}");
    world.serves(&[ORDERS, STOCK]).await;
    world.end().await;
}
