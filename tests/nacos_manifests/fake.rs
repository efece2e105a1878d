//! A Nacos that misbehaves: nothing that it says wrongly, late or not at all takes a manifest away.

use crate::{
    received::Received,
    support::fake_nacos::{FakeNacos, Fault, Generation, instance, key},
};
use portolan::{
    registry::nacos::{AccessKey, Config, Manifests, Mode, Namespaces},
    util::secret::Secret,
};
use std::{sync::Arc, time::Duration};

fn config(fake: &FakeNacos) -> Config {
    let manifests = Manifests { group: "ISTIO".into(), data_ids: vec!["*.yaml".into()], namespace: "portolan".into() };
    let servers = vec![Config::server(&fake.url()).unwrap()];
    Config { mode: Mode::Poll, period: Config::MIN_PERIOD, manifests: Some(manifests), ..Config::new(servers) }
}

/// A server with two manifests, which are known.
async fn with_two(generation: Generation) -> (FakeNacos, Received) {
    let fake = FakeNacos::start(generation).await;
    fake.model().configs.put("a.yaml", "kind: A");
    fake.model().configs.put("b.yaml", "kind: B");
    let mut received = Received::new(config(&fake));
    received.until("both", |received| received.texts().len() == 2).await;
    (fake, received)
}

fn texts(received: &Received) -> Vec<(String, String)> {
    received.texts().into_iter().collect()
}

fn both() -> Vec<(String, String)> {
    [("public/a.yaml", "kind: A"), ("public/b.yaml", "kind: B")].map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()
}

#[tokio::test]
async fn manifests_come_change_and_go_by_every_interface() {
    for generation in [Generation::V1, Generation::V2, Generation::V3] {
        let (fake, mut received) = with_two(generation).await;
        assert_eq!((received.scopes.join(","), texts(&received)), ("public".into(), both()), "{generation:?}");
        let (a, b) = (received.manifest("a.yaml").unwrap().clone(), received.manifest("b.yaml").unwrap().clone());
        assert_eq!(a.id.to_string(), "r/public/ISTIO/a.yaml");
        // Neither fits what is meant.
        fake.model().configs.put("notes.txt", "nothing");
        fake.model().configs.texts.insert(key("public", "OTHER", "c.yaml"), "kind: C".into());
        fake.model().configs.put("a.yaml", "kind: A2");
        fake.model().configs.put("odd:name_1-2.x.yaml", "kind: \u{1f980}\r\n");
        received
            .until("the change", |received| received.text("a.yaml").is_some_and(|text| &**text == "kind: A2"))
            .await;
        received.until("the new one", |received| received.text("odd:name_1-2.x.yaml").is_some()).await;
        assert_eq!(&**received.text("odd:name_1-2.x.yaml").unwrap(), "kind: \u{1f980}\r\n");
        assert!(Arc::ptr_eq(received.manifest("b.yaml").unwrap(), &b), "what is as before is the same");
        fake.model().configs.remove("a.yaml");
        received.until("it to go", |received| received.text("a.yaml").is_none()).await;
        assert_eq!((received.texts().len(), received.failed), (2, 0), "{generation:?}: {:?}", received.errors);
    }
}

#[tokio::test]
async fn a_deletion_must_be_proved() {
    let faults = [
        Fault::Status(500, "broken"),
        Fault::Status(403, "authorization failed!"),
        // Of a gateway, or of a server whose interface has moved.
        Fault::Status(404, "no such page"),
        Fault::Text("<html>Sign in</html>"),
        Fault::Truncated,
    ];
    for generation in [Generation::V2, Generation::V3] {
        let one = if generation == Generation::V3 { "/v3/client/cs/config" } else { "group=ISTIO&dataId=a.yaml" };
        for fault in faults.clone() {
            let (fake, mut received) = with_two(generation).await;
            fake.model().faults.push((one.into(), fault.clone()));
            fake.model().configs.remove("a.yaml");
            // The page that a gateway shows instead is no word of Nacos', but 1.x and 2.x give bare texts: it is taken for one.
            let silent = generation == Generation::V2 && matches!(fault, Fault::Text(_));
            let (listed, failed) = (received.listed, received.failed);
            received
                .until("two rounds", |received| received.failed > failed + 1 || silent && received.listed > listed + 2)
                .await;
            assert_eq!(texts(&received), both(), "{generation:?}, {fault:?}");
            fake.model().faults.clear();
            received
                .until("it to go", |received| received.text("a.yaml").is_none() && received.errors.is_empty())
                .await;
        }
        // Lists that lack what is there.
        let (fake, mut received) = with_two(generation).await;
        fake.model().configs.unlisted.insert("a.yaml".into());
        for _ in 0..3 {
            received.list().await;
        }
        assert_eq!((texts(&received), received.failed), (both(), 0), "{generation:?}");
    }
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    for generation in [Generation::V2, Generation::V3] {
        let list = if generation == Generation::V3 { "/cs/config/list" } else { "search=accurate" };
        for (fault, why) in [
            (Fault::Status(403, r#"{"message":"authorization failed!"}"#), "authorization failed!"),
            (Fault::Status(500, "broken"), "500"),
            (Fault::Text(r#"{"code":30000,"message":"starting"}"#), "starting"),
            (Fault::Text(r#"{"totalCount":0}"#), "is not what Nacos answers"),
            (Fault::Text("<html></html>"), "is not what Nacos answers"),
            (Fault::Truncated, "broke off"),
            (Fault::Endless, "is longer than"),
        ] {
            let (fake, mut received) = with_two(generation).await;
            fake.model().faults.push((list.into(), fault.clone()));
            let failure = received.failure().await;
            assert!(failure.starts_with("public: ") && failure.contains(why), "{fault:?}: {failure}");
            assert_eq!(texts(&received), both(), "{generation:?}, {fault:?}");
            fake.model().faults.clear();
            fake.model().configs.put("c.yaml", "kind: C");
            received
                .until("the list again", |received| received.texts().len() == 3 && received.errors.is_empty())
                .await;
        }
        let (fake, mut received) = with_two(generation).await;
        fake.model().configs.miscounted = 1;
        let failure = received.failure().await;
        assert!(failure.contains("shows 2 texts where it counts 3"), "{failure}");
    }
}

#[tokio::test]
async fn pages_are_put_together() {
    for generation in [Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        for n in 0..25 {
            fake.model().configs.put(&format!("m-{n}.yaml"), &format!("kind: K{n}"));
        }
        let mut received = Received::new(Config { page_size: 10, ..config(&fake) });
        received.list().await;
        assert_eq!(received.texts().len(), 25, "{generation:?}");
        // What is as before is not asked for again: each text once.
        received.list().await.list().await;
        let asked = fake.model().asked("/v3/client/cs/config");
        assert_eq!(asked, if generation == Generation::V3 { 25 } else { 0 });
    }
}

#[tokio::test]
async fn md5s_that_lie_delay_a_change_and_lose_none() {
    let (fake, mut received) = with_two(Generation::V3).await;
    fake.model().configs.false_md5 = Some("0".repeat(32));
    fake.model().configs.put("a.yaml", "kind: A2");
    received.until("the change", |received| received.text("a.yaml").is_some_and(|text| &**text == "kind: A2")).await;
    fake.model().configs.put("a.yaml", "kind: A3");
    received.until("the next", |received| received.text("a.yaml").is_some_and(|text| &**text == "kind: A3")).await;
    assert_eq!((received.texts().len(), received.failed), (2, 0));
    // Listed, and said not to exist: that is no deletion.
    fake.model().configs.unknown.insert("b.yaml".into());
    received.list().await.list().await;
    assert_eq!((received.texts().len(), received.failed), (2, 0));
}

#[tokio::test]
async fn what_cannot_be_a_manifest_is_left_out_or_told_and_takes_nothing_with_it() {
    for generation in [Generation::V2, Generation::V3] {
        let (fake, mut received) = with_two(generation).await;
        fake.model().configs.put("cipher-c.yaml", "0xdead");
        fake.model().configs.put("a.yaml", &"# long\n".repeat(200_000));
        fake.model().configs.put("huge.yaml", &"# long\n".repeat(200_000));
        fake.model().configs.put("d.yaml", "kind: D");
        received.until("the good one", |received| received.text("d.yaml").is_some()).await;
        let names: Vec<String> = received.texts().into_keys().collect();
        assert_eq!(names, ["public/a.yaml", "public/b.yaml", "public/d.yaml", "public/huge.yaml"], "{generation:?}");
        let why = |name| received.manifest(name).unwrap().text.clone().unwrap_err();
        assert_eq!(
            ["a.yaml", "huge.yaml"].map(why),
            ["it is longer than 1 MiB".into(), "it is longer than 1 MiB".into()]
        );
        assert_eq!(received.failed, 0);
        // It is short again.
        fake.model().configs.put("a.yaml", "kind: A");
        received
            .until("the old text", |received| received.text("a.yaml").is_some_and(|text| &**text == "kind: A"))
            .await;
    }
}

#[tokio::test]
async fn more_than_can_be_meant_is_an_error() {
    let fake = FakeNacos::start(Generation::V2).await;
    for n in 0..10_001 {
        fake.model().configs.put(&format!("m-{n}.yaml"), "kind: K");
    }
    let mut received = Received::new(Config { page_size: 5000, ..config(&fake) });
    let failure = received.failure().await;
    assert!(failure.contains("10001 manifests are meant") && failure.contains("narrow `data_ids`"), "{failure}");
}

#[tokio::test]
async fn a_server_that_offers_no_list_is_told_with_what_it_needs() {
    let fake = FakeNacos::start(Generation::V3Plain).await;
    let mut received = Received::new(config(&fake));
    let failure = received.failure().await;
    for part in ["the right to read the group ISTIO", "authorization failed!", "410", "/v3/admin/cs/config/list"] {
        assert!(failure.contains(part), "{part} in {failure}");
    }
    // Given the right, it is read.
    fake.model().configs.put("a.yaml", "kind: A");
    fake.model().generation = Generation::V3;
    received.until("the manifest", |received| received.text("a.yaml").is_some() && received.errors.is_empty()).await;
    // Another version at the same address.
    fake.model().generation = Generation::V2;
    fake.model().configs.put("a.yaml", "kind: A2");
    received.until("the change", |received| received.text("a.yaml").is_some_and(|text| &**text == "kind: A2")).await;
}

#[tokio::test]
async fn namespaces_are_those_of_the_services_and_fail_apart() {
    for generation in [Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        let named = |id: &str, name: &str| (id.to_owned(), name.to_owned());
        fake.model().namespaces.extend([named("id-1", "team-a"), named("id-2", "team-b"), named("id-3", "lab")]);
        for namespace in ["id-1", "id-2", "id-3"] {
            fake.model().configs.texts.insert(key(namespace, "ISTIO", "a.yaml"), namespace.into());
        }
        let namespaces = Namespaces::Named(vec!["team-*".into()]);
        let mut received = Received::new(Config { namespaces, ..config(&fake) });
        received.until("both", |received| received.texts().len() == 2).await;
        assert_eq!(received.scopes, ["id-1", "id-2"]);
        let part = if generation == Generation::V3 { "namespaceId=id-1&groupName" } else { "tenant=id-1&group=" };
        fake.model().faults.push((part.into(), Fault::Status(500, "broken")));
        fake.model().configs.texts.insert(key("id-2", "ISTIO", "b.yaml"), "kind: B".into());
        received
            .until("the other's change", |received| received.texts().len() == 3 && received.errors.contains_key("id-1"))
            .await;
        assert_eq!(received.texts()["id-1/a.yaml"], "id-1");
        // A namespace that is gone is named no longer.
        fake.model().namespaces.retain(|(id, _)| id != "id-1");
        fake.model().services();
        received.until("it to go", |received| received.scopes == ["id-2"]).await;
    }
}

#[tokio::test]
async fn a_change_is_heard_of_long_before_the_next_list() {
    let fake = FakeNacos::start(Generation::V1).await;
    fake.model().configs.put("a.yaml", "kind: A");
    let mut received = Received::new(Config { period: Duration::from_secs(3600), ..config(&fake) });
    received.list().await;
    fake.model().configs.put("a.yaml", "kind: A2");
    received.until("the change", |received| received.text("a.yaml").is_some_and(|text| &**text == "kind: A2")).await;
    fake.model().configs.remove("a.yaml");
    received.until("it to go", |received| received.texts().is_empty()).await;
    assert_eq!(received.failed, 0);
}

#[tokio::test]
async fn words_that_mean_nothing_make_no_storm() {
    let fake = FakeNacos::start(Generation::V1).await;
    fake.model().configs.put("a.yaml", "kind: A");
    fake.model().faults.push(("/listener".into(), Fault::Text("a.yaml%02ISTIO%01")));
    let mut received = Received::new(Config { period: Duration::from_secs(3600), ..config(&fake) });
    received.list().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = |part| fake.model().asked(part);
    let (lists, words) = (asked("search=accurate"), asked("/listener"));
    assert!(lists < 20 && words < 20, "{lists} lists for {words} words");
}

#[tokio::test]
async fn services_and_manifests_do_not_wait_for_each_other() {
    let (fake, mut received) = with_two(Generation::V2).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 80)]);
    fake.model().faults.push(("/ns/".into(), Fault::Status(500, "broken")));
    fake.model().configs.put("c.yaml", "kind: C");
    received.until("the manifest", |received| received.texts().len() == 3).await;
    assert_eq!(received.failed, 0);
}

#[tokio::test]
async fn with_an_access_key_requests_are_signed_as_nacos_own_client_does_it() {
    for generation in [Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        fake.model().configs.put("a.yaml", "kind: A");
        let access_key = AccessKey { access_key: "my-key".into(), secret_key: Secret::new("s3cr3t") };
        let mut received = Received::new(Config { access_key: Some(access_key), ..config(&fake) });
        received.list().await;
        let sent = fake.model().signed.clone();
        assert!(!sent.is_empty());
        for [asked, key, millis, signature] in sent {
            let namespace = if asked.contains("/v3/") { "public+" } else { "" };
            let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"s3cr3t");
            let expected = ring::hmac::sign(&hmac, format!("{namespace}ISTIO+{millis}").as_bytes());
            let expected = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, expected);
            assert_eq!((&*key, signature), ("my-key", expected), "{asked}");
        }
    }
}

#[tokio::test]
async fn only_what_reads_is_asked() {
    let (fake, mut received) = with_two(Generation::V2).await;
    fake.model().configs.remove("a.yaml");
    received.until("it to go", |received| received.texts().len() == 1).await;
    let log = fake.model().log.clone();
    let writes = |line: &&String| !line.starts_with("GET ") && !line.starts_with("POST /nacos/v1/cs/configs/listener?");
    assert_eq!(log.iter().filter(writes).count(), 0, "{log:#?}");
    assert!(log.iter().any(|line| line.starts_with("POST ")), "{log:#?}");
}
