//! Tags of Dubbo as subsets, which a VirtualService names.

use super::{
    calls::registry,
    support::{
        envoy::Envoy,
        netns,
        portolan::Portolan,
        servers::free_port,
        tagging::{providers, tags_choose_providers, write_routes},
        zookeeper::ZooKeeper,
    },
};

const RULE: &str = "/dubbo/config/dubbo/shop.tag-router";

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_a_tag_land_where_the_tag_is() {
    let name = "tags::calls_with_a_tag_land_where_the_tag_is";
    if !netns::inside(name, &["envoy", "zookeeper", "dubbo3"]).await {
        return;
    }
    let zookeeper = ZooKeeper::start("zookeeper").await.expect("it was prepared");
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    write_routes(folder.path(), port);
    let (server, routes) = (zookeeper.address(), folder.path().display());
    let portolan = Portolan::start(&format!(
        "traffic: {{ path: '{routes}' }}\nregistries:\n- name: dubbo\n  \
         zookeeper: {{ servers: ['{server}'], dubbo: {{ applications: {{}}, overrides: true }} }}\n  publish: {{ hold: 0s }}\n"
    ))
    .await;
    portolan.ready().await;
    let listener = ([127, 0, 0, 1], port).into();
    let envoy = Envoy::start_dynamic(&["--gateway"], portolan.xds, listener).await.expect("it was prepared");
    let all = providers(&registry(&zookeeper)).await;
    let writer = zookeeper.writer().await;
    writer.create(RULE, "").await;
    tags_choose_providers(&envoy, &all, async |text| writer.set(RULE, text).await).await;
}
