//! Which client certificates are believed: those of the authorities of all clients, or of the authorities of their own trust
//! domain; none that a list of revoked ones has.
//!
//! The trust domain is read in the leaf before any authority is asked, so that one domain's authority never vouches for
//! another's names (SPIFFE's X509-SVID standard, section 5).

use super::certificate::{self, NameError, Names};
use crate::{
    model::Text,
    util::tls::{self, TlsError},
};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The texts of the files that say who is believed, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bundles {
    /// Authorities of clients whose certificate names no trust domain, or of all where no trust domains are named.
    pub(super) all: Option<String>,
    /// Authorities by trust domain.
    pub(super) domains: BTreeMap<Text, String>,
    /// Lists of revoked certificates.
    pub(super) crls: Vec<String>,
    /// Whether a client without a certificate is refused.
    pub(super) required: bool,
}

/// Why bundles cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The certificates of a bundle of authorities cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A list of revoked certificates is not one.
    #[error("a list of revoked certificates cannot be read as PEM (`X509 CRL`)")]
    Crl(#[source] rustls::pki_types::pem::Error),
    /// There is no list in the file.
    #[error("there is no list of revoked certificates (`X509 CRL`) in it")]
    NoCrl,
    /// The TLS library refuses authorities or lists.
    #[error("TLS refuses authorities or lists of revoked certificates")]
    Refused(#[from] VerifierBuilderError),
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Disbelief {
    /// It names nobody, or too many.
    #[error(transparent)]
    Names(#[from] NameError),
    /// Its trust domain is none of ours.
    #[error("the trust domain {0:?} is not among those of the listener")]
    Domain(Text),
    /// It has no trust domain, and only those with one are believed.
    #[error("the certificate has no SPIFFE id, and the listener has no authorities for others")]
    NoDomain,
    /// Its authorities do not vouch for it, or not now, or not any more.
    #[error(transparent)]
    Chain(#[from] Error),
}

/// The authorities and revocation lists of a listener, which decide on certificates of clients.
#[derive(Debug)]
pub struct Authorities {
    all: Option<Arc<dyn ClientCertVerifier>>,
    domains: BTreeMap<Text, Arc<dyn ClientCertVerifier>>,
    required: bool,
    /// The subjects of all authorities, which help a client to choose among its certificates.
    hints: Vec<DistinguishedName>,
    /// The texts that it was made of; the same texts make the same authorities.
    pub(super) bundles: Bundles,
}

impl Authorities {
    pub(super) fn new(bundles: Bundles) -> Result<Self, BundleError> {
        let mut crls = Vec::new();
        for text in &bundles.crls {
            let before = crls.len();
            for list in CertificateRevocationListDer::pem_slice_iter(text.as_bytes()) {
                crls.push(list.map_err(BundleError::Crl)?);
            }
            if crls.len() == before {
                return Err(BundleError::NoCrl);
            }
        }
        let all = bundles.all.as_deref().map(|pem| verifier(pem, &crls)).transpose()?;
        let one = |(domain, pem): (&Text, &String)| Ok::<_, BundleError>((domain.clone(), verifier(pem, &crls)?));
        let domains = bundles.domains.iter().map(one).collect::<Result<BTreeMap<_, _>, _>>()?;
        let hints = all.iter().chain(domains.values()).flat_map(|one| one.root_hint_subjects().to_vec()).collect();
        Ok(Authorities { all, domains, required: bundles.required, hints, bundles })
    }

    /// The names in the leaf of a chain, if the chain is believed at `now`.
    ///
    /// # Errors
    /// If the chain is not believed, or names nobody.
    pub fn names(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Vec<Text>, Disbelief> {
        let Some((leaf, rest)) = chain.split_first() else {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding).into());
        };
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Ok(self.check(leaf, rest, UnixTime::since_unix_epoch(since))?.into_list())
    }

    fn check(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> Result<Names, Disbelief> {
        let names = certificate::names(leaf)?;
        self.authority_of(&names)?.verify_client_cert(leaf, rest, now)?;
        Ok(names)
    }

    /// The authorities that decide on a certificate with these names.
    fn authority_of(&self, names: &Names) -> Result<&dyn ClientCertVerifier, Disbelief> {
        let found = match names {
            Names::Spiffe { domain, .. } if !self.domains.is_empty() => {
                self.domains.get(domain).ok_or_else(|| Disbelief::Domain(domain.clone()))?
            }
            Names::Spiffe { .. } | Names::Plain(_) => self.all.as_ref().ok_or(Disbelief::NoDomain)?,
        };
        Ok(&**found)
    }
}

/// A verifier that believes the authorities in a PEM text. The whole chain is looked for in the lists of revoked
/// certificates; of an issuer without a list nothing is revoked. A list whose next one is due still holds: otherwise
/// one that nobody renews would lock everybody out.
fn verifier(
    pem: &str,
    crls: &[CertificateRevocationListDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, BundleError> {
    let mut roots = RootCertStore::empty();
    tls::trust(&mut roots, pem)?;
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), tls::provider());
    Ok(builder.with_crls(crls.iter().cloned()).allow_unknown_revocation_status().build()?)
}

impl ClientCertVerifier for Authorities {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.check(leaf, rest, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(Disbelief::Chain(error)) => Err(error),
            Err(other) => Err(CertificateError::Other(OtherError(Arc::new(other))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
