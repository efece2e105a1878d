//! Hostile clients of every sort against the server, a client that behaves beside them, and what that costs both.

use crate::{attacks, process::Server, registry::Registry, report::Spread, stream};
use anyhow::{Context, bail};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// A container's limit. The server must not have held more at any time.
const MOST: usize = 1 << 30;
/// Between two changes of the registry.
const PAUSE: Duration = Duration::from_millis(50);

/// One attack after the other, each for so long and on a server of its own.
pub async fn run(args: &crate::Args, clients: usize, seconds: u64) -> anyhow::Result<()> {
    println!("{clients} attackers for {seconds} s each; a change every {PAUSE:?}, seen by a client that behaves");
    for attack in attacks::Attack::ALL {
        one(args, attack, clients, Duration::from_secs(seconds)).await.with_context(|| format!("{attack:?}"))?;
    }
    Ok(())
}

async fn one(args: &crate::Args, attack: attacks::Attack, clients: usize, time: Duration) -> anyhow::Result<()> {
    let registry = Registry::create(args.registry, args.services, args.endpoints).await?;
    let server = Server::start(&args.portolan, registry.config()).await?;
    let before = attacks::peak_memory(server.pid()).context("no memory is known")?;
    let observer = stream::Observer::new(1);
    let names = Arc::new(stream::Names::new(registry.names()));
    tokio::spawn(stream::run(server.xds(), args.variant, names, observer.clone()));
    observer.wait_full(Duration::from_secs(60)).await?;

    let attackers = tokio::spawn(attacks::run(attack, server.xds(), clients, time));
    let (mut late, began) = (Vec::new(), Instant::now());
    let mut change = 0;
    while began.elapsed() < time {
        sleep(PAUSE).await;
        observer.begin_round();
        change += 1;
        let at = registry.change(change % args.services).await?;
        let seen = observer.wait_round(Duration::from_secs(30)).await.context("the client that behaves")?;
        late.extend(seen.iter().map(|seen| seen.duration_since(at)));
    }
    let rounds = attackers.await?;
    let peak = attacks::peak_memory(server.pid()).context("the server has ended")?;
    let (before, peak) = (before >> 20, peak >> 20);
    println!(
        "{:<14} {rounds:>9} times   late {}   peak {before} -> {peak} MiB",
        format!("{attack:?}"),
        Spread::of(late)
    );
    if observer.broken() > 0 {
        bail!("the stream of the client that behaves broke");
    }
    if peak > MOST >> 20 {
        bail!("the server held {peak} MiB");
    }
    Ok(())
}
