//! Real Envoys in scopes: each holds exactly its own clusters, before and after instances, scopes and rules change, and no
//! request to a service that stays in sight fails.

use crate::support::{envoy::Envoy, portolan::Portolan, traffic::Traffic, upstream::Upstream};
use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

/// What the scope of gateways selects, and the rules behind it.
fn config(edge: &str, rest: &str) -> String {
    format!(
        "envoy: {{ cluster_name: '{{host}}' }}
registries:
- name: public
  file: {{ path: public.yaml }}
  publish: {{ max_drop: 100%, linger: 0s, addresses: {{ loopback: keep }}, aliases: '{{label:short}}' }}
- name: secret
  file: {{ path: secret.yaml }}
  publish: {{ max_drop: 100%, linger: 0s, addresses: {{ loopback: keep }} }}
  visible_to: [shop]
scopes:
- {{ name: edge, match: {{ cluster: edge }}, {edge} }}
- {{ name: shop, match: {{ metadata: {{ proxy.team: shop }} }} }}
{rest}"
    )
}

/// An Envoy with that node, of which every service has a route.
pub async fn envoy(node: &str, sotw: bool, portolan: &Portolan) -> Option<Arc<Envoy>> {
    envoy_of(node, sotw, portolan, |example| example).await
}

/// Like [`envoy`], with a bootstrap that `change` has edited.
pub async fn envoy_of(
    node: &str,
    sotw: bool,
    portolan: &Portolan,
    change: impl FnOnce(String) -> String,
) -> Option<Arc<Envoy>> {
    let example = Envoy::example("authority.yaml");
    let plain = "  id: authority-1\n  cluster: sidecars\n";
    assert!(example.contains(plain));
    let example = example.replace(plain, node);
    let example = if sotw { example.replace("api_type: DELTA_GRPC", "api_type: GRPC") } else { example };
    Envoy::start(&change(example), portolan.xds).await.map(Arc::new)
}

/// Waits until it has exactly these clusters of Portolan's.
pub async fn has(envoy: &Envoy, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    envoy
        .wait_until(&format!("exactly {expected:?}"), LIMIT, async || {
            let dump = envoy.config_dump("dynamic_active_clusters").await;
            let name = |config: &serde_json::Value| config["cluster"]["name"].as_str().map(ToOwned::to_owned);
            let configs = dump["configs"].as_array().cloned().unwrap_or_default();
            let names: BTreeSet<String> = configs.iter().filter_map(name).collect();
            if names == expected { Ok(()) } else { Err(format!("{names:?}")) }
        })
        .await;
}

pub async fn answers(envoy: &Envoy, host: &str, expected: u16) {
    envoy
        .wait_until(&format!("{expected} of {host}"), LIMIT, async || match envoy.get(host, "/").await {
            (status, _) if status == expected => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_envoy_has_the_clusters_of_its_scope_and_no_others_whatever_changes() {
    let mut upstreams = Vec::new();
    for name in ["orders", "orders", "users", "payroll"] {
        upstreams.push(Upstream::start(name).await);
    }
    let at = |number: usize| upstreams[number].address.to_string();
    let portolan = Portolan::start(&config("aliases: false", "")).await;
    let write = |name: &str, text: String| {
        let new = portolan.folder().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, portolan.folder().join(name)).unwrap();
    };
    let public = |orders: &[String]| {
        let orders: Vec<String> = orders.iter().map(|address| format!("'{address}'")).collect();
        format!(
            "services:\n- {{ host: orders.example, labels: {{ short: orders }}, endpoints: [{}] }}\n\
             - {{ host: users.example, endpoints: ['{}'] }}\n",
            orders.join(", "),
            at(2)
        )
    };
    write("public.yaml", public(&[at(0)]));
    write("secret.yaml", format!("services: [{{ host: payroll.example, endpoints: ['{}'] }}]", at(3)));
    portolan.ready().await;
    let Some(edge) = envoy("  id: e-1\n  cluster: edge\n", false, &portolan).await else { return };
    let shop = "  id: s-1\n  cluster: any\n  metadata: { proxy: { team: shop } }\n";
    let Some(shop) = envoy(shop, true, &portolan).await else { return };
    let Some(other) = envoy("  id: o-1\n  cluster: any\n", false, &portolan).await else { return };

    has(&edge, &["orders.example", "users.example"]).await;
    has(&shop, &["orders.example", "orders", "users.example", "payroll.example"]).await;
    has(&other, &["orders.example", "orders", "users.example"]).await;
    let mut traffic = Vec::new();
    for (envoy, host, body) in [
        (&edge, "orders.example", "orders"),
        (&shop, "orders", "orders"),
        (&shop, "payroll.example", "payroll"),
        (&other, "users.example", "users"),
    ] {
        answers(envoy, host, 200).await;
        traffic.push(Traffic::start(envoy, host.into(), body));
    }
    for envoy in [&edge, &other] {
        answers(envoy, "payroll.example", 503).await;
    }

    // An instance more is with all who see the service.
    write("public.yaml", public(&[at(0), at(1)]));
    for (envoy, cluster) in [(&edge, "orders.example"), (&shop, "orders"), (&other, "orders.example")] {
        envoy
            .wait_until("two instances", LIMIT, async || {
                let hosts = envoy.hosts(cluster).await;
                if hosts.as_array().map_or(0, Vec::len) == 2 { Ok(()) } else { Err(hosts.to_string()) }
            })
            .await;
    }

    // The scope has less, and other clients another one.
    portolan.configure(&config("include: [orders*]", "- { name: rest, include: [users*] }"));
    has(&edge, &["orders.example", "orders"]).await;
    has(&other, &["users.example"]).await;
    has(&shop, &["orders.example", "orders", "users.example", "payroll.example"]).await;

    // And everything is as it was.
    portolan.configure(&config("aliases: false", ""));
    has(&edge, &["orders.example", "users.example"]).await;
    has(&other, &["orders.example", "orders", "users.example"]).await;
    for traffic in traffic {
        traffic.stop_unharmed(10).await;
    }
    for envoy in [&edge, &shop, &other] {
        assert_eq!(envoy.complaints().await, []);
        assert_eq!(envoy.stat("cluster.portolan.upstream_cx_total").await, Some(1), "it has connected again");
    }
}
