//! Whether a provider's ID token counts: signed by the provider, for this server, for this browser,
//! now. Pure.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;

/// A public key of the provider, as it tells it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// What a token must say.
pub(super) struct Wanted<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It is no signed token of a kind that is known.
    #[error("it is not a token signed with RS256, PS256, ES256, ES384 or EdDSA")]
    Malformed,
    /// None of the provider's keys is named in it.
    #[error("it is signed with a key that the provider does not have")]
    UnknownKey,
    /// The signature is not the provider's.
    #[error("its signature is wrong")]
    Signature,
    /// It is of another provider.
    #[error("it is of another issuer")]
    Issuer,
    /// It is for another program.
    #[error("it is for another client")]
    Audience,
    /// It is too old, or not yet good.
    #[error("it is not good at this time")]
    Time,
    /// It is for another browser.
    #[error("it is not for this sign-in")]
    Nonce,
    /// It does not say whom it is about.
    #[error("it names nobody")]
    Subject,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What must be understood: nothing is.
    crit: Option<Value>,
}

/// How far the provider's clock may be off.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// OpenID Connect's own limit.
const SUBJECT_MAX: usize = 255;
const TOKEN_MAX: usize = 64 * 1024;

/// The claims of `token`, if it counts.
///
/// # Errors
/// [`Fault`]: the first thing that is wrong. Nothing unsigned is looked at but the name of the key.
pub(super) fn verify(
    token: &str,
    keys: &[Key],
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<Value, Fault> {
    let (signed, signature) = split(token)?;
    let (head, body) = signed.split_once('.').ok_or(Fault::Malformed)?;
    let header: Header = read(head)?;
    if header.crit.is_some() {
        return Err(Fault::Malformed);
    }
    let key = choose(keys, &header)?;
    key.check(&header.alg, signed.as_bytes(), &signature)?;
    let claims: Value = read(body)?;
    judge(&claims, wanted, now)?;
    Ok(claims)
}

fn split(token: &str) -> Result<(&str, Vec<u8>), Fault> {
    if token.len() > TOKEN_MAX {
        return Err(Fault::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Fault::Malformed)?;
    Ok((signed, decode(signature)?))
}

fn decode(text: &str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Fault::Malformed)
}

fn read<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, Fault> {
    serde_json::from_slice(&decode(part)?).map_err(|_| Fault::Malformed)
}

/// The key that a token names; without a name, the only one that fits.
fn choose<'a>(keys: &'a [Key], header: &Header) -> Result<&'a Key, Fault> {
    let fits = |key: &&Key| {
        let signs = key.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let named = header.kid.is_none() || key.kid == header.kid;
        let meant = key.alg.as_ref().is_none_or(|alg| *alg == header.alg);
        signs && named && meant && key.kty == kind_of(&header.alg)
    };
    if kind_of(&header.alg).is_empty() {
        return Err(Fault::Malformed);
    }
    let mut fitting = keys.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => Ok(key),
        _ => Err(Fault::UnknownKey),
    }
}

/// The sort of key that an algorithm takes. Algorithms with a shared secret, and `none`, are not
/// among them: what anybody could have signed says nothing.
fn kind_of(algorithm: &str) -> &'static str {
    match algorithm {
        "RS256" | "PS256" => "RSA",
        "ES256" | "ES384" => "EC",
        "EdDSA" => "OKP",
        _ => "",
    }
}

impl Key {
    fn check(&self, algorithm: &str, signed: &[u8], signature: &[u8]) -> Result<(), Fault> {
        match (algorithm, self.crv.as_deref()) {
            ("RS256", _) => self.check_rsa(&RSA_PKCS1_2048_8192_SHA256, signed, signature),
            ("PS256", _) => self.check_rsa(&RSA_PSS_2048_8192_SHA256, signed, signature),
            ("ES256", Some("P-256")) => {
                check(&ECDSA_P256_SHA256_FIXED, &self.point()?, signed, signature)
            }
            ("ES384", Some("P-384")) => {
                check(&ECDSA_P384_SHA384_FIXED, &self.point()?, signed, signature)
            }
            ("EdDSA", Some("Ed25519")) => check(&ED25519, &part(&self.x)?, signed, signature),
            _ => Err(Fault::UnknownKey),
        }
    }

    fn check_rsa(
        &self,
        parameters: &RsaParameters,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), Fault> {
        let bare = |bytes: Vec<u8>| {
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            bytes[zeros..].to_vec()
        };
        let key = RsaPublicKeyComponents { n: bare(part(&self.n)?), e: bare(part(&self.e)?) };
        key.verify(parameters, signed, signature).map_err(|_| Fault::Signature)
    }

    /// A point of a curve, uncompressed.
    fn point(&self) -> Result<Vec<u8>, Fault> {
        Ok([&[4][..], &part(&self.x)?, &part(&self.y)?].concat())
    }
}

fn part(text: &Option<String>) -> Result<Vec<u8>, Fault> {
    decode(text.as_deref().ok_or(Fault::UnknownKey)?)
}

fn check(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Result<(), Fault> {
    UnparsedPublicKey::new(algorithm, key).verify(signed, signature).map_err(|_| Fault::Signature)
}

/// Whether signed claims are about this sign-in.
fn judge(claims: &Value, wanted: &Wanted<'_>, now: Timestamp) -> Result<(), Fault> {
    if claims["iss"] != wanted.issuer {
        return Err(Fault::Issuer);
    }
    if !is_for(claims, wanted.client_id) {
        return Err(Fault::Audience);
    }
    let time = |claim: &str| claims[claim].as_f64().map(|seconds| seconds as i64);
    let (late, early) = ((now - SKEW).as_second(), (now + SKEW).as_second());
    let ended = time("exp").is_none_or(|end| end <= late);
    let not_yet = ["iat", "nbf"].into_iter().filter_map(time).any(|begin| begin > early);
    if ended || not_yet {
        return Err(Fault::Time);
    }
    let nonce = claims["nonce"].as_str().unwrap_or_default();
    if !bool::from(nonce.as_bytes().ct_eq(wanted.nonce.as_bytes())) {
        return Err(Fault::Nonce);
    }
    let subject = claims["sub"].as_str().unwrap_or_default();
    if subject.is_empty() || subject.len() > SUBJECT_MAX { Err(Fault::Subject) } else { Ok(()) }
}

/// Whether the token is for this client, and no other is named as the one that asked for it.
fn is_for(claims: &Value, client_id: &str) -> bool {
    let named = match &claims["aud"] {
        Value::String(one) => one == client_id,
        Value::Array(several) => {
            let among = several.iter().any(|one| one == client_id);
            among && (several.len() == 1 || claims["azp"] == client_id)
        }
        _ => false,
    };
    named && (claims["azp"].is_null() || claims["azp"] == client_id)
}

#[cfg(test)]
#[path = "jwt/tests.rs"]
mod tests;
