//! What a client refuses, as people see it and release it.

use crate::{
    client::{ADS_DELTA, Delta, Received},
    history::command,
    support::{portolan::Portolan, until},
};
use portolan::resource::Kind::Cluster;
use std::{fs, time::Duration};
use tonic::transport::Endpoint;

const USERS: &str = "outbound|80||users.example";
const ORDERS: &str = "outbound|80||orders.example";

fn names(received: &Received) -> Vec<&str> {
    received.has.keys().map(|name| &**name).collect()
}

async fn withheld(portolan: &Portolan, count: usize) -> serde_json::Value {
    until("the list of what is refused", Duration::from_secs(60), async || {
        let list = portolan.json("/api/v1/quarantine").await;
        if list.as_array().is_some_and(|list| list.len() == count) { Ok(list) } else { Err(list) }
    })
    .await
}

#[tokio::test]
async fn people_see_what_a_client_refuses_and_release_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalogue.yaml");
    let service = |name: &str| format!("- host: {name}.example\n  endpoints: [\"10.0.0.1:80\"]\n");
    fs::write(&file, format!("services:\n{}{}", service("orders"), service("users"))).unwrap();
    let portolan =
        Portolan::start(&format!("registries: [{{ name: shop, file: {{ path: '{}' }} }}]\n", file.display())).await;
    portolan.ready().await;
    let channel = Endpoint::from_shared(format!("http://{}", portolan.xds)).unwrap().connect().await.unwrap();
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    stream.ask(Cluster, &[], &[]).await;
    let received = stream.next().await;
    assert_eq!(names(&received), [ORDERS, USERS]);
    stream.nack(&received, &format!("Error adding/updating cluster(s) {USERS}: no such thing")).await;
    let rest = stream.next().await;
    assert_eq!(names(&rest), [ORDERS]);
    stream.ack(&rest).await;

    let list = withheld(&portolan, 1).await;
    let entry = &list[0];
    for (field, expected) in [("kind", "clusters"), ("name", USERS), ("view", "envoy"), ("found", "named")] {
        assert_eq!(entry[field], expected, "{list}");
    }
    assert_eq!((&entry["streams"], &entry["for_all"], &entry["nodes"][0]), (&1.into(), &false.into(), &"test".into()));
    let clients = portolan.json("/api/v1/clients").await;
    assert_eq!(clients["clients"][0]["types"][0]["withheld"][0]["name"], USERS, "{clients}");
    let (_, metrics) = portolan.get("/metrics").await;
    for line in ["xds_withheld_total{kind=\"clusters\"} 1", "xds_quarantined_resources{kind=\"clusters\"} 1"] {
        assert!(metrics.contains(&format!("portolan_{line}\n")), "{line}: {metrics}");
    }
    assert!(portolan.log().contains("A resource is withheld from a client that refuses it"), "{}", portolan.log());
    let shown = command(&portolan, "get quarantine users").await.unwrap();
    assert!(shown.contains(USERS) && shown.contains("no such thing"), "{shown}");
    assert!(!command(&portolan, "get quarantine orders").await.unwrap().contains("orders"));

    for (words, expected) in [
        ("quarantine release", "required arguments"),
        ("quarantine release nobody", "nothing of */nobody is withheld"),
        ("quarantine release --kind endpoints", "nothing of endpoints/* is withheld"),
        ("quarantine release --kind pods", "no kind \"pods\" that clients refuse; there are clusters"),
        ("quarantine release --all nobody", "cannot be used with"),
    ] {
        let refused = command(&portolan, words).await.unwrap_err();
        assert!(refused.contains(expected), "{words}: {refused}");
    }
    let released =
        command(&portolan, &format!("quarantine release {USERS} --kind clusters --why mended")).await.unwrap();
    assert_eq!(released, "Released 1.\n");
    let again = stream.next().await;
    assert_eq!(names(&again), [USERS]);
    stream.ack(&again).await;
    withheld(&portolan, 0).await;
    let audit = command(&portolan, "history").await.unwrap();
    let line = audit.lines().find(|line| line.contains("quarantine of")).unwrap_or_default();
    for word in ["release", "ann", "mended", USERS, "released 1"] {
        assert!(line.contains(word), "{word}: {audit}");
    }
}
