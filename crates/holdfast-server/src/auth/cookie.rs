//! The sign-in cookie: a random word that the page's scripts cannot read, and that is nothing but
//! the name of a sign-in here.

use axum::http::HeaderMap;
use axum_extra::extract::cookie::CookieJar;

/// The cookie's name over HTTPS. Browsers take one of this name only from the host itself, so that
/// no neighbour under the same domain can plant its own.
pub(crate) const NAME_HTTPS: &str = "__Host-holdfast_sign_in";

/// The cookie's name over plain HTTP, where browsers refuse the other.
pub(crate) const NAME: &str = "holdfast_sign_in";

/// A cookie's names over HTTPS and over plain HTTP.
type Names = (&'static str, &'static str);

const SIGN_IN: Names = (NAME_HTTPS, NAME);
/// What a browser takes along to the identity provider and back.
#[cfg(feature = "oidc")]
const FLOW: Names = ("__Host-holdfast_oidc", "holdfast_oidc");

/// The word in the sign-in cookie, if there is one. `https` says that the browser is known to speak
/// HTTPS: then only the cookie that nobody else can plant counts.
pub(crate) fn token(headers: &HeaderMap, https: bool) -> Option<String> {
    read(SIGN_IN, headers, https)
}

/// Whether the browser shows the cookie that it has only over HTTPS.
pub(crate) fn is_of_https(headers: &HeaderMap) -> bool {
    CookieJar::from_headers(headers).get(NAME_HTTPS).is_some()
}

/// The `Set-Cookie` value that signs in.
pub(crate) fn sign_in(token: &str, age_seconds: u64, https: bool) -> String {
    write(SIGN_IN, token, age_seconds, https)
}

/// The `Set-Cookie` value that signs out.
pub(crate) fn sign_out(https: bool) -> String {
    write(SIGN_IN, "", 0, https)
}

/// The sealed flow that a browser brings back from the identity provider.
#[cfg(feature = "oidc")]
pub(crate) fn flow(headers: &HeaderMap, https: bool) -> Option<String> {
    read(FLOW, headers, https)
}

/// The `Set-Cookie` value that gives a browser a sealed flow; an empty one takes it away.
#[cfg(feature = "oidc")]
pub(crate) fn set_flow(sealed: &str, age_seconds: u64, https: bool) -> String {
    write(FLOW, sealed, age_seconds, https)
}

fn read((of_https, plain): Names, headers: &HeaderMap, https: bool) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    let of = |name| jar.get(name).map(|cookie| cookie.value().to_owned());
    let plain = || if https { None } else { of(plain) };
    of(of_https).or_else(plain).filter(|value| !value.is_empty())
}

fn write((of_https, plain): Names, value: &str, age_seconds: u64, https: bool) -> String {
    let (name, secure) = if https { (of_https, "; Secure") } else { (plain, "") };
    format!("{name}={value}; Path=/; Max-Age={age_seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    #[test]
    fn scripts_and_other_sites_never_see_the_cookie() {
        let cookie = sign_in("hf_sgn_x", 60, true);
        assert!(cookie.starts_with("__Host-holdfast_sign_in=hf_sgn_x; "), "{cookie}");
        for word in ["; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
        let plain = sign_in("x", 60, false);
        assert!(plain.starts_with("holdfast_sign_in=x; ") && !plain.contains("Secure"), "{plain}");
        assert!(sign_out(false).contains("Max-Age=0"));
    }

    #[test]
    fn over_https_a_planted_cookie_is_not_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(token(&headers, false), None);
        headers.insert(header::COOKIE, "a=b; holdfast_sign_in=".parse().unwrap());
        assert_eq!(token(&headers, false), None);
        headers.insert(header::COOKIE, "a=b; holdfast_sign_in=t".parse().unwrap());
        assert_eq!(token(&headers, false).as_deref(), Some("t"));
        assert_eq!(token(&headers, true), None);
        let both = "holdfast_sign_in=t; __Host-holdfast_sign_in=own";
        headers.insert(header::COOKIE, both.parse().unwrap());
        assert_eq!(token(&headers, true).as_deref(), Some("own"));
        assert_eq!(token(&headers, false).as_deref(), Some("own"));
    }
}
