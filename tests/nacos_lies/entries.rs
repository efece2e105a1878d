//! Entries that are garbled, doubled, or healthy and protected in one place and not in another.

use super::{ALL, config, read, weights};
use crate::support::fake_nacos::{FakeNacos, FakeService, Generation, instance, key};
use portolan::model::{Health, Reason};
use serde_json::{Value, json};

fn with(ip: &str, field: &str, value: Value) -> Value {
    let mut instance = instance(ip, 8080);
    match value {
        Value::Null => drop(instance.as_object_mut().unwrap().remove(field)),
        value => instance[field] = value,
    }
    instance
}

/// What a registry garbles, and how the instance of 10.0.0.1 is served then: its weight.
fn garbled() -> Vec<(Value, f64)> {
    let ip = "10.0.0.1";
    vec![
        (with(ip, "port", json!("8080")), 1.0),
        (with(ip, "port", json!(8080.0)), 1.0),
        (with(ip, "weight", json!(-1)), 1.0),
        (with(ip, "weight", json!("NaN")), 1.0),
        (with(ip, "weight", json!("0.5")), 0.5),
        (with(ip, "weight", json!({})), 1.0),
        (with(ip, "metadata", json!([])), 1.0),
        (with(ip, "metadata", json!("none")), 1.0),
        (with(ip, "enabled", json!("true")), 1.0),
        (with(ip, "clusterName", json!(7)), 1.0),
        // Not to be read at all: the last good value stays.
        (with(ip, "port", json!("http")), 1.0),
        (with(ip, "port", json!(null)), 1.0),
        (with(ip, "port", json!(70000)), 1.0),
    ]
}

#[tokio::test]
async fn a_garbled_entry_takes_no_healthy_endpoint_away() {
    for generation in ALL {
        let fake = FakeNacos::start(generation).await;
        let healthy = || vec![instance("10.0.0.1", 8080), instance("10.0.0.2", 8080)];
        fake.model().put("orders", healthy());
        let mut reading = read(config(&fake));
        reading.list().await;
        for (entry, weight) in garbled() {
            fake.model().put("orders", vec![entry.clone(), instance("10.0.0.2", 8080), instance("10.0.0.3", 8080)]);
            reading.until("the new neighbour", |h| h.service("orders").unwrap().endpoints.len() == 3).await;
            let orders = reading.service("orders").unwrap();
            let expected = [("10.0.0.1:8080", weight), ("10.0.0.2:8080", 1.0), ("10.0.0.3:8080", 1.0)];
            assert_eq!(weights(orders), expected.map(|(a, w)| (a.to_owned(), w)).into(), "{generation:?} {entry}");
            assert_eq!(reading.failed, 0, "{generation:?} {entry}: {:?}", reading.errors);
            fake.model().put("orders", healthy());
            reading.until("it to be well", |h| h.service("orders").unwrap().endpoints.len() == 2).await;
            assert_eq!(reading.service("orders").unwrap().notes, [], "{generation:?} {entry}");
        }
    }
}

#[tokio::test]
async fn a_service_without_a_readable_instance_keeps_its_last_value() {
    for generation in ALL {
        let fake = FakeNacos::start(generation).await;
        let both = vec![instance("10.0.0.1", 8080), instance("10.0.0.2", 8080)];
        fake.model().put("orders", both.clone());
        fake.model().put("users", both.clone());
        let mut reading = read(config(&fake));
        reading.list().await;
        let junk = vec![json!({}), json!({"ip": 7, "port": 80}), json!("x")];
        fake.model().put("orders", junk.clone());
        let of = |h: &crate::support::reading::Reading| {
            h.unreadable.values().flatten().map(|u| u.0.name.to_string()).collect::<Vec<_>>()
        };
        reading.until("it to be unreadable", |h| of(h) == ["orders"]).await;
        assert_eq!(reading.failed, 0);
        // One readable instance is enough for the service; those without a place leave nothing behind.
        fake.model().put("orders", [junk, vec![instance("10.0.0.1", 8080)]].concat());
        reading.until("the readable one", |h| h.service("orders").is_some_and(|s| s.endpoints.len() == 1)).await;
        assert_eq!(reading.service("orders").unwrap().notes.len(), 3, "{generation:?}");
    }
}

#[tokio::test]
async fn a_service_without_clusters_is_unreadable() {
    for generation in [Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
        let mut reading = read(config(&fake));
        reading.list().await;
        fake.model().services();
        fake.model().lies.no_clusters = true;
        reading.until("it to be unreadable", |h| h.unreadable.values().flatten().count() == 1).await;
        assert_eq!(reading.lists["public"].len(), 0, "{generation:?}");
    }
}

#[tokio::test]
async fn all_unhealthy_is_what_the_server_itself_lists() {
    for generation in ALL {
        let fake = FakeNacos::start(generation).await;
        let unhealthy = |ip: &str, cluster: &str| {
            let mut instance = with(ip, "healthy", json!(false));
            instance["clusterName"] = cluster.into();
            instance
        };
        let instances = || vec![unhealthy("10.0.0.1", "DEFAULT"), unhealthy("10.0.0.2", "hz")];
        let service = |metadata, threshold| FakeService { instances: instances(), metadata, threshold };
        let put =
            |name: &str, service| drop(fake.model().services().insert(key("public", "DEFAULT_GROUP", name), service));
        put("registered", service(json!({}), 0.0));
        put("made", service(json!({"team": "shop"}), 0.0));
        put("guarded", service(json!({}), 0.3));
        let mut reading = read(config(&fake));
        reading.list().await;
        // Whether all count as healthy: by the server, or by the catalog's rule for the threshold.
        let protects = |name: &str| {
            let service = reading.service(name).unwrap();
            let is_true = service.endpoints.iter().all(|e| e.health == Health::Unhealthy);
            assert!(service.protected || is_true, "{generation:?} {name}");
            service.protected || service.protect_threshold.is_some()
        };
        let found = ["registered", "made", "guarded"].map(protects);
        assert_eq!(found, [false, true, true], "{generation:?}");
        assert_eq!(reading.failed, 0, "{:?}", reading.errors);
    }
}

#[tokio::test]
async fn two_spellings_of_one_dubbo_service_are_one() {
    for generation in ALL {
        let fake = FakeNacos::start(generation).await;
        let provider = |ip: &str, metadata: Value| {
            let mut instance = instance(ip, 20880);
            instance["metadata"] = metadata;
            instance
        };
        let put = |name: &str, instances| fake.model().put(name, instances);
        put("providers:a.X:1.0.0", vec![provider("10.0.0.1", json!({"version": "1.0.0"}))]);
        put("providers:a.X:1.0.0:", vec![provider("10.0.0.2", json!({"version": "1.0.0"}))]);
        put("providers:a.Y:0.0.0:", vec![provider("10.0.0.3", json!({"version": "0.0.0"}))]);
        put("providers:a.Y::", vec![provider("10.0.0.4", json!({}))]);
        put("providers:a.Z:gray", vec![provider("10.0.0.5", json!({"group": "gray"}))]);
        let mut reading = read(config(&fake));
        reading.list().await;
        let shown = |h: &crate::support::reading::Reading| {
            h.endpoints().into_iter().map(|(name, e)| format!("{name} {}", e.len())).collect::<Vec<_>>()
        };
        let expected = ["providers:a.X:1.0.0: 2", "providers:a.Y:: 2", "providers:a.Z::gray 1"];
        assert_eq!(shown(&reading), expected, "{generation:?}");
        let labels = &reading.service("providers:a.Z::gray").unwrap().labels;
        assert_eq!((labels.get("group").map(|g| &**g), labels.get("version")), (Some("gray"), None));
        // What is said by instances is remembered while there are none; and one that cannot be read takes nothing away.
        put("providers:a.Z:gray", vec![]);
        put("providers:a.X:1.0.0:", vec![json!("junk")]);
        reading.until("it to be empty", |h| shown(h).contains(&"providers:a.Z::gray 0".to_owned())).await;
        let unreadable: Vec<&str> = reading.unreadable.values().flatten().map(|(id, _)| &*id.name).collect();
        assert_eq!(unreadable, ["providers:a.X:1.0.0:"], "{generation:?}");
        put("providers:a.X:1.0.0:", vec![]);
        reading.until("the other spelling", |h| shown(h).contains(&"providers:a.X:1.0.0: 1".to_owned())).await;
    }
}

#[tokio::test]
async fn notes_name_places_as_people_write_them() {
    let fake = FakeNacos::start(Generation::V2).await;
    fake.model().put("orders", vec![with("fe80::1", "weight", json!(-1))]);
    let mut reading = read(config(&fake));
    reading.list().await;
    let note = &reading.service("orders").unwrap().notes[0];
    assert_eq!((note.reason, &*note.subject), (Reason::EntryInvalid, "[fe80::1]:8080"));
}
