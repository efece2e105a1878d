//! Dubbo's application level in a real Nacos, beside its interfaces.

use super::{
    scene::LIMIT,
    support::{
        envoy::Envoy,
        landing::{a_fleet_goes_from_interfaces_to_applications, until_instances},
        nacos::Nacos,
        netns,
        portolan::Portolan,
        programs::Program,
        servers::prepared,
        until,
    },
};
use serde_json::json;

const TRIPLE: &str = "outbound|50051||shop.orders.dubbo";

/// A Portolan that reads both levels.
async fn reader(nacos: &Nacos, mode: &str, publish: &str) -> Portolan {
    let url = nacos.url();
    let portolan = Portolan::start(&format!(
        "registries:\n- name: dubbo\n  \
         nacos: {{ servers: '{url}', mode: {mode}, period: 200ms, dubbo: {{ applications: {{ publish: {publish} }} }} }}\n  \
         publish:\n    hold: 0s\n    host: '{{label:interface|{{service}}}}.{{label:group}}.{{label:version}}.dubbo'\n"
    ))
    .await;
    portolan.ready().await;
    portolan
}

/// Waits until the instances of `a.A` are these, as address and weight.
pub(super) async fn until_published(portolan: &Portolan, what: &str, expected: &[&str]) {
    until(what, LIMIT, async || {
        let detail = portolan.get("/api/v1/services/a.a.dubbo").await.1;
        let detail: serde_json::Value = serde_json::from_str(&detail).map_err(|_| detail.clone())?;
        let instances = detail["instances"].as_array().cloned().unwrap_or_default();
        let at =
            |instance: &serde_json::Value| format!("{} {}", instance["address"].as_str().unwrap(), instance["weight"]);
        let found: Vec<String> = instances.iter().map(at).collect();
        if found == expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_in_nacos_says_what_instances_provide() {
    for generation in ["nacos2", "nacos3"] {
        if !prepared(&[generation]).await {
            return;
        }
        let nacos = Nacos::start_with(generation, &[("NACOS_OLD_API", "client")]).await.expect("it was prepared");
        let readers = [reader(&nacos, "push", "interfaces").await, reader(&nacos, "poll", "interfaces").await];
        let instance = |revision: &str| {
            let metadata = json!({
                "dubbo.endpoints": "[{\"port\":20880,\"protocol\":\"dubbo\"}]", "dubbo.metadata.revision": revision,
                "dubbo.metadata.storage-type": "remote", "timestamp": "1",
            });
            format!("metadata={}", super::support::nacos::escaped(&metadata.to_string()))
        };
        let metadata = |revision: &str, weight: u32| {
            let service = json!({
                "name": "a.A", "protocol": "dubbo", "path": "a.A", "port": 20880,
                "params": {"side": "provider", "weight": weight.to_string()},
            });
            json!({"app": "shop", "revision": revision, "services": {"a.A:dubbo": service}}).to_string()
        };
        nacos.register("providers:a.A::", "192.0.2.9:20880", "").await;
        nacos.register("shop", "192.0.2.1:20880", &instance("r1")).await;
        for reader in &readers {
            until_published(reader, "the interface alone", &["192.0.2.9 1.0"]).await;
        }
        nacos.put_config("public", "r1", "shop", &metadata("r7", 1)).await;
        for reader in &readers {
            until_published(reader, "metadata of another revision", &["192.0.2.9 1.0"]).await;
        }
        nacos.put_config("public", "r1", "shop", &metadata("r1", 50)).await;
        for reader in &readers {
            until_published(reader, "the application", &["192.0.2.1 0.5"]).await;
        }
        // A second instance, of a revision of which nothing is known.
        nacos.register("shop", "192.0.2.2:20880", &instance("r2")).await;
        nacos.put_config("public", "r2", "shop", &metadata("r2", 200)).await;
        for reader in &readers {
            until_published(reader, "two revisions", &["192.0.2.1 0.5", "192.0.2.2 2.0"]).await;
        }
        nacos.deregister("shop", "192.0.2.1:20880", "").await;
        nacos.deregister("shop", "192.0.2.2:20880", "").await;
        for reader in &readers {
            until_published(reader, "the interface again", &["192.0.2.9 1.0"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_in_nacos_goes_from_interfaces_to_applications_without_a_failed_call() {
    let name = "applications::a_fleet_in_nacos_goes_from_interfaces_to_applications_without_a_failed_call";
    if !netns::inside(name, &["envoy", "nacos3", "dubbo3"]).await {
        return;
    }
    let nacos = Nacos::start_with("nacos3", &[("NACOS_OLD_API", "client")]).await.expect("it was prepared");
    let portolan = reader(&nacos, "push", "both").await;
    let envoy = Envoy::start(&Envoy::http2(TRIPLE), portolan.xds).await.expect("it was prepared");
    let registry = format!("registry=nacos://{}", nacos.http());
    let provider = async |mode: &str, reply: &str| {
        let (mode, reply) = (format!("mode={mode}"), format!("reply={reply}"));
        Program::dubbo_provider(3, &[&registry, "protocol=tri", "metadata=remote", &mode, &reply]).await
    };
    let withdraw = async |second: &Program| {
        nacos.change("shop", &format!("{}:{}", netns::ADDRESS, second.port), "enabled=false").await;
    };
    a_fleet_goes_from_interfaces_to_applications(&portolan, &envoy, TRIPLE, provider, withdraw).await;
}

/// A real provider keeps its metadata itself, and is asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn providers_in_nacos_say_themselves_what_it_does_not_have() {
    let name = "applications::providers_in_nacos_say_themselves_what_it_does_not_have";
    if !netns::inside(name, &["envoy", "nacos3", "dubbo3"]).await {
        return;
    }
    let nacos = Nacos::start_with("nacos3", &[("NACOS_OLD_API", "client")]).await.expect("it was prepared");
    let readers = [
        reader(&nacos, "push", "interfaces, ask_providers: true").await,
        reader(&nacos, "poll", "interfaces, ask_providers: true").await,
    ];
    let registry = format!("registry=nacos://{}", nacos.http());
    let provider = Program::dubbo_provider(3, &[&registry, "mode=instance", "metadata=local", "weight=70"]).await;
    for portolan in &readers {
        until_instances(portolan, "shop.orders.dubbo", &[provider.port]).await;
        let detail = portolan.json("/api/v1/services/shop.orders.dubbo").await;
        assert_eq!(detail["instances"][0]["weight"], 0.7, "{detail}");
    }
    provider.stop().await;
}
