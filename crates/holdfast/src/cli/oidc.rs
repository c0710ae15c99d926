//! The words about signing in by an identity provider.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// `holdfast oidc …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Oidc {
    /// Set the provider, after asking it who it is. Users with passwords stay as they are.
    Set(Box<OidcSet>),
    /// Show what is set, without the secret.
    Show,
    /// End signing in by the provider. Who came in by it is signed out; their users stay.
    Clear,
}

/// What `oidc set` is told.
#[derive(Debug, Args)]
pub(crate) struct OidcSet {
    /// The provider, as it spells itself, such as `https://id.example/realms/main`.
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: String,
    /// What the provider calls this server.
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: String,
    /// A file that holds the client's secret; `-` reads standard input. Left out, a stored one
    /// stays.
    #[arg(long, value_name = "FILE")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// The dashboard's address as browsers spell it, such as `https://backup.example`.
    #[arg(long, value_name = "URL")]
    pub(crate) page: String,
    /// Which role a value of the role claim gives, such as `admins=admin` or
    /// `ops=operator:dmz,lan` for two host groups. May be given several times; the first that fits
    /// counts.
    #[arg(long = "role", value_name = "VALUE=ROLE[:GROUP,…]", required = true, value_parser = role)]
    pub(crate) roles: Vec<Value>,
    /// What the button on the page says.
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// What is asked for besides `openid`. May be given several times.
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Vec<String>,
    /// The claim that names the user.
    #[arg(long, value_name = "CLAIM")]
    pub(crate) name_claim: Option<String>,
    /// The claim that decides the role. Dots lead into objects.
    #[arg(long, value_name = "CLAIM")]
    pub(crate) role_claim: Option<String>,
}

/// Reads `VALUE=ROLE[:GROUP,…]`. The value may hold `=` itself.
fn role(text: &str) -> Result<Value, String> {
    let shape = || "write VALUE=ROLE or VALUE=ROLE:GROUP,GROUP".to_owned();
    let (value, gives) = text.rsplit_once('=').ok_or_else(shape)?;
    let (role, groups) = match gives.split_once(':') {
        Some((role, groups)) => (role, groups.split(',').collect()),
        None => (gives, vec!["*"]),
    };
    if !["viewer", "operator", "admin"].contains(&role) {
        return Err("the role is one of viewer, operator and admin".to_owned());
    }
    if value.is_empty() || groups.contains(&"") {
        return Err(shape());
    }
    Ok(json!({ "value": value, "role": role, "host_groups": groups }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_for_all_hosts_or_for_some_groups() {
        let everywhere = json!({"value": "admins", "role": "admin", "host_groups": ["*"]});
        assert_eq!(role("admins=admin"), Ok(everywhere));
        let some = json!({"value": "cn=ops,dc=x", "role": "operator", "host_groups": ["a", "b"]});
        assert_eq!(role("cn=ops,dc=x=operator:a,b"), Ok(some));
        for wrong in ["admins", "admins=root", "=admin", "a=admin:", "a=admin:x,"] {
            assert!(role(wrong).is_err(), "{wrong}");
        }
    }
}
