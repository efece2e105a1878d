//! A real consumer of Dubbo that registers itself in a real Nacos: who calls whom, and what follows from that.

use super::{
    scene::LIMIT,
    support::{
        callers::{envoy_of, until_calls, until_clusters, value_of},
        nacos::Nacos,
        netns,
        portolan::Portolan,
        programs::{Consumer, Program},
        until,
    },
};
use serde_json::json;

const ORDERS: &str = "outbound|20880||shop.orders.g.1.0.dubbo";
const PAYMENTS: &str = "outbound|20880||shop.payments.g.1.0.dubbo";

fn config(nacos: &Nacos, mode: &str) -> String {
    let url = nacos.url();
    format!(
        "registries:\n- name: dubbo\n  \
         nacos: {{ servers: '{url}', mode: {mode}, period: 200ms, resync: 1s, dubbo: {{ consumers: true }} }}\n  \
         publish:\n    hold: 0s\n    host: '{{label:interface}}.{{label:group}}.{{label:version}}.dubbo'\n  \
         include: ['providers:*']\n\
         calls: {{ sidecars: {{ namespaces: [shop] }} }}\n\
         scopes: [{{ name: dubbo, calls: {{ application: cluster }} }}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_consumer_is_in_the_call_model_and_all_that_follows_from_it() {
    let name = "consumers::a_real_consumer_is_in_the_call_model_and_all_that_follows_from_it";
    if !netns::inside(name, &["envoy", "nacos3", "dubbo3"]).await {
        return;
    }
    let nacos = Nacos::start_with("nacos3", &[("NACOS_OLD_API", "client")]).await.expect("it was prepared");
    let portolans = [Portolan::start(&config(&nacos, "push")).await, Portolan::start(&config(&nacos, "poll")).await];
    let registry = format!("registry=nacos://{}", nacos.http());
    let keys = [&*registry, "services=orders,payments", "group=g", "version=1.0", "mode=interface"];
    let _provider = Program::dubbo_provider(3, &keys).await;
    let noted = format!("{registry}?register-consumer-url=true");
    let mut consumer = Consumer::start(3, 0, &[&*noted, "application=cart", "group=*", "version=1.0"]).await;
    assert_eq!(consumer.answer("1").await, "done 1");
    for portolan in &portolans {
        let needs = "cart shop.Orders:*:1.0 -> shop.orders.g.1.0.dubbo";
        until_calls(portolan.admin, "the consumer", &[needs]).await;
        let (_, yaml) = portolan.get("/meshregistry/dubboCallModel?app=cart").await;
        assert_eq!(value_of(&yaml)["cart"]["consumeservices"], json!({ "shop.Orders:g:1.0": {} }), "{yaml}");
        let (_, yaml) = portolan.get("/meshregistry/dubboCallModel?app=shop").await;
        let provides = json!({ "shop.Orders:g:1.0": {}, "shop.Payments:g:1.0": {} });
        assert_eq!(value_of(&yaml)["shop"]["provideservices"], provides, "{yaml}");
        until("its Sidecar", LIMIT, async || {
            let page = portolan.json("/api/v1/resources/sidecars").await;
            let spec = &page["resources"][0]["resource"]["spec"];
            let hosts = json!(["./*", "istio-system/*", "*/shop.orders.g.1.0.dubbo"]);
            let is_right = spec["egress"][0]["hosts"] == hosts
                && spec["workloadSelector"]["labels"] == json!({ "app": "cart" })
                && page["resources"].as_array().is_some_and(|all| all.len() == 1);
            if is_right { Ok(()) } else { Err(page.to_string()) }
        })
        .await;
    }
    let xds = portolans[0].xds;
    let (own, other) = tokio::join!(envoy_of("cart", ORDERS, xds), envoy_of("nobody", ORDERS, xds));
    let (own, other) = (own.expect("it was prepared"), other.expect("it was prepared"));
    until_clusters(&own, &[ORDERS.into()]).await;
    until_clusters(&other, &[ORDERS.into(), PAYMENTS.into()]).await;
    // What nobody says any more is kept for a while: its Envoy has it still.
    drop(consumer);
    for portolan in &portolans {
        let needs = "cart shop.Orders:*:1.0 -> shop.orders.g.1.0.dubbo gone";
        until_calls(portolan.admin, "the consumer to go", &[needs]).await;
    }
    until_clusters(&own, &[ORDERS.into()]).await;
    assert_eq!(own.complaints().await, []);
}
