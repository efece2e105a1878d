//! Who a client has proved to be.

use crate::{model::Text, util::secret::Secret};
use rustls::pki_types::CertificateDer;
use std::time::SystemTime;

/// Who a client has proved to be, and by what.
#[derive(Debug)]
pub struct Identity {
    /// One at least. A certificate may have several DNS names.
    pub(super) names: Vec<Text>,
    pub(super) until: Option<SystemTime>,
    pub(super) proof: Proof,
}

/// What proves an identity; it is kept so that it can be checked again.
pub(super) enum Proof {
    /// The chain of a client, its leaf first.
    Certificate(Vec<CertificateDer<'static>>),
    Bearer(Secret),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Proof::Certificate(_) => "certificate",
            Proof::Bearer(_) => "token",
        })
    }
}

#[cfg(test)]
impl Identity {
    /// An identity by a certificate without a chain, which no authority believes.
    pub(crate) fn of_tests(name: &str, until: Option<SystemTime>) -> Self {
        Identity { names: vec![name.into()], until, proof: Proof::Certificate(Vec::new()) }
    }
}

impl Identity {
    /// The first of its names, for display.
    pub fn name(&self) -> &Text {
        self.names.first().expect("an identity has a name")
    }

    /// All of its names, at least one; several only by a certificate with several DNS names.
    pub fn names(&self) -> &[Text] {
        &self.names
    }

    /// When its certificate or token ends; `None`: never, or that cannot be read.
    pub fn until(&self) -> Option<SystemTime> {
        self.until
    }

    /// Whether a certificate of the connection proves it, rather than a token of the stream.
    pub fn is_by_certificate(&self) -> bool {
        matches!(self.proof, Proof::Certificate(_))
    }
}
