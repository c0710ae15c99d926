//! The sign-in cookie: an API token that the page's scripts cannot read.

use axum::http::{HeaderMap, header};
use axum_extra::extract::cookie::CookieJar;

/// The cookie's name.
pub(crate) const NAME: &str = "holdfast_sign_in";

/// How long a browser keeps it, in seconds: a year. The token itself decides how long it is good.
const AGE_SECONDS: u32 = 365 * 24 * 3600;

/// The token in the sign-in cookie, if there is one.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    jar.get(NAME).map(|cookie| cookie.value().to_owned()).filter(|token| !token.is_empty())
}

/// The `Set-Cookie` value that signs in with a token that was found good.
pub(crate) fn sign_in(token: &str, secure: bool) -> String {
    write(token, AGE_SECONDS, secure)
}

/// The `Set-Cookie` value that signs out.
pub(crate) fn sign_out(secure: bool) -> String {
    write("", 0, secure)
}

/// Whether the browser speaks HTTPS, to us or to a proxy before us.
pub(crate) fn is_https(headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).map(|value: &header::HeaderValue| value.as_bytes());
    value("origin").is_some_and(|origin| origin.starts_with(b"https://"))
        || value("x-forwarded-proto") == Some(b"https")
}

fn write(value: &str, age_seconds: u32, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{NAME}={value}; Path=/; Max-Age={age_seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_other_sites_never_see_the_cookie() {
        let cookie = sign_in("hf_api_x", true);
        assert!(cookie.starts_with("holdfast_sign_in=hf_api_x; "), "{cookie}");
        for word in ["; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        assert!(!sign_in("x", false).contains("Secure"));
        assert!(sign_out(false).contains("Max-Age=0"));
    }

    #[test]
    fn an_empty_cookie_is_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(token(&headers), None);
        headers.insert(header::COOKIE, "a=b; holdfast_sign_in=".parse().unwrap());
        assert_eq!(token(&headers), None);
        headers.insert(header::COOKIE, "a=b; holdfast_sign_in=t".parse().unwrap());
        assert_eq!(token(&headers).as_deref(), Some("t"));
    }
}
