//! What a client certificate says about who shows it. Whether to believe it is for [`super::authorities`].

use super::{
    der,
    spiffe::{SpiffeError, SpiffeId},
};
use crate::model::Text;
use rustls::pki_types::CertificateDer;
use std::time::SystemTime;
use webpki::EndEntityCert;

/// Names that one certificate may have: more would be more to compare with at each stream.
const MOST_NAMES: usize = 32;

/// The names in a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// The one URI among its alternative names, and its trust domain.
    Spiffe { id: Text, domain: Text },
    /// Its DNS names or, without any, its common name.
    Plain(Vec<Text>),
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Malformed,
    /// A SPIFFE certificate has exactly one URI.
    #[error("the certificate has {0} URIs among its names, where one is allowed")]
    Uris(usize),
    /// Its URI is no SPIFFE id.
    #[error("the certificate's URI is no SPIFFE id: {0}")]
    Spiffe(#[from] SpiffeError),
    /// More names than are looked at.
    #[error("the certificate has more than {MOST_NAMES} DNS names")]
    Many,
    /// It has no SPIFFE id, no DNS name, and not exactly one common name.
    #[error("the certificate has neither a SPIFFE id, nor a DNS name, nor one common name")]
    None,
}

/// Reads the names in a leaf: its URI, else its DNS names, else its common name.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Result<Names, NameError> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|_| NameError::Malformed)?;
    match *parsed.valid_uri_names().collect::<Vec<_>>() {
        [] => {}
        [uri] => {
            let id = SpiffeId::parse(uri)?;
            return Ok(Names::Spiffe { id: uri.into(), domain: id.domain.into() });
        }
        ref many => return Err(NameError::Uris(many.len())),
    }
    let names: Vec<Text> = parsed.valid_dns_names().take(MOST_NAMES + 1).map(Text::from).collect();
    match names.len() {
        0 => {
            let name = der::common_name(parsed.subject()).filter(|name| !name.is_empty()).ok_or(NameError::None)?;
            Ok(Names::Plain(vec![name.into()]))
        }
        many if many > MOST_NAMES => Err(NameError::Many),
        _ => Ok(Names::Plain(names)),
    }
}

impl Names {
    /// All of them; one at least.
    pub(super) fn into_list(self) -> Vec<Text> {
        match self {
            Names::Spiffe { id, .. } => vec![id],
            Names::Plain(names) => names,
        }
    }
}

/// Until when a certificate holds; `None` if that cannot be read.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    der::validity(certificate).map(|(_, until)| until)
}
