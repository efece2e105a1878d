//! The load generator: K streams against a Portolan of its own, and what that costs the server.
//!
//! It starts a `portolan` process on a registry that it controls (a folder of catalogue files, a fake Nacos, or a real
//! ZooKeeper), opens K ADS streams on TCP connections of their own, acknowledges everything as Envoy does (wildcard
//! clusters, endpoints by all names), makes changes in the registry, and reports times, bytes, and the server's CPU and
//! memory read from its process. Changes go the whole way: registry, catalog, view, stream. All on loopback, bounded in
//! time and count.

mod attack;
#[allow(dead_code, reason = "the load generator uses a part")]
#[path = "../../tests/support/attack.rs"]
mod attacks;
#[allow(dead_code, reason = "the load generator uses a part")]
#[path = "../../tests/support/fake_configs.rs"]
mod fake_configs;
#[allow(dead_code, reason = "the load generator uses a part")]
#[path = "../../tests/support/fake_nacos.rs"]
mod fake_nacos;
#[allow(dead_code, reason = "the load generator uses a part")]
#[path = "../../tests/support/fault.rs"]
mod fault;
mod process;
mod registry;
mod report;
mod stream;
mod support;

use anyhow::{Context, bail};
use clap::Parser;
use process::Server;
use registry::Registry;
use report::Spread;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use stream::{Observer, Variant};
use tokio::time::sleep;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The command line.
#[derive(Debug, Parser)]
#[command(about = "Loads a Portolan with K streams and reports what that costs it")]
struct Args {
    /// The server's binary.
    #[arg(long, default_value = "target/release/portolan")]
    portolan: PathBuf,
    /// Where the services are registered. Nacos is polled every second; ZooKeeper is watched.
    #[arg(long, value_enum, default_value_t = registry::Kind::File)]
    registry: registry::Kind,
    /// Streams, each on a connection of its own.
    #[arg(long, short = 'k', default_value_t = 100)]
    streams: usize,
    /// Services in the registry.
    #[arg(long, short = 'n', default_value_t = 5000)]
    services: usize,
    /// Endpoints of each service.
    #[arg(long, short = 'e', default_value_t = 10)]
    endpoints: usize,
    /// Each stream declares so many services, and gets no others: pseudo-random ones, of which two streams rarely have the same.
    #[arg(long, default_value_t = 0)]
    declares: usize,
    /// Streams subscribe to so many assignments by name, of the view that has everything.
    #[arg(long, default_value_t = 0)]
    names: usize,
    /// Endpoints lie in so many zones of five to a region, streams too, and what is near comes first.
    #[arg(long, default_value_t = 0)]
    zones: usize,
    /// The variant of the protocol; `istio` follows ServiceEntries as an Istiod does
    #[arg(long, value_enum, default_value_t = Variant::Delta)]
    variant: Variant,
    /// Changes of one endpoint's weight, one after the other.
    #[arg(long, default_value_t = 40)]
    changes: usize,
    /// After that: this many changes at the given rate, and how far behind the last stream is.
    #[arg(long, default_value_t = 0)]
    burst: usize,
    /// Changes per second of the burst.
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// Seconds in which nothing changes, at first: messages and CPU of that.
    #[arg(long, default_value_t = 5)]
    idle: u64,
    /// This many readers that never read, one change between each two of them; what they cost in memory.
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// This many hostile clients of each sort, one sort after the other, beside one stream that behaves.
    #[arg(long, default_value_t = 0)]
    attackers: usize,
    /// Connections are encrypted, and each client shows a certificate.
    #[arg(long)]
    tls: bool,
    /// Hostile clients come from the address of the stream that behaves.
    #[arg(long)]
    same_address: bool,
    /// This attack alone, by its name.
    #[arg(long)]
    attack: Option<String>,
    /// How long each attack lasts, in seconds
    #[arg(long, default_value_t = 20)]
    attack_time: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(args))
}

async fn run(args: Args) -> anyhow::Result<()> {
    if args.attackers > 0 {
        return attack::run(&args, args.attackers, args.attack_time).await;
    }
    let registry = Registry::create(args.registry, args.services, args.endpoints, args.zones).await?;
    let started = Instant::now();
    let server = Server::start(&args.portolan, config(&args, &registry), args.tls).await?;
    let tls = if args.tls { ", TLS" } else { "" };
    println!(
        "{} services x {} endpoints, {} streams, {:?}{tls}",
        args.services, args.endpoints, args.streams, args.variant
    );
    println!("ready after           {:>9.0} ms   RSS {:.0} MiB", millis(started.elapsed()), server.rss_mib()?);
    if args.stalled > 0 {
        return stalled(&args, &registry, &server).await;
    }
    let observer = Observer::new(args.streams);
    full_state(&args, &server, &observer, &registry).await?;
    idle(&args, &server, &observer).await?;
    changes(&args, &server, &observer, &registry).await?;
    if args.burst > 0 {
        burst(&args, &server, &observer, &registry).await?;
    }
    if observer.broken() > 0 {
        bail!("{} streams broke", observer.broken());
    }
    Ok(())
}

/// Opens all streams, and reports the time until each has everything.
async fn full_state(args: &Args, server: &Server, observer: &Arc<Observer>, registry: &Registry) -> anyhow::Result<()> {
    let (started, cpu) = (Instant::now(), server.cpu()?);
    let all = Arc::new(stream::Names::new(registry.names()));
    for number in 0..args.streams {
        let names = match wanted(args, number) {
            Some(wanted) => {
                let names: Vec<String> = registry.names().collect();
                Arc::new(stream::Names::new(wanted.into_iter().map(|service| names[service].clone())))
            }
            None => all.clone(),
        };
        let client = Arc::new(client(args, registry, number));
        tokio::spawn(stream::run(server.target(), args.variant, client, names, observer.clone()));
    }
    let times = observer.wait_full(Duration::from_secs(120)).await.context("full state")?;
    until_quiet(observer).await;
    let spread = Spread::of(times.iter().map(|t| t.duration_since(started)));
    println!("full state            {spread}   CPU {:.0} ms", millis(server.cpu()? - cpu));
    println!(
        "  per stream          {:>9.2} MiB  RSS {:.0} MiB",
        observer.take_bytes() as f64 / args.streams as f64 / 1048576.0,
        server.rss_mib()?
    );
    Ok(())
}

/// Reports messages and CPU of a time in which nothing changes: nothing may be sent.
async fn idle(args: &Args, server: &Server, observer: &Observer) -> anyhow::Result<()> {
    let (cpu, messages) = (server.cpu()?, observer.messages());
    sleep(Duration::from_secs(args.idle)).await;
    println!(
        "idle {:>3} s            {:>9} messages   CPU {:.1} ms",
        args.idle,
        observer.messages() - messages,
        millis(server.cpu()? - cpu)
    );
    Ok(())
}

/// One change after the other, each seen by all streams and acknowledged before the next.
async fn changes(args: &Args, server: &Server, observer: &Observer, registry: &Registry) -> anyhow::Result<()> {
    if args.changes == 0 {
        return Ok(());
    }
    let (cpu, began) = (server.cpu()?, Instant::now());
    let (mut last, mut each) = (Vec::new(), Vec::new());
    observer.take_bytes();
    for change in 0..args.changes {
        let service = change % args.services;
        let concerned = concerned(args, service);
        if concerned == 0 {
            continue;
        }
        observer.begin_round(concerned);
        let at = registry.change(service).await?;
        let times = observer.wait_round(Duration::from_secs(20)).await.with_context(|| format!("change {change}"))?;
        last.push(times.iter().max().copied().unwrap_or(at).duration_since(at));
        each.extend(times.iter().map(|t| t.duration_since(at)));
        until_quiet(observer).await;
    }
    let cpu = server.cpu()? - cpu;
    let count = args.changes as f64;
    println!("change, last stream   {}   CPU {:.1} ms per change", Spread::of(last), millis(cpu) / count);
    println!(
        "change, each stream   {}   {:.0} B per stream",
        Spread::of(each),
        observer.take_bytes() as f64 / count / args.streams as f64
    );
    println!("  {} changes in {:.1} s, RSS {:.0} MiB", args.changes, began.elapsed().as_secs_f64(), server.rss_mib()?);
    Ok(())
}

/// Many changes at a steady rate, and how long after the last one every stream has it.
async fn burst(args: &Args, server: &Server, observer: &Observer, registry: &Registry) -> anyhow::Result<()> {
    let (cpu, messages) = (server.cpu()?, observer.messages());
    let mut tick = tokio::time::interval(Duration::from_secs(1) / args.rate);
    for change in 0..args.burst {
        tick.tick().await;
        registry.change(1 + change % (args.services - 1)).await?;
    }
    until_quiet(observer).await;
    observer.begin_round(concerned(args, 0));
    let at = registry.change(0).await?;
    let times = observer.wait_round(Duration::from_secs(20)).await.context("the last change of the burst")?;
    let behind = times.iter().max().copied().unwrap_or(at).duration_since(at);
    println!(
        "burst {} at {}/s     last {:.0} ms behind   {} messages   CPU {:.1} ms per change",
        args.burst,
        args.rate,
        millis(behind),
        (observer.messages() - messages) / args.streams as u64,
        millis(server.cpu()? - cpu) / args.burst as f64
    );
    Ok(())
}

/// Readers that subscribe to everything and never read, each stalled at a generation of its own.
async fn stalled(args: &Args, registry: &Registry, server: &Server) -> anyhow::Result<()> {
    let before = server.rss_mib()?;
    let names = Arc::new(stream::Names::new(registry.names()));
    let mut readers = Vec::new();
    for reader in 0..args.stalled {
        readers.push(stream::stall(&server.target(), args.variant, names.clone()).await?);
        registry.change(reader % args.services).await?;
        sleep(Duration::from_millis(30)).await;
    }
    sleep(Duration::from_secs(1)).await;
    println!("{} stalled readers    RSS {before:.0} -> {:.0} MiB", args.stalled, server.rss_mib()?);
    Ok(())
}

/// Waits until no message has come for 60 ms: all is sent and acknowledged.
async fn until_quiet(observer: &Observer) {
    let mut seen = observer.messages();
    loop {
        sleep(Duration::from_millis(60)).await;
        if observer.messages() == seen {
            return;
        }
        seen = observer.messages();
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// What the configuration has besides listeners: the registry, and a scope if streams declare services.
fn config(args: &Args, registry: &Registry) -> String {
    let scopes = if args.declares > 0 { "scopes: [{ name: load, declared: true }]\n" } else { "" };
    format!("{}{scopes}", registry.config())
}

/// The services that a stream wants; `None`: all.
fn wanted(args: &Args, stream: usize) -> Option<BTreeSet<usize>> {
    let count = args.declares.max(args.names).min(args.services);
    if count == 0 {
        return None;
    }
    // Numbers that look random and are the same in each run.
    let mut state = stream as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % args.services
    };
    let mut wanted = BTreeSet::new();
    while wanted.len() < count {
        wanted.insert(next());
    }
    Some(wanted)
}

/// How many streams want a service, and so receive its changes.
fn concerned(args: &Args, service: usize) -> usize {
    (0..args.streams).filter(|stream| wanted(args, *stream).is_none_or(|wanted| wanted.contains(&service))).count()
}

/// How a stream presents itself: the services that it declares, its zone, and what it subscribes to.
fn client(args: &Args, registry: &Registry, stream: usize) -> stream::Client {
    let declares = match (args.declares, wanted(args, stream)) {
        (0, _) | (_, None) => Vec::new(),
        (_, Some(wanted)) => {
            let hosts: Vec<String> = registry.hosts().collect();
            wanted.into_iter().map(|service| hosts[service].clone()).collect()
        }
    };
    let place = (args.zones > 0).then(|| registry::place(stream % args.zones));
    stream::Client { declares, place, clusters: args.names == 0 }
}
