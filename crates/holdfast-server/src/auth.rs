//! Who may do what.
//!
//! Every route of the API says what it needs (an `Access`) where it is registered. That word lands
//! in the API document as `x-role`, and the same words are what the guard enforces: a route that
//! says nothing is closed to everybody.

pub(crate) mod asking;
pub(crate) mod client;
pub(crate) mod cookie;
pub(crate) mod guard;
mod host_name;
mod identity;
pub(crate) mod limit;
pub(crate) mod origin;
pub(crate) mod password;
pub(crate) mod scope;
pub(crate) mod totp;

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use identity::Identity;
pub(crate) use {client::Client, scope::Scope};

pub use totp::at_step as totp_code;

use crate::api::problem::Problem;

/// What a person or script may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See everything but secrets.
    Viewer,
    /// Also start, pause and end jobs.
    Operator,
    /// Also change hosts, repositories, source groups and schedules.
    Admin,
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Public,
    /// An enrolment token in the body; no browser.
    Enrolment,
    /// An agent token; no browser.
    Agent,
    /// Any person or script: what it reads and changes is its own.
    Own,
    /// A person or script of at least this role.
    Role(Role),
}

/// How far a route reaches, for who has a role in some host groups only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is about everything: closed to them.
    Fleet,
    /// It is about the one host, job or alert in the path: open where that is theirs.
    Host,
    /// It shows them only what is theirs.
    Narrowed,
}

/// The person or script that a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The name of the user or token.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// On which hosts.
    pub(crate) scope: Scope,
    /// What sort it is.
    pub(crate) kind: PrincipalKind,
    /// The id of the user or token.
    pub(crate) id: String,
    /// The sign-in by which a browser speaks for it.
    pub(crate) sign_in: Option<String>,
}

/// What somebody proved to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person with a name and a password.
    User,
    /// The bearer of an API token.
    Token,
}

impl Principal {
    /// Whether it may do everything everywhere.
    pub(crate) fn is_full_admin(&self) -> bool {
        self.role == Role::Admin && self.scope == Scope::All
    }
}

impl PrincipalKind {
    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Token => "token",
        }
    }
}

impl Role {
    /// The role named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == word)
    }

    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Access {
    /// The word in the API document.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Enrolment => "enrolment",
            Self::Agent => "agent",
            Self::Own => "own",
            Self::Role(role) => role.as_str(),
        }
    }

    /// The access named by `word`, if there is one.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "public" => Some(Self::Public),
            "enrolment" => Some(Self::Enrolment),
            "agent" => Some(Self::Agent),
            "own" => Some(Self::Own),
            role => Role::from_word(role).map(Self::Role),
        }
    }
}

impl Reach {
    /// The word in the API document.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Host => "host",
            Self::Narrowed => "narrowed",
        }
    }

    /// The reach named by `word`, if there is one.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Fleet, Self::Host, Self::Narrowed].into_iter().find(|reach| reach.as_str() == word)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    /// Takes the principal that the guard found.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "no_principal",
                "The server does not know who asks.",
                "Report this: the route asks for a principal but is open to everybody.",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_lead_back_from_their_words() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for word in ["public", "enrolment", "agent", "own", "viewer", "operator", "admin"] {
            assert_eq!(Access::from_word(word).unwrap().as_str(), word);
        }
        assert_eq!(Access::from_word("root"), None);
    }
}
