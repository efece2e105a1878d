//! Other output settings come to real Envoys in steps, under traffic: to a share of them first, to all in the end, and back from those
//! that had something by them which they refuse. No request fails.

use crate::support::{envoy::Envoy, portolan::Portolan, traffic::Traffic, until, upstream::Upstream};
use portolan::scope::Share;
use std::{fs, path::Path, sync::Arc, time::Duration};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(120);
const HOST: &str = "product-service.example";
const CLUSTER: &str = "outbound|80||product-service.example";
const REFUSED: &str = "outbound|80||refused.example";
/// Requests of each Envoy between two steps.
const BETWEEN: usize = 20;

/// An Envoy, with the traffic through it.
struct Member {
    node: String,
    envoy: Arc<Envoy>,
    traffic: Traffic,
}

impl Member {
    /// Starts on an example under that name. `None` where there is no Envoy.
    async fn start(example: &str, node: String, portolan: &Portolan) -> Option<Member> {
        let (example, id) = (Envoy::example(example), format!("  id: {}-1\n", example.trim_end_matches(".yaml")));
        assert!(example.contains(&id), "{example}");
        let example = example.replace(&id, &format!("  id: {node}\n"));
        let envoy = Arc::new(Envoy::start(&example, portolan.xds).await?);
        envoy
            .wait_until("an answer", LIMIT, async || match envoy.get(HOST, "/").await {
                (200, _) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        let traffic = Traffic::start_where(&envoy, HOST.into(), |body| ["first", "second"].contains(&body));
        Some(Member { node, envoy, traffic })
    }

    /// The `connect_timeout` of a cluster in this Envoy; `none` if it has no such cluster.
    async fn timeout(&self, cluster: &str) -> String {
        let dump = self.envoy.config_dump("dynamic_active_clusters").await;
        let all = dump["configs"].as_array().cloned().unwrap_or_default();
        let found = all.iter().map(|config| &config["cluster"]).find(|of| of["name"] == cluster);
        found.map_or("none".into(), |of| of["connect_timeout"].as_str().unwrap_or_default().to_owned())
    }

    async fn refusals(&self) -> u64 {
        self.envoy.stat("cluster_manager.cds.update_rejected").await.unwrap_or(0)
    }
}

/// The names of two nodes that are among the first half, and of two that are not.
fn nodes() -> [[String; 2]; 2] {
    let of = |first: bool| {
        let mut names = (0..).map(|n| format!("sidecar-{n}")).filter(|name| Share::new(0.5).has(name) == first);
        [names.next().unwrap(), names.next().unwrap()]
    };
    [of(true), of(false)]
}

/// Waits until both clusters of each have the timeout that is expected of it.
async fn have(all: &[Member], expected: impl Fn(&Member) -> &'static str) {
    until("the settings that each is to have", LIMIT, async || {
        let mut wrong = Vec::new();
        for member in all {
            for cluster in [CLUSTER, REFUSED] {
                let has = member.timeout(cluster).await;
                if has != expected(member) {
                    wrong.push(format!("{}: {cluster} has {has}, not {}", member.node, expected(member)));
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    })
    .await;
    go_on(all).await;
}

/// Waits until each was asked some more.
async fn go_on(all: &[Member]) {
    let before: Vec<usize> = all.iter().map(|member| member.traffic.made()).collect();
    until("traffic to go on", LIMIT, async || {
        let now: Vec<usize> = all.iter().map(|member| member.traffic.made()).collect();
        if now.iter().zip(&before).all(|(now, before)| *now >= before + BETWEEN) { Ok(()) } else { Err(now) }
    })
    .await;
}

fn put(folder: &Path, upstream: &Upstream) {
    let text = ["product-service", "refused"]
        .map(|name| format!("- host: {name}.example\n  endpoints: [\"{}\"]\n", upstream.address))
        .concat();
    let new = folder.join("new.tmp");
    fs::write(&new, format!("services:\n{text}")).unwrap();
    fs::rename(new, folder.join("catalogue.yaml")).unwrap();
}

/// What `portolan rollout` prints with these arguments. Panics if it fails.
async fn rollout(portolan: &Portolan, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.arg("rollout").args(words).env("PORTOLAN_ADMIN", format!("http://{}", portolan.admin));
    let output = command.output().await.unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

/// Waits until the rollout has that state and share.
async fn stands(portolan: &Portolan, state: &str, share: f64) -> serde_json::Value {
    until(&format!("a rollout that is {state} at {share}"), LIMIT, async || {
        let status = portolan.json("/api/v1/rollout").await;
        if status["state"] == state && status["share"] == share { Ok(status) } else { Err(status) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoys_get_other_settings_in_steps_and_what_one_refuses_halts_it() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    put(folder.path(), &first);
    let config = |seconds: u32, more: &str| {
        format!(
            "registries: [{{ name: shop, file: {{ path: '{}/catalogue.yaml', poll: 100ms }} }}]\n\
             envoy: {{ connect_timeout: {seconds}s{more} }}\n",
            folder.path().display()
        )
    };
    let steps = [("PORTOLAN_XDS__ROLLOUT__STEPS", "[50%, 100%]"), ("PORTOLAN_XDS__ROLLOUT__WAIT", "1day")];
    let portolan = Portolan::start_with_variables(&steps, &config(5, "")).await;
    let mut all = Vec::new();
    for [delta, whole] in nodes() {
        for (example, node) in [("sidecar.yaml", delta), ("sidecar-sotw.yaml", whole)] {
            let Some(member) = Member::start(example, node, &portolan).await else { return };
            all.push(member);
        }
    }
    let is_first = |member: &Member| Share::new(0.5).has(&member.node);
    have(&all, |_| "5s").await;

    // To half of them first; instances are followed by all.
    portolan.configure(&config(9, ""));
    stands(&portolan, "running", 0.5).await;
    have(&all, |member| if is_first(member) { "9s" } else { "5s" }).await;
    put(folder.path(), &second);
    for member in &all {
        member.envoy.until_answered(LIMIT, "second").await;
    }
    rollout(&portolan, &["continue"]).await;
    have(&all, |_| "9s").await;
    rollout(&portolan, &["continue"]).await;
    stands(&portolan, "none", 1.0).await;

    // What those refuse who have it first comes to nobody else.
    let tls = ", services: [{ match: { name: refused.example }, traffic_policy: { tls: { mode: SIMPLE, caCertificates: /nowhere/ca.pem } } }]";
    portolan.configure(&config(7, tls));
    let status = stands(&portolan, "halted", 0.5).await;
    let refusal = &status["refusals"][0];
    assert!(refusal["message"].as_str().is_some_and(|text| text.contains("/nowhere/ca.pem")), "{status}");
    let by = refusal["node"].as_str().unwrap();
    assert!(all.iter().any(|member| member.node == by && is_first(member)), "{status}");
    go_on(&all).await;
    for member in all.iter().filter(|member| !is_first(member)) {
        assert_eq!((member.refusals().await, member.timeout(CLUSTER).await), (0, "9s".into()), "{}", member.node);
    }

    let shown = rollout(&portolan, &["abort", "--why", "no such file"]).await;
    assert!(shown.contains("aborted"), "{shown}");
    stands(&portolan, "aborted", 0.0).await;
    have(&all, |_| "9s").await;
    until("nothing to be withheld", LIMIT, async || {
        let list = portolan.json("/api/v1/quarantine").await;
        if list.as_array().is_some_and(Vec::is_empty) { Ok(()) } else { Err(list) }
    })
    .await;
    put(folder.path(), &first);
    for member in &all {
        member.envoy.until_answered(LIMIT, "first").await;
    }
    for Member { traffic, .. } in all {
        traffic.stop_unharmed(5 * BETWEEN).await;
    }
}
