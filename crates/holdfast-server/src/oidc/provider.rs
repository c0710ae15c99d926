//! The provider over HTTP: its papers, its keys, and the trade of a code for tokens.
//!
//! What it answers is bounded in time and size, and none of it is repeated to anybody.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use holdfast_protocol::message::config::Secret;
use reqwest::{RequestBuilder, StatusCode, header, redirect::Policy};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;
use url::{Host, Url, form_urlencoded};

use super::{OidcError, Returned, jwt};
use crate::{alert::wire, view::OidcSettings};

/// The identity provider, as far as it was asked. A clone is another handle to the same one.
#[derive(Clone, Default)]
pub(crate) struct Provider {
    known: Arc<Mutex<Option<Remembered>>>,
}

#[derive(Clone)]
struct Remembered {
    at: Instant,
    known: Arc<Known>,
}

/// What a provider tells of itself.
pub(crate) struct Known {
    papers: Papers,
    keys: Vec<jwt::Key>,
}

/// OpenID Connect's discovery document, as far as it matters here.
#[derive(Deserialize)]
struct Papers {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Value>,
}

/// What a code is traded for.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    id_token: Secret,
    access_token: Option<Secret>,
}

/// How long the provider's papers are taken as they were.
const LIFE: Duration = Duration::from_secs(600);
/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How much of an answer is read, in bytes.
const ANSWER_MAX: usize = 512 * 1024;
const KEYS_MAX: usize = 100;

impl Provider {
    /// What `issuer` tells of itself, as of the last ten minutes.
    pub(crate) async fn known(&self, issuer: &str) -> Result<Arc<Known>, OidcError> {
        let remembered = self.lock().clone();
        let fits = |it: &Remembered| it.known.papers.issuer == issuer && it.at.elapsed() < LIFE;
        match remembered.filter(fits) {
            Some(remembered) => Ok(remembered.known),
            None => self.known_anew(issuer).await,
        }
    }

    /// The same, asked now. Only for who has shown something that the provider itself gave.
    pub(crate) async fn known_anew(&self, issuer: &str) -> Result<Arc<Known>, OidcError> {
        let known = Arc::new(Known::ask(issuer).await?);
        *self.lock() = Some(Remembered { at: Instant::now(), known: Arc::clone(&known) });
        Ok(known)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Remembered>> {
        self.known.lock().expect("nothing panics while holding it")
    }
}

impl Known {
    async fn ask(issuer: &str) -> Result<Self, OidcError> {
        let below = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let papers: Papers = read(client()?.get(place(&below)?)).await?;
        if papers.issuer != issuer {
            return Err(OidcError::Unfit("it calls itself by another name than the settings"));
        }
        let keys: Keys = read(client()?.get(place(&papers.jwks_uri)?)).await?;
        // A key of a kind that nobody knows yet is no reason to know none.
        let keys = keys.keys.into_iter().take(KEYS_MAX);
        let keys = keys.filter_map(|key| serde_json::from_value(key).ok()).collect();
        Ok(Self { papers, keys })
    }

    pub(super) fn keys(&self) -> &[jwt::Key] {
        &self.keys
    }

    /// Where browsers are sent.
    ///
    /// # Errors
    /// [`OidcError::Unfit`] where that is no safe place.
    pub(crate) fn entrance(&self) -> Result<Url, OidcError> {
        place(&self.papers.authorization_endpoint)
    }

    /// Trades the code that a browser brought for tokens.
    pub(super) async fn trade(
        &self,
        settings: &OidcSettings,
        client_secret: Option<&Secret>,
        returned: &Returned<'_>,
    ) -> Result<Tokens, OidcError> {
        let mut request = client()?
            .post(place(&self.papers.token_endpoint)?)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let in_header = client_secret.filter(|_| self.takes_basic());
        if let Some(secret) = in_header {
            request = request.header(header::AUTHORIZATION, basic(settings, secret));
        }
        let in_form = client_secret.filter(|_| in_header.is_none());
        let named = in_header.is_none().then_some(settings.client_id.as_str());
        let (back, verifier) = (settings.redirect_url(), returned.flow.verifier());
        let fields = [
            ("grant_type", Some("authorization_code")),
            ("code", Some(returned.code)),
            ("redirect_uri", Some(back.as_str())),
            ("code_verifier", Some(verifier.expose())),
            ("client_id", named),
            ("client_secret", in_form.map(Secret::expose)),
        ]
        .map(|(name, value)| value.map(|value| (name, value)));
        read(request.body(form(fields.into_iter().flatten()))).await
    }

    /// Whether the secret may be shown in a header, which every provider takes that says nothing.
    fn takes_basic(&self) -> bool {
        let methods = self.papers.token_endpoint_auth_methods_supported.as_deref();
        methods.is_none_or(|all| all.iter().any(|method| method == "client_secret_basic"))
    }

    /// The claims with what the provider tells of the same person when asked.
    pub(super) async fn more(&self, claims: Value, tokens: &Tokens) -> Result<Value, OidcError> {
        let (Some(endpoint), Some(token)) =
            (&self.papers.userinfo_endpoint, tokens.access_token.as_ref())
        else {
            return Ok(claims);
        };
        let request = client()?.get(place(endpoint)?).bearer_auth(token.expose());
        let more: Value = read(request).await?;
        if more["sub"] != claims["sub"] {
            return Err(OidcError::Token(jwt::Fault::Subject));
        }
        let (Value::Object(mut all), Value::Object(signed)) = (more, claims) else {
            return Err(OidcError::Unfit("what it tells of people is no object"));
        };
        // What is signed wins.
        all.extend(signed);
        Ok(Value::Object(all))
    }
}

impl Tokens {
    pub(super) fn id_token(&self) -> &str {
        self.id_token.expose()
    }
}

/// Whether what is said to that address stays between the two: it is `https`, or this machine.
pub(crate) fn is_safe_address(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

/// An address of the provider's that may be used.
fn place(text: &str) -> Result<Url, OidcError> {
    let place = Url::parse(text).ok().filter(is_safe_address);
    place.ok_or(OidcError::Unfit("one of its addresses is not https"))
}

fn form<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn client() -> Result<reqwest::Client, OidcError> {
    reqwest::Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        // A redirect would take a secret to where nobody looked.
        .redirect(Policy::none())
        .no_proxy()
        .timeout(DEADLINE)
        .build()
        .map_err(|_| OidcError::Unreachable("no HTTP client could be made"))
}

/// The answer to a question, as JSON.
async fn read<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, OidcError> {
    let failed = |error: reqwest::Error| OidcError::Unreachable(wire::failure(&error));
    let mut answer = request.header(header::ACCEPT, "application/json").send().await;
    let answer = answer.as_mut().map_err(|error| OidcError::Unreachable(wire::failure(error)))?;
    match answer.status() {
        status if status.is_success() => {}
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(OidcError::Refused);
        }
        _ => return Err(OidcError::Unreachable("it answered with an error")),
    }
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(failed)? {
        if body.len() + part.len() > ANSWER_MAX {
            return Err(OidcError::Unfit("its answer is too long"));
        }
        body.extend_from_slice(&part);
    }
    serde_json::from_slice(&body).map_err(|_| OidcError::Unfit("its answer is not what is asked"))
}

/// The client's name and secret as a header: each encoded first, as RFC 6749 wants it.
fn basic(settings: &OidcSettings, secret: &Secret) -> header::HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&settings.client_id), encode(secret.expose()));
    let value = format!("Basic {}", STANDARD.encode(pair));
    let mut value = header::HeaderValue::try_from(value).expect("base64 fits into a header");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_over_https_or_stays_on_this_machine() {
        for (address, safe) in [
            ("https://id.example/a", true),
            ("http://127.0.0.1:8080/", true),
            ("http://[::1]:8080/", true),
            ("http://localhost/", true),
            ("http://id.example/", false),
            ("http://10.0.0.7/", false),
            ("http://localhost.evil.example/", false),
            ("ftp://127.0.0.1/", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
        ] {
            assert_eq!(is_safe_address(&address.parse().unwrap()), safe, "{address}");
        }
    }
}
