//! Dubbo's overrides in the configuration of a real Nacos: what they set, where calls land.

use super::{
    applications::until_published,
    scene::LIMIT,
    support::{
        envoy::Envoy,
        landing::{dubbo_rule, rules_move_calls},
        nacos::{Nacos, escaped},
        netns,
        portolan::Portolan,
        programs::Program,
        servers::prepared,
        until,
    },
};

const TRIPLE: &str = "outbound|50051||shop.orders.dubbo";

/// A Portolan that applies rules; `dubbo` says more.
async fn reader(nacos: &Nacos, mode: &str, dubbo: &str) -> Portolan {
    let url = nacos.url();
    let portolan = Portolan::start(&format!(
        "registries:\n- name: dubbo\n  \
         nacos: {{ servers: '{url}', mode: {mode}, period: 200ms, dubbo: {{ overrides: true{dubbo} }} }}\n  \
         publish:\n    hold: 0s\n    host: '{{label:interface|{{service}}}}.{{label:group}}.{{label:version}}.dubbo'\n"
    ))
    .await;
    portolan.ready().await;
    portolan
}

/// Waits until `/api/v1/services` tells of that rule, with this reason.
async fn until_told(portolan: &Portolan, id: &str, why: &str) {
    until(id, LIMIT, async || {
        let shown = portolan.get(&format!("/api/v1/services?q={}", id.rsplit('/').next().unwrap())).await.1;
        if shown.contains(id) && shown.contains(why) { Ok(()) } else { Err(shown) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_in_nacos_hold_at_once_and_only_while_they_do() {
    for generation in ["nacos2", "nacos3"] {
        if !prepared(&[generation]).await {
            return;
        }
        let nacos = Nacos::start_with(generation, &[("NACOS_OLD_API", "client")]).await.expect("it was prepared");
        let provider = |weight: u32| {
            let metadata = format!("{{\"application\":\"shop\",\"weight\":\"{weight}\"}}");
            format!("ephemeral=false&metadata={}", escaped(&metadata))
        };
        nacos.register("providers:a.A::", "192.0.2.1:20880", &provider(100)).await;
        nacos.register("providers:a.A::", "192.0.2.2:20880", &provider(200)).await;
        let rules = async |name: &str, text: &str| nacos.put_config("public", "dubbo", name, text).await;
        // Its neighbours in this group are no rules.
        rules("a.A:::provider:shop", "{\"canonicalName\": \"a.A\"}").await;
        let readers = [reader(&nacos, "push", "").await, reader(&nacos, "poll", "").await];
        let both = async |what: &str, expected: &[&str]| {
            for reader in &readers {
                until_published(reader, what, expected).await;
            }
        };
        both("no rule", &["192.0.2.1 1.0", "192.0.2.2 2.0"]).await;
        let item = "side: provider\n  parameters: { weight: 50 }";
        rules("shop.configurators", &dubbo_rule("application", "shop", item)).await;
        both("a rule of the application", &["192.0.2.1 0.5", "192.0.2.2 0.5"]).await;
        let item = "side: consumer\n  providerAddresses: ['192.0.2.2:20880']\n  parameters: { weight: 300 }";
        rules("a.A::.configurators", &dubbo_rule("service", "a.A", item)).await;
        both("a rule of the service", &["192.0.2.1 0.5", "192.0.2.2 3.0"]).await;
        rules("a.A::.configurators", "nonsense: [").await;
        both("nonsense", &["192.0.2.1 0.5", "192.0.2.2 0.5"]).await;
        rules("shop.condition-router", "conditions: []").await;
        for reader in &readers {
            until_told(reader, "dubbo/public/config/a.A::.configurators", "entry_invalid").await;
            until_told(reader, "dubbo/public/config/shop.condition-router", "write a VirtualService").await;
        }
        nacos.remove_config("public", "dubbo", "shop.configurators").await;
        both("no rule of the application", &["192.0.2.1 1.0", "192.0.2.2 2.0"]).await;
    }
}

/// Real providers, which apply rules of their side by themselves, and calls through a real Envoy.
#[tokio::test(flavor = "multi_thread")]
async fn weights_that_rules_in_nacos_set_are_seen_in_where_calls_land() {
    let name = "overrides::weights_that_rules_in_nacos_set_are_seen_in_where_calls_land";
    if !netns::inside(name, &["envoy", "nacos3", "dubbo3"]).await {
        return;
    }
    let nacos = Nacos::start_with("nacos3", &[("NACOS_OLD_API", "client")]).await.expect("it was prepared");
    let portolan = reader(&nacos, "push", ", applications: {}").await;
    let envoy = Envoy::start(&Envoy::http2(TRIPLE), portolan.xds).await.expect("it was prepared");
    let registry = format!("registry=nacos://{}", nacos.http());
    let provider = async |mode: &str, reply: &str| {
        let (mode, reply) = (format!("mode={mode}"), format!("reply={reply}"));
        Program::dubbo_provider(3, &[&registry, "protocol=tri", "metadata=remote", &mode, &reply]).await
    };
    let (first, second) = tokio::join!(provider("all", "first"), provider("instance", "second"));
    let put = async |text: Option<&str>| match text {
        Some(text) => nacos.put_config("public", "dubbo", "shop.Orders::.configurators", text).await,
        None => nacos.remove_config("public", "dubbo", "shop.Orders::.configurators").await,
    };
    rules_move_calls(&envoy, TRIPLE, (&first, &second), put).await;
    tokio::join!(first.stop(), second.stop());
}
