//! Hostile clients of every sort against the server, a client that behaves beside them, and what that costs both.

use crate::{attacks, process::Server, registry::Registry, report::Spread, stream};
use anyhow::{Context, bail};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Bytes of a container's limit. The server must not have held more resident memory at any time.
const MOST: usize = 1 << 30;
/// How late the client that behaves may see changes, at the 99th percentile.
const LATEST_MS: f64 = 250.0;
/// Time between two changes of the registry.
const PAUSE: Duration = Duration::from_millis(50);

/// One attack after the other, each for so long and on a server of its own. Over TLS it is handshakes that stall: those who come
/// further than that have proved who they are.
pub async fn run(args: &crate::Args, clients: usize, seconds: u64) -> anyhow::Result<()> {
    println!("{clients} attackers for {seconds} s each; a change every {PAUSE:?}, seen by a client that behaves");
    let mut failed = Vec::new();
    let all = attacks::Attack::ALL;
    let attacks = if args.tls { &[attacks::Attack::SilentConnections][..] } else { &all[..] };
    let wanted = |attack: &attacks::Attack| args.attack.as_ref().is_none_or(|name| *name == format!("{attack:?}"));
    for attack in attacks.iter().copied().filter(wanted) {
        if let Err(error) = one(args, attack, clients, Duration::from_secs(seconds)).await {
            println!("{attack:?}: {error:#}");
            failed.push(attack);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("these harm others: {failed:?}") }
}

async fn one(args: &crate::Args, attack: attacks::Attack, clients: usize, time: Duration) -> anyhow::Result<()> {
    let registry = Registry::create(args.registry, args.services, args.endpoints, 0).await?;
    let server = Server::start(&args.portolan, registry.config(), args.tls).await?;
    let before = attacks::peak_memory(server.pid()).context("no memory is known")?;
    let observer = stream::Observer::new(1);
    let names = Arc::new(stream::Names::new(registry.names()));
    let client = Arc::new(stream::Client { clusters: true, ..stream::Client::default() });
    tokio::spawn(stream::run(server.target(), args.variant, client, names, observer.clone()));
    observer.wait_full(Duration::from_secs(60)).await?;

    let from = if args.same_address { attacks::CLIENT } else { attacks::ATTACKER };
    // On threads of their own: the client that behaves is not theirs, and must not wait for them here.
    let address = server.xds();
    let attackers = tokio::task::spawn_blocking(move || {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        anyhow::Ok(threads.block_on(attacks::run(attack, from, address, clients, time)))
    });
    let (mut late, began) = (Vec::new(), Instant::now());
    let mut change = 0;
    while began.elapsed() < time {
        sleep(PAUSE).await;
        observer.begin_round(1);
        change += 1;
        let at = registry.change(change % args.services).await?;
        let seen = observer.wait_round(Duration::from_secs(30)).await.context("the client that behaves")?;
        late.extend(seen.iter().map(|seen| seen.duration_since(at)));
    }
    let rounds = attackers.await??;
    let peak = attacks::peak_memory(server.pid()).context("the server has ended")?;
    let (before, peak) = (before >> 20, peak >> 20);
    let late = Spread::of(late);
    println!("{:<17} {rounds:>9} times   late {late}   peak {before} -> {peak} MiB", format!("{attack:?}"));
    if observer.broken() > 0 {
        bail!("the stream of the client that behaves broke");
    }
    if peak > MOST >> 20 {
        bail!("the server held {peak} MiB");
    }
    if late.p99() > LATEST_MS {
        bail!("the client that behaves sees changes too late");
    }
    Ok(())
}
