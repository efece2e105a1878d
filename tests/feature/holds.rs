//! What is held back lasts longer, or ends at once, by commands and over HTTP.

use crate::{
    history::command,
    support::{http::client, portolan::Portolan, until},
};
use std::{fs, path::Path, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

/// Writes the catalogue: two services with so many instances.
fn put(folder: &Path, [orders, users]: [usize; 2]) {
    let service = |name: &str, net: u8, number: usize| {
        let endpoints: Vec<String> = (1..=number).map(|i| format!("'10.0.{net}.{i}:80'")).collect();
        format!("- {{ host: {name}.example, endpoints: [{}] }}\n", endpoints.join(", "))
    };
    let new = folder.join("new.tmp");
    fs::write(&new, format!("services:\n{}{}", service("orders", 1, orders), service("users", 2, users))).unwrap();
    fs::rename(new, folder.join("catalogue.yaml")).unwrap();
}

async fn started(folder: &Path) -> Portolan {
    let config = format!(
        "registries: [{{ name: shop, file: {{ path: '{0}/catalogue.yaml', poll: 100ms }}, publish: {{ hold: 1h }} }}]\n",
        folder.display()
    );
    let portolan = Portolan::start(&config).await;
    portolan.ready().await;
    portolan
}

/// Waits until each service is served with so many instances, of which that many are held back in all.
async fn serves(portolan: &Portolan, [orders, users]: [u64; 2], held: u64) {
    until(&format!("{orders} and {users}, {held} held back"), Duration::from_secs(60), async || {
        let number = async |host: &str| {
            portolan.json(&format!("/api/v1/services/{host}.example")).await["endpoints"]["total"].as_u64()
        };
        let now = (number("orders").await, number("users").await);
        let hold = portolan.json("/api/v1/registries").await[0]["hold"]["endpoints"].as_u64().unwrap_or(0);
        if (now, hold) == ((Some(orders), Some(users)), held) { Ok(()) } else { Err((now, hold)) }
    })
    .await;
}

/// Sends a POST to an admin page. Returns the status and the JSON of the answer.
async fn post(portolan: &Portolan, path: &str) -> (u16, serde_json::Value) {
    let url = format!("http://{}{path}", portolan.admin);
    let answer = client().post(url).header("content-type", "application/json").send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

fn until_of(answer: &serde_json::Value) -> Duration {
    let until = humantime::parse_rfc3339(answer["until"].as_str().unwrap_or_else(|| panic!("{answer}"))).unwrap();
    until.duration_since(std::time::SystemTime::now()).unwrap_or_default()
}

#[tokio::test]
async fn what_is_held_back_is_prolonged_and_released_by_command_and_over_http() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), [30, 30]);
    let portolan = started(folder.path()).await;
    serves(&portolan, [30, 30], 0).await;
    for words in ["prolong orders.example", "prolong --registry shop", "release orders.example"] {
        let refused = command(&portolan, words).await.unwrap_err();
        assert!(refused.contains("held back"), "{words}: {refused}");
    }
    assert_eq!(post(&portolan, "/api/v1/prolong?registry=shop").await.0, 409);

    put(folder.path(), [2, 3]);
    serves(&portolan, [30, 30], 55).await;
    // A registry over HTTP, and one service by command.
    let (status, answer) = post(&portolan, "/api/v1/prolong?registry=shop&for=3h&by=bob&why=repair").await;
    assert_eq!((status, &answer["prolonged"]), (200, &"registry shop".into()), "{answer}");
    let left = until_of(&answer);
    assert!(left > 2 * HOUR && left <= 3 * HOUR, "{left:?}");
    let shown = command(&portolan, "prolong orders.example --for 5h --why repair").await.unwrap();
    assert!(shown.contains("orders.example is served on until 2"), "{shown}");
    serves(&portolan, [30, 30], 55).await;
    // What somebody has not prolonged by itself goes with the registry's release; the service stays.
    let shown = command(&portolan, "release users.example --why switched-off").await.unwrap();
    assert_eq!(shown, "Released users.example.\n");
    serves(&portolan, [30, 3], 28).await;
    let (status, answer) = post(&portolan, "/api/v1/release?host=orders.example&by=bob").await;
    assert_eq!((status, &answer["released"]), (200, &"orders.example".into()), "{answer}");
    serves(&portolan, [2, 3], 0).await;

    // And a whole registry by command.
    put(folder.path(), [30, 30]);
    serves(&portolan, [30, 30], 0).await;
    put(folder.path(), [1, 1]);
    serves(&portolan, [30, 30], 58).await;
    command(&portolan, "release --registry shop").await.unwrap();
    serves(&portolan, [1, 1], 0).await;

    for (path, status) in [
        ("/api/v1/prolong?registry=shop&host=orders.example", 400),
        ("/api/v1/prolong?registry=nobody", 400),
        ("/api/v1/prolong?host=orders.example&for=8d", 400),
        ("/api/v1/release?host=orders.example&for=1h", 400),
        ("/api/v1/release?registry=shop", 409),
    ] {
        let answer = post(&portolan, path).await;
        assert_eq!(answer.0, status, "{path}: {}", answer.1);
    }
    let audit = command(&portolan, "history --verbose").await.unwrap();
    for (action, by, of) in [
        ("prolong", "bob", "registry shop"),
        ("prolong", "ann", "orders.example"),
        ("release", "ann", "users.example"),
        ("release", "bob", "orders.example"),
        ("release", "ann", "registry shop"),
    ] {
        let line = audit.lines().find(|line| line.contains(action) && line.contains(by) && line.contains(of));
        assert!(line.is_some(), "{action} of {of} by {by} in {audit}");
    }
}
