//! TLS to services, and the PROXY protocol. Certificates are files on the proxy's machine.

use super::policy::Policy;
use crate::{
    pb::{
        envoy::{
            config::core::v3::{ProxyProtocolConfig, TransportSocket},
            extensions::{
                transport_sockets::{
                    proxy_protocol::v3::ProxyProtocolUpstreamTransport,
                    raw_buffer::v3::RawBuffer,
                    tls::v3::{
                        CertificateValidationContext, CommonTlsContext, TlsParameters, UpstreamTlsContext,
                        common_tls_context::ValidationContextType, tls_parameters::TlsProtocol,
                    },
                },
                upstreams::http::v3::{HttpProtocolOptions, http_protocol_options::UpstreamProtocolOptions},
            },
        },
        istio::networking::v1alpha3::{ClientTlsSettings, client_tls_settings::TlSmode},
    },
    translate::traffic::{
        files::{authority, certificate, file, names},
        mesh::Mesh,
        message::transport_socket,
    },
};

/// The transport socket of a cluster. `None`: plain text. Where the rule names no SNI, it sets in `options` that the
/// request's host is used.
pub(super) fn socket(policy: &Policy<'_>, mesh: &Mesh, options: &mut HttpProtocolOptions) -> Option<TransportSocket> {
    let tls = policy.tls.and_then(|tls| context(tls, mesh, options));
    let tls = tls.and_then(|context| transport_socket("envoy.transport_sockets.tls", &context));
    let Some(protocol) = policy.proxy_protocol else { return tls };
    let inner = tls.or_else(|| transport_socket("envoy.transport_sockets.raw_buffer", &RawBuffer {}));
    let wrapped = ProxyProtocolUpstreamTransport {
        config: Some(ProxyProtocolConfig { version: protocol.version }),
        transport_socket: inner,
    };
    transport_socket("envoy.transport_sockets.upstream_proxy_protocol", &wrapped)
}

fn context(tls: &ClientTlsSettings, mesh: &Mesh, options: &mut HttpProtocolOptions) -> Option<UpstreamTlsContext> {
    let mode = TlSmode::try_from(tls.mode).unwrap_or_default();
    if mode == TlSmode::Disable {
        return None;
    }
    let checks_nothing = tls.insecure_skip_verify.as_ref().is_some_and(|skip| skip.value);
    // Without a name the request's host is it, in the handshake and in the certificate.
    if tls.sni.is_empty() {
        let upstream = options.upstream_http_protocol_options.get_or_insert_default();
        upstream.auto_sni = true;
        upstream.auto_san_validation = tls.subject_alt_names.is_empty() && !checks_nothing;
    }
    let is_http2 = match &options.upstream_protocol_options {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => explicit.http2_protocol_options.is_some(),
        _ => false,
    };
    let common = CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..TlsParameters::default()
        }),
        tls_certificates: match mode {
            TlSmode::Mutual => vec![certificate(&tls.client_certificate, &tls.private_key)],
            _ => Vec::new(),
        },
        validation_context_type: (!checks_nothing).then(|| {
            ValidationContextType::ValidationContext(CertificateValidationContext {
                match_typed_subject_alt_names: names(&tls.subject_alt_names),
                crl: (!tls.ca_crl.is_empty()).then(|| file(&tls.ca_crl)),
                // Istio's word for those whom the machine trusts is `system`. Envoy has none, and without a file checks nothing.
                ..authority(match &*tls.ca_certificates {
                    "" | "system" => &mesh.system_authorities,
                    path => path,
                })
            })
        }),
        alpn_protocols: if is_http2 { vec!["h2".to_owned()] } else { Vec::new() },
        ..CommonTlsContext::default()
    };
    Some(UpstreamTlsContext { common_tls_context: Some(common), sni: tls.sni.clone(), ..UpstreamTlsContext::default() })
}
