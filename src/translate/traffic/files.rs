//! Certificates and keys as files on a proxy's machine. Envoy reads them when it gets the cluster; only what comes by SDS, as it does
//! for gateways' own, it watches.

use crate::pb::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, SubjectAltNameMatcher, TlsCertificate, subject_alt_name_matcher::SanType,
    },
    r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
};

pub(super) fn file(path: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::Filename(path.to_owned())) }
}

/// A certificate as two files: the chain, with the server's or client's own certificate first, and its private key.
pub(super) fn certificate(chain: &str, key: &str) -> TlsCertificate {
    TlsCertificate { certificate_chain: Some(file(chain)), private_key: Some(file(key)), ..TlsCertificate::default() }
}

/// A context that trusts only the authorities in this file.
pub(super) fn authority(path: &str) -> CertificateValidationContext {
    CertificateValidationContext { trusted_ca: Some(file(path)), ..CertificateValidationContext::default() }
}

/// Names of which a certificate must have one, as a host or as an identity.
pub(super) fn names(names: &[String]) -> Vec<SubjectAltNameMatcher> {
    let matcher = |name: &String, san_type: SanType| SubjectAltNameMatcher {
        san_type: san_type.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(name.clone())),
            ..StringMatcher::default()
        }),
        oid: String::new(),
    };
    names
        .iter()
        .flat_map(|name| [SanType::Dns, SanType::Uri, SanType::IpAddress].map(|kind| matcher(name, kind)))
        .collect()
}
