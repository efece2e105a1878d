//! TLS that gateways end. Certificates are files on the gateway's machine, read anew when their folder changes.

use crate::{
    pb::{
        envoy::{
            config::core::v3::TransportSocket,
            extensions::transport_sockets::tls::v3::{
                CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, TlsParameters,
                tls_parameters::TlsProtocol as PbProtocol,
            },
        },
        istio::networking::v1alpha3::{
            ServerTlsSettings,
            server_tls_settings::{TlSmode, TlsProtocol},
        },
    },
    translate::traffic::{
        check::CIPHERS,
        files::{authority, certificate, file, names},
        message::{boolean, transport_socket},
    },
};

/// What is around the bytes of a server that ends TLS.
pub(super) fn socket(tls: &ServerTlsSettings) -> Option<TransportSocket> {
    let mode = TlSmode::try_from(tls.mode).unwrap_or_default();
    let mut certificates = vec![(tls.server_certificate.as_str(), tls.private_key.as_str())];
    if !tls.tls_certificates.is_empty() {
        let pairs = tls.tls_certificates.iter();
        certificates = pairs.map(|pair| (pair.server_certificate.as_str(), pair.private_key.as_str())).collect();
    }
    let common = CommonTlsContext {
        alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
        tls_certificates: certificates.into_iter().map(|(chain, key)| certificate(chain, key)).collect(),
        validation_context: matches!(mode, TlSmode::Mutual | TlSmode::OptionalMutual).then(|| validation(tls)),
        tls_params: parameters(tls),
    };
    let context = DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: boolean(mode == TlSmode::Mutual),
    };
    transport_socket("envoy.transport_sockets.tls", &context)
}

/// What a client's certificate must be.
fn validation(tls: &ServerTlsSettings) -> CertificateValidationContext {
    CertificateValidationContext {
        verify_certificate_spki: tls.verify_certificate_spki.clone(),
        verify_certificate_hash: tls.verify_certificate_hash.clone(),
        match_typed_subject_alt_names: names(&tls.subject_alt_names),
        crl: (!tls.ca_crl.is_empty()).then(|| file(&tls.ca_crl)),
        ..authority(&tls.ca_certificates)
    }
}

fn parameters(tls: &ServerTlsSettings) -> Option<TlsParameters> {
    let protocol = |number: i32| match TlsProtocol::try_from(number).unwrap_or_default() {
        TlsProtocol::TlsAuto => PbProtocol::TlsAuto,
        TlsProtocol::Tlsv10 => PbProtocol::TlSv10,
        TlsProtocol::Tlsv11 => PbProtocol::TlSv11,
        TlsProtocol::Tlsv12 => PbProtocol::TlSv12,
        TlsProtocol::Tlsv13 => PbProtocol::TlSv13,
    };
    let mut cipher_suites: Vec<String> = Vec::new();
    for suite in tls.cipher_suites.iter().filter(|suite| CIPHERS.contains(&suite.as_str())) {
        if !cipher_suites.contains(suite) {
            cipher_suites.push(suite.clone());
        }
    }
    let parameters = TlsParameters {
        tls_minimum_protocol_version: protocol(tls.min_protocol_version).into(),
        tls_maximum_protocol_version: protocol(tls.max_protocol_version).into(),
        cipher_suites,
        ecdh_curves: Vec::new(),
    };
    (parameters != TlsParameters::default()).then_some(parameters)
}
