//! The check of a Gateway.

use super::{
    Check,
    text::{is_label, wildcard_domain},
};
use crate::{
    pb::istio::networking::v1alpha3::{
        Gateway, Server, ServerTlsSettings,
        server_tls_settings::{TlSmode, TlsProtocol},
    },
    resource::Kind,
    translate::traffic::{finding::Finding, object::Object, protocol::Protocol},
};
use std::{collections::BTreeSet, net::IpAddr};

/// The cipher suites that Istio hands on to Envoy; it ignores others.
pub(in crate::translate::traffic) const CIPHERS: [&str; 14] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
];

/// The reasons to refuse the Gateway, and what in it has no effect. Empty: it is good.
pub(in crate::translate::traffic) fn gateway(object: &Object<Gateway>) -> Vec<Finding> {
    let (spec, mut check) = (&object.spec, Check::new(Kind::Gateway, &object.id));
    check.require(is_label(&object.id.name), || "a gateway's name is a label of DNS, without dots".into());
    check.require(!spec.servers.is_empty(), || "it has no `servers`".into());
    let mut names = BTreeSet::new();
    check.each("servers", &spec.servers, |c, server| {
        c.server(server);
        let name = server.port.as_ref().map_or("", |port| &port.name).to_owned();
        c.require(name.is_empty() || names.insert(name.clone()), || format!("the port's name {name:?} is there twice"));
    });
    check.finish()
}

impl Check<'_> {
    fn server(&mut self, server: &Server) {
        self.require(!server.hosts.is_empty(), || "it has no `hosts`".into());
        self.each("hosts", &server.hosts, |c, host| c.server_host(host));
        if !server.default_endpoint.is_empty() {
            self.at("defaultEndpoint", |c| {
                c.ignored("nothing looks at it, as in Istio: VirtualServices say where requests go")
            });
        }
        let Some(port) = &server.port else { return self.invalid("it has no `port`") };
        let protocol = Protocol::parse(&port.protocol);
        self.at("port", |c| {
            c.require(protocol.is_some(), || format!("{:?} is no protocol that Istio knows", port.protocol));
            c.port(port.number);
            c.require(port.target_port == 0, || "`targetPort` has no meaning in a gateway".into());
            c.require(!port.name.is_empty(), || "it has no `name`".into());
        });
        if server.bind.starts_with("unix://") {
            self.at("bind", |c| c.refused("gateways listen on addresses, not on unix sockets"));
        } else if !server.bind.is_empty() {
            let fine = server.bind.parse::<IpAddr>().is_ok();
            self.at("bind", |c| c.require(fine, || format!("{:?} is no address", server.bind)));
        }
        if let Some(tls) = &server.tls {
            self.at("tls", |c| c.server_tls(tls));
        }
        match (protocol, &server.tls) {
            (Some(Protocol::Https | Protocol::Tls), None) => self.invalid("HTTPS and TLS need `tls`"),
            (Some(Protocol::Https | Protocol::Tls) | None, _) | (_, None) => {}
            (Some(protocol), Some(tls)) if protocol.is_http() => {
                let only_redirects = is_passthrough(tls)
                    && [&tls.ca_certificates, &tls.private_key, &tls.server_certificate]
                        .iter()
                        .all(|text| text.is_empty());
                self.require(only_redirects, || {
                    "HTTP has no `tls` but `httpsRedirect`; the protocol must be HTTPS".into()
                });
            }
            (Some(_), Some(_)) => self.invalid("only HTTPS and TLS have `tls`"),
        }
    }

    fn server_host(&mut self, host: &str) {
        let (namespace, name) = host.split_once('/').map_or((None, host), |(namespace, name)| (Some(namespace), name));
        if let Some(namespace) = namespace {
            let fine = matches!(namespace, "*" | ".") || is_label(namespace);
            self.require(fine, || format!("{namespace:?} is no namespace"));
        }
        let full = name == "*" || name.contains('.');
        self.require(full, || format!("{name:?} is a short name; write it in full"));
        let fine = name.parse::<IpAddr>().is_ok();
        self.outcome(if fine { Ok(()) } else { wildcard_domain(name) });
        let whole = !name.contains('*') || name == "*" || name.starts_with("*.");
        self.require(whole, || format!("in {name:?} the wildcard is a part of a label"));
    }

    fn server_tls(&mut self, tls: &ServerTlsSettings) {
        let mode = TlSmode::try_from(tls.mode).unwrap_or_default();
        for suite in tls.cipher_suites.iter().filter(|suite| !CIPHERS.contains(&suite.as_str())) {
            self.ignored(format!("the cipher suite {suite:?} is not known"));
        }
        match mode {
            TlSmode::AutoPassthrough => {
                return self
                    .refused("AUTO_PASSTHROUGH leads between Istio's own networks; use PASSTHROUGH with routes");
            }
            TlSmode::IstioMutual => {
                return self.refused("ISTIO_MUTUAL needs the certificates of Istio's agent; use MUTUAL with files");
            }
            _ => {}
        }
        let names = [
            !tls.credential_name.is_empty(),
            !tls.credential_names.is_empty(),
            !tls.ca_cert_credential_name.is_empty(),
        ];
        if names.contains(&true) {
            return self.refused(
                "`credentialName` is a Secret of Kubernetes; use `serverCertificate` and `privateKey`, files on the gateway",
            );
        }
        let pair = !tls.server_certificate.is_empty() && !tls.private_key.is_empty();
        let both = pair && !tls.tls_certificates.is_empty();
        self.require(!both, || "`tlsCertificates` cannot stand beside `serverCertificate`".into());
        if is_passthrough(tls) {
            let any = [&tls.server_certificate, &tls.private_key, &tls.ca_certificates, &tls.ca_crl];
            if any.iter().any(|text| !text.is_empty()) || !tls.tls_certificates.is_empty() {
                self.ignored("PASSTHROUGH has no certificates");
            }
            return;
        }
        if tls.insecure_skip_verify.as_ref().is_some_and(|skip| skip.value) {
            self.refused("`insecureSkipVerify` would let everybody in; use SIMPLE");
        }
        if mode != TlSmode::Simple {
            self.require(!tls.ca_certificates.is_empty(), || "MUTUAL needs `caCertificates`".into());
        } else {
            self.require(tls.ca_crl.is_empty(), || "SIMPLE has no `caCrl`".into());
        }
        self.certificates(tls);
        let (least, most) = (tls.min_protocol_version, tls.max_protocol_version);
        let both = least != TlsProtocol::TlsAuto as i32 && most != TlsProtocol::TlsAuto as i32;
        if both && least > most {
            self.refused("`minProtocolVersion` is above `maxProtocolVersion`, which Envoy does not take");
        }
    }

    fn certificates(&mut self, tls: &ServerTlsSettings) {
        if tls.tls_certificates.is_empty() {
            self.require(!tls.server_certificate.is_empty(), || "it has no `serverCertificate`".into());
            self.require(!tls.private_key.is_empty(), || "it has no `privateKey`".into());
        }
        if tls.tls_certificates.len() > 2 {
            self.refused("Envoy takes two certificates for a server: one of RSA and one of ECDSA");
        }
        self.each("tlsCertificates", &tls.tls_certificates, |c, pair| {
            c.require(!pair.server_certificate.is_empty(), || "it has no `serverCertificate`".into());
            c.require(!pair.private_key.is_empty(), || "it has no `privateKey`".into());
        });
    }
}

/// Whether the gateway passes TLS on and does not end it.
fn is_passthrough(tls: &ServerTlsSettings) -> bool {
    matches!(TlSmode::try_from(tls.mode), Ok(TlSmode::Passthrough | TlSmode::AutoPassthrough))
}
