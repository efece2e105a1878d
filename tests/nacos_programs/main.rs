//! What other people's programs register in a real Nacos, by their own clients, is what a whole Portolan publishes: npm's
//! `nacos`, Go's `nacos-sdk-go`, Spring Cloud Alibaba, Dubbo 2.7 and 3.2. Two Portolans read one server, one by push and
//! one by polling, and must end in the same state; what they publish is called through Envoys.
//!
//! In a network of its own, because Dubbo announces no loopback address. Without what that needs these tests print `SKIP`
//! and pass; with `PORTOLAN_REAL_SERVERS=required` they fail.

#[path = "../support/mod.rs"]
mod support;

mod applications;
mod clients;
mod consumers;
mod dubbo;
mod overrides;
mod scene;
mod spring;
mod tags;

use clients::{Go, Node};
use dubbo::Dubbo;
use scene::Scene;
use serde_json::Value;
use spring::Shop;
use support::{envoy::Envoy, netns};

const SCRIPTS: [&str; 6] = ["envoy", "dubbo2", "dubbo3", "spring", "nacos-go", "nacos-node"];

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_register_in_nacos_2_is_published() {
    if netns::inside("what_programs_register_in_nacos_2_is_published", &[&SCRIPTS[..], &["nacos2"]].concat()).await {
        programs_are_published("nacos2").await;
    }
}

/// Old clients speak the interface v1 with it, as with a stock server.
#[tokio::test(flavor = "multi_thread")]
async fn what_programs_register_in_nacos_3_is_published() {
    if netns::inside("what_programs_register_in_nacos_3_is_published", &[&SCRIPTS[..], &["nacos3"]].concat()).await {
        programs_are_published("nacos3").await;
    }
}

async fn programs_are_published(generation: &'static str) {
    let scene = Scene::start(generation).await;
    let (node, go, shop, dubbo) =
        tokio::join!(Node::start(&scene), Go::start(&scene), Shop::start(&scene), Dubbo::start(&scene));
    let authority =
        Envoy::start(&Envoy::example("authority.yaml"), scene.portolans[0].xds).await.expect("it was prepared");
    tokio::join!(
        node.live(&scene, &authority),
        go.live(&scene, &authority),
        shop.live(&scene, &authority),
        dubbo.live(&scene)
    );
    assert_eq!(authority.complaints().await, []);
    for portolan in &scene.portolans {
        let registries = portolan.json("/api/v1/registries").await;
        let states: Vec<&Value> = registries.as_array().unwrap().iter().map(|registry| &registry["state"]).collect();
        assert_eq!(states, ["synced", "synced"], "{registries}");
    }
}
