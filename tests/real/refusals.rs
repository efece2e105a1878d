//! A real Envoy refuses a cluster that we took for good: it names a file which its machine does not have. All the rest goes on.

use crate::support::{envoy::Envoy, portolan::Portolan, until, upstream::Upstream};
use std::{fs, path::Path, time::Duration};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);
const REFUSED: &str = "outbound|80||refused.example";

fn put(folder: &Path, name: &str, text: &str) {
    let new = folder.join("new.tmp");
    fs::write(&new, text).unwrap();
    fs::rename(new, folder.join(name)).unwrap();
}

/// The example's service at that address, one that is refused if a rule says so, and others.
fn services(address: &str, others: usize) -> String {
    let mut text = format!(
        "services:\n- host: product-service.example\n  endpoints: [\"{address}\"]\n\
         - host: refused.example\n  endpoints: [\"{address}\"]\n"
    );
    for other in 0..others {
        text += &format!("- host: other-{other}.example\n  endpoints: [\"10.0.0.{}:80\"]\n", other + 1);
    }
    text
}

fn rule(tls: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: refused, namespace: istio-system}}\n\
         spec: {{host: refused.example, trafficPolicy: {{tls: {tls}}}}}\n"
    )
}

async fn command(portolan: &Portolan, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(words).env("PORTOLAN_ADMIN", format!("http://{}", portolan.admin)).env("USER", "ann");
    let output = command.output().await.unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Waits until so many resources are withheld.
async fn withheld(portolan: &Portolan, count: usize) -> serde_json::Value {
    until("the list of what is refused", LIMIT, async || {
        let list = portolan.json("/api/v1/quarantine").await;
        if list.as_array().is_some_and(|list| list.len() == count) { Ok(list) } else { Err(list) }
    })
    .await
}

async fn refuses(example: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    put(folder.path(), "catalogue.yaml", &services(&first.address.to_string(), 20));
    put(folder.path(), "rules.yaml", &rule("{mode: DISABLE}"));
    let portolan = Portolan::start(&format!(
        "registries: [{{ name: shop, file: {{ path: '{0}/catalogue.yaml', poll: 100ms }}, publish: {{ linger: 1s, max_drop: 100% }} }}]\n\
         traffic: {{ path: '{0}/rules.yaml' }}\n",
        folder.path().display()
    ))
    .await;
    let Some(envoy) = Envoy::start(&Envoy::example(example), portolan.xds).await else { return };
    envoy.until_answered(LIMIT, "first").await;
    // Envoy's own cluster for Portolan is the one more.
    envoy.until_clusters(LIMIT, 23).await;

    // A cluster changes into what Envoy refuses, and at the same time others come and an endpoint moves.
    put(folder.path(), "rules.yaml", &rule("{mode: SIMPLE, caCertificates: /nowhere/ca.pem}"));
    put(folder.path(), "catalogue.yaml", &services(&second.address.to_string(), 25));
    envoy.until_answered(LIMIT, "second").await;
    envoy.until_clusters(LIMIT, 28).await;
    let list = withheld(&portolan, 1).await;
    assert_eq!(
        (&list[0]["kind"], &list[0]["name"], &list[0]["for_all"]),
        (&"clusters".into(), &REFUSED.into(), &false.into())
    );
    assert_eq!(list[0]["found"], "named", "{list}");
    assert!(list[0]["message"].as_str().is_some_and(|text| text.contains("/nowhere/ca.pem")), "{list}");
    // The former one is still there, and follows its endpoints.
    envoy
        .wait_until("the former cluster at the new endpoint", LIMIT, async || {
            let hosts = envoy.hosts(REFUSED).await.to_string();
            if hosts.contains(&second.address.port().to_string()) { Ok(()) } else { Err(hosts) }
        })
        .await;
    // What changes later goes on, and nothing is refused again.
    let refused = envoy.stat("cluster_manager.cds.update_rejected").await;
    put(folder.path(), "catalogue.yaml", &services(&first.address.to_string(), 30));
    envoy.until_answered(LIMIT, "first").await;
    envoy.until_clusters(LIMIT, 33).await;
    assert_eq!(envoy.stat("cluster_manager.cds.update_rejected").await, refused);
    assert_eq!(envoy.stats_ending("init_fetch_timeout").await, []);

    // People see it, and release it; it is refused again.
    let (_, metrics) = portolan.get("/metrics").await;
    assert!(metrics.contains("portolan_xds_quarantined_resources{kind=\"clusters\"} 1"), "{metrics}");
    let shown = command(&portolan, &["get", "quarantine"]).await;
    assert!(shown.contains(REFUSED) && shown.contains("/nowhere/ca.pem"), "{shown}");
    let clients = command(&portolan, &["get", "clients"]).await;
    assert!(clients.lines().any(|line| line.contains(" Cluster ") && line.contains(REFUSED)), "{clients}");
    let released = command(&portolan, &["quarantine", "release", REFUSED, "--why", "try"]).await;
    assert_eq!(released, "Released 1.\n");
    envoy
        .wait_until("another refusal", LIMIT, async || {
            let now = envoy.stat("cluster_manager.cds.update_rejected").await;
            if now > refused { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
    withheld(&portolan, 1).await;
    let history = command(&portolan, &["history"]).await;
    assert!(history.lines().any(|line| line.contains("quarantine of */") && line.contains("ann")), "{history}");

    // The rule is mended: all is as everywhere.
    put(folder.path(), "rules.yaml", &rule("{mode: SIMPLE, insecureSkipVerify: true}"));
    withheld(&portolan, 0).await;
    envoy
        .wait_until("the mended cluster", LIMIT, async || {
            let dump = envoy.config_dump("dynamic_active_clusters").await.to_string();
            if dump.contains("UpstreamTlsContext") { Ok(()) } else { Err(dump) }
        })
        .await;
    envoy.until_answered(LIMIT, "first").await;
}

#[tokio::test]
async fn an_envoy_that_refuses_a_cluster_follows_all_others_by_delta() {
    refuses("sidecar.yaml").await;
}

#[tokio::test]
async fn an_envoy_that_refuses_a_cluster_follows_all_others_by_state_of_the_world() {
    refuses("sidecar-sotw.yaml").await;
}
