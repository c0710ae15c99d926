//! Bearer tokens: 256 random bits behind a prefix that says what the token opens.
//!
//! Only the SHA-256 of a token is stored. A fast hash is enough, because nobody can guess 256 bits;
//! it keeps thousands of reconnecting agents cheap.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use holdfast_protocol::message::config::Secret;
use rand::{Rng, distr::Alphanumeric};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// The link, for one host.
    Agent,
    /// The REST API, for a person or a script.
    Api,
    /// One enrolment.
    Enrolment,
    /// The REST API, for a browser that is signed in.
    SignIn,
}

impl TokenKind {
    /// What tokens of this sort begin with, so that a person (and a secret scanner) knows them.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Agent => "hf_agt_",
            Self::Api => "hf_api_",
            Self::Enrolment => "hf_enr_",
            Self::SignIn => "hf_sgn_",
        }
    }

    /// A new token. It is shown once and never stored.
    #[must_use]
    pub fn mint(self) -> Secret {
        let bits: [u8; 32] = rand::random();
        Secret::new(format!("{}{}", self.prefix(), URL_SAFE_NO_PAD.encode(bits)))
    }
}

/// What a Backupy agent's key begins with.
const BACKUPY_PREFIX: &str = "bkpy_live_";
/// How many letters and digits follow: 190 random bits.
const BACKUPY_LENGTH: usize = 32;

impl TokenKind {
    /// A new agent token in the shape that Backupy's agents expect of their key.
    #[must_use]
    pub fn mint_backupy() -> Secret {
        let mut dice = rand::rng();
        let letters = std::iter::repeat_with(|| char::from(dice.sample(Alphanumeric)));
        Secret::new(BACKUPY_PREFIX.chars().chain(letters.take(BACKUPY_LENGTH)).collect::<String>())
    }
}

/// The SHA-256 of a token, in hexadecimal: what the store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash(String);

impl TokenHash {
    /// The hash of `token`.
    #[must_use]
    pub fn of(token: &str) -> Self {
        use std::fmt::Write;
        let digest = Sha256::digest(token.as_bytes());
        let mut hex = String::with_capacity(64);
        for byte in digest {
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// The hexadecimal text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `stored` is this hash, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, stored: &str) -> bool {
        self.0.as_bytes().ct_eq(stored.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_prefixed_long_and_never_equal() {
        let first = TokenKind::Api.mint();
        assert!(first.expose().starts_with("hf_api_"));
        assert_eq!(first.expose().len(), "hf_api_".len() + 43);
        assert_ne!(first.expose(), TokenKind::Api.mint().expose());
    }

    #[test]
    fn a_backupy_key_has_the_shape_its_agents_expect() {
        let key = TokenKind::mint_backupy();
        let (_, tail) = key.expose().split_at("bkpy_live_".len());
        assert_eq!(tail.len(), 32);
        assert!(tail.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{tail}");
    }

    #[test]
    fn a_hash_is_the_known_sha_256() {
        assert_eq!(
            TokenHash::of("abc").as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(TokenHash::of("abc").matches(TokenHash::of("abc").as_str()));
        assert!(!TokenHash::of("abc").matches(TokenHash::of("abd").as_str()));
    }
}
