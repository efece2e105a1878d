//! Tags of Dubbo in a real Nacos as subsets, which a VirtualService names.

use super::support::{
    envoy::Envoy,
    nacos::Nacos,
    netns,
    portolan::Portolan,
    servers::free_port,
    tagging::{providers, tags_choose_providers, write_routes},
};

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_a_tag_land_where_the_tag_is() {
    let name = "tags::calls_with_a_tag_land_where_the_tag_is";
    if !netns::inside(name, &["envoy", "nacos3", "dubbo3"]).await {
        return;
    }
    let nacos = Nacos::start_with("nacos3", &[("NACOS_OLD_API", "client")]).await.expect("it was prepared");
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    write_routes(folder.path(), port);
    let (url, routes) = (nacos.url(), folder.path().display());
    let portolan = Portolan::start(&format!(
        "traffic: {{ path: '{routes}' }}\nregistries:\n- name: dubbo\n  \
         nacos: {{ servers: '{url}', period: 200ms, dubbo: {{ applications: {{}}, overrides: true }} }}\n  \
         publish:\n    hold: 0s\n    host: '{{label:interface|{{service}}}}.{{label:group}}.{{label:version}}.dubbo'\n"
    ))
    .await;
    portolan.ready().await;
    let listener = ([127, 0, 0, 1], port).into();
    let envoy = Envoy::start_dynamic(&["--gateway"], portolan.xds, listener).await.expect("it was prepared");
    let all = providers(&format!("registry=nacos://{}", nacos.http())).await;
    let put = async |text: &str| nacos.put_config("public", "dubbo", "shop.tag-router", text).await;
    tags_choose_providers(&envoy, &all, put).await;
}
