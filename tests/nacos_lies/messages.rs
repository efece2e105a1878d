//! What errors say: the cause first, and the remedy for what is wrong.

use super::{config, read};
use crate::support::fake_nacos::{FakeNacos, Fault, Generation, instance};

async fn with_orders(generation: Generation) -> FakeNacos {
    let fake = FakeNacos::start(generation).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
    fake.model().put("users", vec![instance("10.0.0.1", 8080)]);
    fake
}

#[tokio::test]
async fn one_service_that_is_not_found_says_nothing_of_the_address() {
    for generation in [Generation::V1, Generation::V2Plain] {
        let fake = with_orders(generation).await;
        fake.model().faults.push(("serviceName=users".into(), Fault::Status(404, "")));
        let mut reading = read(config(&fake));
        reading.list().await;
        let why = &reading.unreadable["public/DEFAULT_GROUP"][0].1;
        assert!(why.contains("404") && !why.contains("context path") && !why.contains("upgraded"), "{why}");
    }
}

#[tokio::test]
async fn a_server_that_is_no_nacos_is_said_to_be_none() {
    for (fault, first) in [
        (Fault::Text("<html><body>Welcome to nginx!</body></html>"), "no Nacos answers"),
        (Fault::Status(404, "<html>nothing here</html>"), "no Nacos answers"),
        (Fault::Redirect, "no Nacos answers"),
    ] {
        let fake = with_orders(Generation::V2).await;
        fake.model().faults.push(("/".into(), fault.clone()));
        let failure = read(config(&fake)).failure().await;
        let error = failure.trim_start_matches(": ");
        assert!(error.starts_with(first), "{fault:?}: {error}");
        assert!(error.contains("context path") && !error.contains("right to read"), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn the_first_words_are_the_cause() {
    for (status, cause) in [(401, "401 Unauthorized"), (403, "403 Forbidden")] {
        let fake = with_orders(Generation::V2).await;
        fake.model().faults.push(("/".into(), Fault::Status(status, r#"{"message":"no right"}"#)));
        let failure = read(config(&fake)).failure().await;
        let error = failure.trim_start_matches(": ");
        assert!(error.starts_with(cause), "{error}");
        assert!(error.contains("no right") && error.contains("right to read"), "{error}");
        let first = error.split("Tried:").next().unwrap();
        assert!(!first.contains('?'), "an address is quoted without its query: {first}");
    }
}
