//! Who is trusted, and who we are. Files are read with the configuration, so that a wrong one is told at the start, with
//! its key and its path; what is held here has been tried by TLS itself.

use crate::{
    model::Text,
    util::{
        secret::Secret,
        yaml::{Section, Value},
    },
};
use reqwest::ClientBuilder;

/// What a file of certificates may have at most: ten times the bundle of a whole system.
const MAX_FILE: u64 = 4 << 20;

/// Settings of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Certificates of authorities in PEM, trusted besides those of the system.
    pub ca: Option<Text>,
    /// What we show to servers that ask for it.
    pub identity: Option<Identity>,
}

/// A client certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate in PEM, its issuers behind it.
    pub cert: Text,
    /// Its private key in PEM, without a password.
    pub key: Secret,
}

impl Tls {
    /// Reads the section `tls`: `ca`, `cert` and `key`, all of them paths.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let ca = section.get("ca", |v| {
            let tls = Tls { ca: Some(pem(v)?.into()), identity: None };
            tls.accepted(v, "no certificate of an authority").map(|()| tls.ca)
        });
        let (cert, key) = (section.take("cert"), section.take("key"));
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => identity(&cert, &key),
            (Some(alone), None) | (None, Some(alone)) => alone.problem("`cert` and `key` go together"),
            (None, None) => None,
        };
        Some(Tls { ca: ca.flatten(), identity })
    }

    /// A client with these settings.
    pub(super) fn apply(&self, mut client: ClientBuilder) -> reqwest::Result<ClientBuilder> {
        if let Some(ca) = &self.ca {
            for certificate in reqwest::Certificate::from_pem_bundle(ca.as_bytes())? {
                client = client.add_root_certificate(certificate);
            }
        }
        if let Some(Identity { cert, key }) = &self.identity {
            let both = Secret::new(format!("{}\n{cert}", key.expose()));
            client = client.identity(reqwest::Identity::from_pem(both.expose().as_bytes())?);
        }
        Ok(client)
    }

    /// Whether TLS takes it; a problem at `value` if not.
    fn accepted(&self, value: &Value<'_>, otherwise: &str) -> Option<()> {
        let empty = self.ca.as_ref().is_some_and(|ca| !ca.contains("-----BEGIN CERTIFICATE-----"));
        // Without the system's authorities, whose reading takes time and proves nothing here.
        let client = reqwest::Client::builder().tls_built_in_root_certs(false);
        let refused = match self.apply(client).and_then(ClientBuilder::build) {
            Ok(_) if empty => "there is none in it".into(),
            Ok(_) => return Some(()),
            Err(error) => crate::registry::chain(&error),
        };
        let path = value.path().unwrap_or_default();
        value.problem(format!("{} holds {otherwise} in PEM ({refused})", path.display()))
    }
}

fn identity(cert: &Value<'_>, key: &Value<'_>) -> Option<Identity> {
    let (cert_pem, key_pem) = (pem(cert), pem(key).map(Secret::new));
    let identity = Identity { cert: cert_pem?.into(), key: key_pem? };
    let tls = Tls { ca: None, identity: Some(identity) };
    tls.accepted(key, "no private key (without a password) of the certificate in `cert`").and(tls.identity)
}

/// The text of the file that a value names.
fn pem(value: &Value<'_>) -> Option<String> {
    value.file_text(MAX_FILE)
}
