//! One-time codes of an authenticator app, after RFC 6238: six digits, SHA-1, 30 seconds, which is
//! what all apps can do.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// The seconds for which a code is the newest.
const STEP_SECONDS: u64 = 30;
/// How many steps a phone's clock may be off.
const SKEW_STEPS: u64 = 1;
const DIGITS: usize = 6;
/// As many bits as the hash has, as RFC 4226 advises.
const SECRET_SIZE: usize = 20;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A new secret, as people type it into an app: base32.
pub(crate) fn new_secret() -> String {
    let bits: [u8; SECRET_SIZE] = rand::random();
    encode(&bits)
}

/// What an app reads from a picture: the secret and what it is for.
pub(crate) fn uri(name: &str, secret: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("otpauth://totp/Holdfast:{name}?secret={secret}&issuer=Holdfast&digits=6&period=30")
}

/// The step whose code `code` is at `now`, if it is newer than `last`, the last one taken.
pub(crate) fn step(secret: &str, code: &str, now: Timestamp, last: u64) -> Option<u64> {
    let key = decode(secret)?;
    let code: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
    let step = u64::try_from(now.as_second()).ok()? / STEP_SECONDS;
    // Every candidate is compared, so that the time tells nothing of which one it was.
    let near = step.saturating_sub(SKEW_STEPS)..=step + SKEW_STEPS;
    let matching = near.filter(|step| {
        let wanted = self::code(&key, *step);
        wanted.as_bytes().ct_eq(code.as_bytes()).into()
    });
    matching.filter(|step| *step > last).max()
}

/// The code of a base32 secret in a step of 30 seconds since 1970; what an authenticator app shows.
#[must_use]
pub fn at_step(secret: &str, step: u64) -> String {
    code(&decode(secret).unwrap_or_default(), step)
}

fn code(key: &[u8], step: u64) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[hash.len() - 1] & 0xf);
    let picked = [hash[offset] & 0x7f, hash[offset + 1], hash[offset + 2], hash[offset + 3]];
    format!("{:0DIGITS$}", u32::from_be_bytes(picked) % 10_u32.pow(DIGITS as u32))
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[(held >> bits & 31) as usize]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(BASE32[(held << (5 - bits) & 31) as usize]));
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let value = BASE32.iter().position(|known| known.eq_ignore_ascii_case(&letter))?;
        held = (held << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
        held &= (1 << bits) - 1;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_codes_are_those_of_the_rfc() {
        let secret = encode(b"12345678901234567890");
        assert_eq!(secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step_now = u64::try_from(second).unwrap() / 30;
            assert_eq!(step(&secret, code, at(second), 0), Some(step_now), "{second}");
        }
    }

    #[test]
    fn a_code_works_once_and_only_near_its_time() {
        let secret = encode(b"12345678901234567890");
        let first = step(&secret, "287 082", at(59), 0).unwrap();
        assert_eq!(step(&secret, "287082", at(59), first), None);
        assert_eq!(step(&secret, "287082", at(89), 0), Some(first), "a clock that is slow");
        assert_eq!(step(&secret, "287082", at(119), 0), None);
        for wrong in ["", "287083", "2870820", "28708", "абвгде"] {
            assert_eq!(step(&secret, wrong, at(59), 0), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_comes_back_from_its_text() {
        let secret = new_secret();
        assert_eq!(secret.len(), 32);
        assert_eq!(encode(&decode(&secret).unwrap()), secret);
        assert_eq!(decode("0"), None);
    }
}
