//! The walk that users of Slime's meshregistry know: register by hand in a real Nacos, look at the cache, look at Istiod.

use crate::{
    LIMIT,
    support::{judge::Judge, nacos::Nacos, portolan::Portolan, until},
};
use serde_json::{Value, json};

const NAME: &str = "portolan/orders.walk.public.nacos";
const MORE: &str = "groupName=walk&ephemeral=false";

/// The endpoints that the page shows; `None`: no such entry.
async fn cached(portolan: &Portolan) -> Option<Value> {
    let (status, body) = portolan.get("/meshregistry/xdsCache?layout=list&name=orders.walk.public.nacos").await;
    assert_eq!(status, 200, "{body}");
    let list: Value = serde_json::from_str(&body).unwrap();
    list.get(0).map(|entry| entry["Spec"]["endpoints"].as_array().cloned().unwrap_or_default().into())
}

async fn wait_for_cache(what: &str, portolan: &Portolan, right: impl Fn(&Option<Value>) -> bool) {
    until(what, LIMIT, || async {
        let cached = cached(portolan).await;
        if right(&cached) { Ok(()) } else { Err(cached) }
    })
    .await;
}

#[tokio::test]
async fn what_is_registered_by_hand_is_seen_in_the_cache_and_held_by_istio() {
    let Some(nacos) = Nacos::start("nacos2").await else { return };
    let config = format!(
        "registries:\n- name: nacos\n  nacos: {{ servers: ['{}'], groups: [walk], period: 500ms }}\n  publish: {{ linger: 4s }}\n",
        nacos.url()
    );
    // Another service, so that the registry is never empty: that would be held back.
    nacos.register("other", "10.1.0.1:80", MORE).await;
    let portolan = Portolan::start(&config).await;
    let Some(judge) = Judge::start(&[portolan.xds]).await else { return };
    judge.in_sync().await;

    nacos.register("orders", "10.0.0.1:8080", MORE).await;
    wait_for_cache("the entry in the cache", &portolan, |endpoints| {
        endpoints.as_ref().is_some_and(|e| e[0]["address"] == "10.0.0.1")
    })
    .await;
    let held = judge.wait_for("the entry in Istio's store", LIMIT, |entries| entries.contains_key(NAME)).await;
    assert_eq!(held[NAME]["spec"]["endpoints"][0]["ports"], json!({ "http": 8080 }));

    nacos.deregister("orders", "10.0.0.1:8080", MORE).await;
    wait_for_cache("the entry without endpoints", &portolan, |endpoints| *endpoints == Some(json!([]))).await;
    judge
        .wait_for("Istio to hold it without endpoints", LIMIT, |entries| {
            entries.get(NAME).is_some_and(|entry| entry["spec"].get("endpoints").is_none())
        })
        .await;
    // Nacos itself keeps an empty service for a minute; an operator removes it at once.
    let service = format!("{}/nacos/v1/ns/service?serviceName=orders&groupName=walk", nacos.url());
    let removed = crate::support::http::client().delete(service).send().await.unwrap();
    assert!(removed.status().is_success(), "{removed:?}");
    wait_for_cache("the entry to be gone after its linger", &portolan, Option::is_none).await;
    judge.wait_for("Istio to let it go", LIMIT, |entries| !entries.contains_key(NAME)).await;
}
