//! What a listener asks of its clients, ready to be asked: who shows a certificate or a token, and whether that still holds.

use super::{
    Identity, NodeRule,
    authorities::{Authorities, Disbelief},
    certificate,
    identity::Proof,
    jwt::{JwtError, Verifier},
    token::{Digest, Tokens},
};
use crate::util::secret::Secret;
use http::{HeaderMap, header::AUTHORIZATION};
use rustls::{ServerConfig, pki_types::CertificateDer};
use std::{sync::Arc, time::SystemTime};

/// What a listener asks of its clients.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// How connections are encrypted.
    pub tls: Option<Tls>,
    pub(super) tokens: Tokens,
    pub(super) jwt: Option<Verifier>,
    pub(super) node_id: Option<NodeRule>,
}

/// A listener's certificate and authorities, as they were last loaded.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For new handshakes; open connections keep what they began with.
    pub config: Arc<ServerConfig>,
    pub(super) authorities: Option<Arc<Authorities>>,
    /// When our certificate ends, if that can be read in it.
    pub until: Option<SystemTime>,
    /// The digest of our certificate and its key, to notice others.
    pub(super) pair: Digest,
}

/// Why a client is not believed, or may not be who it says it is. For our log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// Its certificate is not believed.
    #[error(transparent)]
    Certificate(#[from] Disbelief),
    /// Neither a certificate nor a token came.
    #[error("it has neither a certificate nor a token")]
    NoCredentials,
    /// The header `authorization` is there twice, or is not `Bearer` and a token.
    #[error("the header `authorization` is there twice, or is not `Bearer` and a token")]
    Header,
    /// The token is none of the listener's, and signed tokens are not taken.
    #[error("the token is none of the listener's")]
    Token,
    /// Its signed token is not believed.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// The certificate or token has ended while the client was connected.
    #[error("its certificate or token has expired")]
    Expired,
    /// Its certificate or token now stands for other names.
    #[error("its certificate or token now stands for another name")]
    Renamed,
    /// Its `node.id` does not fit any of its names.
    #[error("node.id {id:?} is not what `node_id: {rule}` gives for the name {name:?}")]
    Node {
        /// Its `node.id`, the first 128 characters.
        id: String,
        /// The first name that it has proved; empty if it has proved none.
        name: String,
        /// The value of `node_id:`, as it is written.
        rule: String,
    },
}

impl Refusal {
    /// A word for metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::Certificate(_) => "certificate",
            Refusal::NoCredentials => "no_credentials",
            Refusal::Header | Refusal::Token | Refusal::Jwt(_) | Refusal::Renamed => "token",
            Refusal::Expired => "expired",
            Refusal::Node { .. } => "node",
        }
    }
}

impl Tls {
    /// Whether both have the same certificate and key, and one configuration: nothing was loaded anew.
    pub fn is(&self, other: &Tls) -> bool {
        self.pair.is(&other.pair) && Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Policy {
    /// Whether both ask the same of clients, so that nobody has to be checked again.
    pub fn is(&self, other: &Policy) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (Some(own), Some(other)) => own.is(other),
            (own, other) => own.is_none() && other.is_none(),
        };
        same_tls && (&self.tokens, &self.jwt, &self.node_id) == (&other.tokens, &other.jwt, &other.node_id)
    }

    /// Whether clients may bring a token.
    fn takes_tokens(&self) -> bool {
        self.jwt.is_some() || !self.tokens.is_empty()
    }

    fn authorities(&self) -> Option<&Authorities> {
        self.tls.as_ref()?.authorities.as_deref()
    }

    /// Who shows a chain that a handshake with this policy has verified.
    ///
    /// # Errors
    /// If it names nobody.
    pub fn identity_of(&self, chain: Vec<CertificateDer<'static>>) -> Result<Identity, Refusal> {
        let leaf = chain.first().ok_or(Refusal::NoCredentials)?;
        let names = certificate::names(leaf).map_err(Disbelief::from)?.into_list();
        let until = certificate::not_after(leaf);
        Ok(Identity { names, until, proof: Proof::Certificate(chain) })
    }

    /// Who opens a stream with these headers on a connection of `certificate`. `None`: it did not say, and need not.
    ///
    /// A token goes before the certificate: it is nearer to the client, as a certificate may be a proxy's.
    ///
    /// # Errors
    /// If its token is not believed, or one is needed.
    pub fn identify(
        &self,
        headers: &HeaderMap,
        certificate: Option<&Arc<Identity>>,
        now: SystemTime,
    ) -> Result<Option<Arc<Identity>>, Refusal> {
        let token = if self.takes_tokens() { bearer(headers)? } else { None };
        match (token, certificate) {
            (Some(token), _) => Ok(Some(Arc::new(self.bearer_of(token, now)?))),
            (None, Some(certificate)) => Ok(Some(certificate.clone())),
            (None, None) if self.takes_tokens() => Err(Refusal::NoCredentials),
            (None, None) => Ok(None),
        }
    }

    fn bearer_of(&self, token: &str, now: SystemTime) -> Result<Identity, Refusal> {
        let proof = Proof::Bearer(Secret::new(token));
        if let Some(name) = self.tokens.name(&Digest::of(token.as_bytes())) {
            return Ok(Identity { names: vec![name.clone()], until: None, proof });
        }
        let claims = self.jwt.as_ref().ok_or(Refusal::Token)?.verify(token, now)?;
        Ok(Identity { names: vec![claims.name], until: Some(claims.until), proof })
    }

    /// Checks an identity again, by this policy and at this time.
    ///
    /// # Errors
    /// If it has ended, is no longer believed, or has other names now.
    pub fn recheck(&self, identity: &Identity, now: SystemTime) -> Result<(), Refusal> {
        if identity.until.is_some_and(|until| until <= now) {
            return Err(Refusal::Expired);
        }
        let names = match &identity.proof {
            Proof::Certificate(chain) => self.authorities().ok_or(Refusal::NoCredentials)?.names(chain, now)?,
            Proof::Bearer(token) => self.bearer_of(token.expose(), now)?.names,
        };
        if names == identity.names { Ok(()) } else { Err(Refusal::Renamed) }
    }

    /// Whether a client with this identity may have that `node.id`.
    ///
    /// # Errors
    /// If `node_id` is set, and the id fits none of its names.
    pub fn check_node(&self, identity: Option<&Identity>, id: &str) -> Result<(), Refusal> {
        let Some(rule) = &self.node_id else { return Ok(()) };
        if identity.is_some_and(|identity| identity.names.iter().any(|name| rule.fits(name, id))) {
            return Ok(());
        }
        let name = identity.map(|identity| identity.name().to_string()).unwrap_or_default();
        Err(Refusal::Node { id: id.chars().take(128).collect(), name, rule: rule.to_string() })
    }
}

/// The token in the header `authorization`; `None` if there is no such header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().map_err(|_| Refusal::Header)?,
        (Some(_), Some(_)) => return Err(Refusal::Header),
    };
    let (scheme, token) = value.split_once(' ').ok_or(Refusal::Header)?;
    let token = token.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() { Ok(Some(token)) } else { Err(Refusal::Header) }
}
