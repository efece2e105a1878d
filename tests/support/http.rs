//! The client by which tests ask servers over HTTP.

use super::until;
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};

/// A client with a timeout of 120 s, which a busy machine does not reach.
pub fn client() -> reqwest::Client {
    portolan::util::tls::http_client().timeout(Duration::from_secs(120)).build().unwrap()
}

/// The body of an admin page, with its status.
pub async fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    let answer = client().get(format!("http://{admin}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The JSON of an admin page. Panics unless the status is 200.
pub async fn json(admin: SocketAddr, path: &str) -> Value {
    let (status, body) = get(admin, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Waits until `/ready` answers 200, for 60 s at most.
pub async fn ready(admin: SocketAddr) {
    until("Portolan to be ready", Duration::from_secs(60), || async {
        match get(admin, "/ready").await {
            (200, _) => Ok(()),
            (status, body) => Err(format!("{status} {body}")),
        }
    })
    .await;
}
