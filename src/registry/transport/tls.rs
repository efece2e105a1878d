//! Trusted authorities and client certificates of registries. Files are read with the configuration, so that a wrong
//! one is reported at the start, with its key and its path; what is held here has been tried by TLS itself.

use crate::{
    model::Text,
    util::{
        secret::Secret,
        tls::{self, TlsError},
        yaml::{Section, Value},
    },
};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;

/// The most bytes of a file of certificates: ten times the bundle of a whole system.
const MAX_FILE: u64 = 4 << 20;

/// `tls:` of a registry, with the files read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Certificates of authorities in PEM, trusted besides those of the system.
    pub ca: Option<Text>,
    /// Client certificate for servers that ask for one; `None` if there is none.
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

    /// The same settings from files that are named elsewhere; what is wrong with them is reported at `value`.
    pub(in crate::registry) fn of_files(
        value: &Value<'_>,
        ca: Option<&Path>,
        identity: Option<[&Path; 2]>,
    ) -> Option<Self> {
        let text = |path: &Path| value.text_at(path, MAX_FILE);
        let ca = match ca {
            Some(path) => Some(Text::from(text(path)?)),
            None => None,
        };
        let identity = match identity {
            Some([cert, key]) => Some(Identity { cert: text(cert)?.into(), key: Secret::new(text(key)?) }),
            None => None,
        };
        let tls = Tls { ca, identity };
        match tls.client(RootCertStore::empty()) {
            Ok(_) => Some(tls),
            Err(error) => {
                value.problem(format!("the files for TLS cannot be used: {}", crate::registry::chain(&error)))
            }
        }
    }

    /// A client with these settings, which trusts `roots` as well.
    ///
    /// # Errors
    ///
    /// If a certificate or the key cannot be used.
    pub(in crate::registry) fn client(&self, mut roots: RootCertStore) -> Result<ClientConfig, TlsError> {
        if let Some(ca) = &self.ca {
            tls::trust(&mut roots, ca)?;
        }
        tls::client(roots, self.identity.as_ref().map(|identity| (&*identity.cert, identity.key.expose())))
    }

    /// Tries the settings with TLS, and reports a problem at `value` if it refuses them.
    fn accepted(&self, value: &Value<'_>, otherwise: &str) -> Option<()> {
        // Without the system's authorities, whose reading takes time and proves nothing here.
        let refused = match self.client(RootCertStore::empty()) {
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
