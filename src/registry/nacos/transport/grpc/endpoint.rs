//! Where a server speaks gRPC, and how it is connected to.

use crate::registry::{
    nacos::{config::Config, error::Error},
    transport::Tls,
};
use reqwest::Url;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// The distance of the gRPC port above that of HTTP, in every Nacos.
const PORT_OFFSET: u16 = 1000;

/// The endpoint of a server; with TLS if its URL is `https`.
pub(super) fn endpoint(server: &Url, config: &Config) -> Result<Endpoint, Error> {
    let port = config.grpc_port.unwrap_or_else(|| {
        let http = server.port_or_known_default().unwrap_or_default();
        http.saturating_add(PORT_OFFSET)
    });
    let refused = |source| Error::GrpcAddress { server: server.to_string(), source };
    let address = format!("{}://{}:{port}", server.scheme(), server.host_str().unwrap_or_default());
    let connection = &config.connection;
    let endpoint = Endpoint::from_shared(address).map_err(refused)?;
    let endpoint = endpoint.connect_timeout(connection.timeout).tcp_nodelay(true);
    if server.scheme() == "https" {
        return endpoint.tls_config(tls(&connection.tls)).map_err(refused);
    }
    Ok(endpoint)
}

fn tls(tls: &Tls) -> ClientTlsConfig {
    // A front that only takes TLS off need not know what is spoken within.
    let mut config = ClientTlsConfig::new().with_native_roots().assume_http2(true);
    if let Some(ca) = &tls.ca {
        config = config.ca_certificate(Certificate::from_pem(ca.as_bytes()));
    }
    if let Some(identity) = &tls.identity {
        config = config.identity(Identity::from_pem(identity.cert.as_bytes(), identity.key.expose().as_bytes()));
    }
    config
}
