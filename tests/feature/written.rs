//! Services by API: written by HTTP and by the commands, served like any, kept over a restart.

use crate::support::{http, local::Local, portolan::Portolan, until};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::process::Command;

const OURS: &str =
    "registries: [{ name: ours, api: { limits: { services: 20000 } }, publish: { host: '{service}.example' } }]\n";
const LIMIT: Duration = Duration::from_secs(60);

struct Answer {
    status: StatusCode,
    version: String,
    body: Value,
}

async fn ask(admin: SocketAddr, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = http::client().request(method, format!("http://{admin}{path}")).body(body.to_owned());
    request = request.header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, tag) = (answer.status(), answer.headers().get(header::ETAG).cloned());
    let body = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    Answer { status, version: tag.map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default(), body }
}

async fn put(admin: SocketAddr, name: &str, body: Value) -> Answer {
    ask(admin, Method::PUT, &format!("/api/v1/services/ours/{name}"), &[], &body.to_string()).await
}

/// Waits until so many endpoints are published under a host.
async fn until_served(admin: SocketAddr, host: &str, endpoints: usize) {
    until(&format!("{endpoints} endpoints of {host}"), LIMIT, async || {
        let (_, detail) = http::get(admin, &format!("/api/v1/services/{host}")).await;
        let detail: Value = serde_json::from_str(&detail).unwrap();
        let count = detail["instances"].as_array().map_or(0, Vec::len);
        if count == endpoints { Ok(()) } else { Err(detail) }
    })
    .await;
}

#[tokio::test]
async fn what_is_written_is_served_changed_and_taken_away() {
    let portolan = Local::start(OURS).await;
    let admin = portolan.ready().await.admin;
    let path = "/api/v1/services/ours/web";
    let first = put(admin, "web", json!({"endpoints": ["10.0.0.1:80"]})).await;
    assert_eq!((first.status, &first.body["id"]), (StatusCode::CREATED, &json!("ours/web")));
    until_served(admin, "web.example", 1).await;
    let body = r#"{"endpoints": ["10.0.0.1:80", "10.0.0.2:80"]}"#;
    let second = ask(admin, Method::PATCH, path, &[("if-match", &first.version)], body).await;
    assert_eq!(second.status, StatusCode::OK);
    until_served(admin, "web.example", 2).await;
    let stale = ask(admin, Method::PUT, path, &[("if-match", &first.version)], "{}").await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "{}", stale.body);
    let exists = ask(admin, Method::PUT, path, &[("if-none-match", "*")], "{}").await;
    assert_eq!(exists.status, StatusCode::PRECONDITION_FAILED, "{}", exists.body);
    let listed = http::json(admin, "/api/v1/registries/ours/services").await;
    assert_eq!(format!("\"{}\"", listed[0]["version"].as_str().unwrap()), second.version);
    let gone = ask(admin, Method::DELETE, path, &[("if-match", &second.version)], "").await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.body);
    until_served(admin, "web.example", 0).await;
    for (method, path, body, status, text) in [
        (Method::DELETE, path, "", 404, "there is no service ours/web"),
        (Method::PATCH, path, "{}", 404, "PUT it"),
        (Method::PUT, path, "{", 400, "body"),
        (Method::PUT, path, r#"{"endpoints": ["x"]}"#, 400, "must be address:port"),
        (Method::PUT, "/api/v1/services/ours", "{}", 400, "names no service"),
        (Method::PUT, "/api/v1/services/other/web", "{}", 404, "there are ours"),
        (Method::PUT, "/api/v1/services/ours/web?ttl=1ms", "{}", 400, "ttl is a time"),
        (Method::PUT, "/api/v1/services/ours/web?tll=1s", "{}", 400, "tll"),
        (Method::PUT, "/api/v1/registries/ours/services", "{}", 400, "services"),
    ] {
        let answer = ask(admin, method, path, &[], body).await;
        let error = answer.body["error"].as_str().unwrap_or_default();
        assert!(answer.status == status && error.contains(text), "{path} {body}: {} {error}", answer.status);
    }
}

#[tokio::test]
async fn what_gives_no_sign_of_life_is_gone() {
    let portolan = Local::start(OURS).await;
    let admin = portolan.ready().await.admin;
    let body = r#"{"endpoints": ["10.0.0.1:80"]}"#;
    let path = "/api/v1/services/ours/web?ttl=1s";
    assert_eq!(ask(admin, Method::PUT, path, &[], body).await.body["ttl"], "1s");
    until_served(admin, "web.example", 1).await;
    until_served(admin, "web.example", 0).await;
    let late = ask(admin, Method::PATCH, "/api/v1/services/ours/web", &[], "{}").await;
    assert_eq!(late.status, StatusCode::NOT_FOUND, "{}", late.body);
}

#[tokio::test]
async fn ten_thousand_services_are_written_at_once_or_not_at_all() {
    let portolan = Local::start(OURS).await;
    let admin = portolan.ready().await.admin;
    let list = |count: usize, address: &str| {
        let service =
            |n: usize| json!({"name": format!("s-{n}"), "endpoints": [format!("{address}:{}", 1 + n % 60_000)]});
        json!({"services": (0..count).map(service).collect::<Vec<_>>()}).to_string()
    };
    let path = "/api/v1/registries/ours/services";
    let written = ask(admin, Method::PUT, path, &[], &list(10_000, "10.0.0.1")).await;
    assert_eq!((written.status, &written.body["services"]), (StatusCode::OK, &json!(10_000)));
    until_served(admin, "s-9999.example", 1).await;
    let wrong = list(10_000, "10.0.0.1").replace("10.0.0.1:7777\"", "nowhere\"");
    let refused = ask(admin, Method::PUT, path, &[], &wrong).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let many = ask(admin, Method::PUT, path, &[], &list(20_001, "10.0.0.1")).await;
    assert_eq!(many.status, StatusCode::INSUFFICIENT_STORAGE, "{}", many.body);
    let long = " ".repeat((16 << 20) + 1);
    let refused = ask(admin, Method::PUT, path, &[], &long).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", refused.body);
    assert_eq!(http::json(admin, "/api/v1/registries").await[0]["services"], 10_000);
}

#[tokio::test]
async fn who_may_change_nothing_writes_nothing() {
    let tokens = "tokens: { read: a-token-to-read-with-0123456789, change: a-token-to-change-with-0123456789 }";
    let portolan = Local::start_with(tokens, OURS).await;
    let path = "/api/v1/services/ours/web";
    for (token, status) in
        [("nobody", 401), ("a-token-to-read-with-0123456789", 403), ("a-token-to-change-with-0123456789", 201)]
    {
        let bearer = format!("Bearer {token}");
        let answer = ask(portolan.admin, Method::PUT, path, &[("authorization", &bearer)], "{}").await;
        assert_eq!(answer.status, status, "{token}: {}", answer.body);
    }
}

#[tokio::test]
async fn what_was_acknowledged_just_before_the_end_is_there_after_it() {
    let folder = tempfile::tempdir().unwrap();
    // It is quiet for an hour before anything is written by itself.
    let config = format!("state: {{ dir: '{}', quiet: 1h }}\n{OURS}", folder.path().join("state").display());
    for number in 1..=5 {
        let portolan = Portolan::start(&config).await;
        portolan.ready().await;
        let answer = put(portolan.admin, &format!("web-{number}"), json!({ "endpoints": ["10.0.0.1:80"] })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        let log = portolan.log();
        assert!(portolan.terminate().await.success(), "{log}");
        let portolan = Portolan::start(&config).await;
        portolan.ready().await;
        let services = portolan.json("/api/v1/registries/ours/services").await;
        assert_eq!(services.as_array().unwrap().len(), number, "{services}");
        assert!(portolan.terminate().await.success());
    }
}

#[tokio::test]
async fn another_configuration_and_a_restart_forget_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{OURS}state: {{ dir: '{}', quiet: 100ms }}\n", folder.path().display());
    let first = Portolan::start(&config).await;
    first.ready().await;
    let kept =
        ask(first.admin, Method::PUT, "/api/v1/services/ours/web?ttl=1h", &[], r#"{"endpoints": ["10.0.0.1:80"]}"#)
            .await;
    assert_eq!(kept.status, StatusCode::CREATED);
    until_served(first.admin, "web.example", 1).await;
    let file = folder.path().join("ours.state");
    until("the state on disk", LIMIT, async || if file.exists() { Ok(()) } else { Err(first.log()) }).await;
    first.kill().await;
    let second = Portolan::start(&config.replace("20000", "30000")).await;
    second.ready().await;
    until_served(second.admin, "web.example", 1).await;
    let listed = http::json(second.admin, "/api/v1/registries/ours/services").await;
    assert_eq!((&listed[0]["version"], &listed[0]["ttl"]), (&kept.body["version"], &json!("1h")));
    until("it to be read", LIMIT, async || {
        let registry = http::json(second.admin, "/api/v1/registries").await[0].clone();
        if registry["state"] == "synced" { Ok(()) } else { Err(registry) }
    })
    .await;
}

/// Takes the registry `ours` out of the configuration and puts it back; `state` is the section for state on disk, and
/// `folder` the one that it names.
async fn out_by_a_slip_and_back(state: &str, folder: Option<&Path>) {
    let other = "registries: [{ name: other, api: {}, publish: { host: '{service}.other' } }]\n";
    let config = |registries: &str| format!("{registries}{state}");
    let both = config(&OURS.replace("}]", "}, { name: other, api: {}, publish: { host: '{service}.other' } }]"));
    let portolan = Local::start(&both).await;
    let admin = portolan.ready().await.admin;
    let path = "/api/v1/services/ours/web?ttl=1h";
    let web = ask(admin, Method::PUT, path, &[], r#"{"endpoints": ["10.0.0.1:80"]}"#).await;
    assert_eq!(web.status, StatusCode::CREATED, "{}", web.body);
    until_served(admin, "web.example", 1).await;
    let kept = async |registry: &str| {
        let Some(file) = folder.map(|folder| folder.join(format!("{registry}.state"))) else { return };
        until("the state on disk", LIMIT, async || if file.exists() { Ok(()) } else { Err(file.clone()) }).await;
    };
    kept("ours").await;
    let state_of = async |registry: &str| {
        let registries = http::json(admin, "/api/v1/registries").await;
        let of = registries.as_array().unwrap().iter().find(|of| of["name"] == *registry);
        of.map(|of| of["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    portolan.reconfigure(&config(other));
    until("it to be out", LIMIT, async || match &*state_of("ours").await {
        "removed" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;
    assert_eq!(put(admin, "web", json!({})).await.status, StatusCode::NOT_FOUND);
    // Something else is written meanwhile, to disk as well.
    let marker =
        ask(admin, Method::PUT, "/api/v1/services/other/marker", &[], r#"{"endpoints": ["10.0.0.2:80"]}"#).await;
    assert_eq!(marker.status, StatusCode::CREATED, "{}", marker.body);
    until_served(admin, "marker.other", 1).await;
    kept("other").await;
    assert!(folder.is_none_or(|folder| folder.join("ours.state").exists()), "it may be taken back");
    portolan.reconfigure(&both);
    until("it to be back, and read", LIMIT, async || match &*state_of("ours").await {
        "synced" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;
    let listed = http::json(admin, "/api/v1/registries/ours/services").await;
    assert_eq!((&listed[0]["version"], &listed[0]["ttl"]), (&web.body["version"], &json!("1h")));
    until_served(admin, "web.example", 1).await;
    let heartbeat = ask(admin, Method::PATCH, "/api/v1/services/ours/web", &[("if-match", &web.version)], "{}").await;
    assert_eq!(heartbeat.status, StatusCode::OK, "{}", heartbeat.body);
}

#[tokio::test]
async fn a_registry_that_is_taken_out_and_put_back_has_what_it_had() {
    out_by_a_slip_and_back("", None).await;
    let folder = tempfile::tempdir().unwrap();
    let state = format!("state: {{ dir: '{}', quiet: 100ms }}\n", folder.path().display());
    out_by_a_slip_and_back(&state, Some(folder.path())).await;
}

#[tokio::test]
async fn commands_write_and_delete() {
    let portolan = Local::start(OURS).await;
    let admin = portolan.ready().await.admin;
    portolan.put("web.yaml", "endpoints: ['10.0.0.1:80']\n");
    let run = async |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.args(words).args(["--admin", &admin.to_string()]).current_dir(portolan.folder());
        let output = command.output().await.unwrap();
        let text = String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr });
        (output.status.success(), text.into_owned())
    };
    let (good, said) = run(&["put", "service", "ours/web", "--file", "web.yaml"]).await;
    assert!(good && said.starts_with("ours/web is of version "), "{said}");
    until_served(admin, "web.example", 1).await;
    let (good, said) = run(&["delete", "service", "ours/web", "--if-version", "0"]).await;
    assert!(!good && said.contains("412") && said.contains("by now"), "{said}");
    let (good, said) = run(&["delete", "service", "ours/web"]).await;
    assert!(good && said == "ours/web is deleted.\n", "{said}");
    let (good, said) = run(&["put", "service", "ours/web", "--file", "nowhere.yaml"]).await;
    assert!(!good && said.contains("cannot read nowhere.yaml"), "{said}");
}
