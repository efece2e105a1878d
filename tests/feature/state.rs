//! What outlives the process: a Portolan that starts while its registries are gone.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::{portolan::Portolan, until},
};
use portolan::resource::Kind;
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use tonic::transport::Endpoint;

const CATALOGUE: &str = "
services:
- host: orders.example
  endpoints: [\"10.0.0.1:80\", \"10.0.0.2:80\"]
- host: users.example
  endpoints: [\"10.0.0.3:80\"]
";

fn config(folder: &Path) -> String {
    let (catalogue, state) = (folder.join("catalogue.yaml"), folder.join("state"));
    format!(
        "registries: [{{ name: shop, file: {{ path: '{}', poll: 100ms }} }}]\nstate: {{ dir: '{}', quiet: 100ms }}\n",
        catalogue.display(),
        state.display()
    )
}

/// Names and versions of the clusters that a new Envoy is given.
async fn clusters(portolan: &Portolan) -> BTreeMap<String, String> {
    let channel = Endpoint::from_shared(format!("http://{}", portolan.xds)).unwrap().connect().await.unwrap();
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    stream.request(delta_request(Kind::Cluster, &["*"], &[])).await;
    let answer = stream.message().await.unwrap().unwrap();
    answer.resources.into_iter().map(|resource| (resource.name, resource.version)).collect()
}

/// Kills it once the state of the registry `shop` is on disk.
async fn killed(portolan: Portolan, folder: &Path) {
    let file = folder.join("state/shop.state");
    until(
        "the state on disk",
        Duration::from_secs(60),
        async || {
            if file.exists() { Ok(()) } else { Err(portolan.log()) }
        },
    )
    .await;
    portolan.kill().await;
}

#[tokio::test]
async fn who_starts_without_its_registries_serves_what_they_had() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = folder.path().join("catalogue.yaml");
    fs::write(&catalogue, CATALOGUE).unwrap();
    let first = Portolan::start(&config(folder.path())).await;
    first.ready().await;
    let before = clusters(&first).await;
    assert_eq!(before.len(), 2);
    killed(first, folder.path()).await;

    // The registry is gone, and comes back with less: nothing is lost on the way, and nothing is told as gone before.
    fs::remove_file(&catalogue).unwrap();
    let second = Portolan::start(&config(folder.path())).await;
    second.ready().await;
    assert_eq!(clusters(&second).await, before);
    let registry = &second.json("/api/v1/registries").await[0];
    assert_eq!((registry["state"].as_str(), registry["endpoints"].as_u64()), (Some("stale"), Some(3)), "{registry}");
    let ready = second.json("/ready").await;
    assert_eq!(ready["sync"].as_str(), Some("partial"), "{ready}");
    fs::write(&catalogue, CATALOGUE.split("- host: users").next().unwrap()).unwrap();
    until("the registry to be read", Duration::from_secs(60), async || {
        let registry = second.json("/api/v1/registries").await[0].clone();
        if registry["state"] == "synced" { Ok(()) } else { Err(registry) }
    })
    .await;
    assert_eq!(clusters(&second).await.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "it lingers");
}

#[tokio::test]
async fn a_damaged_file_costs_what_it_had_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("catalogue.yaml"), CATALOGUE).unwrap();
    fs::create_dir(folder.path().join("state")).unwrap();
    fs::write(folder.path().join("state/shop.state"), "portolan state\nnonsense").unwrap();
    let portolan = Portolan::start(&config(folder.path())).await;
    portolan.ready().await;
    assert_eq!(clusters(&portolan).await.len(), 2);
    assert!(folder.path().join("state/shop.state.damaged").exists());
    let log = portolan.log();
    assert!(log.contains("Set aside the state of a registry") && log.contains("shop.state.damaged"), "{log}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_costs_only_that() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("catalogue.yaml"), CATALOGUE).unwrap();
    fs::write(folder.path().join("state"), "a file, and no folder").unwrap();
    let portolan = Portolan::start(&config(folder.path())).await;
    portolan.ready().await;
    assert_eq!(clusters(&portolan).await.len(), 2);
    until("the metric of the failure", Duration::from_secs(60), async || {
        let (_, metrics) = portolan.get("/metrics").await;
        if metrics.contains("portolan_state_last_write_successful 0") { Ok(()) } else { Err(portolan.log()) }
    })
    .await;
    assert!(portolan.log().contains("Cannot write the state"), "{}", portolan.log());
}

#[tokio::test]
async fn a_full_disk_costs_the_state_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let catalogue = |instance: usize| {
        let services = (0..300).map(|i| format!("- {{ host: s{i}.example, endpoints: ['10.0.{instance}.1:80'] }}\n"));
        let text = format!("services:\n{}", services.collect::<String>());
        fs::write(folder.path().join("catalogue.yaml"), text).unwrap();
    };
    catalogue(1);
    let Some(portolan) = Portolan::start_on_disk(&state, 4, &config(folder.path())).await else { return };
    portolan.ready().await;
    let failed = async || {
        let (_, metrics) = portolan.get("/metrics").await;
        let told = portolan.log().contains("No space left on device");
        if told && metrics.contains("portolan_state_last_write_successful 0") { Ok(()) } else { Err(portolan.log()) }
    };
    until("the full disk to be told", Duration::from_secs(60), failed).await;
    // Changes are followed and served.
    catalogue(2);
    until("the change", Duration::from_secs(60), async || match portolan.get("/api/v1/services/s299.example").await {
        (200, text) if text.contains("10.0.2.1") => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn the_last_good_text_of_a_manifest_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    fs::write(folder.path().join("catalogue.yaml"), CATALOGUE).unwrap();
    let good = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: orders, namespace: shop}\n\
                spec: {hosts: [orders.example], http: [{route: [{destination: {host: users.example}}]}]}\n";
    fs::write(&rules, good).unwrap();
    let config = format!("{}traffic: {{ path: '{}' }}\n", config(folder.path()), rules.display());
    let stands = async |portolan: &Portolan, state: &str| {
        until("the manifest to be read", Duration::from_secs(60), async || {
            let manifests = portolan.json("/api/v1/manifests").await;
            let is = manifests[0]["state"] == *state && manifests[0]["resources"][0] == "virtualservices/shop/orders";
            if is { Ok(()) } else { Err(manifests) }
        })
        .await;
    };
    let first = Portolan::start(&config).await;
    stands(&first, "good").await;
    let file = folder.path().join("state/traffic.manifests");
    until("the manifests on disk", Duration::from_secs(60), async || {
        // It may be there from before the manifest was read.
        let written = String::from_utf8_lossy(&fs::read(&file).unwrap_or_default()).contains("users.example");
        if written { Ok(()) } else { Err(first.log()) }
    })
    .await;
    killed(first, folder.path()).await;

    // It begins with a text that is wrong, which it has never seen right; and once more, without any.
    fs::write(&rules, good.replace("http:", "htp:")).unwrap();
    let second = Portolan::start(&config).await;
    second.ready().await;
    stands(&second, "wrong").await;
    let ended = second.terminate().await;
    assert!(ended.success(), "{ended}");
    fs::remove_file(&rules).unwrap();
    let third = Portolan::start(&config).await;
    third.ready().await;
    stands(&third, "wrong").await;
}
