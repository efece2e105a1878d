//! TLS that gateways end. Certificates are files on the gateway's machine, and secrets (SDS) name them: only such files
//! Envoy reads again, as soon as a file is moved in their folder.

use crate::{
    pb::{
        envoy::{
            config::core::v3::{TransportSocket, WatchedDirectory},
            extensions::transport_sockets::tls::v3::{
                CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret,
                TlsCertificate, TlsParameters,
                common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
                secret::Type,
                tls_parameters::TlsProtocol as PbProtocol,
            },
        },
        istio::networking::v1alpha3::{
            ServerTlsSettings,
            server_tls_settings::{TlSmode, TlsProtocol},
        },
    },
    resource::{Kind, Resource},
    translate::traffic::{
        check::CIPHERS,
        files::{authority, certificate, file, names},
        message::{ads, boolean, transport_socket},
    },
};
use prost::Message;
use std::path::Path;

/// The transport socket of a server that ends TLS.
pub(super) fn socket(tls: &ServerTlsSettings) -> Option<TransportSocket> {
    let common = CommonTlsContext {
        alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
        tls_certificates: Vec::new(),
        tls_certificate_sds_secret_configs: certificates(tls).map(|(chain, key)| by_sds(own(chain, key))).collect(),
        validation_context_type: asks_for_certificates(tls).then(|| {
            ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
                default_validation_context: Some(validation(tls)),
                validation_context_sds_secret_config: Some(by_sds(root(&tls.ca_certificates))),
            })
        }),
        tls_params: parameters(tls),
    };
    let context = DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: boolean(mode(tls) == TlSmode::Mutual),
    };
    transport_socket("envoy.transport_sockets.tls", &context)
}

/// The secrets that [`socket`] names.
pub(super) fn secrets(tls: &ServerTlsSettings) -> Vec<(Kind, Resource)> {
    let own = certificates(tls).map(|(chain, key)| secret(own(chain, key), Type::TlsCertificate(watched(chain, key))));
    let root = asks_for_certificates(tls).then(|| {
        let path = &tls.ca_certificates;
        let context = CertificateValidationContext { watched_directory: folder(path), ..authority(path) };
        secret(root(path), Type::ValidationContext(context))
    });
    own.chain(root).collect()
}

fn secret(name: String, of: Type) -> (Kind, Resource) {
    let message = Secret { name: name.clone(), r#type: Some(of) };
    (Kind::Secret, Resource::new(Kind::Secret, name.into(), &message.encode_to_vec(), None))
}

fn mode(tls: &ServerTlsSettings) -> TlSmode {
    TlSmode::try_from(tls.mode).unwrap_or_default()
}

fn asks_for_certificates(tls: &ServerTlsSettings) -> bool {
    matches!(mode(tls), TlSmode::Mutual | TlSmode::OptionalMutual)
}

/// The paths of certificate chains, each with that of its private key.
fn certificates(tls: &ServerTlsSettings) -> impl Iterator<Item = (&str, &str)> {
    let only = tls.tls_certificates.is_empty().then_some((&*tls.server_certificate, &*tls.private_key));
    let pairs = tls.tls_certificates.iter().map(|pair| (&*pair.server_certificate, &*pair.private_key));
    only.into_iter().chain(pairs)
}

/// The name of the secret of a certificate, as Istio's agent names files.
fn own(chain: &str, key: &str) -> String {
    format!("file-cert:{chain}~{key}")
}

fn root(path: &str) -> String {
    format!("file-root:{path}")
}

fn by_sds(name: String) -> SdsSecretConfig {
    SdsSecretConfig { name, sds_config: ads() }
}

/// A certificate whose two files Envoy reads again when a file is moved in the folder of the chain.
fn watched(chain: &str, key: &str) -> TlsCertificate {
    TlsCertificate { watched_directory: folder(chain), ..certificate(chain, key) }
}

fn folder(path: &str) -> Option<WatchedDirectory> {
    let folder = Path::new(path).parent().and_then(Path::to_str).filter(|folder| !folder.is_empty());
    folder.map(|folder| WatchedDirectory { path: folder.to_owned() })
}

/// What a client's certificate must fulfil besides being signed by an authority.
fn validation(tls: &ServerTlsSettings) -> CertificateValidationContext {
    CertificateValidationContext {
        verify_certificate_spki: tls.verify_certificate_spki.clone(),
        verify_certificate_hash: tls.verify_certificate_hash.clone(),
        match_typed_subject_alt_names: names(&tls.subject_alt_names),
        crl: (!tls.ca_crl.is_empty()).then(|| file(&tls.ca_crl)),
        ..CertificateValidationContext::default()
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
