//! TLS to ZooKeeper: ours, below the library, which speaks in the clear with the [carrier](super::carrier).

use super::error::Error;
use crate::{registry::transport::Tls, util::tls::system_roots};
use rustls::pki_types::ServerName;
use std::{io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Makes a TLS connection over `stream`. The certificate must have the host of `server`, which is `host:port`.
pub(super) async fn secure(settings: &Tls, server: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
    let failed = |source| Error::Insecure { server: server.into(), source };
    let config = settings.client(system_roots()).map_err(|error| failed(io::Error::other(error)))?;
    let name = ServerName::try_from(host(server).to_owned()).map_err(|error| failed(io::Error::other(error)))?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(failed)
}

/// The name or the address of a server, without its port and brackets.
fn host(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_name_or_address() {
        for (server, expected) in [("zk.internal:2281", "zk.internal"), ("[2001:db8::1]:2281", "2001:db8::1")] {
            assert_eq!(host(server), expected);
            assert!(ServerName::try_from(expected).is_ok());
        }
    }
}
