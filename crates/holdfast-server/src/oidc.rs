//! Signing in by an identity provider: OpenID Connect's code flow with PKCE.
//!
//! ```text
//! page ── begin ──► where to go; the flow (state, nonce, verifier) sealed into a cookie
//! browser ────────► the provider, and back to the page with a code and the state
//! page ── finish ─► flow opened, state compared
//!              └─ Provider: code + verifier ──► ID token ── jwt::verify ──► claims ──► Visitor
//! ```
//!
//! The server keeps nothing while somebody is at the provider, so nobody can fill it up. Tokens of
//! the provider are looked at once and never kept.

mod claims;
mod flow;
mod jwt;
mod provider;

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use claims::{Stranger, Visitor, visitor};
pub(crate) use flow::{FLOW_LIFE, Flow};
pub(crate) use provider::{Provider, is_safe_address};

use crate::view::OidcSettings;
use holdfast_protocol::message::config::Secret;

/// Why the provider's word about somebody does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OidcError {
    /// It cannot be asked. Another try may succeed.
    #[error("the identity provider could not be asked: {0}")]
    Unreachable(&'static str),
    /// It is not set up as OpenID Connect demands, or not as the settings say.
    #[error("the identity provider cannot be used: {0}")]
    Unfit(&'static str),
    /// It did not take the code.
    #[error("the identity provider did not take the code")]
    Refused,
    /// What it signed is not for this server, this browser or this moment.
    #[error("the identity provider's token does not count: {0}")]
    Token(jwt::Fault),
}

/// What a browser brings back from the provider.
pub(crate) struct Returned<'a> {
    pub(crate) code: &'a str,
    pub(crate) flow: &'a Flow,
}

/// What the provider says about whom a code stands for.
///
/// # Errors
/// [`OidcError`].
pub(crate) async fn redeem(
    provider: &Provider,
    settings: &OidcSettings,
    client_secret: Option<&Secret>,
    returned: Returned<'_>,
    now: Timestamp,
) -> Result<Value, OidcError> {
    let known = provider.known(&settings.issuer).await?;
    let tokens = known.trade(settings, client_secret, &returned).await?;
    let wanted = jwt::Wanted {
        issuer: &settings.issuer,
        client_id: &settings.client_id,
        nonce: returned.flow.nonce(),
    };
    let claims = match jwt::verify(tokens.id_token(), known.keys(), &wanted, now) {
        // The provider may have changed its keys since they were read.
        Err(jwt::Fault::UnknownKey) => {
            let known = provider.known_anew(&settings.issuer).await?;
            jwt::verify(tokens.id_token(), known.keys(), &wanted, now)
        }
        verified => verified,
    };
    let claims = claims.map_err(OidcError::Token)?;
    // Some providers tell groups only to who asks for them.
    match claims::find(&claims, &settings.role_claim) {
        Some(_) => Ok(claims),
        None => known.more(claims, &tokens).await,
    }
}
