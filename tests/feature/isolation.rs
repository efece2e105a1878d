//! One registry's trouble is no other registry's: whatever happens there, and while it does, changes of a file arrive.

use crate::support::{local::Local, until};
use portolan::{
    catalog::{self, Policy, Template},
    registry::{self, Kind, file, nacos, transport::Connection},
    util::secret::Secret,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::Value;
use std::{
    fmt::Write,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long anything may take: much less than the trouble lasts.
const LIMIT: Duration = Duration::from_secs(60);
const CHANGES: usize = 10;

/// Writes what is then moved into place, so that nobody reads a half.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn quiet(number: usize) -> String {
    format!("services:\n- host: quiet.example\n  endpoints: [10.0.0.{number}:80]\n")
}

/// Changes the quiet registry's file again and again, and waits each time until the change is served.
async fn file_is_followed(portolan: &Local, file: &Path) {
    for number in 1..=CHANGES {
        write(file, &quiet(number));
        until("the change to be served", LIMIT, || async {
            let served = portolan.json("/api/v1/resources/endpoints?q=quiet.example").await.to_string();
            if served.contains(&format!("\"10.0.0.{number}\"")) { Ok(()) } else { Err(served) }
        })
        .await;
    }
}

/// Runs a registry in trouble beside one that reads a quiet file, and asserts that it is in trouble before the changes
/// of that file and after them. `other` is its configuration.
async fn beside(other: &str, in_trouble: impl AsyncFn(&Local)) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quiet.yaml");
    write(&file, &quiet(99));
    let portolan = Local::start(&format!(
        "registries:\n- name: other\n  required: false\n  {other}\n- name: quiet\n  file: {{ path: '{}' }}\n",
        file.display()
    ))
    .await;
    portolan.ready().await;
    in_trouble(&portolan).await;
    file_is_followed(&portolan, &file).await;
    in_trouble(&portolan).await;
}

/// What the admin interface says of the registry in trouble.
async fn other(portolan: &Local) -> Value {
    portolan.json("/api/v1/registries").await[0].clone()
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_delays_nobody_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let silence = tokio::spawn({
        let accepted = accepted.clone();
        async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                held.push(connection);
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let config = format!("nacos: {{ servers: ['http://{address}'], period: 200ms, timeout: 300s }}");
    beside(&config, async |portolan| {
        until("the request", LIMIT, || async {
            if accepted.load(Ordering::Relaxed) > 0 { Ok(()) } else { Err("no connection") }
        })
        .await;
        let other = other(portolan).await;
        assert_eq!((&other["state"], &other["last_error"]), (&"connecting".into(), &Value::Null), "it still waits");
    })
    .await;
    silence.abort();
}

/// A file of 50 services whose endpoints are new in each round.
fn flood(round: usize) -> String {
    let mut text = String::from("services:\n");
    for service in 0..50 {
        let octet = (round + service) % 250;
        writeln!(text, "- host: flood-{service}.example\n  endpoints: [10.1.{octet}.1:80, 10.1.{octet}.2:80]").unwrap();
    }
    text
}

#[tokio::test]
async fn a_folder_that_never_stops_changing_delays_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    write(&path.join("0.yaml"), &flood(0));
    let rounds = Arc::new(AtomicUsize::new(0));
    let writer = tokio::spawn({
        let (path, rounds) = (path.clone(), rounds.clone());
        async move {
            loop {
                write(&path.join("0.yaml"), &flood(rounds.fetch_add(1, Ordering::Relaxed)));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let config = format!("file: {{ path: '{}' }}\n  publish: {{ max_drop: 100% }}", path.display());
    beside(&config, async |portolan| {
        let digest = async || portolan.json("/api/v1/digests").await["endpoints"]["digest"].to_string();
        let (before, written) = (digest().await, rounds.load(Ordering::Relaxed));
        until("the flood to be served", LIMIT, || async {
            let moved = digest().await != before && rounds.load(Ordering::Relaxed) > written;
            if moved { Ok(()) } else { Err("nothing has changed") }
        })
        .await;
    })
    .await;
    writer.abort();
}

/// In this process, because no configuration makes a reading end: what could is refused before.
#[tokio::test]
async fn a_reading_that_ends_and_starts_anew_delays_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quiet.yaml");
    write(&file, &quiet(99));
    // Only the reading itself finds out that no header can hold a control character.
    let headers = vec![("x-key".into(), Secret::new("a\x01b"))];
    let connection = Connection { headers, ..Connection::default() };
    let nacos =
        nacos::Config { connection, ..nacos::Config::new(vec![nacos::Config::server("http://127.0.0.1:9").unwrap()]) };
    let kinds = [Kind::Nacos(nacos), Kind::File(file::Config::new(file::Source::Path(file.clone())))];
    let policy = |name: &str| Policy::new(name, "test", Template::parse("{service}.example").unwrap());
    let registries = vec![policy("other").into(), policy("quiet").into()];
    let options = catalog::Options::default();
    let (mut writer, catalog) = catalog::Writer::new(options, catalog::Metrics::default());
    let feeds = writer.configure(catalog::Desired { registries, options, ..catalog::Desired::default() }, false).feeds;
    let (stop, counted, mut metrics) = (CancellationToken::new(), registry::Metrics::default(), Registry::default());
    counted.register(&mut metrics);
    for (feed, kind) in feeds.into_iter().zip(kinds) {
        let registry = registry::Registry { name: feed.reading.registry, kind };
        registry::spawn(registry, feed.updates, None, counted.clone(), stop.clone());
    }
    tokio::spawn(writer.run(stop.clone()));
    let restarts = || {
        let mut text = String::new();
        encode(&mut text, &metrics).unwrap();
        let line = text.lines().find(|l| l.contains("registry_restarts_total{registry=\"other\"}"));
        line.and_then(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    for number in 1..=CHANGES {
        write(&file, &quiet(number));
        until("the change to be published", LIMIT, || async {
            let catalog = catalog.load();
            let served: Vec<String> =
                catalog.services.values().flat_map(|s| s.endpoints.iter().map(|e| e.address.to_string())).collect();
            if served == [format!("10.0.0.{number}")] { Ok(()) } else { Err(served) }
        })
        .await;
    }
    until("the reading to have ended and to be tried again", LIMIT, || async {
        if restarts() >= 2 { Ok(()) } else { Err(restarts()) }
    })
    .await;
    let error = catalog.load().registries[0].last_error.clone();
    assert!(error.as_ref().is_some_and(|(_, text)| text.contains("header \"x-key\"")), "{error:?}");
    stop.cancel();
}
