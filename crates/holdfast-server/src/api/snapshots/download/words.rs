//! What a download and its answer say in headers.

use std::fmt::Write as _;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};

/// The longest name that is suggested, in letters.
const NAME_LENGTH_MAX: usize = 200;

/// Where `bytes=N-` wants to begin. Other forms are passed over, which the standard allows; so is
/// one that goes on with something else than `tag`.
pub(super) fn range(headers: &HeaderMap, tag: &str) -> Option<u64> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(tag) {
        return None;
    }
    text(header::RANGE)?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Names the content for good: a snapshot never changes.
pub(super) fn entity_tag(snapshot: &str, path: &str) -> String {
    let digest = Sha256::digest(path.as_bytes());
    let mut tag = format!("\"{snapshot}-");
    for byte in &digest[..8] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag + "\""
}

/// A name that no browser and no shell trips over, and the true one beside it.
pub(super) fn disposition(path: &str, archive: bool) -> String {
    let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("snapshot");
    let end = if archive { ".tar" } else { "" };
    let name: String = name.chars().take(NAME_LENGTH_MAX).collect();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._- ".contains(letter);
    let safe: String = name.chars().map(|it| if plain(it) { it } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    format!("attachment; filename=\"{safe}{end}\"; filename*=UTF-8''{encoded}{end}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        assert_eq!(
            disposition("/a/x\"; y\r\n", false),
            "attachment; filename=\"x__ y__\"; filename*=UTF-8''x%22%3B%20y%0D%0A"
        );
        assert!(disposition("/", true).contains("filename=\"snapshot.tar\""));
        assert!(disposition("/é", true).contains("UTF-8''%C3%A9.tar"));
        let long = disposition(&format!("/{}", "é".repeat(4000)), false);
        assert!(HeaderValue::from_str(&long).is_ok() && long.len() < 2000);
    }

    #[test]
    fn only_a_range_to_the_end_of_the_same_content_is_taken() {
        let headers = |text: &str, tag: Option<&str>| {
            let value = |text: &str| HeaderValue::from_str(text).unwrap();
            let range = (header::RANGE, value(text));
            let tag = tag.map(|tag| (header::IF_RANGE, value(tag)));
            HeaderMap::from_iter([range].into_iter().chain(tag))
        };
        assert_eq!(range(&headers("bytes=100-", None), "\"a\""), Some(100));
        assert_eq!(range(&headers("bytes=100-", Some("\"a\"")), "\"a\""), Some(100));
        assert_eq!(range(&headers("bytes=100-", Some("\"b\"")), "\"a\""), None);
        for other in ["bytes=1-2", "bytes=-5", "lines=1-", "bytes=1-,5-", "bytes=x-"] {
            assert_eq!(range(&headers(other, None), "\"a\""), None, "{other}");
        }
    }

    #[test]
    fn what_lies_elsewhere_has_another_tag() {
        let tag = entity_tag("0123", "/a");
        assert!(tag.starts_with("\"0123-") && tag.ends_with('"'), "{tag}");
        assert_ne!(tag, entity_tag("0123", "/b"));
    }
}
