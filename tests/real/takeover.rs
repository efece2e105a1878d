//! An upgrade at noon: one process takes over from another, again and again, under steady traffic through real Envoys. No request
//! fails, every Envoy hears of every change, and one that starts meanwhile has its configuration.

use crate::support::{
    envoy::Envoy, portolan::Portolan, servers::free_port, traffic::Traffic, until, upstream::Upstream,
};
use std::{fs, sync::Arc, time::Duration};

const LIMIT: Duration = Duration::from_secs(120);
const HOST: &str = "product-service.example";

async fn answers(envoy: &Envoy, host: &str) {
    envoy
        .wait_until("an answer", LIMIT, async || match envoy.get(host, "/").await {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_fail_no_request_and_leave_no_envoy_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (file, socket) = (folder.path().join("services.yaml"), folder.path().join("takeover"));
    let upstream = Upstream::start("here").await;
    let write = |number: usize| {
        let mut text = format!("services:\n- host: {HOST}\n  endpoints: ['{}']\n", upstream.address);
        (0..200)
            .for_each(|other| text += &format!("- host: other-{other}.example\n  endpoints: [10.0.{number}.1:80]\n"));
        let new = folder.path().join("services.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &file).unwrap();
    };
    write(0);
    let state = folder.path().join("state");
    let config = format!(
        "registries:\n- name: files\n  file: {{ path: '{}', poll: 100ms }}\nstate: {{ dir: '{}' }}\n",
        file.display(),
        state.display()
    );
    let [xds, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let mut serving = Portolan::start_with_takeover(&socket, &xds, &admin, &config).await;
    let examples = ["sidecar.yaml", "sidecar-sotw.yaml", "sidecar.yaml"];
    let (mut envoys, mut traffic) = (Vec::new(), Vec::new());
    for example in examples {
        let Some(envoy) = Envoy::start(&Envoy::example(example), serving.xds).await else { return };
        answers(&envoy, HOST).await;
        envoys.push(Arc::new(envoy));
        let envoy = envoys.last().unwrap();
        traffic.extend([0, 1].map(|_| Traffic::start(envoy, HOST.into(), "here")));
    }
    for round in 1..=5 {
        // A change in the middle of it, and an Envoy that knows nothing.
        let example = Envoy::example(examples[round % 2]);
        let (next, fresh) = tokio::join!(
            Portolan::start_with_takeover(&socket, &xds, &admin, &config),
            Envoy::start(&example, serving.xds),
        );
        write(round);
        let fresh = fresh.unwrap();
        answers(&fresh, HOST).await;
        let status = serving.ended().await;
        assert!(status.success(), "{status}");
        serving = next;
        for envoy in envoys.iter().map(|envoy| &**envoy).chain([&fresh]) {
            until("the change to be there", LIMIT, async || {
                let hosts = envoy.page("/clusters").await;
                let news = format!("::10.0.{round}.1:80::health_flags");
                match hosts.matches(&news).count() {
                    200 => Ok(()),
                    number => Err(format!("{number} of 200 in {}", serving.log().lines().count())),
                }
            })
            .await;
        }
        answers(&fresh, HOST).await;
    }
    for traffic in traffic {
        traffic.stop_unharmed(20).await;
    }
    for envoy in &envoys {
        assert_eq!(envoy.complaints().await, []);
        // The last takeover may still be ending its connection to the process before.
        envoy
            .wait_until("a connection", LIMIT, async || {
                let connected = envoy.stat("control_plane.connected_state").await;
                if connected == Some(1) { Ok(()) } else { Err(format!("{connected:?}")) }
            })
            .await;
    }
}
