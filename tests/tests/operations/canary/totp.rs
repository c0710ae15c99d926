//! What an authenticator app shows, computed apart from the server's own code.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The code of the base32 `secret` at this moment: RFC 6238 with SHA-1, 30 seconds and six digits.
pub(crate) fn code(secret: &str) -> Result<String> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    at_step(secret, seconds / 30)
}

fn at_step(secret: &str, step: u64) -> Result<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(&bytes(secret)?)?;
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 0xf);
    let number =
        hash[offset..offset + 4].iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
    Ok(format!("{:06}", (number & 0x7fff_ffff) % 1_000_000))
}

fn bytes(base32: &str) -> Result<Vec<u8>> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let value = |letter: char| LETTERS.find(letter).context("not base32");
    let bits: Vec<usize> = base32.chars().map(value).collect::<Result<_>>()?;
    let bits: Vec<u8> =
        bits.iter().flat_map(|five| (0..5).rev().map(move |bit| (five >> bit & 1) as u8)).collect();
    Ok(bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit)).collect())
}

#[test]
fn the_codes_are_those_of_the_rfc() {
    // RFC 6238, appendix B: the key `12345678901234567890`, the last six of eight digits.
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    assert_eq!(at_step(secret, 59 / 30).unwrap(), "287082");
    assert_eq!(at_step(secret, 1_111_111_109 / 30).unwrap(), "081804");
}
