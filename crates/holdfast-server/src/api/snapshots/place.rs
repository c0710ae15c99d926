//! Whom to ask about a snapshot, and what people are told when there is no answer.

use std::time::Duration;

use axum::http::StatusCode;
use holdfast_protocol::{
    HostId, RepositoryId,
    message::{browse::Question, job::Operation, link::Refusal},
};
use serde::{Serialize, de::DeserializeOwned};

use super::super::{
    AppState,
    problem::{Problem, sentence},
};
use crate::{
    auth::Principal,
    hub::{AskError, Hub},
};

/// How long somebody is let wait for an answer, and for each of two; a request has half a minute.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(25);
pub(super) const WAIT_EACH: Duration = Duration::from_secs(12);

/// A repository as a host sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) host: HostId,
    pub(super) repository: RepositoryId,
}

impl Place {
    /// Where the first of `snapshots` lies, which become whole ids on the way.
    ///
    /// # Errors
    /// `snapshot_not_found` also for a snapshot of a host that the asker may not know of.
    pub(super) async fn find<const N: usize>(
        state: &AppState,
        asker: &Principal,
        host: &str,
        snapshots: [&mut String; N],
        repository: Option<&str>,
    ) -> Result<Self, Problem> {
        let host = state.store.find_host(host).await?;
        let mut repository = match repository {
            Some(text) => Some(state.store.find_repository(text).await?),
            None => None,
        };
        for snapshot in snapshots {
            let found = state.store.placed_snapshot(host, snapshot, repository, &asker.scope);
            let (id, place) = found.await?;
            *snapshot = id;
            repository = Some(place);
        }
        let repository = repository.ok_or(crate::store::Error::RepositoryRequired)?;
        Ok(Self { host, repository })
    }

    /// Asks for something that never changes.
    pub(super) async fn ask<W: Serialize, A: DeserializeOwned>(
        self,
        hub: &Hub,
        (kind, operation): (&'static str, Operation),
        wish: W,
        within: Duration,
    ) -> Result<A, Problem> {
        hub.require_sight(self.host, operation).await?;
        let question = Question { repository_id: self.repository, wish };
        let answer = hub.ask_once(self.host, kind, &question, within).await.map_err(no_answer)?;
        answer.parse().map_err(|_| not_understood())
    }
}

pub(super) fn no_answer(error: AskError) -> Problem {
    match error {
        AskError::Offline => Problem::new(
            StatusCode::CONFLICT,
            "host_offline",
            "The host is not connected, and only it can look into its repository.",
            "Bring the host back, or ask another host that uses the repository.",
        ),
        AskError::Silent => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "host_silent",
            "The host has not answered yet.",
            "Try again in a moment: a large repository takes its time, and what comes is kept.",
        ),
        AskError::Busy => busy("The host is being asked as much as it can answer."),
        AskError::Refused(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> Problem {
    let (status, code) = match refusal.code.as_str() {
        "snapshot_not_found" => (StatusCode::NOT_FOUND, "snapshot_not_found"),
        "path_not_found" => (StatusCode::NOT_FOUND, "path_not_found"),
        "refused_by_policy" => (StatusCode::FORBIDDEN, "refused_by_policy"),
        "policy_unusable" => (StatusCode::FORBIDDEN, "policy_unusable"),
        "unknown_request" => (StatusCode::CONFLICT, "operation_unsupported"),
        "repository_unknown" => (StatusCode::CONFLICT, "repository_unknown"),
        "repository_not_found" => (StatusCode::CONFLICT, "repository_not_found"),
        "took_too_long" => (StatusCode::GATEWAY_TIMEOUT, "host_silent"),
        "too_many_downloads" => return busy(&refusal.message),
        "invalid_configuration" => (StatusCode::BAD_REQUEST, "invalid_parameters"),
        _ => (StatusCode::BAD_GATEWAY, "host_failed"),
    };
    Problem::new(status, code, sentence(&refusal.message), refusal.action)
}

fn busy(what: &str) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "host_busy",
        what,
        "Try again when some of it has been answered.",
    )
}

fn not_understood() -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "host_failed",
        "The host's answer cannot be understood.",
        "Bring server and agent to the same release.",
    )
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn every_way_to_have_no_answer_has_a_status_of_its_own() {
        let status = |error| no_answer(error).into_response().status().as_u16();
        assert_eq!(status(AskError::Offline), 409);
        assert_eq!(status(AskError::Silent), 504);
        assert_eq!(status(AskError::Busy), 429);
        let refused = |code: &str| {
            let text = String::new;
            status(AskError::Refused(Refusal {
                code: code.to_owned(),
                message: text(),
                action: text(),
            }))
        };
        let codes = ["snapshot_not_found", "refused_by_policy", "took_too_long", "restic_failed"];
        assert_eq!(codes.map(refused), [404, 403, 504, 502]);
    }
}
