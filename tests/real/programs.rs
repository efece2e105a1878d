//! gRPC programs with no proxy (grpc-go, grpcio which is the C core, grpc-java) call a service of a real Nacos by its name, on the
//! bootstrap that `portolan bootstrap grpc` prints: they follow instances, weights, headers, faults and retries.
//!
//! All of them at once, side by side, because starting the server costs more than all calls.

use crate::support::{
    nacos::Nacos, portolan::Portolan, programs::Consumer, servers::prepared, until, upstream::Upstream,
};
use std::{collections::BTreeMap, fs, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);
const GROUP: &str = "grpc";
const SERVICE: &str = "orders";
const PROGRAMS: [&str; 3] = ["grpc-go", "grpc-python", "grpc-java"];

/// Istio's rules, with the part of calls, in percent, that go to the second subset.
fn rules(second: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: orders }}
spec:
  host: orders.example
  subsets:
  - {{ name: v1, labels: {{ version: v1 }} }}
  - {{ name: v2, labels: {{ version: v2 }} }}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: orders }}
spec:
  hosts: [orders.example]
  http:
  - match: [{{ headers: {{ x-gray: {{ exact: 'true' }} }} }}]
    route: [{{ destination: {{ host: orders.example, subset: v2 }} }}]
  - match: [{{ headers: {{ x-fault: {{ exact: abort }} }} }}]
    fault: {{ abort: {{ percentage: {{ value: 30 }}, grpcStatus: PERMISSION_DENIED }} }}
    route: [{{ destination: {{ host: orders.example, subset: v1 }} }}]
  - match: [{{ headers: {{ x-retry: {{ exact: never }} }} }}]
    retries: {{ attempts: 0 }}
    route: [{{ destination: {{ host: orders.example, subset: v1 }} }}]
  - route:
    - {{ destination: {{ host: orders.example, subset: v1 }}, weight: {} }}
    - {{ destination: {{ host: orders.example, subset: v2 }}, weight: {second} }}
",
        100 - second
    )
}

struct Caller {
    name: &'static str,
    program: Consumer,
}

type Counts = BTreeMap<String, usize>;

impl Caller {
    /// What came of so many calls, and how often. `words`: their metadata.
    async fn call(&mut self, count: usize, words: &str) -> Counts {
        let answer = self.program.call(&format!("{count} {words}")).await;
        let answer = answer.unwrap_or_else(|line| panic!("{}: {line}\n{}", self.name, self.program.log()));
        serde_json::from_str(&answer).unwrap()
    }

    /// Calls until exactly these answers come, each at least once. `always`: what may come on the way.
    async fn until(&mut self, words: &str, expected: &[&str], always: impl Fn(&str) -> bool) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let found = self.call(20, words).await;
            if found.keys().map(String::as_str).eq(expected.iter().copied()) {
                return;
            }
            let (name, log) = (self.name, self.program.log());
            let is_right = |answer: &String| expected.contains(&answer.as_str()) || always(answer);
            assert!(found.keys().all(is_right), "{name}: {found:?}\n{log}");
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "{name}: {expected:?} of {words:?} have not come in {LIMIT:?}, but {found:?}\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn check_share(&self, found: &Counts, share: f64, one: &str, other: &str) {
        let count = |answer: &str| found.get(answer).copied().unwrap_or_default();
        let all = (count(one) + count(other)) as f64;
        assert_eq!(found.values().sum::<usize>(), count(one) + count(other), "{}: {found:?}", self.name);
        let bound = 5.0 * (all * share * (1.0 - share)).sqrt();
        let off = (count(one) as f64 - all * share).abs();
        assert!(off <= bound, "{}: {one} should be {share}, within {bound:.0} calls: {found:?}", self.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_programs_follow_instances_weights_headers_faults_and_retries() {
    if !prepared(&PROGRAMS).await {
        return;
    }
    let Some(nacos) = Nacos::start("nacos3").await else { return };
    let (one, two, three) = (Upstream::grpc("one").await, Upstream::grpc("two").await, Upstream::grpc("three").await);
    let [one, two, three] = [&one, &two, &three].map(|upstream| upstream.address.to_string());
    let _beats = nacos.beats(GROUP, &[(SERVICE, &one)]);
    let settings = |version: &str| format!("groupName={GROUP}&metadata={{\"version\":\"{version}\"}}");
    nacos.register(SERVICE, &one, &settings("v1")).await;
    let folder = tempfile::tempdir().unwrap();
    let (routes, bootstrap) = (folder.path().join("routes"), folder.path().join("grpc.json"));
    fs::create_dir(&routes).unwrap();
    let put = |text: &str| {
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), routes.join("orders.yaml")).unwrap();
    };
    let portolan = Portolan::start(&format!(
        "traffic: {{ path: '{}' }}
registries:
- name: grpc
  nacos: {{ servers: ['{}'], groups: [{GROUP}], period: 500ms }}
  publish: {{ host: '{{service}}.example', addresses: {{ loopback: keep }}, protocol: grpc, port: 9090 }}
",
        routes.display(),
        nacos.url()
    ))
    .await;
    portolan.ready().await;
    let printed = tokio::process::Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["bootstrap", "grpc", "--xds", &portolan.xds.to_string()])
        .output()
        .await
        .unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    fs::write(&bootstrap, printed.stdout).unwrap();
    let bootstrap = format!("bootstrap={}", bootstrap.display());
    let mut callers = Vec::new();
    for name in PROGRAMS {
        let program = Consumer::grpc(name, &[&bootstrap, "target=xds:///orders.example"]).await;
        callers.push(Caller { name, program });
    }

    // Instances come: each has its part.
    for caller in &mut callers {
        caller.until("x-any=1", &["OK one"], |answer| answer.starts_with("CODE 14")).await;
    }
    let _more = nacos.beats(GROUP, &[(SERVICE, &two)]);
    nacos.register(SERVICE, &two, &settings("v2")).await;
    for caller in &mut callers {
        caller.until("x-any=1", &["OK one", "OK two"], |answer| answer.starts_with("OK ")).await;
        let found = caller.call(100, "x-any=1").await;
        assert!(found["OK one"].abs_diff(50) <= 1, "{}: one after the other: {found:?}", caller.name);
    }

    // Rules come. A program may take a route over before the picker of the cluster that is new with it: "unknown cluster
    // selected for RPC" (grpc-go 1.84).
    put(&rules(10));
    for caller in &mut callers {
        let on_the_way = |answer: &str| answer.starts_with("OK ") || answer.starts_with("CODE 14");
        caller.until("x-gray=true", &["OK two"], on_the_way).await;
        let found = caller.call(1_000, "x-any=1").await;
        eprintln!("{}: 90/10: {found:?}", caller.name);
        caller.check_share(&found, 0.9, "OK one", "OK two");
        let found = caller.call(500, "x-fault=abort").await;
        eprintln!("{}: a fault for 30 %: {found:?}", caller.name);
        caller.check_share(&found, 0.3, "CODE 7", "OK one");
        let tried_again = caller.call(20, "x-fail=first x-gray=true").await;
        assert_eq!(tried_again, Counts::from([("OK two".to_owned(), 20)]), "{}", caller.name);
        let not_again = caller.call(20, "x-fail=first x-retry=never").await;
        assert_eq!(not_again, Counts::from([("CODE 14".to_owned(), 20)]), "{}", caller.name);
    }

    // They change, and instances go: no call fails.
    put(&rules(100));
    for caller in &mut callers {
        caller.until("x-any=1", &["OK two"], |answer| answer.starts_with("OK ")).await;
    }
    let _more = nacos.beats(GROUP, &[(SERVICE, &three)]);
    nacos.register(SERVICE, &three, &settings("v2")).await;
    for caller in &mut callers {
        caller.until("x-any=1", &["OK three", "OK two"], |answer| answer.starts_with("OK ")).await;
    }
    nacos.deregister(SERVICE, &two, &format!("groupName={GROUP}")).await;
    for caller in &mut callers {
        caller.until("x-any=1", &["OK three"], |answer| answer.starts_with("OK ")).await;
    }

    // They have refused nothing.
    until("all programs to be listed", LIMIT, async || {
        let clients = portolan.json("/api/v1/clients").await;
        let clients = clients["clients"].as_array().or(clients.as_array()).cloned().unwrap_or_default();
        let refused = clients.iter().any(|client| !client["types"].to_string().contains("\"refused\":null"));
        if clients.len() == PROGRAMS.len() && !refused { Ok(()) } else { Err(format!("{clients:#?}")) }
    })
    .await;
}
