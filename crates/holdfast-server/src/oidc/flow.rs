//! What a browser takes along to the provider and back: random words, sealed into its cookie.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use holdfast_protocol::message::config::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::Url;

use crate::{
    secret::{Place, Sealer},
    view::OidcSettings,
};

/// One way to the provider and back.
#[derive(Serialize, Deserialize)]
pub(crate) struct Flow {
    /// Comes back with the code: nobody else's code is taken.
    state: String,
    /// Comes back inside the token: no other token is taken.
    nonce: String,
    /// Its hash goes along; itself it goes only with the code: a stolen code is worth nothing.
    verifier: String,
    /// To whom the browser was sent.
    issuer: String,
    /// When it is worth nothing any more, in milliseconds.
    ends_at: i64,
}

/// How long somebody may be at the provider.
pub(crate) const FLOW_LIFE: Duration = Duration::from_secs(600);
/// Bytes of each random word.
const WORD_SIZE: usize = 32;
const PLACE: Place<'_> = Place { table: "oidc", row: "flow", column: "cookie" };

impl Flow {
    /// A flow to `issuer` that begins now.
    pub(crate) fn begin(issuer: &str, now: Timestamp) -> Self {
        let life = i64::try_from(FLOW_LIFE.as_millis()).unwrap_or(i64::MAX);
        Self {
            state: word(),
            nonce: word(),
            verifier: word(),
            issuer: issuer.to_owned(),
            ends_at: now.as_millisecond().saturating_add(life),
        }
    }

    /// Where the browser has to go.
    pub(crate) fn address(&self, endpoint: &Url, settings: &OidcSettings) -> Url {
        let mut url = endpoint.clone();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()));
        let mut scope = "openid".to_owned();
        for more in settings.scopes.iter().filter(|scope| *scope != "openid") {
            scope.push(' ');
            scope.push_str(more);
        }
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", &settings.redirect_url())
            .append_pair("scope", &scope)
            .append_pair("state", &self.state)
            .append_pair("nonce", &self.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        url
    }

    /// The flow as its browser keeps it, which can neither read nor change it.
    pub(crate) fn seal(&self, sealer: &Sealer) -> String {
        sealer.seal(PLACE, &serde_json::to_string(self).expect("a flow has a JSON form"))
    }

    /// The flow that a browser brings back with `state`; `None` when it is not that one, or came
    /// too late, or the settings have changed to another provider.
    pub(crate) fn open(
        sealer: &Sealer,
        sealed: &str,
        state: &str,
        issuer: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let text = sealer.unseal(PLACE, sealed).ok()?;
        let flow: Self = serde_json::from_str(text.expose()).ok()?;
        let same = flow.state.as_bytes().ct_eq(state.as_bytes());
        let in_time = flow.ends_at > now.as_millisecond();
        (bool::from(same) && in_time && flow.issuer == issuer).then_some(flow)
    }

    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    pub(super) fn verifier(&self) -> Secret {
        Secret::new(self.verifier.clone())
    }
}

fn word() -> String {
    let bytes: [u8; WORD_SIZE] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ISSUER: &str = "https://id.example";

    fn sealer(dir: &tempfile::TempDir) -> Sealer {
        Sealer::open(&dir.path().join("key")).unwrap()
    }

    fn settings() -> OidcSettings {
        OidcSettings {
            issuer: ISSUER.to_owned(),
            client_id: "hold&fast".to_owned(),
            page_url: "https://backup.example/".to_owned(),
            label: "SSO".to_owned(),
            scopes: vec!["openid".to_owned(), "groups".to_owned()],
            name_claim: "preferred_username".to_owned(),
            role_claim: "groups".to_owned(),
            roles: Vec::new(),
        }
    }

    #[test]
    fn the_browser_is_sent_with_a_challenge_and_never_with_the_verifier() {
        let flow = Flow::begin(ISSUER, Timestamp::UNIX_EPOCH);
        let endpoint = "https://id.example/auth?tenant=a".parse().unwrap();
        let url = flow.address(&endpoint, &settings());
        let asked: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(asked["tenant"], "a");
        assert_eq!(asked["client_id"], "hold&fast");
        assert_eq!(asked["redirect_uri"], "https://backup.example/sign-in/oidc");
        assert_eq!(asked["scope"], "openid groups");
        assert_eq!((&asked["state"], &asked["nonce"]), (&flow.state, &flow.nonce));
        assert_eq!(asked["code_challenge_method"], "S256");
        let hash = Sha256::digest(flow.verifier.as_bytes());
        assert_eq!(asked["code_challenge"], URL_SAFE_NO_PAD.encode(hash));
        assert!(!url.as_str().contains(&flow.verifier));
        assert_eq!(flow.verifier.len(), 43, "RFC 7636 wants 43 letters at least");
    }

    #[test]
    fn a_flow_comes_back_once_begun_by_the_same_browser_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let (sealer, now) = (sealer(&dir), Timestamp::UNIX_EPOCH);
        let flow = Flow::begin(ISSUER, now);
        let sealed = flow.seal(&sealer);
        assert!(!sealed.contains(&flow.verifier) && !sealed.contains(&flow.state));
        let open = |state: &str, issuer: &str, after: Duration| {
            Flow::open(&sealer, &sealed, state, issuer, now + after).map(|flow| flow.nonce)
        };
        let soon = Duration::from_secs(1);
        assert_eq!(open(&flow.state, ISSUER, soon).as_ref(), Some(&flow.nonce));
        assert_eq!(open(&flow.nonce, ISSUER, soon), None, "another state");
        assert_eq!(open("", ISSUER, soon), None);
        assert_eq!(open(&flow.state, "https://evil.example", soon), None);
        assert_eq!(open(&flow.state, ISSUER, FLOW_LIFE), None, "too late");
        let other = Flow::begin(ISSUER, now).seal(&sealer);
        assert!(Flow::open(&sealer, &other, &flow.state, ISSUER, now).is_none(), "another cookie");
        let elsewhere = Place { column: "other", ..PLACE };
        let moved = sealer.seal(elsewhere, "{}");
        assert!(Flow::open(&sealer, &moved, &flow.state, ISSUER, now).is_none());
    }
}
