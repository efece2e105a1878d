//! Real Envoys that declare their services, in our form and in envoy-control's: each holds exactly its own clusters, before and
//! after services, instances and the scope change, and no request to a service that stays in sight fails.

use crate::{
    scopes::{answers, envoy, has},
    support::{envoy::Envoy, portolan::Portolan, traffic::Traffic, upstream::Upstream},
};
use std::{fs, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

fn config(declared: &str) -> String {
    format!(
        "envoy: {{ cluster_name: '{{host}}' }}
registries:
- name: all
  file: {{ path: services.yaml }}
  publish: {{ max_drop: 100%, linger: 0s, addresses: {{ loopback: keep }} }}
scopes: [{{ name: sidecars, declared: {declared} }}]"
    )
}

async fn has_instances(envoy: &Envoy, cluster: &str, count: usize) {
    envoy
        .wait_until(&format!("{count} instances of {cluster}"), LIMIT, async || {
            let hosts = envoy.hosts(cluster).await;
            if hosts.as_array().map_or(0, Vec::len) == count { Ok(()) } else { Err(hosts.to_string()) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_declares_its_services_has_their_clusters_and_no_others() {
    let mut upstreams = Vec::new();
    for name in ["orders-v1", "orders-v2", "users"] {
        upstreams.push(Upstream::start(name).await);
    }
    let at = |number: usize| upstreams[number].address.to_string();
    let port = |number: usize| upstreams[number].address.port();
    let portolan = Portolan::start(&config("true")).await;
    let write = |more: &str| {
        let orders = format!(
            "- host: orders\n  endpoints:\n  - {{ address: 127.0.0.1, port: {}, labels: {{ tags: v1 }} }}\n  - {{ address: 127.0.0.1, port: {}, labels: {{ tags: 'v2, gray' }} }}\n",
            port(0),
            port(1)
        );
        let users = format!("- {{ host: users, endpoints: ['{}'] }}\n", at(2));
        fs::write(portolan.folder().join("new"), format!("services:\n{orders}{users}{more}")).unwrap();
        fs::rename(portolan.folder().join("new"), portolan.folder().join("services.yaml")).unwrap();
    };
    write("");
    portolan.ready().await;
    let own = "  id: own\n  cluster: any\n  metadata: { portolan: { services: [orders, later] } }\n";
    let theirs = "  id: theirs\n  cluster: any\n  metadata:\n    proxy_settings:\n      outgoing:\n        dependencies:\n        - service: users\n        - { service: orders, routingPolicy: { autoServiceTag: true, serviceTagPreference: [v3, v2] } }\n";
    let Some(own) = envoy(own, false, &portolan).await else { return };
    let Some(theirs) = envoy(theirs, true, &portolan).await else { return };
    has(&own, &["orders"]).await;
    has(&theirs, &["orders", "users"]).await;
    has_instances(&own, "orders", 2).await;
    has_instances(&theirs, "orders", 1).await;
    answers(&own, "users", 503).await;
    for (envoy, host) in [(&own, "orders"), (&theirs, "orders"), (&theirs, "users")] {
        answers(envoy, host, 200).await;
    }
    let orders = Traffic::start(&theirs, "orders".into(), "orders-v2");
    let users = Traffic::start(&theirs, "users".into(), "users");

    // A service that was declared before it came, and one that nobody declares.
    write(&format!("- {{ host: later, endpoints: ['{}'] }}\n- {{ host: other, endpoints: ['{}'] }}\n", at(2), at(2)));
    has(&own, &["orders", "later"]).await;
    has(&theirs, &["orders", "users"]).await;

    // The scope changes: all have one more; nobody has to declare; and back.
    portolan.configure(&config("{ services: other }"));
    has(&own, &["orders", "later", "other"]).await;
    has(&theirs, &["orders", "users", "other"]).await;
    orders.stop_unharmed(10).await;
    portolan.configure(&config("false"));
    for envoy in [&own, &theirs] {
        has(envoy, &["orders", "users", "later", "other"]).await;
        has_instances(envoy, "orders", 2).await;
    }
    portolan.configure(&config("{ tags: none }"));
    has(&theirs, &["orders", "users"]).await;
    has_instances(&theirs, "orders", 0).await;
    portolan.configure(&config("true"));
    has(&own, &["orders", "later"]).await;
    has_instances(&theirs, "orders", 1).await;

    users.stop_unharmed(10).await;
    for envoy in [&own, &theirs] {
        assert_eq!(envoy.complaints().await, []);
        assert_eq!(envoy.stat("cluster.portolan.upstream_cx_total").await, Some(1), "it has connected again");
    }
}
