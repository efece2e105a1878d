//! A Spring Cloud Alibaba application.

use super::{
    scene::{Scene, answered, but, instance, web},
    support::{envoy::Envoy, programs::Program},
};
use serde_json::{Value, json};

const SHOP: &str = "shop.retail.shops.nacos";

/// The application `shop`, which speaks gRPC with its registry.
pub struct Shop(Program);

impl Shop {
    pub async fn start(scene: &Scene) -> Shop {
        let keys =
            ["metadata.version=v1", "weight=1.5", "cluster-name=hz", "group=retail", "namespace=shops", "secure=true"];
        let beats = ["heart-beat-interval=1000", "heart-beat-timeout=5000", "ip-delete-timeout=15000"];
        let properties =
            [&keys[..], &beats].concat().into_iter().map(|key| format!("spring.cloud.nacos.discovery.{key}"));
        let words: Vec<String> = [scene.registry(), "reply=harbour".to_owned()].into_iter().chain(properties).collect();
        Shop(Program::spring("nacos", &words.iter().map(String::as_str).collect::<Vec<_>>()).await)
    }

    pub async fn live(self, scene: &Scene, envoy: &Envoy) {
        let Shop(spring) = self;
        let labels = but(shop_labels(), "cluster", "hz".into());
        let own = instance("127.0.0.1", json!({"http": spring.port}), 1.5, "/hz", labels);
        let up = web(SHOP, &[but(own, "secure", true.into())]);
        scene.publishes("registered", SHOP, up.clone()).await;
        answered(envoy, SHOP, (200, "harbour")).await;
        set_status(&spring, scene, "DOWN").await;
        scene.publishes("down", SHOP, but(web(SHOP, &[]), "notes", json!(["disabled"]))).await;
        answered(envoy, SHOP, (503, "")).await;
        set_status(&spring, scene, "UP").await;
        scene.publishes("up again", SHOP, up).await;
        spring.stop().await;
        scene.has_none("stopped", SHOP).await;
    }
}

/// Has the application set its status. Its client does that by the interface v1, in a way that Nacos 3 answers only if
/// it is told to: there an operator sets it.
async fn set_status(spring: &Program, scene: &Scene, status: &'static str) {
    if scene.generation == "nacos2" {
        return spring.set_status(status).await;
    }
    let enabled = status == "UP";
    let metadata = shop_labels();
    let more = format!(
        "namespaceId=shops&groupName=retail&clusterName=hz&weight=1.5&enabled={enabled}&ephemeral=true&metadata={metadata}"
    );
    scene.nacos.change("shop", &format!("127.0.0.1:{}", spring.port), &more).await;
}

/// The labels of an instance, without that of the cluster, which Portolan adds.
fn shop_labels() -> Value {
    json!({
        "version": "v1", "secure": "true", "preserved.register.source": "SPRING_CLOUD",
        "preserved.heart.beat.interval": "1000", "preserved.heart.beat.timeout": "5000",
        "preserved.ip.delete.timeout": "15000",
    })
}
