use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::json;

use super::*;

const WANTED: Wanted<'_> =
    Wanted { issuer: "https://id.example", client_id: "holdfast", nonce: "n" };

/// Keys and tokens that another implementation made, good from 1000 to 1300.
fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/goldens/oidc/tokens.json")).unwrap()
}

fn keys(value: &Value) -> Vec<Key> {
    serde_json::from_value(value.clone()).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A provider with one key of P-256.
struct Signer {
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new() -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        Self { pair: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap() }
    }

    fn keys(&self) -> Vec<Key> {
        let point = self.pair.public_key().as_ref();
        let part = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        keys(
            &json!([{"kty": "EC", "kid": "a", "crv": "P-256", "x": part(1..33), "y": part(33..65)}]),
        )
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "a"})
}

fn claims() -> Value {
    json!({"iss": WANTED.issuer, "aud": WANTED.client_id, "sub": "7", "nonce": "n",
        "iat": 1000, "exp": 1300})
}

#[test]
fn what_others_signed_is_verified_with_every_algorithm() {
    let vectors = vectors();
    let keys = keys(&vectors["keys"]);
    for (algorithm, token) in vectors["tokens"].as_object().unwrap() {
        let token = token.as_str().unwrap();
        let verified = verify(token, &keys, &WANTED, at(1100)).unwrap();
        assert_eq!(verified["sub"], "7", "{algorithm}");
        for place in [token.find('.').unwrap() + 5, token.len() - 20] {
            let mut bent = token.as_bytes().to_vec();
            bent[place] = if bent[place] == b'A' { b'B' } else { b'A' };
            let bent = String::from_utf8(bent).unwrap();
            let fault = verify(&bent, &keys, &WANTED, at(1100)).unwrap_err();
            assert_eq!(fault, Fault::Signature, "{algorithm} bent at {place}");
        }
    }
    let small = vectors["small"].as_str().unwrap();
    let fault = verify(small, &keys, &WANTED, at(1100)).unwrap_err();
    assert_eq!(fault, Fault::Signature, "RSA of 1024 bits proves nothing");
}

#[test]
fn a_token_counts_only_for_this_client_this_browser_and_this_moment() {
    let signer = Signer::new();
    let told = |claims: &Value, second: i64| {
        let token = signer.sign(&header(), claims);
        verify(&token, &signer.keys(), &WANTED, at(second)).err()
    };
    assert_eq!(told(&claims(), 1100), None);
    for (claim, value, fault) in [
        ("iss", json!("https://id.example/"), Fault::Issuer),
        ("iss", json!(null), Fault::Issuer),
        ("aud", json!("other"), Fault::Audience),
        ("aud", json!([]), Fault::Audience),
        ("aud", json!(["other"]), Fault::Audience),
        ("aud", json!(["holdfast", "other"]), Fault::Audience),
        ("azp", json!("other"), Fault::Audience),
        ("nonce", json!("other"), Fault::Nonce),
        ("nonce", json!(null), Fault::Nonce),
        ("nonce", json!(""), Fault::Nonce),
        ("exp", json!(null), Fault::Time),
        ("exp", json!("1300"), Fault::Time),
        ("iat", json!(1161), Fault::Time),
        ("nbf", json!(1161), Fault::Time),
        ("sub", json!(""), Fault::Subject),
        ("sub", json!(7), Fault::Subject),
        ("sub", json!("x".repeat(256)), Fault::Subject),
    ] {
        let mut claims = claims();
        claims[claim] = value.clone();
        assert_eq!(told(&claims, 1100), Some(fault), "{claim}: {value}");
    }
    let mut several = claims();
    several["aud"] = json!(["other", "holdfast"]);
    several["azp"] = json!("holdfast");
    assert_eq!(told(&several, 1100), None);
    // A minute of grace for the provider's clock, and not more.
    for (second, fault) in [(940, None), (939, Some(Fault::Time)), (1359, None)] {
        assert_eq!(told(&claims(), second), fault, "at {second}");
    }
    assert_eq!(told(&claims(), 1360), Some(Fault::Time));
}

#[test]
fn no_header_talks_the_server_into_another_check() {
    let signer = Signer::new();
    let told = |header: Value, keys: &[Key]| {
        verify(&signer.sign(&header, &claims()), keys, &WANTED, at(1100)).err()
    };
    let keys = signer.keys();
    for algorithm in ["none", "None", "HS256", "HS512", "ES256K", "RS1", ""] {
        let header = json!({"alg": algorithm, "kid": "a"});
        assert_eq!(told(header, &keys), Some(Fault::Malformed), "{algorithm}");
    }
    // A key is used for its own algorithm only.
    for algorithm in ["RS256", "PS256", "EdDSA"] {
        let header = json!({"alg": algorithm, "kid": "a"});
        assert_eq!(told(header, &keys), Some(Fault::UnknownKey), "{algorithm}");
    }
    let other_curve = json!({"alg": "ES384", "kid": "a"});
    assert_eq!(told(other_curve, &keys), Some(Fault::UnknownKey));
    assert_eq!(told(json!({"alg": "ES256", "kid": "b"}), &keys), Some(Fault::UnknownKey));
    let critical = json!({"alg": "ES256", "kid": "a", "crit": ["x"]});
    assert_eq!(told(critical, &keys), Some(Fault::Malformed));
    // Without a name, the only key that fits.
    assert_eq!(told(json!({"alg": "ES256"}), &keys), None);
    let two = [keys.clone(), Signer::new().keys()].concat();
    assert_eq!(told(json!({"alg": "ES256"}), &two), Some(Fault::UnknownKey));
    let encrypts = Key { purpose: Some("enc".to_owned()), ..keys[0].clone() };
    assert_eq!(told(header(), &[encrypts]), Some(Fault::UnknownKey));
    let stranger = Signer::new().keys();
    assert_eq!(told(header(), &stranger), Some(Fault::Signature));
}

#[test]
fn rubbish_is_no_token() {
    let keys = Signer::new().keys();
    let large = "x".repeat(TOKEN_MAX + 1);
    for text in ["", ".", "..", "a.b.c", "e30.e30.", "e30.e30.AA", "!.!.!", &large] {
        let fault = verify(text, &keys, &WANTED, at(1100)).unwrap_err();
        assert_eq!(fault, Fault::Malformed, "{text:.20}");
    }
}
