//! Which certificates and tokens are believed, over committed certificates (`tests/support/certificates/mesh`).

use super::{
    authorities::{Authorities, Bundles},
    jwt::{Algorithm, Rules},
    *,
};
use crate::util::{secret::Secret, tls};
use http::{HeaderMap, HeaderValue};
use rustls::{pki_types::CertificateDer, server::danger::ClientCertVerifier};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

fn folder() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/certificates/mesh").into()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    tls::certificates(&text(&format!("{name}.pem"))).unwrap()
}

fn now() -> SystemTime {
    humantime::parse_rfc3339("2030-01-01T00:00:00Z").unwrap()
}

/// Authorities that believe `shop` for all others than SPIFFE ids, and trust domains by their own bundle.
fn authorities(domains: &[(&str, &str)], all: Option<&str>, crls: &[&str]) -> Authorities {
    let domains = domains.iter().map(|(domain, bundle)| (Text::from(*domain), text(bundle))).collect();
    let crls = crls.iter().map(|name| text(name)).collect();
    Authorities::new(Bundles { all: all.map(text), domains, crls, required: true }).unwrap()
}

use crate::model::Text;

fn names(authorities: &Authorities, certificate: &str) -> Result<Vec<String>, String> {
    let found = authorities.names(&chain(certificate), now());
    // What TLS asks gives the same answer.
    let shown = chain(certificate);
    let (leaf, rest) = shown.split_first().unwrap();
    let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let asked = authorities.verify_client_cert(leaf, rest, rustls::pki_types::UnixTime::since_unix_epoch(since));
    assert_eq!(asked.is_ok(), found.is_ok(), "{certificate}");
    let found = found.map(|names| names.iter().map(ToString::to_string).collect());
    found.map_err(|disbelief| disbelief.to_string())
}

#[test]
fn each_trust_domain_is_vouched_for_by_its_own_authorities() {
    let both = authorities(&[("shop.example", "shop.pem"), ("partner.example", "partner.pem")], None, &[]);
    let cart = "spiffe://shop.example/ns/shop/sa/cart".to_owned();
    assert_eq!(names(&both, "cart"), Ok(vec![cart]));
    assert_eq!(names(&both, "partner-cart"), Ok(vec!["spiffe://partner.example/ns/shop/sa/cart".into()]));
    for (certificate, part) in [
        // The partner's authority is believed, and not for names of the shop.
        ("impostor", "UnknownIssuer"),
        ("next-cart", "UnknownIssuer"),
        ("stranger", "the trust domain \"elsewhere.example\""),
        ("two-uris", "has 2 URIs"),
        ("capitals", "its trust domain is not made of"),
        ("dns", "no SPIFFE id"),
        ("expired", "xpired"),
        ("future", "not valid yet"),
        ("self-signed", "UnknownIssuer"),
        ("by-a-leaf", ""),
        ("server-only", ""),
        ("authority-as-client", "no SPIFFE id"),
    ] {
        let refused = names(&both, certificate).expect_err(certificate);
        assert!(refused.contains(part), "{certificate}: {refused}");
    }
}

#[test]
fn without_trust_domains_one_bundle_vouches_for_all_names() {
    let plain = authorities(&[], Some("shop.pem"), &[]);
    assert_eq!(names(&plain, "dns"), Ok(vec!["web.shop.example".into(), "web".into()]));
    assert_eq!(names(&plain, "common-name"), Ok(vec!["batch".into()]));
    assert_eq!(names(&plain, "stranger"), Ok(vec!["spiffe://elsewhere.example/cart".into()]));
    assert!(names(&plain, "partner-cart").is_err() && names(&plain, "authority-as-client").is_err());
    // With trust domains they are the only ones for SPIFFE ids, and the bundle is for others.
    let both = authorities(&[("partner.example", "partner.pem")], Some("shop.pem"), &[]);
    assert!(names(&both, "dns").is_ok() && names(&both, "partner-cart").is_ok());
    assert!(names(&both, "cart").unwrap_err().contains("shop.example"));
}

#[test]
fn what_a_list_revokes_is_refused_and_nothing_else() {
    let domains = [("shop.example", "shop.pem"), ("partner.example", "partner.pem")];
    let none = authorities(&domains, None, &["none-revoked.crl"]);
    assert!(names(&none, "cart").is_ok());
    let cart = authorities(&domains, None, &["cart-revoked.crl"]);
    assert!(names(&cart, "cart").unwrap_err().contains("Revoked"));
    assert!(names(&cart, "edge").is_ok());
    assert!(names(&cart, "partner-cart").is_ok(), "of this issuer there is no list");
}

fn settings() -> Settings {
    let path = |name: &str| folder().join(name);
    Settings {
        tls: Some(TlsFiles {
            certificate: path("shop-server.pem"),
            key: path("shop-server.key"),
            client_authorities: None,
            trust_domains: BTreeMap::from([("shop.example".into(), path("shop.pem"))]),
            crls: Vec::new(),
            require_client_certificate: false,
        }),
        ..Settings::default()
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let now = now();
    let refused = |change: &dyn Fn(&mut TlsFiles), before: Option<&Policy>| {
        let mut settings = settings();
        change(settings.tls.as_mut().unwrap());
        crate::util::error::chain(&settings.load(before, now).unwrap_err())
    };
    let path = |name: &str| folder().join(name);
    for (text, part) in [
        (refused(&|tls| tls.key = path("next-server.key"), None), "no certificate and its key: TLS refuses it"),
        (refused(&|tls| tls.key = path("nothing"), None), "cannot read"),
        (refused(&|tls| tls.certificate = path("shop-server.key"), None), "there is no certificate in it"),
        (refused(&|tls| tls.crls = vec![path("shop.pem")], None), "no list of revoked certificates"),
        (refused(&|tls| tls.client_authorities = Some(path("shop-server.key")), None), "there is no certificate in it"),
        (refused(&|tls| tls.certificate = folder(), None), "it is no regular file"),
    ] {
        assert!(text.contains(part), "{text}");
    }
    // One that has ended never takes the place of one that has not; without another it is better than none.
    let expired = |tls: &mut TlsFiles| (tls.certificate, tls.key) = (path("expired.pem"), path("expired.key"));
    let before = settings().load(None, now).unwrap();
    assert!(refused(&expired, Some(&before)).contains("ended at 2025-01-01T00:00:00Z"));
    let mut alone = settings();
    expired(alone.tls.as_mut().unwrap());
    assert!(alone.load(None, now).is_ok());
}

#[test]
fn what_has_not_changed_stays_the_same_value() {
    let first = settings().load(None, now()).unwrap();
    let again = settings().load(Some(&first), now()).unwrap();
    assert!(first.is(&again));
    let config = |policy: &Policy| Arc::as_ptr(&policy.tls.as_ref().unwrap().config);
    assert_eq!(config(&first), config(&again));
    let mut other = settings();
    other.tls.as_mut().unwrap().crls = vec![folder().join("cart-revoked.crl")];
    assert!(!first.is(&other.load(Some(&first), now()).unwrap()));
    let mut tokens = settings();
    tokens.tokens = vec![("edge".into(), Secret::new("0123456789abcdef"))];
    assert!(!first.is(&tokens.load(Some(&first), now()).unwrap()));
}

#[test]
fn a_certificate_that_was_believed_is_checked_again() {
    let first = settings().load(None, now()).unwrap();
    let cart = first.identity_of(chain("cart")).unwrap();
    assert_eq!(&**cart.name(), "spiffe://shop.example/ns/shop/sa/cart");
    let year = Duration::from_secs(365 * 24 * 3600);
    first.recheck(&cart, now()).unwrap();
    assert_eq!(first.recheck(&cart, now() + 100 * year).unwrap_err().code(), "expired");
    let mut revoked = settings();
    revoked.tls.as_mut().unwrap().crls = vec![folder().join("cart-revoked.crl")];
    assert_eq!(revoked.load(None, now()).unwrap().recheck(&cart, now()).unwrap_err().code(), "certificate");
    let mut next = settings();
    next.tls.as_mut().unwrap().trust_domains = BTreeMap::from([("shop.example".into(), folder().join("next.pem"))]);
    assert_eq!(next.load(None, now()).unwrap().recheck(&cart, now()).unwrap_err().code(), "certificate");
}

fn bearer(values: &[&str]) -> HeaderMap {
    values.iter().fold(HeaderMap::new(), |mut headers, value| {
        headers.append("authorization", HeaderValue::from_str(value).unwrap());
        headers
    })
}

#[test]
fn a_word_stands_for_a_name_and_goes_before_the_certificate() {
    let mut settings = settings();
    let tokens = [("edge", "edge-token-0123456"), ("edge", "edge-token-new-012"), ("shop", "shop-token-0123456")];
    settings.tokens = tokens.iter().map(|(name, token)| (Text::from(*name), Secret::new(*token))).collect();
    let policy = settings.load(None, now()).unwrap();
    let certificate = Arc::new(policy.identity_of(chain("cart")).unwrap());
    let name = |headers: &HeaderMap, certificate| {
        policy.identify(headers, certificate, now()).map(|found| found.map(|found| found.name().to_string()))
    };
    for (token, expected) in tokens.iter().map(|(name, token)| (*token, *name)) {
        for scheme in ["Bearer", "bearer"] {
            let headers = bearer(&[&format!("{scheme} {token}")]);
            assert_eq!(name(&headers, Some(&certificate)).unwrap().as_deref(), Some(expected));
        }
    }
    assert_eq!(name(&HeaderMap::new(), Some(&certificate)).unwrap(), Some(certificate.name().to_string()));
    let code = |values: &[&str]| name(&bearer(values), Some(&certificate)).unwrap_err().code();
    assert_eq!(name(&HeaderMap::new(), None).unwrap_err().code(), "no_credentials");
    for wrong in
        [&["Bearer nobodys-token-012"][..], &["Basic abc"], &["Bearer"], &["Bearer "], &["Bearer a", "Bearer b"]]
    {
        assert_eq!(code(wrong), "token", "{wrong:?}");
    }
    // One that is taken away ends what it has begun.
    let edge = policy.identify(&bearer(&["Bearer edge-token-0123456"]), None, now()).unwrap().unwrap();
    settings.tokens.remove(0);
    let after = settings.load(Some(&policy), now()).unwrap();
    assert_eq!(after.recheck(&edge, now()).unwrap_err().code(), "token");
    settings.tokens.push(("other".into(), Secret::new("edge-token-0123456")));
    assert!(matches!(settings.load(None, now()).unwrap().recheck(&edge, now()), Err(Refusal::Renamed)));
}

#[test]
fn without_anything_asked_nobody_is_anybody() {
    let policy = Policy::default();
    assert!(policy.identify(&bearer(&["Bearer whatever"]), None, now()).unwrap().is_none());
    assert!(policy.check_node(None, "any").is_ok());
    let ruled = Policy { node_id: Some(NodeRule::parse("{name}*").unwrap()), ..Policy::default() };
    assert_eq!(ruled.check_node(None, "any").unwrap_err().code(), "node");
}

#[test]
fn nothing_that_is_printed_shows_a_token() {
    let mut settings = settings();
    settings.tokens = vec![("edge".into(), Secret::new("hunter2-hunter2-hunter2"))];
    settings.jwt = Some(JwtFiles {
        keys: folder().join("nothing"),
        rules: Rules {
            algorithms: vec![Algorithm::RS256],
            issuer: "i".into(),
            audiences: vec!["a".into()],
            name: vec!["sub".into()],
        },
    });
    assert!(!format!("{settings:?}").contains("hunter2"));
    settings.jwt = None;
    let policy = settings.load(None, now()).unwrap();
    let identity = policy.identify(&bearer(&["Bearer hunter2-hunter2-hunter2"]), None, now()).unwrap();
    assert!(!format!("{policy:?} {identity:?}").contains("hunter2"));
}
