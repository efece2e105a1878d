//! Half an hour of everything that is usual, on a large scale: nothing grows, and no change is lost.

use crate::{
    chance::Chance,
    kinds::{HOST, Seen, Sort, client},
    support::{http, portolan::Portolan, until},
};
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const SERVICES: usize = 2_000;
const CLIENTS: usize = 200;
/// Clients that ask the admin API.
const READERS: usize = 4;
const LIMIT: Duration = Duration::from_secs(120);

/// What the process uses: resident memory (KiB), open descriptors and threads.
#[derive(Debug, Clone, Copy)]
struct Figures {
    kib: u64,
    descriptors: usize,
    threads: u64,
}

pub async fn soak(time: Duration, mut chance: Chance) {
    let folder = tempfile::tempdir().unwrap();
    let mut numbers = vec![3_usize; SERVICES];
    write(folder.path(), &numbers);
    rules(folder.path(), 1);
    let config = |poll: u64| {
        format!(
            "registries: [{{ name: shop, file: {{ path: '{0}/services.yaml', poll: {poll}ms }}, publish: {{ max_drop: 100% }} }}]\n\
             traffic: {{ path: '{0}/rules.yaml' }}\nstate: {{ dir: '{0}/state', quiet: 1s }}\nlog: {{ level: warn }}\n",
            folder.path().display()
        )
    };
    let portolan = Portolan::start(&config(200)).await;
    portolan.ready().await;
    let seen: Vec<Arc<Seen>> = (0..CLIENTS).map(|_| Arc::default()).collect();
    let mut clients = JoinSet::new();
    for (number, seen) in seen.iter().enumerate() {
        clients.spawn(client(portolan.xds, number, seen.clone()));
    }
    (0..READERS).for_each(|_| drop(clients.spawn(reader(portolan.admin))));
    let mut sorts = BTreeMap::<Sort, usize>::new();
    (0..CLIENTS).for_each(|number| *sorts.entry(Sort::of(number)).or_default() += 1);
    eprintln!("{sorts:?}, and {READERS} who ask admin");
    let (started, mut turn, mut early, mut timeout) = (Instant::now(), 0_u64, None, 1);
    while started.elapsed() < time {
        // Some change, and what the clients follow has arrived at each before the next.
        for _ in 0..=chance.below(20) {
            numbers[chance.below(SERVICES)] = 1 + chance.below(8);
        }
        numbers[0] = 1 + (numbers[0] % 8);
        write(folder.path(), &numbers);
        if turn % 10 == 9 {
            timeout = 1 + timeout % 50;
            rules(folder.path(), timeout);
        }
        if turn % 50 == 49 {
            portolan.configure(&config(200 + turn % 7));
        }
        until("all clients to have a change", LIMIT, async || {
            let is_behind = |(number, seen): (usize, &Arc<Seen>)| {
                let other = seen.instances.load(Ordering::Relaxed) != numbers[0];
                let routes = Sort::of(number) == Sort::Gateway && seen.timeout.load(Ordering::Relaxed) != timeout;
                (other || routes).then(|| format!("{:?} {number}: {seen:?}", Sort::of(number)))
            };
            let behind: Vec<String> = seen.iter().enumerate().filter_map(is_behind).collect();
            let all = clients.len() == CLIENTS + READERS;
            if behind.is_empty() && all { Ok(()) } else { Err((behind, clients.len())) }
        })
        .await;
        // One that has failed says why.
        while let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
        turn += 1;
        if early.is_none() && started.elapsed() > (time / 10).max(Duration::from_secs(20)) {
            early = Some(figures(portolan.pid()));
            eprintln!("after {:.0?}: {early:?}", started.elapsed());
        }
    }
    let (late, early) = (figures(portolan.pid()), early.expect("it lasts longer than that"));
    eprintln!("after {:.0?} and {turn} changes: {late:?}", started.elapsed());
    assert!(late.kib * 10 <= early.kib * 11, "memory: {early:?}, then {late:?}");
    assert!(late.descriptors <= early.descriptors + 8, "descriptors: {early:?}, then {late:?}");
    assert!(late.threads <= early.threads + 8, "threads: {early:?}, then {late:?}");
    // Nothing was lost: what a new client is given is what the file says.
    let service = portolan.json("/api/v1/services/s0.example").await;
    assert_eq!(service["endpoints"]["total"], numbers[0]);
    clients.shutdown().await;
}

fn write(folder: &Path, numbers: &[usize]) {
    let mut text = String::from("services:\n");
    for (service, number) in numbers.iter().enumerate() {
        let endpoint = |i: usize| format!("'10.{}.{}.{i}:80'", service / 250, service % 250);
        let endpoints: Vec<String> = (1..=*number).map(endpoint).collect();
        text += &format!("- {{ host: s{service}.example, endpoints: [{}] }}\n", endpoints.join(", "));
    }
    put(folder, "services.yaml", &text);
}

/// Istio's rules of the gateway, whose route waits so many seconds.
fn rules(folder: &Path, seconds: usize) {
    let text = format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: shop }}
spec:
  selector: {{ istio: edge }}
  servers: [{{ port: {{ number: 8080, name: http, protocol: HTTP }}, hosts: ['*'] }}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: shop, namespace: shop }}
spec:
  hosts: [shop.example]
  gateways: [edge]
  http: [{{ timeout: {seconds}s, route: [{{ destination: {{ host: {HOST} }} }}] }}]
"
    );
    put(folder, "rules.yaml", &text);
}

fn put(folder: &Path, name: &str, text: &str) {
    let new = folder.join("put.new");
    fs::write(&new, text).unwrap();
    fs::rename(new, folder.join(name)).unwrap();
}

/// Asks for the admin pages that people and scripts look at, again and again, until it is aborted.
async fn reader(admin: SocketAddr) {
    const PAGES: [&str; 10] = [
        "/ready?for=istio",
        "/metrics",
        "/api/v1/registries",
        "/api/v1/services?limit=100",
        "/api/v1/services/s0.example",
        "/api/v1/clients",
        "/api/v1/views",
        "/api/v1/resources/clusters",
        "/api/v1/history?limit=100",
        "/api/v1/digests",
    ];
    for page in PAGES.iter().cycle() {
        let (status, text) = http::get(admin, page).await;
        assert!(status == 200 && !text.is_empty(), "{page}: {status}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn figures(pid: u32) -> Figures {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    Figures { kib: field("VmRSS:"), descriptors, threads: field("Threads:") }
}
