//! Asking for the token, then opening the connection.

use std::time::Duration;

use holdfast_protocol::message::config::Secret;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{AnyCredentials, AnyDial, CredentialsError},
    dial::DialError,
    transport::Transport,
};

/// Asks for the token once. `None` when the client was stopped meanwhile.
///
/// # Cancel safety
/// Safe: the question is given up.
pub(crate) async fn ask(
    credentials: &dyn AnyCredentials,
    ask_max: Duration,
    stop: &CancellationToken,
) -> Option<Result<Secret, CredentialsError>> {
    // Order: leaving, the answer, what has taken too long.
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        answer = credentials.token() => Some(answer),
        () = tokio::time::sleep(ask_max) => {
            Some(Err(CredentialsError::new(format!("no answer within {ask_max:.0?}"))))
        }
    }
}

/// Dials once. `None` when the client was stopped meanwhile.
///
/// # Cancel safety
/// Safe: the attempt is given up.
pub(crate) async fn run(
    dialer: &dyn AnyDial,
    server: &str,
    token: &Secret,
    dial_max: Duration,
    stop: &CancellationToken,
) -> Option<Result<Box<dyn Transport>, DialError>> {
    // Order: leaving, the answer, what has taken too long.
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        dialled = dialer.dial(token) => Some(dialled),
        () = tokio::time::sleep(dial_max) => {
            Some(Err(DialError::TimedOut { server: server.to_owned(), after: dial_max }))
        }
    }
}
