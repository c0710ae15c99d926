//! Who may do what.
//!
//! Every route of the API says what it needs (an `Access`) where it is registered. That word lands
//! in the API document as `x-role`, and the same words are what the guard enforces: a route that
//! says nothing is closed to everybody.

pub(crate) mod cookie;
pub(crate) mod guard;
pub(crate) mod origin;

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::problem::Problem;

/// What a person or script may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
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
    /// A person or script of at least this role.
    Role(Role),
}

/// The person or script that a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The name of its token.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
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
            Self::Role(role) => role.as_str(),
        }
    }

    /// The access named by `word`, if there is one.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "public" => Some(Self::Public),
            "enrolment" => Some(Self::Enrolment),
            "agent" => Some(Self::Agent),
            role => Role::from_word(role).map(Self::Role),
        }
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
        for word in ["public", "enrolment", "agent", "viewer", "operator", "admin"] {
            assert_eq!(Access::from_word(word).unwrap().as_str(), word);
        }
        assert_eq!(Access::from_word("root"), None);
    }
}
