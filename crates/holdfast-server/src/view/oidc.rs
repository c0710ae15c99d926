//! How people sign in by an identity provider, as people see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Role;

/// How people sign in by an identity provider (OpenID Connect), without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OidcSettings {
    /// The provider, as it spells itself, such as `https://id.example/realms/main`.
    pub issuer: String,
    /// What the provider calls this server.
    pub client_id: String,
    /// The dashboard's address as browsers spell it. The provider sends them back to
    /// `sign-in/oidc` below it.
    pub page_url: String,
    /// What the button on the page says.
    pub label: String,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim that names the user.
    pub name_claim: String,
    /// The claim that decides the role: a text or a list of texts. Dots lead into objects.
    pub role_claim: String,
    /// Which role a value of that claim gives. The first that fits counts.
    pub roles: Vec<OidcRole>,
}

/// The role that a value of the claim gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcRole {
    /// The value, such as the name of a group.
    pub value: String,
    /// What its bearer may do.
    pub role: Role,
    /// On hosts of which groups; all when left out.
    #[serde(default = "everywhere")]
    pub host_groups: Vec<String>,
}

/// How people sign in by an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Oidc)]
pub struct OidcView {
    /// The settings.
    #[serde(flatten)]
    pub settings: OidcSettings,
    /// Whether the server has a secret to show to the provider.
    pub has_client_secret: bool,
    /// What to register at the provider as the address to come back to.
    pub redirect_url: String,
}

fn everywhere() -> Vec<String> {
    vec![crate::auth::scope::ALL.to_owned()]
}

impl OidcSettings {
    /// Where the provider sends browsers back to.
    #[must_use]
    pub fn redirect_url(&self) -> String {
        format!("{}/sign-in/oidc", self.page_url.trim_end_matches('/'))
    }
}
