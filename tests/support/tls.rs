//! Certificates of authorities that nobody trusts, a server that speaks TLS in front of one that does not, and a client that
//! names whom it likes.

use std::{fs, io::ErrorKind, net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

/// An authority with its certificates, all in PEM. They are committed; `certificates/make` says how they come about.
pub struct Authority {
    pub pem: &'static str,
    /// Certificate of the server `localhost`.
    pub server: Issued,
    pub client: Issued,
}

/// A certificate with its key.
pub struct Issued {
    pub cert: &'static str,
    pub key: &'static str,
}

/// The authority that tests trust.
pub const ONE: Authority = Authority {
    pem: include_str!("certificates/one.pem"),
    server: Issued {
        cert: include_str!("certificates/one-server.pem"),
        key: include_str!("certificates/one-server.key"),
    },
    client: Issued {
        cert: include_str!("certificates/one-client.pem"),
        key: include_str!("certificates/one-client.key"),
    },
};

/// An authority that nobody trusts.
pub const OTHER: Authority = Authority {
    pem: include_str!("certificates/other.pem"),
    server: Issued {
        cert: include_str!("certificates/other-server.pem"),
        key: include_str!("certificates/other-server.key"),
    },
    client: Issued {
        cert: include_str!("certificates/other-client.pem"),
        key: include_str!("certificates/other-client.key"),
    },
};

impl Authority {
    /// Writes `ca.pem`, `client.pem` and `client.key` into a folder.
    pub fn write(&self, folder: &Path) {
        for (name, text) in [("ca.pem", self.pem), ("client.pem", self.client.cert), ("client.key", self.client.key)] {
            fs::write(folder.join(name), text).unwrap();
        }
    }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A running front; it ends with this value.
pub struct TlsFront {
    /// Address on which it speaks TLS, on 127.0.0.1.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Speaks TLS for `localhost` with a certificate of this authority, and hands what comes to `behind`. With `clients`
    /// it wants a certificate of that authority.
    pub async fn start(authority: &Authority, clients: Option<&Authority>, behind: SocketAddr) -> TlsFront {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate(clients.pem)).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(authority.server.key.as_bytes()).unwrap();
        let config = builder.with_single_cert(vec![certificate(authority.server.cert)], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (inbound, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that is refused is what some tests are about.
                    let Ok(mut inbound) = acceptor.accept(inbound).await else { return };
                    let mut outbound = TcpStream::connect(behind).await.unwrap();
                    let _ = copy_bidirectional(&mut inbound, &mut outbound).await;
                });
            }
        });
        TlsFront { address, task }
    }

    /// Port of [`TlsFront::address`].
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Base URL, by the name that the certificate has.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends one GET of HTTP/1.1 over TLS, with `name` in the handshake (SNI), and returns the whole answer. Whatever
/// `name` is, the certificate must be for `localhost`, of an authority in `authority` (PEM).
pub async fn ask(address: SocketAddr, name: &str, authority: &str, host: &str, path: &str) -> Result<String, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let named = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(client(authority))).connect(named, stream).await;
    let mut stream = stream.map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        // Many end without a word.
        Err(error) if answer.is_empty() || error.kind() != ErrorKind::UnexpectedEof => Err(error.to_string()),
        _ if answer.is_empty() => Err("closed without an answer".to_owned()),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

fn client(authority: &str) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(one.unwrap()).unwrap();
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ForLocalhost(verifier)))
        .with_no_client_auth()
}

/// Wants certificates for `localhost`, whatever name the client has said.
#[derive(Debug)]
struct ForLocalhost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for ForLocalhost {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        status: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = ServerName::try_from("localhost").unwrap();
        self.0.verify_server_cert(certificate, between, &name, status, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
