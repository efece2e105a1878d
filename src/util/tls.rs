//! TLS with ring as provider of cryptography; clients trust the authorities that this machine trusts.
//!
//! Everything here names its provider. Nothing depends on a default of the process, which a library may change.

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
};
use std::sync::{Arc, LazyLock};

/// The authorities that this machine trusts, read once: that takes some ten milliseconds. On a machine without any,
/// such as an image with only this program, TLS to servers fails, but everything else works.
static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "Cannot read some of this machine's certificates of authorities.");
    }
    roots.add_parsable_certificates(found.certs);
    roots
});

/// Why certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate cannot be read.
    #[error("a certificate is not in PEM")]
    Certificate(#[source] pem::Error),
    /// The text holds no certificate.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// The private key cannot be read.
    #[error("the private key is not in PEM, or has a password")]
    Key(#[source] pem::Error),
    /// TLS does not accept a certificate, or the key is another certificate's.
    #[error("TLS refuses it")]
    Refused(#[from] rustls::Error),
}

/// The provider of cryptography for all TLS of this program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A copy of the authorities that this machine trusts; empty if it has none.
pub fn system_roots() -> RootCertStore {
    SYSTEM.clone()
}

/// Adds the certificates of authorities in this PEM text to the trusted ones.
///
/// # Errors
///
/// If there is none, or one cannot be read.
pub fn trust(roots: &mut RootCertStore, pem: &str) -> Result<(), TlsError> {
    certificates(pem)?.into_iter().try_for_each(|certificate| Ok(roots.add(certificate)?))
}

/// The configuration of a client that trusts these authorities. `identity` is the chain and the private key, both in
/// PEM, for servers that ask for a certificate.
///
/// # Errors
///
/// If certificate and key cannot be read or do not belong together.
pub fn client(roots: RootCertStore, identity: Option<(&str, &str)>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(TlsError::Key)?;
            Ok(builder.with_client_auth_cert(certificates(chain)?, key)?)
        }
    }
}

/// The configuration of a server with this chain and private key, both in PEM, and this protocol (ALPN). With `clients`
/// it asks for certificates.
///
/// No session is resumed: a client that resumes one is not checked again, so other authorities or lists of revoked
/// certificates would not hold for it. Connections here live long, and a handshake costs less than a millisecond.
///
/// # Errors
///
/// If certificate and key cannot be read or do not belong together.
pub fn server(
    chain: &str,
    key: &str,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    protocol: &[u8],
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(TlsError::Key)?;
    let mut config = builder.with_single_cert(certificates(chain)?, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// A client for HTTP requests that do not go to a registry: it trusts the machine's authorities, and uses no proxy of
/// the environment, because its servers are near.
pub fn http_client() -> reqwest::ClientBuilder {
    let config = client(system_roots(), None).expect("ring has the default versions of TLS");
    reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy()
}

/// The certificates in a PEM text, one at least.
///
/// # Errors
///
/// If there is none, or one cannot be read.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(TlsError::Certificate)?;
    if all.is_empty() { Err(TlsError::NoCertificate) } else { Ok(all) }
}
