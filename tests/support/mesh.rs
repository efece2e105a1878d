//! Certificates of two trust domains, and clients that show them. They are committed; `certificates/mesh/make` says how they
//! come about, and what is wrong with which.

use std::{fs, net::SocketAddr, path::PathBuf};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Error, Identity};

/// The folder `tests/support/certificates/mesh`, for configurations that name its files.
pub fn folder() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/certificates/mesh").into()
}

/// The text of a file in [`folder`].
pub fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// How a client speaks TLS that believes this authority, and shows the certificate of that name.
fn config(authority: &str, certificate: Option<&str>) -> ClientTlsConfig {
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(text(&format!("{authority}.pem"))))
        .domain_name("localhost");
    match certificate {
        Some(name) => config.identity(Identity::from_pem(text(&format!("{name}.pem")), text(&format!("{name}.key")))),
        None => config,
    }
}

/// Connects by TLS to a server that `authority` vouches for. In TLS 1.3 a client learns only later that it is refused.
pub async fn connect(address: SocketAddr, authority: &str, certificate: Option<&str>) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    endpoint.tls_config(config(authority, certificate)).unwrap().connect().await
}
