//! The API's errors: `application/problem+json`, after RFC 9457.

use std::error::Error as StdError;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{auth::password::PasswordError, store::Error};

/// Why a request was not granted: for programs (`code`) and for people (the rest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: String,
    action: String,
}

/// The body of every answer that is not a success.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Always `about:blank`; `code` tells the kinds apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The HTTP status.
    status: u16,
    /// Stable and machine-readable.
    #[schema(value_type = String)]
    code: &'static str,
    /// What is wrong, in one sentence.
    title: String,
    /// What to do about it, in one sentence.
    action: String,
}

impl Problem {
    /// A problem of this status and code.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self { status, code, title: title.into(), action: action.into() }
    }

    /// The request itself is wrong (400).
    pub(crate) fn invalid(
        code: &'static str,
        title: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, title, action)
    }

    /// Nobody is signed in, or not with a token of this server (401).
    pub(crate) fn unauthorized(title: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_token",
            title,
            "Sign in, or use an API token of this server; `holdfast token create` makes one.",
        )
    }

    /// The bearer may not do this (403).
    pub(crate) fn forbidden(
        code: &'static str,
        title: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, title, action)
    }

    /// The server itself is to blame (500). Why is for its log only.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "The server made a mistake.",
            "Try again; if it happens again, report it with the answer's x-request-id.",
        )
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_attempts",
                "Too many passwords are being checked right now.",
                "Try again in a few seconds.",
            ),
            PasswordError::Failed => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "The server could not check the password.",
                "Try again; if it happens again, look into the server's log.",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            status: self.status.as_u16(),
            code: self.code,
            title: self.title,
            action: self.action,
        };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if let Error::Database { .. } = error {
            tracing::error!(error = chain(&error), "the database failed");
        }
        Self::new(status_of(&error), error.code(), sentence(&error.to_string()), error.action())
    }
}

fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::HostExists { .. }
        | Error::RepositoryExists { .. }
        | Error::GroupExists { .. }
        | Error::AlertResolved
        | Error::ChannelExists { .. }
        | Error::ConfigTooLarge
        | Error::HostCannot(_)
        | Error::JobEnded { .. }
        | Error::LastAdmin
        | Error::UserExists { .. }
        | Error::UserOfProvider { .. }
        | Error::OperationUnsupported { .. }
        | Error::TokenExists { .. } => StatusCode::CONFLICT,
        Error::AlertNotFound { .. }
        | Error::ChannelNotFound { .. }
        | Error::HostNotFound { .. }
        | Error::RepositoryNotFound { .. }
        | Error::GroupNotFound { .. }
        | Error::ScheduleNotFound { .. }
        | Error::SnapshotNotFound { .. }
        | Error::JobNotFound { .. }
        | Error::SignInNotFound { .. }
        | Error::SilenceNotFound { .. }
        | Error::TokenNotFound { .. }
        | Error::UserNotFound { .. } => StatusCode::NOT_FOUND,
        Error::EnrolmentTokenInvalid
        | Error::EnrolmentTokenUsed
        | Error::EnrolmentTokenExpired { .. } => StatusCode::UNAUTHORIZED,
        Error::OutboxFull { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::RepositoryNotUsed => StatusCode::FORBIDDEN,
        Error::InvalidCursor | Error::RepositoryRequired => StatusCode::BAD_REQUEST,
        Error::Database { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// `text` with a capital and a full stop: an error's text is written to stand in a chain.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), letters.as_str())
}

/// An error and its causes, for the log.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_error_becomes_a_sentence_with_advice() {
        let problem = Problem::from(Error::HostNotFound { host: "web".into() });
        assert_eq!(problem.status, StatusCode::NOT_FOUND);
        assert_eq!(problem.title, "There is no host `web`.");
        assert!(!problem.action.is_empty());
    }

    #[test]
    fn a_database_failure_tells_nothing_of_its_cause() {
        let source = "disk I/O error at /secret/path".into();
        let problem = Problem::from(Error::Database { phase: "adding a host", source });
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(problem.title, "The database failed while adding a host.");
    }
}
