//! Dubbo's providers and consumers.

use super::{
    scene::{LIMIT, Scene, instance, service},
    support::{
        envoy::Envoy,
        netns,
        programs::{Consumer, Program},
        until,
    },
};
use serde_json::json;

/// Providers: 2.7 of two interfaces; 3.2, by interface and by application, of Dubbo's own protocol and of Triple.
pub struct Dubbo {
    two: Program,
    three: Program,
    triple: Program,
    customer: Consumer,
}

const OLD: &str = "shop.orders.g.1.0.dubbo";
const PAYMENTS: &str = "shop.payments.g.1.0.dubbo";
const THREE: &str = "three.default-group.public.nacos";
const TRIPLE: &str = "triple.default-group.public.nacos";

impl Dubbo {
    pub async fn start(scene: &Scene) -> Dubbo {
        let registry = scene.dubbo_registry();
        let start = async |line, words: &[&str]| Program::dubbo_provider(line, &[&[&*registry], words].concat()).await;
        let two = [
            "application=two",
            "group=g",
            "version=1.0",
            "weight=50",
            "parameters=region=eu",
            "services=orders,payments",
        ];
        let three = ["application=three", "weight=250"];
        let triple = ["application=triple", "protocol=tri", "group=t"];
        let noted = format!("{registry}?register-consumer-url=true");
        let customer = [&*noted, "application=customer"];
        let (two, three, triple, customer) =
            tokio::join!(start(2, &two), start(3, &three), start(3, &triple), Consumer::start(3, 0, &customer));
        Dubbo { two, three, triple, customer }
    }

    pub async fn live(self, scene: &Scene) {
        self.is_published(scene).await;
        self.is_called(scene).await;
        let Dubbo { two, three, triple, customer } = self;
        tokio::join!(two.stop(), three.kill(), triple.stop());
        for host in [OLD, PAYMENTS, "shop.orders.dubbo", THREE, "shop.orders.t.dubbo", TRIPLE] {
            scene.has_none("stopped, or crashed", host).await;
        }
        drop(customer);
    }

    async fn is_published(&self, scene: &Scene) {
        for (host, interface, method) in [(OLD, "shop.Orders", "place"), (PAYMENTS, "shop.Payments", "pay")] {
            let full = format!("{interface}:g:1.0");
            let own = json!({"dubbo.service": full, "interface": interface, "group": "g", "version": "1.0"});
            let labels = json!({
                "application": "two", "cluster": "DEFAULT", "group": "g", "interface": interface, "methods": method,
                "path": interface, "protocol": "dubbo", "region": "eu", "version": "1.0", "weight": "50",
            });
            let provider = instance(netns::ADDRESS, json!({"dubbo": self.two.port}), 0.5, "eu", labels);
            scene
                .publishes("registered", host, service(json!([[host, "dubbo", 20880, "dubbo"]]), own, &[provider]))
                .await;
        }
        let (three, triple) = (self.three.port, self.triple.port);
        let own = json!({"dubbo.service": "shop.Orders", "interface": "shop.Orders"});
        let host = "shop.orders.dubbo";
        let labels = json!({
            "application": "three", "cluster": "DEFAULT", "interface": "shop.Orders", "methods": "place",
            "path": "shop.Orders", "protocol": "dubbo", "weight": "250",
        });
        let provider = instance(netns::ADDRESS, json!({"dubbo": three}), 2.5, "", labels);
        scene.publishes("registered", host, service(json!([[host, "dubbo", 20880, "dubbo"]]), own, &[provider])).await;
        let own = json!({"dubbo.service": "shop.Orders:t", "interface": "shop.Orders", "group": "t"});
        let host = "shop.orders.t.dubbo";
        let labels = json!({
            "application": "triple", "cluster": "DEFAULT", "group": "t", "interface": "shop.Orders", "methods": "place",
            "path": "shop.Orders", "protocol": "tri",
        });
        let provider = instance(netns::ADDRESS, json!({"tri": triple}), 1.0, "", labels);
        scene.publishes("registered", host, service(json!([[host, "tri", 50051, "tri"]]), own, &[provider])).await;
        for (host, protocol, number, port) in [(THREE, "dubbo", 20880, three), (TRIPLE, "tri", 50051, triple)] {
            let endpoints = json!([{"port": port, "protocol": protocol}]).to_string();
            let labels =
                json!({"cluster": "DEFAULT", "dubbo.endpoints": endpoints, "dubbo.metadata.revision": "a hash"});
            let provider = instance(netns::ADDRESS, json!({protocol: port}), 1.0, "", labels);
            let ports = json!([[host, protocol, number, protocol]]);
            scene.publishes("registered", host, service(ports, json!({}), &[provider])).await;
        }
        // Who calls stands there, too, and is nobody to be called.
        until("the consumer to be registered", LIMIT, async || {
            match scene.nacos.instances("consumers:shop.Orders::").await {
                consumers if consumers.len() == 1 => Ok(()),
                consumers => Err(consumers),
            }
        })
        .await;
        for portolan in &scene.portolans {
            assert_eq!(portolan.json("/api/v1/services?q=consumers").await["total"], 0);
        }
    }

    /// By interface and by application; over bytes and over HTTP/2.
    async fn is_called(&self, scene: &Scene) {
        let call = async |bootstrap: String, keys: &[&str]| {
            let envoy = Envoy::start(&bootstrap, scene.portolans[0].xds).await.expect("it was prepared");
            let mut consumer = Consumer::start(3, envoy.listener.port(), keys).await;
            assert_eq!(consumer.answer("12 apples").await, "done 12 apples");
            assert_eq!(envoy.complaints().await, []);
        };
        tokio::join!(
            call(Envoy::tcp(OLD), &["group=g", "version=1.0"]),
            call(Envoy::tcp(THREE), &[]),
            call(Envoy::http2(TRIPLE), &["protocol=tri", "group=t"]),
        );
    }
}
