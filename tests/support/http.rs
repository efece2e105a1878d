//! The client by which tests ask servers over HTTP.

use std::time::Duration;

/// With a limit that a busy machine does not reach.
pub fn client() -> reqwest::Client {
    portolan::util::tls::http_client().timeout(Duration::from_secs(30)).build().unwrap()
}
