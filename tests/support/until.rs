//! Waiting until something holds, by a deadline.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

/// Asks again and again until the answer is `Ok`; after the limit it panics with the last `Err`.
pub async fn until<T, E, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> T
where
    E: Debug,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => panic!("waited {limit:?} for {what}; last seen: {last:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
