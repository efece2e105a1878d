//! Tokens that are signed here, each wrong in one thing.

use super::*;
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::json;

const RSA: &str = include_str!("../../../tests/support/certificates/mesh/token-rsa.key");
const P256: &str = include_str!("../../../tests/support/certificates/mesh/token-p256.key");

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pkcs8(pem: &str) -> Vec<u8> {
    PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap().secret_pkcs8_der().to_vec()
}

fn rsa() -> RsaKeyPair {
    RsaKeyPair::from_pkcs8(&pkcs8(RSA)).unwrap()
}

fn p256() -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8(P256), &SystemRandom::new()).unwrap()
}

fn ed25519() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

/// The public halves of all three, and some that are of no use.
fn keys() -> String {
    let (rsa, p256, ed25519) = (rsa(), p256(), ed25519());
    let (public, point) = (RsaPublicKeyComponents::<Vec<u8>>::from(rsa.public()), p256.public_key().as_ref());
    json!({ "keys": [
        { "kty": "RSA", "kid": "r", "use": "sig", "n": encoded(public.n), "e": encoded(public.e) },
        { "kty": "EC", "kid": "e", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..]) },
        { "kty": "OKP", "kid": "d", "crv": "Ed25519", "x": encoded(ed25519.public_key()), "alg": "EdDSA" },
        { "kty": "oct", "kid": "shared", "k": encoded("secret") },
        { "kty": "EC", "kid": "odd", "crv": "secp256k1", "x": "AA", "y": "AA" },
        { "kty": "RSA", "kid": "enc", "use": "enc", "n": "AA", "e": "AA" },
    ]})
    .to_string()
}

fn rules(algorithms: &[Algorithm]) -> Rules {
    Rules {
        algorithms: algorithms.to_vec(),
        issuer: "https://issuer.example".into(),
        audiences: vec!["portolan".into()],
        name: vec!["sub".into()],
    }
}

fn verifier(algorithms: &[Algorithm]) -> Verifier {
    Verifier::new(rules(algorithms), &keys()).unwrap()
}

const NOW: u64 = 1_790_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn claims() -> Value {
    json!({ "iss": "https://issuer.example", "aud": ["other", "portolan"], "sub": "edge", "exp": NOW + 600, "nbf": NOW - 5 })
}

/// A token with that header and these claims, signed as the header says, or not at all.
fn token(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    let signature = match header["alg"].as_str() {
        Some("ES256") => p256().sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        Some("EdDSA") => ed25519().sign(message.as_bytes()).as_ref().to_vec(),
        Some("RS256") => {
            let (key, random) = (rsa(), SystemRandom::new());
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
            signature
        }
        // The public key as a shared secret, as in the well-known attack.
        Some("HS256") => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, keys().as_bytes());
            ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
        }
        _ => Vec::new(),
    };
    format!("{message}.{}", encoded(signature))
}

fn good() -> String {
    token(&json!({ "alg": "ES256", "kid": "e" }), &claims())
}

const ALL: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

#[test]
fn each_kind_of_key_verifies_its_own_algorithm() {
    for (alg, kid) in [("RS256", "r"), ("ES256", "e"), ("EdDSA", "d")] {
        for header in [json!({ "alg": alg, "kid": kid }), json!({ "alg": alg, "typ": "JWT" })] {
            let found = verifier(&ALL).verify(&token(&header, &claims()), now()).unwrap();
            assert_eq!((&*found.name, found.until), ("edge", now() + Duration::from_secs(600) + LEEWAY), "{header}");
        }
    }
}

#[test]
fn what_is_signed_in_another_way_is_refused() {
    let refused = |header: &Value| verifier(&ALL).verify(&token(header, &claims()), now()).unwrap_err();
    for alg in ["none", "None", "HS256", "ES512", ""] {
        assert_eq!(refused(&json!({ "alg": alg, "kid": "r" })), JwtError::Algorithm(alg.into()));
    }
    // A key of another kind, or of nobody.
    assert_eq!(refused(&json!({ "alg": "ES256", "kid": "r" })), JwtError::NoKey(Some("r".into()), "ES256"));
    assert_eq!(refused(&json!({ "alg": "ES256", "kid": "nobody" })), JwtError::NoKey(Some("nobody".into()), "ES256"));
    for kid in ["shared", "odd", "enc"] {
        assert_eq!(refused(&json!({ "alg": "RS256", "kid": kid })), JwtError::NoKey(Some(kid.into()), "RS256"));
    }
    assert_eq!(refused(&json!({ "alg": "ES256", "kid": "e", "crit": ["exp"] })), JwtError::Critical);
    let es256 = token(&json!({ "alg": "ES256", "kid": "e" }), &claims());
    assert_eq!(verifier(&[Algorithm::RS256]).verify(&es256, now()), Err(JwtError::Algorithm("ES256".into())));
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    let good = good();
    let parts: Vec<&str> = good.split('.').collect();
    let mut other = claims();
    other["sub"] = "admin".into();
    let changed = format!("{}.{}.{}", parts[0], encoded(other.to_string()), parts[2]);
    assert_eq!(verifier(&ALL).verify(&changed, now()), Err(JwtError::Signature));
    assert_eq!(verifier(&ALL).verify(&format!("{}.{}.", parts[0], parts[1]), now()), Err(JwtError::Signature));
    for malformed in ["", "a", "a.b", "..", "a.b.c.d", "!.!.!", &format!("{}.{}", parts[0], parts[1])] {
        assert!(matches!(verifier(&ALL).verify(malformed, now()), Err(JwtError::Malformed(_))), "{malformed:?}");
    }
    assert_eq!(verifier(&ALL).verify(&"a".repeat(17 << 10), now()), Err(JwtError::Long));
}

#[test]
fn who_issued_it_for_whom_and_when_must_fit() {
    let check = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims();
        change(&mut claims);
        let token = token(&json!({ "alg": "ES256", "kid": "e" }), &claims);
        verifier(&ALL).verify(&token, now()).map(|claims| claims.name.to_string())
    };
    let set = |key: &'static str, value: Value| check(&move |claims: &mut Value| claims[key] = value.clone());
    assert_eq!(set("iss", "https://other.example".into()), Err(JwtError::Issuer("https://other.example".into())));
    assert_eq!(set("aud", "other".into()), Err(JwtError::Audience(vec!["other".into()])));
    assert_eq!(set("aud", "portolan".into()), Ok("edge".into()));
    assert_eq!(set("exp", (NOW - 31).into()), Err(JwtError::Expired));
    assert_eq!(set("exp", (NOW - 29).into()), Ok("edge".into()), "clocks may be apart");
    assert_eq!(set("nbf", (NOW + 31).into()), Err(JwtError::NotYet));
    assert_eq!(set("nbf", (NOW + 29).into()), Ok("edge".into()));
    for (key, wrong) in [
        ("iss", json!(1)),
        ("aud", json!({})),
        ("aud", Value::Null),
        ("exp", json!("tomorrow")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("nbf", json!("x")),
        ("sub", json!(7)),
        ("sub", json!("")),
        ("sub", json!("a".repeat(3000))),
    ] {
        assert!(matches!(set(key, wrong.clone()), Err(JwtError::Claim(..))), "{key}: {wrong}");
    }
    for key in ["iss", "aud", "exp", "sub"] {
        let without = check(&|claims| drop(claims.as_object_mut().unwrap().remove(key)));
        assert!(matches!(without, Err(JwtError::Claim(..))), "{key}");
    }
    assert_eq!(check(&|claims| drop(claims.as_object_mut().unwrap().remove("nbf"))), Ok("edge".into()));
}

#[test]
fn the_name_may_be_another_claim() {
    let mut claims = claims();
    claims["kubernetes.io"] = json!({ "serviceaccount": { "name": "web" } });
    let token = token(&json!({ "alg": "ES256" }), &claims);
    let named = |way: &[&str]| {
        let name = way.iter().map(|key| Text::from(*key)).collect();
        let verifier = Verifier::new(Rules { name, ..rules(&ALL) }, &keys()).unwrap();
        verifier.verify(&token, now()).map(|claims| claims.name.to_string())
    };
    assert_eq!(named(&["kubernetes.io", "serviceaccount", "name"]), Ok("web".into()));
    assert!(named(&["kubernetes.io", "serviceaccount"]).is_err() && named(&["kubernetes.io", "x", "y"]).is_err());
}

#[test]
fn a_set_without_a_usable_key_is_refused() {
    let read = |text: &str| Verifier::new(rules(&ALL), text).unwrap_err().to_string();
    assert!(read("nonsense").contains("\"keys\""));
    assert!(read("{\"keys\": []}").contains("no key for signatures"));
    assert!(read("{\"keys\": [{\"kty\": \"oct\", \"k\": \"AA\"}]}").contains("no key for signatures"));
    assert!(
        read("{\"keys\": [{\"kty\": \"RSA\", \"kid\": \"a\", \"e\": \"AQAB\"}]}")
            .contains("the key \"a\" cannot be read: n")
    );
    assert!(
        read("{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"AA\", \"y\": \"AA\"}]}").contains("number 1")
    );
    let many = json!({ "keys": vec![json!({ "kty": "oct" }); 101] }).to_string();
    assert!(read(&many).contains("101 keys"));
}
