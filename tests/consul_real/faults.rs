//! A real Consul that is killed and comes back empty, cut off and silent, again and again, while it changes at random.
//! `tests/long/consul` runs it.

use crate::{
    alike::{below, change, seeded},
    config, read,
    support::{consul::Consul, reading::Reading, tcp_proxy::TcpProxy},
};
use portolan::registry::{consul::Config, transport::Connection};
use std::time::{Duration, Instant};

#[tokio::test]
#[ignore = "takes minutes: run by tests/long/consul"]
async fn a_long_day_of_a_real_consul() {
    let Some(mut consul) = Consul::start().await else { return };
    let minutes = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut random = seeded();
    let proxy = TcpProxy::start(consul.address()).await;
    let connection = Connection { timeout: Duration::from_secs(2), ..Connection::default() };
    let wait = Duration::from_secs(5);
    let mut followed = read(Config { wait, connection, ..config(&proxy.url()) });
    followed.list().await;
    let (end, mut rounds, mut kills) = (Instant::now() + Duration::from_secs(60 * minutes), 0, 0);
    while Instant::now() < end {
        for _ in 0..10 + below(&mut random, 30) {
            change(&consul.writer, &mut random).await;
        }
        same(&mut followed, &consul).await;
        let before = followed.removed.len();
        match below(&mut random, 4) {
            0 => proxy.cut(),
            1 => {
                proxy.sever();
                followed.failure().await;
                assert_eq!(followed.removed.len(), before, "what cannot be read is not gone");
                proxy.heal();
            }
            2 => {
                proxy.strand();
                proxy.cut();
            }
            _ => {
                consul.kill().await;
                followed.failure().await;
                assert_eq!(followed.removed.len(), before, "what cannot be read is not gone");
                consul.restart().await;
                kills += 1;
            }
        }
        for _ in 0..below(&mut random, 20) {
            change(&consul.writer, &mut random).await;
        }
        same(&mut followed, &consul).await;
        rounds += 1;
    }
    println!("{rounds} faults, {kills} of them kills after which it was empty; {} failures told", followed.failed);
}

/// Waits until a reading has what a fresh reading of the same server has.
async fn same(followed: &mut Reading, consul: &Consul) {
    let mut fresh = read(config(&consul.url()));
    fresh.list().await;
    let expected = fresh.lists[""].clone();
    followed.until("what a fresh reading has", |h| h.lists.get("") == Some(&expected)).await;
}
