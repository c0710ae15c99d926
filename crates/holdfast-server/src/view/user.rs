//! People, tokens and sign-ins, as people see them.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Role;

/// Somebody who signs in with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserView {
    /// The name, in lower case.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// On hosts of which groups; `*` stands for all.
    pub host_groups: Vec<String>,
    /// Whether signing in takes a code of an authenticator app.
    pub totp_enabled: bool,
    /// Whether the user is kept out.
    pub disabled: bool,
    /// Whether the user comes in by the identity provider, which then decides the role, and has no
    /// password here.
    pub single_sign_on: bool,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When the user last signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sign_in_at: Option<Timestamp>,
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SignedIn)]
pub struct SignInView {
    /// Its id.
    pub id: String,
    /// The user or API token it speaks for.
    pub user: String,
    /// When it signed in.
    pub created_at: Timestamp,
    /// When it last asked for something, to a minute.
    pub last_seen_at: Timestamp,
    /// When it ends if it asks for nothing more.
    pub expires_at: Timestamp,
    /// From where it signed in.
    pub address: String,
    /// What the browser called itself then.
    pub user_agent: String,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// An API token, without what it opens with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ApiToken)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// On hosts of which groups; `*` stands for all.
    pub host_groups: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}
