//! What a store takes, refuses and forgets.

use crate::{
    model::{ServiceId, Text, Update},
    registry::{Expected, Refused, Store, Written, outbox::Outbox},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, advance},
};

const WEB: &[u8] = br#"{"endpoints": ["10.0.0.1:80"]}"#;
const ANYTHING: &Expected = &Expected::Anything;

fn store() -> (Arc<Store>, ServiceId) {
    let store = Written::default().open(&"ours".into());
    store.set_limit(2);
    let id = store.id("web").unwrap();
    (store, id)
}

fn version(version: &str) -> Expected {
    Expected::Version(version.into())
}

#[test]
fn a_change_is_made_to_what_was_seen_or_not_at_all() {
    let (store, id) = store();
    let (first, is_new) = store.put(&id, WEB, None, &Expected::Nothing).unwrap();
    assert!(is_new);
    assert_eq!(
        store.put(&id, WEB, None, &Expected::Nothing).unwrap_err(),
        Refused::Exists(id.clone(), first.version.clone())
    );
    let (same, is_new) = store.put(&id, WEB, None, ANYTHING).unwrap();
    assert_eq!((&same.version, is_new), (&first.version, false));
    assert!(Arc::ptr_eq(&store.entry(&id).unwrap().service, &first.service), "equal is the same value");
    let second = store.patch(&id, br#"{"labels": {"a": "b"}}"#, None, &version(&first.version)).unwrap();
    assert_eq!(second.service.endpoints, first.service.endpoints);
    assert_eq!(&*second.service.labels["a"], "b");
    let stale = Refused::Stale(id.clone(), second.version.clone());
    assert_eq!(store.put(&id, WEB, None, &version(&first.version)).unwrap_err(), stale);
    assert_eq!(store.delete(&id, &version(&first.version)).unwrap_err(), stale);
    store.delete(&id, &version(&second.version)).unwrap();
    assert_eq!(store.delete(&id, ANYTHING).unwrap_err(), Refused::Missing(id.clone()));
    assert_eq!(store.patch(&id, b"{}", None, ANYTHING).unwrap_err(), Refused::Missing(id));
}

#[test]
fn mistakes_are_named_and_change_nothing() {
    let (store, id) = store();
    store.put(&id, WEB, None, ANYTHING).unwrap();
    for (text, expected) in [
        ("{", "body"),
        ("7", "must be a mapping"),
        (r#"{"name": "users"}"#, "another name than the path"),
        (r#"{"endpoints": ["10.0.0.1"]}"#, "must be address:port"),
        (r#"{"endpoint": []}"#, "did you mean `endpoints`?"),
    ] {
        let refused = store.put(&id, text.as_bytes(), None, ANYTHING).unwrap_err();
        assert!(matches!(&refused, Refused::Invalid(why) if why.contains(expected)), "{text}: {refused}");
        let refused = store.patch(&id, text.as_bytes(), None, ANYTHING).unwrap_err();
        assert!(refused.to_string().contains(expected), "{text}: {refused}");
    }
    for path in ["", "a/b/c/d", "a/"] {
        assert!(store.id(path).is_err(), "{path:?}");
    }
    assert_eq!(store.id("ns/g/web").unwrap(), ServiceId::new("ours", "ns", "g", "web"));
    assert_eq!(store.entries().len(), 1);
    assert_eq!(store.entry(&id).unwrap().service.endpoints.len(), 1);
}

#[test]
fn a_whole_list_is_taken_or_refused_whole() {
    let (store, id) = store();
    let (web, _) = store.put(&id, WEB, None, ANYTHING).unwrap();
    let list = br#"{"services": [{"name": "web", "endpoints": ["10.0.0.1:80"]}, {"name": "users", "endpoints": []}]}"#;
    assert_eq!(store.replace(list, None), Ok(2));
    assert!(Arc::ptr_eq(&store.entry(&id).unwrap().service, &web.service));
    for (text, expected) in [
        (r#"{"services": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}"#, "more than 2 services"),
        (r#"{"services": [{"name": "a"}, {"name": "b", "endpoints": ["x"]}]}"#, "must be address:port"),
        (r#"{"services": 7}"#, "must be a list"),
        ("[]", "must be a mapping"),
    ] {
        let refused = store.replace(text.as_bytes(), None).unwrap_err().to_string();
        assert!(refused.contains(expected), "{text}: {refused}");
        assert_eq!(store.entries().len(), 2);
    }
    let third = store.id("third").unwrap();
    assert_eq!(store.put(&third, WEB, None, ANYTHING).unwrap_err(), Refused::TooMany(2));
    assert_eq!(store.replace(br#"{"services": []}"#, None), Ok(0));
}

#[tokio::test(start_paused = true)]
async fn what_gives_no_sign_of_life_is_gone_and_a_late_one_is_refused() {
    let (store, id) = store();
    let ttl = Some(Duration::from_secs(30));
    let (web, _) = store.put(&id, WEB, ttl, ANYTHING).unwrap();
    for _ in 0..3 {
        advance(Duration::from_secs(29)).await;
        assert_eq!(
            store.patch(&id, b"{}", None, ANYTHING).unwrap().version,
            web.version,
            "a sign of life changes nothing"
        );
    }
    let (services, next) = store.services(Instant::now());
    assert_eq!((services.len(), next), (1, Some(Instant::now() + Duration::from_secs(30))));
    // A restart: what is kept has its time, and begins anew.
    let again = Written::default().open(&"ours".into());
    again.restore(services.into_values(), Instant::now());
    assert_eq!(again.entry(&id).unwrap().ttl, ttl);
    advance(Duration::from_secs(31)).await;
    assert_eq!(store.patch(&id, b"{}", None, ANYTHING).unwrap_err(), Refused::Missing(id.clone()));
    assert!(store.entries().is_empty() && again.entries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_closed_takes_nothing_and_loses_nothing() {
    let (written, name) = (Written::default(), "ours".into());
    let store = written.open(&name);
    let id = store.id("web").unwrap();
    let (web, _) = store.put(&id, WEB, Some(Duration::from_secs(30)), ANYTHING).unwrap();
    advance(Duration::from_secs(20)).await;
    written.close(|_| false);
    assert!(written.get("ours").is_none() && written.names().is_empty() && written.has("ours"));
    assert!(Arc::ptr_eq(&written.of_reading(&name), &store) && written.get("ours").is_none());
    assert_eq!(store.put(&id, WEB, None, ANYTHING).unwrap_err(), Refused::Paused);
    // Nobody could give a sign of life meanwhile.
    advance(Duration::from_secs(300)).await;
    assert_eq!(store.services(Instant::now()).1, None);
    written.forget(|_| true);
    assert!(Arc::ptr_eq(&written.open(&name), &store));
    assert_eq!(written.get("ours").unwrap().entry(&id).unwrap().version, web.version);
    assert_eq!(store.services(Instant::now()).1, Some(Instant::now() + Duration::from_secs(30)));
    // Before another process takes over, and after it has given up.
    written.pause();
    assert_eq!(store.delete(&id, ANYTHING).unwrap_err(), Refused::Paused);
    assert_eq!(written.open(&"new".into()).replace(b"{services: []}", None), Err(Refused::Paused));
    written.close(|name| name == "ours");
    advance(Duration::from_secs(300)).await;
    written.resume(Instant::now());
    assert_eq!(store.entries().len(), 1);
    assert!(written.get("new").is_none(), "what is closed stays so");
    written.forget(|_| false);
    assert!(!written.has("new") && written.has("ours"));
    store.delete(&id, ANYTHING).unwrap();
}

#[tokio::test]
async fn what_was_written_is_told_when_it_was_taken() {
    let (written, name) = (Written::default(), Text::from("ours"));
    let store = written.open(&name);
    let id = store.id("web").unwrap();
    let (updates, mut taken) = mpsc::channel(8);
    let reading = tokio::spawn({
        let store = written.of_reading(&name);
        async move { drop(super::tell(&store, Outbox::new(updates)).await) }
    });
    store.put(&id, WEB, None, ANYTHING).unwrap();
    let told = tokio::spawn({
        let written = written.clone();
        async move { written.told().await }
    });
    let mut has = 0;
    while has == 0 {
        assert!(!told.is_finished());
        has = match taken.recv().await.unwrap() {
            Update::Listed { services, .. } => services.len(),
            Update::Applied(..) => 1,
            _ => 0,
        };
    }
    told.await.unwrap();
    drop(taken);
    reading.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_ends_at_its_own_time_whatever_was_written_before_and_after() {
    let store = Written::default().open(&"ours".into());
    let ttl = |seconds| Some(Duration::from_secs(seconds));
    let put = |name: &str, seconds: Option<u64>| {
        store.put(&store.id(name).unwrap(), WEB, seconds.and_then(ttl), ANYTHING).unwrap();
    };
    let names = || {
        let names = store.entries().iter().map(|entry| entry.service.id.name.to_string()).collect::<Vec<_>>();
        names.join(" ")
    };
    for (name, seconds) in [("a", Some(30)), ("b", Some(10)), ("c", Some(20)), ("d", None), ("e", Some(10))] {
        put(name, seconds);
    }
    advance(Duration::from_secs(9)).await;
    // One lives on by a sign of life, one by another time, and one ends sooner than all others.
    store.patch(&store.id("e").unwrap(), b"{}", None, ANYTHING).unwrap();
    put("c", Some(60));
    put("f", Some(1));
    assert_eq!(names(), "a b c d e f");
    advance(Duration::from_secs(1)).await;
    assert_eq!(names(), "a c d e");
    advance(Duration::from_secs(9)).await;
    assert_eq!(names(), "a c d");
    // A whole list: what is in it begins anew, also by another time.
    let list = br#"{"services": [{"name": "a", "endpoints": ["10.0.0.1:80"]}, {"name": "g", "endpoints": []}]}"#;
    assert_eq!(store.replace(list, ttl(5)), Ok(2));
    put("h", Some(20));
    advance(Duration::from_secs(5)).await;
    assert_eq!((names().as_str(), store.entry(&store.id("a").unwrap()).is_none()), ("h", true));
    assert_eq!(store.services(Instant::now()).1, Some(Instant::now() + Duration::from_secs(15)));
    // After a restart, too.
    let again = Written::default().open(&"ours".into());
    again.restore(store.services(Instant::now()).0.into_values(), Instant::now());
    advance(Duration::from_secs(20)).await;
    assert!(again.entries().is_empty() && names().is_empty());
}

#[test]
fn a_part_that_is_changed_makes_what_the_whole_would_be() {
    let (store, id) = store();
    let whole = |protocol: &str, port: u16| {
        format!(
            r#"{{"ports": [{{"name": "api", "port": 90, "protocol": "{protocol}"}}],
                "endpoints": [{{"address": "10.0.0.1", "ports": {{"api": {port}}}}}]}}"#
        )
    };
    let put = |text: &str| store.put(&id, text.as_bytes(), None, ANYTHING).unwrap().0.version;
    let patch = |text: &str| store.patch(&id, text.as_bytes(), None, ANYTHING);
    let expected = [put(&whole("http", 8081)), put(&whole("grpc", 8081))];
    put(&whole("grpc", 8080));
    let moved = patch(r#"{"endpoints": [{"address": "10.0.0.1", "ports": {"api": 8081}}]}"#).unwrap();
    let spoken = patch(r#"{"ports": [{"name": "api", "port": 90, "protocol": "http"}]}"#).unwrap();
    assert_eq!([&spoken.version, &moved.version], [&expected[0], &expected[1]]);
    for text in [
        r#"{"endpoints": [{"address": "10.0.0.1", "ports": {"apj": 8081}}]}"#,
        r#"{"ports": [{"name": "web", "port": 90}]}"#,
    ] {
        let refused = patch(text).unwrap_err();
        assert!(matches!(&refused, Refused::Invalid(why) if why.contains("the service has no port")), "{refused}");
    }
    assert_eq!(store.entry(&id).unwrap().version, spoken.version);
}
