//! What a listener asks of its clients, as it is configured, and the files that this is read from.
//!
//! Files are read anew each time that one of them changes. What cannot be used leaves what was there before in force.

use super::{
    NodeRule,
    authorities::{Authorities, BundleError, Bundles},
    certificate,
    jwt::{self, KeysError, Verifier},
    policy::{Policy, Tls},
    token::{Digest, Tokens},
};
use crate::{
    model::Text,
    util::{
        files::open_regular,
        secret::Secret,
        tls::{self, TlsError},
    },
};
use rustls::server::danger::ClientCertVerifier;
use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// What a file may have at most: lists of revoked certificates are the long ones.
pub const MOST: u64 = 16 << 20;

/// What a listener asks of its clients. By default nothing: no TLS, and everybody may come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Connections are encrypted; `None`: they are not.
    pub tls: Option<TlsFiles>,
    /// Names, each with a token that stands for it. A name may have several.
    pub tokens: Vec<(Text, Secret)>,
    /// Whose signed tokens are taken; `None`: nobody's.
    pub jwt: Option<JwtFiles>,
    /// What `node.id` of a client must be for its name; `None`: anything.
    pub node_id: Option<NodeRule>,
}

/// The files that TLS of a listener is made of, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, with those of its issuers behind it.
    pub certificate: PathBuf,
    /// The private key of our certificate.
    pub key: PathBuf,
    /// Authorities of clients that no entry of `trust_domains` decides on; `None`: those are not believed.
    pub client_authorities: Option<PathBuf>,
    /// Authorities of clients whose SPIFFE id is of that trust domain. If there are any, they are the only ones for SPIFFE ids.
    pub trust_domains: BTreeMap<Text, PathBuf>,
    /// Lists of revoked certificates.
    pub crls: Vec<PathBuf>,
    /// Whether a client without a certificate is refused. Without authorities nobody is asked for one.
    pub require_client_certificate: bool,
}

/// Signed tokens: keys and rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtFiles {
    /// A set of public keys (JWKS).
    pub keys: PathBuf,
    /// Which tokens are believed.
    pub rules: jwt::Rules,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read, or is longer than [`MOST`].
    #[error("cannot read {}; check the path and the permissions", .path.display())]
    Read {
        /// The file that cannot be used.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Certificate and key are not such, or not of each other.
    #[error("{} and {} are no certificate and its key", .certificate.display(), .key.display())]
    Pair {
        /// The file that should have the certificate.
        certificate: PathBuf,
        /// The file that should have the private key of it.
        key: PathBuf,
        /// What is wrong with what it holds.
        #[source]
        source: TlsError,
    },
    /// The certificate has ended, and the one in use has not.
    #[error("the certificate in {} ended at {}", .path.display(), humantime::format_rfc3339_seconds(*.until))]
    Expired {
        /// The file whose certificate has ended.
        path: PathBuf,
        /// When it ended.
        until: SystemTime,
    },
    /// There are no authorities, or no list of revoked certificates, in a file.
    #[error("{} cannot be used", .path.display())]
    Bundle {
        /// The file that cannot be used.
        path: PathBuf,
        /// What is wrong with what it holds.
        #[source]
        source: BundleError,
    },
    /// There is no set of keys in a file.
    #[error("{} has no keys that can be used", .path.display())]
    Keys {
        /// The file that cannot be used.
        path: PathBuf,
        /// What is wrong with what it holds.
        #[source]
        source: KeysError,
    },
}

impl Settings {
    /// Whether clients have to prove who they are, or may.
    pub fn authenticates(&self) -> bool {
        self.tls.as_ref().is_some_and(TlsFiles::asks_for_certificates) || self.takes_tokens()
    }

    /// Whether clients may bring a token.
    pub fn takes_tokens(&self) -> bool {
        self.jwt.is_some() || !self.tokens.is_empty()
    }

    /// All files that it is read from.
    pub fn files(&self) -> Vec<&Path> {
        let tls = self.tls.iter().flat_map(TlsFiles::files);
        tls.chain(self.jwt.as_ref().map(|jwt| &*jwt.keys)).collect()
    }

    /// Reads the files. What is as in `before` stays the same value.
    ///
    /// # Errors
    /// If one cannot be used, or has a certificate that has ended in place of one that has not.
    pub fn load(&self, before: Option<&Policy>, now: SystemTime) -> Result<Policy, LoadError> {
        let jwt = |jwt: &JwtFiles| {
            let keys = read(&jwt.keys)?;
            let path = jwt.keys.clone();
            Verifier::new(jwt.rules.clone(), &keys).map_err(|source| LoadError::Keys { path, source })
        };
        let tls = |tls: &TlsFiles| tls.load(before.and_then(|before| before.tls.as_ref()), b"h2", now);
        Ok(Policy {
            tls: self.tls.as_ref().map(tls).transpose()?,
            tokens: Tokens::new(&self.tokens),
            jwt: self.jwt.as_ref().map(jwt).transpose()?,
            node_id: self.node_id.clone(),
        })
    }
}

impl TlsFiles {
    /// All files that it is read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let own = [&self.certificate, &self.key].into_iter().chain(&self.client_authorities);
        own.chain(self.trust_domains.values()).chain(&self.crls).map(PathBuf::as_path)
    }

    /// Whether clients are asked for a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.client_authorities.is_some() || !self.trust_domains.is_empty()
    }

    /// Reads the files, for a server of that protocol (ALPN). What is as in `before` stays the same value.
    ///
    /// # Errors
    /// If one cannot be used, or has a certificate that has ended in place of one that has not.
    pub fn load(&self, before: Option<&Tls>, protocol: &[u8], now: SystemTime) -> Result<Tls, LoadError> {
        let bundles = self.bundles()?;
        let authorities = match before.and_then(|before| before.authorities.clone()) {
            _ if !self.asks_for_certificates() => None,
            Some(same) if same.bundles == bundles => Some(same),
            _ => Some(Arc::new(Authorities::new(bundles).map_err(|source| self.refused(source))?)),
        };
        let (chain, key) = (read(&self.certificate)?, Secret::new(read(&self.key)?));
        let pair = Digest::of(format!("{chain}\0{}", key.expose()).as_bytes());
        if let Some(same) = before.filter(|before| before.pair == pair && is_same(&before.authorities, &authorities)) {
            return Ok(same.clone());
        }
        let verifier = authorities.clone().map(|authorities| -> Arc<dyn ClientCertVerifier> { authorities });
        let refused = |source| {
            let (certificate, key) = (self.certificate.clone(), self.key.clone());
            LoadError::Pair { certificate, key, source }
        };
        let config = tls::server(&chain, key.expose(), verifier, protocol).map_err(refused)?;
        let leaf = tls::certificates(&chain).map_err(refused)?;
        let until = leaf.first().and_then(certificate::not_after);
        // One that has ended is better than none, and worse than one that has not.
        let has_ended = |until: &Option<SystemTime>| until.is_some_and(|until| until <= now);
        match (before, until) {
            (Some(before), Some(ended)) if has_ended(&until) && !has_ended(&before.until) => {
                Err(LoadError::Expired { path: self.certificate.clone(), until: ended })
            }
            _ => Ok(Tls { config: Arc::new(config), authorities, until, pair }),
        }
    }

    /// The texts of the files of authorities, each of which can be used.
    fn bundles(&self) -> Result<Bundles, LoadError> {
        let authorities = |path: &PathBuf| {
            let text = read(path)?;
            let alone = Bundles { all: Some(text.clone()), ..Bundles::default() };
            usable(path, Authorities::new(alone)).map(|_| text)
        };
        let list = |path: &PathBuf| {
            let text = read(path)?;
            let alone = Bundles { crls: vec![text.clone()], ..Bundles::default() };
            usable(path, Authorities::new(alone)).map(|_| text)
        };
        Ok(Bundles {
            all: self.client_authorities.as_ref().map(authorities).transpose()?,
            domains: self
                .trust_domains
                .iter()
                .map(|(domain, path)| Ok((domain.clone(), authorities(path)?)))
                .collect::<Result<_, LoadError>>()?,
            crls: self.crls.iter().map(list).collect::<Result<_, _>>()?,
            required: self.require_client_certificate,
        })
    }

    /// Each file can be used, and all together cannot.
    fn refused(&self, source: BundleError) -> LoadError {
        let first = self.client_authorities.as_ref().or_else(|| self.trust_domains.values().next());
        LoadError::Bundle { path: first.unwrap_or(&self.certificate).clone(), source }
    }
}

fn usable<T>(path: &Path, made: Result<T, BundleError>) -> Result<T, LoadError> {
    made.map_err(|source| LoadError::Bundle { path: path.into(), source })
}

fn is_same(before: &Option<Arc<Authorities>>, now: &Option<Arc<Authorities>>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        (None, None) => true,
        _ => false,
    }
}

fn read(path: &Path) -> Result<String, LoadError> {
    let bounded = || {
        let mut text = String::new();
        open_regular(path)?.take(MOST + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MOST {
            Err(io::Error::other(format!("more than {MOST} bytes are too many")))
        } else {
            Ok(text)
        }
    };
    bounded().map_err(|source| LoadError::Read { path: path.into(), source })
}
