//! Half an hour of everything that is usual, on a large scale: nothing grows, and no change is lost.

use crate::{
    chance::Chance,
    client::{ADS_DELTA, ADS_SOTW, Delta, Sotw, delta_request, sotw_request},
    support::{portolan::Portolan, until},
};
use portolan::{
    pb::envoy::{config::endpoint::v3::ClusterLoadAssignment, service::discovery::v3::DeltaDiscoveryRequest},
    resource::Kind,
};
use prost::Message;
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

const SERVICES: usize = 2_000;
const CLIENTS: usize = 200;
const LIMIT: Duration = Duration::from_secs(120);

/// What the process has.
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
    let config = |poll: u64| {
        format!(
            "registries: [{{ name: shop, file: {{ path: '{0}/services.yaml', poll: {poll}ms }}, publish: {{ max_drop: 100% }} }}]\n\
             state: {{ dir: '{0}/state', quiet: 1s }}\nlog: {{ level: warn }}\n",
            folder.path().display()
        )
    };
    let portolan = Portolan::start(&config(200)).await;
    portolan.ready().await;
    let seen: Arc<[AtomicUsize]> = (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(portolan.xds, number, seen.clone()));
    }
    let (started, mut turn, mut early) = (Instant::now(), 0_u64, None);
    while started.elapsed() < time {
        // Some change, and what the clients follow has arrived at each before the next.
        for _ in 0..=chance.below(20) {
            numbers[chance.below(SERVICES)] = 1 + chance.below(8);
        }
        numbers[0] = 1 + (numbers[0] % 8);
        write(folder.path(), &numbers);
        if turn % 50 == 49 {
            portolan.configure(&config(200 + turn % 7));
        }
        until("all clients to have a change", LIMIT, async || {
            let behind = seen.iter().filter(|seen| seen.load(Ordering::Relaxed) != numbers[0]).count();
            if behind == 0 && clients.len() == CLIENTS { Ok(()) } else { Err((behind, clients.len())) }
        })
        .await;
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
    let new = folder.join("services.new");
    fs::write(&new, text).unwrap();
    fs::rename(new, folder.join("services.yaml")).unwrap();
}

/// Follows the endpoints of the service that each change has. Now and then it comes anew.
async fn client(xds: SocketAddr, number: usize, seen: Arc<[AtomicUsize]>) {
    const NAME: &str = "outbound|80||s0.example";
    let heard = |value: &[u8]| {
        let assignment = ClusterLoadAssignment::decode(value).unwrap();
        let endpoints = assignment.endpoints.iter().map(|locality| locality.lb_endpoints.len()).sum();
        seen[number].store(endpoints, Ordering::Relaxed);
    };
    for round in 0.. {
        let channel = Endpoint::from_shared(format!("http://{xds}")).unwrap().connect().await.unwrap();
        let most = 50 + (number + round) % 50;
        if number.is_multiple_of(2) {
            let mut stream = Delta::open(channel, ADS_DELTA).await;
            stream.request(delta_request(Kind::Endpoint, &[NAME], &[])).await;
            for _ in 0..most {
                let answer = stream.message().await.unwrap().expect("the stream goes on");
                answer.resources.iter().filter_map(|item| item.resource.as_ref()).for_each(|any| heard(&any.value));
                let acknowledged = delta_request(Kind::Endpoint, &[], &[]);
                stream.request(DeltaDiscoveryRequest { response_nonce: answer.nonce, ..acknowledged }).await;
            }
        } else {
            let mut stream = Sotw::open(channel, ADS_SOTW).await;
            stream.request(sotw_request(Kind::Endpoint, &[NAME], "", "")).await;
            for _ in 0..most {
                let answer = stream.message().await.unwrap().expect("the stream goes on");
                answer.resources.iter().for_each(|any| heard(&any.value));
                stream.request(sotw_request(Kind::Endpoint, &[NAME], &answer.version_info, &answer.nonce)).await;
            }
        }
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
