//! Programs with Nacos' own clients, of npm and of Go.

use super::{
    scene::{Scene, answered, but, instance, service, web},
    support::{envoy::Envoy, programs::Program, upstream::Upstream},
};
use serde_json::json;

/// Programs with npm's client, which sends beats over HTTP.
pub struct Node {
    left: Upstream,
    right: Upstream,
    baskets: [Program; 2],
    vault: Program,
    ledger: Program,
}

/// Without a beat an instance is ill after 5 s and gone after 15 s; Nacos looks every 5 s.
const PRESERVED: &str =
    "preserved.heart.beat.interval=1000&preserved.heart.beat.timeout=5000&preserved.ip.delete.timeout=15000";
const BASKET: &str = "basket.retail.shops.nacos";
const VAULT: &str = "vault.default-group.public.nacos";
const LEDGER: &str = "ledger.default-group.public.nacos";

impl Node {
    pub async fn start(scene: &Scene) -> Node {
        let (left, right) = (Upstream::start("left").await, Upstream::start_on("127.0.0.2:0", "right").await);
        let registry = scene.registry();
        let start =
            async |port, words: &[&str]| Program::start_on("nacos-node", port, &[&[&*registry], words].concat()).await;
        let basket = ["name=basket", "namespace=shops", "group=retail", "cluster=hz"];
        let metadata = format!("metadata=version=v1&{PRESERVED}");
        let first = [&basket[..], &["weight=2.5", &metadata]].concat();
        let second = [&basket[..], &["ip=127.0.0.2"]].concat();
        let vault = ["name=vault", "ip=2001:db8::7", "cluster=hz-b", "metadata=region=hz&secure=true&gRPC_port=9090"];
        let ledger = ["name=ledger", "ephemeral=false", "weight=0.25"];
        let (first, second, vault, ledger) = tokio::join!(
            start(left.address.port(), &first),
            start(right.address.port(), &second),
            start(8443, &vault),
            start(left.address.port(), &ledger),
        );
        Node { left, right, baskets: [first, second], vault, ledger }
    }

    pub async fn live(self, scene: &Scene, envoy: &Envoy) {
        let Node { left, right, baskets: [mut first, second], vault, ledger } = self;
        let labels = |version: &str| {
            json!({
                "cluster": "hz", "version": version, "preserved.heart.beat.interval": "1000",
                "preserved.heart.beat.timeout": "5000", "preserved.ip.delete.timeout": "15000",
            })
        };
        let one = |weight, version| {
            instance("127.0.0.1", json!({"http": left.address.port()}), weight, "/hz", labels(version))
        };
        let other = instance("127.0.0.2", json!({"http": right.address.port()}), 1.0, "/hz", json!({"cluster": "hz"}));
        scene.publishes("registered", BASKET, web(BASKET, &[one(2.5, "v1"), other.clone()])).await;
        answered(envoy, BASKET, (200, "left")).await;
        answered(envoy, BASKET, (200, "right")).await;
        let ports = json!([[VAULT, "http", 80, "http"], [format!("grpc.{VAULT}"), "grpc", 9090, "grpc"]]);
        let labels = json!({"cluster": "hz-b", "region": "hz", "secure": "true", "gRPC_port": "9090"});
        let safe = instance("2001:db8::7", json!({"http": 8443, "grpc": 9090}), 1.0, "hz/hz-b", labels);
        scene.publishes("registered", VAULT, service(ports, json!({}), &[but(safe, "secure", true.into())])).await;
        let kept = instance("127.0.0.1", json!({"http": left.address.port()}), 0.25, "", json!({"cluster": "DEFAULT"}));
        scene.publishes("registered", LEDGER, web(LEDGER, std::slice::from_ref(&kept))).await;

        first.tell(&format!("weight=0.1 metadata=version=v2&{PRESERVED}")).await;
        scene.publishes("changed", BASKET, web(BASKET, &[one(0.1, "v2"), other.clone()])).await;
        vault.stop().await;
        scene.has_none("its last instance deregistered", VAULT).await;
        // A crash: Nacos waits for beats.
        first.kill().await;
        let ill = but(one(0.1, "v2"), "health", "unhealthy".into());
        scene.publishes("no beats", BASKET, web(BASKET, &[ill, other.clone()])).await;
        for _ in 0..5 {
            assert_eq!(envoy.get(BASKET, "/").await, (200, "right".to_owned()));
        }
        scene.publishes("no beats for long", BASKET, web(BASKET, &[other])).await;
        // What is persistent needs nobody who beats.
        ledger.kill().await;
        second.stop().await;
        scene.has_none("all gone", BASKET).await;
        answered(envoy, BASKET, (503, "")).await;
        scene.publishes("still there", LEDGER, web(LEDGER, &[kept])).await;
    }
}

/// Programs with Go's client, which speaks gRPC: what it has registered goes with its connection.
pub struct Go {
    upstream: Upstream,
    depot: Program,
    idle: Program,
    kept: Program,
    ill: Program,
}

const DEPOT: &str = "depot.retail.shops.nacos";
const IDLE: &str = "idle.default-group.public.nacos";
const KEPT: &str = "kept.default-group.public.nacos";
const ILL: &str = "ill.default-group.public.nacos";

impl Go {
    pub async fn start(scene: &Scene) -> Go {
        let upstream = Upstream::start("depot").await;
        let (registry, port) = (scene.registry(), upstream.address.port());
        let start = async |words: &[&str]| Program::start_on("nacos-go", port, &[&[&*registry], words].concat()).await;
        let depot = [
            "name=depot",
            "namespace=shops",
            "group=retail",
            "cluster=hz",
            "weight=0.5",
            "metadata=version=v1&zone=z1",
        ];
        let idle = ["name=idle", "ip=2001:db8::8", "enabled=false", "metadata=protocol=tcp"];
        let kept = ["name=kept", "ephemeral=false", "weight=3"];
        let (depot, idle, kept, ill) =
            tokio::join!(start(&depot), start(&idle), start(&kept), start(&["name=ill", "healthy=false"]));
        Go { upstream, depot, idle, kept, ill }
    }

    pub async fn live(self, scene: &Scene, envoy: &Envoy) {
        let Go { upstream, mut depot, mut idle, kept, ill } = self;
        let ports = json!({"http": upstream.address.port()});
        let plain = json!({"cluster": "DEFAULT"});
        let depot_is = |weight, version: &str, zone: &str| {
            let labels = json!({"cluster": "hz", "version": version, "zone": zone});
            web(DEPOT, &[instance("127.0.0.1", ports.clone(), weight, &format!("/{zone}"), labels)])
        };
        scene.publishes("registered", DEPOT, depot_is(0.5, "v1", "z1")).await;
        answered(envoy, DEPOT, (200, "depot")).await;
        let tcp = json!([[IDLE, "tcp", 9000, "tcp"]]);
        let disabled = but(service(tcp.clone(), json!({}), &[]), "notes", json!(["disabled"]));
        scene.publishes("registered", IDLE, disabled).await;
        let three = web(KEPT, &[instance("127.0.0.1", ports.clone(), 3.0, "", plain.clone())]);
        scene.publishes("registered", KEPT, three).await;
        // None of its instances is healthy. It is only registered and has no settings of its own: Nacos does not protect it.
        let unhealthy = instance("127.0.0.1", ports.clone(), 1.0, "", plain.clone());
        scene.publishes("registered", ILL, web(ILL, &[but(unhealthy, "health", "unhealthy".into())])).await;

        depot.tell("weight=7.25 metadata=version=v2&zone=z2").await;
        scene.publishes("changed", DEPOT, depot_is(7.25, "v2", "z2")).await;
        idle.tell("enabled=true").await;
        let labels = json!({"cluster": "DEFAULT", "protocol": "tcp"});
        let enabled = instance("2001:db8::8", json!({"tcp": upstream.address.port()}), 1.0, "", labels);
        scene.publishes("enabled", IDLE, service(tcp, json!({}), &[enabled])).await;
        tokio::join!(kept.stop(), ill.stop(), depot.kill());
        scene.has_none("its last instance deregistered", KEPT).await;
        scene.has_none("its last instance deregistered", ILL).await;
        scene.has_none("a crash", DEPOT).await;
        answered(envoy, DEPOT, (503, "")).await;
    }
}
