//! Hostile clients against the product as a process of its own: it bears each attack within its memory, stays there, and
//! serves a client that behaves all the while. `tests/long/attack` does the same for longer, with figures.

#[allow(dead_code, reason = "this test uses a part")]
#[path = "support/attack.rs"]
mod attack;
mod support;

use attack::{ATTACKER, Attack, Canary, peak_memory};
use std::{fs, time::Duration};
use support::portolan::Portolan;

/// Far below what a single request cost before requests had limits (1.5 GB and more), and far above what it takes.
const MOST: usize = 700 << 20;

const REGISTRY: &str = "registries: [{ name: files, file: { path: services.yaml } }]\n";

const NAME: &str = "outbound|80||s0.example";

/// 200 services; the instance of the first has an address that differs with the turn.
fn catalogue(turn: usize) -> String {
    let address = |service: usize| if service == 0 { needle(turn) } else { "192.0.2.1".into() };
    let service = |service| format!("- {{ host: s{service}.example, endpoints: ['{}:8080'] }}\n", address(service));
    format!("services:\n{}", (0..200).map(service).collect::<String>())
}

fn needle(turn: usize) -> String {
    format!("198.51.100.{}", turn % 250 + 1)
}

/// Runs the attack beside a client that was there before and one that comes anew after each change: both must see it.
async fn bears(attack: Attack, clients: usize) {
    let (portolan, folder) = start().await;
    let path = folder.path().join("services.yaml");
    let change = |turn| {
        fs::write(path.with_extension("new"), catalogue(turn)).unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
    };
    let mut canary = Canary::open(portolan.xds, NAME).await.unwrap();
    let address = portolan.xds;
    let attackers = tokio::spawn(attack::run(attack, ATTACKER, address, clients, Duration::from_secs(4)));
    let mut turn = 0;
    while !attackers.is_finished() || turn < 3 {
        turn += 1;
        change(turn);
        let what = format!("change {turn} under {attack:?}");
        within(&what, canary.sees(needle(turn).as_bytes())).await;
        let anew = async { Canary::open(portolan.xds, NAME).await?.sees(needle(turn).as_bytes()).await };
        within(&what, anew).await;
    }
    let rounds = attackers.await.unwrap();
    let peak = peak_memory(portolan.pid()).unwrap();
    assert!(rounds > 0, "{attack:?} attacked nothing");
    assert!(peak < MOST, "{attack:?}: {} MiB after {rounds} rounds", peak >> 20);
    let log = portolan.log();
    assert!(!log.contains('\x1b') && !log.contains("\nforged"), "a client's text stands raw in the log");
    let warnings = log.lines().filter(|line| line.contains(" WARN ")).count();
    assert!(warnings < 1_000, "{attack:?}: {warnings} warnings");
    assert!(portolan.terminate().await.success(), "{attack:?}");
}

/// Starts a Portolan on the catalogue of turn 0. The folder holds the catalogue.
async fn start() -> (Portolan, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("services.yaml");
    fs::write(&path, catalogue(0)).unwrap();
    let portolan = Portolan::start(&REGISTRY.replace("services.yaml", path.to_str().unwrap())).await;
    portolan.ready().await;
    (portolan, folder)
}

#[tokio::test]
async fn a_refusal_is_one_line_until_something_is_accepted_and_its_text_stands_escaped() {
    let (portolan, folder) = start().await;
    let mut client = Canary::open(portolan.xds, NAME).await.unwrap();
    within("the first answer", client.sees(needle(0).as_bytes())).await;
    client.refuse(50, "no\nforged: a line \x1b[2J").await.unwrap();
    // What comes last shows that all was read.
    fs::write(folder.path().join("services.yaml"), catalogue(1)).unwrap();
    within("the change", client.sees(needle(1).as_bytes())).await;
    client.refuse(50, "no, again").await.unwrap();
    fs::write(folder.path().join("services.yaml"), catalogue(2)).unwrap();
    within("another change", client.sees(needle(2).as_bytes())).await;
    let log = support::until("both refusals in the log", Duration::from_secs(60), async || {
        let log = portolan.log();
        if log.contains("no, again") { Ok(log) } else { Err(log) }
    })
    .await;
    let refusals: Vec<&str> = log.lines().filter(|line| line.contains("A client refuses")).collect();
    assert_eq!(refusals.len(), 2, "{refusals:#?}");
    assert!(!log.contains('\x1b') && !log.contains("\nforged"), "{log}");
}

async fn within<E: std::fmt::Display>(what: &str, seen: impl Future<Output = Result<(), E>>) {
    match tokio::time::timeout(Duration::from_secs(60), seen).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{what}: {error}"),
        Err(_) => panic!("{what} did not come in time"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_costs_the_attackers_alone() {
    for attack in Attack::ALL {
        let clients = match attack {
            Attack::SilentStreams => 60,
            Attack::SilentConnections => 4, // all their sockets are this process's, too
            _ => 8,
        };
        bears(attack, clients).await;
    }
}
