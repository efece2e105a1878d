//! The worst day: everything that registries, clients and this process can suffer, in random order, under steady traffic through a
//! real Envoy. No request fails, and in the end Envoy has exactly what the registries say.
//!
//! `tests/run` has a short part of it. `tests/long/faults` lets it last: MINUTES of it, from the seed in SEED, which is printed.
//! What the matrix promises stands in docs/reliability.md.

#[path = "../protocol/client.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod client;
#[path = "../support/mod.rs"]
mod support;

mod chance;
mod clients;
mod day;
mod kinds;
mod real;
mod registries;
mod soak;

use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_bad_day_harms_nobody() {
    day::day(day::Length::Steps(40), chance::seed(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "lasts for minutes: tests/long/faults"]
async fn a_long_bad_day_harms_nobody() {
    let minutes = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    day::day(day::Length::Time(Duration::from_secs(60 * minutes)), chance::seed(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "lasts for minutes: tests/long/faults"]
async fn a_bad_day_of_real_registries_harms_nobody() {
    let minutes = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    real::day(Duration::from_secs(60 * minutes), chance::seed(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "lasts for minutes: tests/long/faults"]
async fn fifty_restarts_with_dead_empty_and_half_full_registries_lose_no_instance() {
    day::restarts(50, chance::seed(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "lasts for half an hour: tests/long/soak"]
async fn nothing_grows_and_nothing_is_lost() {
    let minutes = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    soak::soak(Duration::from_secs(60 * minutes), chance::seed(1)).await;
}
