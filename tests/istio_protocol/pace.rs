//! How often lists come.

use crate::istiod::*;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test]
async fn a_burst_of_200_changes_is_few_lists_and_the_last_state_comes() {
    let world = world(&[("ns/a", "0")]).await;
    let mut istiod = Istiod::connect(world.address).await;
    istiod.synced().await;
    let started = Instant::now();
    let burst = async {
        for value in 1..=200 {
            world.change([entry("ns/a", &value.to_string())]);
            tokio::time::sleep(MS(5)).await;
        }
    };
    let listen = async {
        let mut lists = 0;
        while values(&istiod) != [("ns/a", "200")] {
            istiod.next().await;
            lists += 1;
        }
        lists
    };
    let ((), lists) = tokio::join!(burst, listen);
    let allowed = started.elapsed().as_millis() / 100 + 2;
    assert!(lists <= allowed, "{lists} lists in {:?}", started.elapsed());
    assert_eq!(istiod.listen(MS(300)).await, []);
}

#[tokio::test]
async fn a_slow_istiod_gets_as_many_lists_as_it_can_take() {
    let world = world(&[("ns/a", "0")]).await;
    let mut istiod = Istiod::connect(world.address).await;
    istiod.synced().await;
    istiod.listen(MS(200)).await;
    let changed = Instant::now();
    world.change([entry("ns/a", "1")]);
    let list = istiod.receive().await;
    tokio::time::sleep(MS(120)).await;
    world.change([entry("ns/a", "2")]);
    istiod.accept(&list).await;
    istiod.next().await;
    assert!(changed.elapsed() >= MS(600), "five times what the acknowledgement took: {:?}", changed.elapsed());
    assert_eq!(values(&istiod), [("ns/a", "2")]);
}

#[tokio::test]
async fn what_changes_there_and_back_is_not_sent() {
    let world = world(&[("ns/a", "1")]).await;
    let mut istiod = Istiod::connect(world.address).await;
    istiod.synced().await;
    istiod.listen(MS(200)).await;
    world.change([entry("ns/b", "1")]);
    istiod.next().await;
    world.change([entry("ns/a", "2")]);
    world.change([entry("ns/a", "1")]);
    assert_eq!(istiod.listen(MS(500)).await, []);
}
