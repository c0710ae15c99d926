//! Whether a browser's request comes from our own page.
//!
//! A browser sends the sign-in cookie along whoever made it ask; `SameSite=Strict` stops most of
//! that, but not a page on another port of the same machine. So what a cookie may change is granted
//! only when the browser itself says that the page that asks is ours.

use axum::http::{HeaderMap, Uri, header};
use url::Url;

/// Whether the browser says that our own page asks. Without a word from the browser, no.
pub(crate) fn is_own_page(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(origin) = headers.get(header::ORIGIN) {
        return origin.to_str().is_ok_and(|origin| is_host(origin, headers, uri));
    }
    headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
}

/// Whether the request names an origin that is not ours.
pub(crate) fn is_other_page(headers: &HeaderMap, uri: &Uri) -> bool {
    headers.contains_key(header::ORIGIN) && !is_own_page(headers, uri)
}

/// Whether the page that asks came over plain HTTP.
pub(crate) fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"http://"))
}

/// Whether `origin` names the host that was asked.
fn is_host(origin: &str, headers: &HeaderMap, uri: &Uri) -> bool {
    let Ok(origin) = Url::parse(origin) else { return false };
    let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(asked) = asked.or(uri.authority().map(axum::http::uri::Authority::as_str)) else {
        return false;
    };
    // Parsing both the same way settles letter case and default ports.
    let Ok(asked) = Url::parse(&format!("{}://{asked}", origin.scheme())) else { return false };
    let same = origin.host() == asked.host()
        && origin.port_or_known_default() == asked.port_or_known_default();
    same && origin.host().is_some() && matches!(origin.scheme(), "http" | "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn own(pairs: &[(&'static str, &str)]) -> bool {
        is_own_page(&asks(pairs), &Uri::from_static("/api/v1/hosts"))
    }

    #[test]
    fn our_own_page_is_known_by_its_origin() {
        assert!(own(&[("host", "h:8080"), ("origin", "http://h:8080")]));
        assert!(own(&[("host", "Backup.Example"), ("origin", "https://backup.example")]));
        assert!(own(&[("host", "h:443"), ("origin", "https://h")]));
        assert!(own(&[("host", "[::1]:80"), ("origin", "http://[::1]")]));
        assert!(own(&[("host", "h"), ("sec-fetch-site", "same-origin")]));
    }

    #[test]
    fn every_other_page_is_not() {
        for origin in ["http://h:9090", "http://evil", "null", "http://h:8080.evil", "file://"] {
            assert!(!own(&[("host", "h:8080"), ("origin", origin)]), "{origin}");
        }
        assert!(!own(&[("host", "h")]));
        assert!(!own(&[("host", "h"), ("sec-fetch-site", "same-site")]));
        assert!(!own(&[("origin", "http://h")]));
        // The origin decides when both are there.
        let both = [("host", "h"), ("origin", "http://evil"), ("sec-fetch-site", "same-origin")];
        assert!(!own(&both));
    }

    #[test]
    fn no_origin_is_nobody_elses_page() {
        let uri = Uri::from_static("/");
        assert!(!is_other_page(&asks(&[("host", "h")]), &uri));
        assert!(is_other_page(&asks(&[("host", "h"), ("origin", "http://evil")]), &uri));
    }
}
