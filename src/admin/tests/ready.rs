//! `/ready`: for whom it waits, and for what.

use super::*;

#[tokio::test]
async fn what_was_listed_is_not_ready_before_it_is_served() {
    for sync in [Readiness::Partial, Readiness::Complete] {
        let admin = Running::start_with(catalog(sync, Vec::new(), Vec::new()), [false; Dialect::ALL.len()]).await;
        let (status, body) = admin.get("/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("making the first generation"), "{body}");
    }
}

#[tokio::test]
async fn readiness_says_for_whom_it_waits() {
    let states = [
        ("good", State::Synced),
        ("late", State::Connecting),
        ("half", State::Stale),
        ("new", State::Syncing),
        ("optional", State::Connecting),
    ];
    let registries = states.map(|(name, state)| registry(name, state)).to_vec();
    let admin = Running::start(catalog(Readiness::Waiting, registries, vec![published("a", Vec::new())])).await;
    let (status, body) = admin.get("/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({
            "ready": false,
            "reason": "waiting for the first list of late (refused), half (refused), new",
            "sync": "waiting",
            "clients": {
                "envoy": { "ready": false, "pending": ["late (refused)", "half (refused)", "new"] },
                "grpc": { "ready": false, "pending": ["late (refused)", "half (refused)", "new"] },
                "istio": {
                    "ready": false,
                    "pending": ["late (refused)", "half (refused)", "new", "held's manifests"],
                },
            },
            "registries": [
                { "name": "good", "required": true, "state": "synced", "error": null },
                { "name": "late", "required": true, "state": "connecting", "error": "refused" },
                { "name": "half", "required": true, "state": "stale", "error": "refused" },
                { "name": "new", "required": true, "state": "syncing", "error": null },
                { "name": "optional", "required": false, "state": "connecting", "error": "refused" },
            ],
        })
    );
    assert_eq!(Running::good().await.json("/ready").await["ready"], true);
}

#[tokio::test]
async fn readiness_is_another_for_istiods_who_wait_until_all_is_known() {
    let registries = vec![registry("good", State::Synced), registry("late", State::Connecting)];
    let admin = Running::start(catalog(Readiness::Partial, registries, Vec::new())).await;
    for (path, status) in [
        ("/ready", StatusCode::OK),
        ("/ready?for=envoy", StatusCode::OK),
        ("/ready?for=istio", StatusCode::SERVICE_UNAVAILABLE),
        ("/ready?for=me", StatusCode::BAD_REQUEST),
        ("/ready?of=istio", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(admin.get(path).await.0, status, "{path}");
    }
    let ready = admin.json("/ready").await;
    assert_eq!(
        ready["clients"],
        json!({
            "envoy": { "ready": true, "pending": [] },
            "grpc": { "ready": true, "pending": [] },
            "istio": { "ready": false, "pending": ["late (refused)", "held's manifests"] },
        })
    );
    assert_eq!(ready["reason"], "some registry is missing; what the others have is served");
    let (_, body) = admin.get("/ready?for=istio").await;
    assert!(body.contains("waiting for the first list of late (refused), held's manifests"), "{body}");
    let (status, text) = admin.get("/meshregistry/ready").await;
    assert_eq!((status, &*text), (StatusCode::SERVICE_UNAVAILABLE, "xds not ready source not ready late,held"));
}
