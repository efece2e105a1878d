//! Many providers that vanish at once, as those of a session do that ends.

use super::support::{
    portolan::Portolan,
    until,
    zookeeper::{ZooKeeper, provider},
};
use std::time::Duration;
use zookeeper_client::{Acls, CreateMode};

const INTERFACES: usize = 500;
const PROVIDERS: usize = 10;

/// The value of a metric without labels.
async fn metric(portolan: &Portolan, name: &str) -> f64 {
    let (_, text) = portolan.get("/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

async fn until_endpoints(portolan: &Portolan, expected: usize) {
    let name = "portolan_catalog_endpoints{registry=\"dubbo\"}";
    until("the instances", Duration::from_secs(60), async || {
        let found = metric(portolan, name).await;
        if found as usize == expected { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_providers_that_vanish_at_once_make_few_generations() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let address = server.address();
    let portolan = Portolan::start(&format!(
        "registries:\n- name: dubbo\n  zookeeper: {{ servers: ['{address}'], dubbo: {{}} }}\n  publish: {{ hold: 0s }}\n"
    ))
    .await;
    portolan.ready().await;
    let (parents, session) = (server.writer().await, server.writer().await);
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    for interface in 0..INTERFACES {
        let name = format!("com.foo.I{interface}");
        parents.create(&format!("/dubbo/{name}/providers"), "").await;
        let mut together = session.0.new_multi_writer();
        for instance in 0..PROVIDERS {
            let url = format!("dubbo://192.0.2.{instance}:20880/{name}");
            together.add_create(&provider("/dubbo", &name, &url), b"", &ephemeral).unwrap();
        }
        together.commit().await.unwrap();
    }
    until_endpoints(&portolan, INTERFACES * PROVIDERS).await;
    let generations = "portolan_views_generations_total";
    // A view that nobody sees is not made.
    portolan.json("/api/v1/digests").await;
    let before = metric(&portolan, generations).await;
    drop(session);
    until_endpoints(&portolan, 0).await;
    let cluster = "portolan_catalog_published_services";
    assert_eq!(metric(&portolan, cluster).await as usize, INTERFACES);
    let made = metric(&portolan, generations).await - before;
    eprintln!("{made} generations for {} instances", INTERFACES * PROVIDERS);
    // The window between two grows to 100 ms; a slow machine takes some seconds for the whole.
    assert!((1.0..=60.0).contains(&made), "{made} generations");
}
