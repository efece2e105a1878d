//! The pages under the paths of Slime.

use super::*;

#[tokio::test]
async fn the_pages_of_slime_show_what_istiods_have() {
    let admin = Running::good().await;
    let cache = admin.json("/meshregistry/xdsCache").await;
    let of_type = "networking.istio.io/v1alpha3/ServiceEntry";
    let [orders, users] = &cache[of_type].as_array().unwrap()[..] else { panic!("{cache}") };
    assert_eq!(orders["type"], of_type);
    assert_eq!((&orders["namespace"], &orders["name"]), (&json!("portolan"), &json!("orders.example")));
    assert_eq!(orders["Spec"]["hosts"], json!(["orders.example", "orders"]));
    assert_eq!(orders["Spec"]["endpoints"][0]["address"], "10.0.0.1");
    assert_eq!(users["Spec"].get("endpoints"), None);

    let version = orders["resourceVersion"].as_str().unwrap();
    for (query, expected) in [
        ("ns=portolan", 2),
        ("ns=other", 0),
        ("name=users.example", 1),
        ("res=ServiceEntry", 2),
        ("typeUrl=networking.istio.io/v1/ServiceEntry", 2),
        ("gvk=networking.istio.io/v1alpha3/Sidecar", 0),
        (&format!("ver={version}"), 1),
        ("ns=&name=&unknown=1", 2),
    ] {
        let list = admin.json(&format!("/meshregistry/xdsCache?layout=list&{query}")).await;
        assert_eq!(list.as_array().unwrap().len(), expected, "{query}: {list}");
    }
    let object = admin.json("/meshregistry/xdsCache?layout=list&k8sRsc=1&name=users.example").await;
    assert_eq!((&object[0]["kind"], &object[0]["metadata"]["name"]), (&json!("ServiceEntry"), &json!("users.example")));
    let (_, plain) = admin.get("/meshregistry/xdsCache?layout=plain&format=yaml").await;
    assert_eq!(plain.split("\n---\n").count(), 2, "{plain}");
    assert!(plain.contains("name: orders.example"), "{plain}");
    assert_eq!(admin.get("/meshregistry/xdsCache?layout=tree").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(admin.get("/meshregistry/xdsCache?format=xml").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_pages_of_slime_show_registries_clients_and_readiness() {
    let admin = Running::good().await;
    let kind = admin.json("/api/v1/registries").await[0]["kind"].as_str().unwrap().to_owned();
    assert_eq!(kind, "nacos");
    let by_name = admin.json("/meshregistry/nacos").await;
    assert_eq!(by_name["orders.example"]["hosts"], json!(["orders.example", "orders"]));
    assert_eq!(admin.json("/meshregistry/eureka").await, json!({}));
    assert_eq!(admin.json("/meshregistry/zk").await, json!({ "cache": {} }));
    assert_eq!(admin.json("/meshregistry/zk?registry_services=true").await, json!([]));
    let registries = admin.json("/meshregistry/nacos?registries=true").await;
    assert_eq!(registries, json!([{ "registry_id": "held", "state": "synced" }]));

    let clients = admin.json("/meshregistry/clients").await;
    let (id, client) = clients.as_object().unwrap().iter().next().unwrap();
    assert_eq!((&client["ConnId"], client["PushStatus"].is_object()), (&json!(id), true), "{clients}");

    assert_eq!(admin.get("/meshregistry/ready").await, (StatusCode::OK, String::new()));
    let late = catalog(Readiness::Waiting, vec![registry("late", State::Connecting)], vec![published("a", Vec::new())]);
    let admin = Running::start(late).await;
    let (status, text) = admin.get("/meshregistry/ready").await;
    assert_eq!((status, &*text), (StatusCode::SERVICE_UNAVAILABLE, "xds not ready source not ready late,held"));
    assert_eq!(admin.get("/meshregistry/xdsCache").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_pages_of_slime_show_what_eureka_and_zookeeper_feed() {
    let of_kind = async |kind: &'static str| {
        let mut status = registry("held", State::Synced);
        Arc::get_mut(&mut status).expect("it is new").kind = kind;
        let mut orders = published("orders", vec![endpoint(1, Health::Healthy)]);
        orders.sources = vec![id("held", "com.foo.Orders:1.0")];
        Running::start(catalog(Readiness::Complete, vec![status], vec![orders])).await
    };
    let eureka = of_kind("eureka").await;
    let entries = eureka.json("/meshregistry/eureka").await;
    assert_eq!(entries["orders.example"]["endpoints"][0]["address"], "10.0.0.1");
    assert_eq!(eureka.json("/meshregistry/zk").await, json!({ "cache": {} }));

    let zookeeper = of_kind("zookeeper").await;
    assert_eq!(zookeeper.json("/meshregistry/eureka").await, json!({}));
    for (query, shown) in [("", true), ("?interfaceName=com.foo.Orders", true), ("?interfaceName=com.foo.Users", false)]
    {
        let cache = zookeeper.json(&format!("/meshregistry/zk{query}")).await;
        let of = &cache["cache"]["com.foo.Orders"]["orders.example"];
        assert_eq!(of["ServiceEntry"]["hosts"][0] == "orders.example", shown, "{query}: {cache}");
        assert_eq!(of["Meta"]["team"] == "shop", shown, "{query}: {cache}");
    }
    for (query, expected) in [
        ("", json!({ "com.foo.Orders:1.0": 1, "count-iface": 1 })),
        ("?all=true", json!({ "com.foo.Orders:1.0": 1, "count-iface": 1 })),
        ("?iface=com.foo.Users", json!({ "count-iface": 1 })),
    ] {
        assert_eq!(zookeeper.json(&format!("/meshregistry/zks{query}")).await, expected, "{query}");
    }
    assert_eq!(eureka.json("/meshregistry/zks").await, json!({ "count-iface": 0 }));
    let instance =
        json!({ "interface": "com.foo.Orders", "address": "10.0.0.1", "port": 8080, "metadata": { "version": "v1" } });
    assert_eq!(zookeeper.json("/meshregistry/zk?registry_services=true").await, json!([instance]));
}

#[tokio::test]
async fn the_metrics_of_slime_are_there_by_kind_of_registry() {
    let admin = Running::good().await;
    let (_, text) = admin.get("/metrics").await;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("meshregistry_")).collect();
    assert_eq!(
        lines,
        [
            "meshregistry_enabled_source{source=\"nacos\"} 1",
            "meshregistry_source_ready{source=\"nacos\"} 1",
            "meshregistry_source_connection_status{source=\"nacos\"} 1",
            "meshregistry_service_entry_total{source=\"nacos\"} 2",
            "meshregistry_mcp_push_count 5",
        ]
    );
}
