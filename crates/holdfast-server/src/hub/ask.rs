//! Questions to agents, and a memory of what they answered about snapshots, which never change.

mod memory;

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use holdfast_link::RequestError;
use holdfast_protocol::{
    HostId, Payload,
    dialect::Ability,
    message::{job::Operation, link::Refusal},
};
use serde::Serialize;
use tokio::time::timeout;

use super::Hub;
use crate::store::Error;
pub(super) use memory::Memory;
use memory::{Asking, Recalled};

/// How long an agent may take over a question. A large repository on a slow line takes its time,
/// and what comes after the asker has gone is there for the next try.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AskError {
    /// The agent is not connected, or its link was lost first.
    Offline,
    /// The agent did not answer in time.
    Silent,
    /// Too much is being asked.
    Busy,
    /// The agent said no.
    Refused(Refusal),
}

impl From<RequestError> for AskError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotConnected | RequestError::Lost => Self::Offline,
            RequestError::TooMany => Self::Busy,
            RequestError::Refused(refusal) if refusal.code == "busy" => Self::Busy,
            RequestError::Refused(refusal) => Self::Refused(refusal),
            _ => Self::Silent,
        }
    }
}

impl Hub {
    /// Asks the agent of `host` something about a snapshot and waits for `within`, unless the same
    /// was answered before. Whoever asks what is being asked already waits for that answer.
    pub(crate) async fn ask_once(
        &self,
        host: HostId,
        kind: &'static str,
        question: &impl Serialize,
        within: Duration,
    ) -> Result<Arc<Payload>, AskError> {
        let payload = Payload::of(question);
        let key = format!("{host} {kind} {}", payload.as_str());
        let begin = || self.begin(host, kind, payload, key.clone());
        match self.inner.memory.recall(&key, begin) {
            Recalled::Known(answer) => Ok(answer),
            Recalled::UnderWay(asking) => {
                timeout(within, asking).await.unwrap_or(Err(AskError::Silent))
            }
            Recalled::TooMany => Err(AskError::Busy),
        }
    }

    /// Asks, in a task of its own: the asker may give up.
    fn begin(&self, host: HostId, kind: &'static str, payload: Payload, key: String) -> Asking {
        let hub = self.clone();
        let asking = tokio::spawn(async move {
            let answer = hub.ask(host, kind, payload, ANSWER_WITHIN).await.map(Arc::new);
            hub.inner.memory.settle(key, answer.as_ref().ok());
            answer
        });
        async move { asking.await.unwrap_or(Err(AskError::Silent)) }.boxed().shared()
    }

    /// Asks the agent of `host`.
    pub(crate) async fn ask(
        &self,
        host: HostId,
        kind: &'static str,
        payload: Payload,
        within: Duration,
    ) -> Result<Payload, AskError> {
        let mailbox = self.inner.registry.mailbox(host).ok_or(AskError::Offline)?;
        Ok(mailbox.request(kind, payload, within).await?)
    }

    /// Refuses what the host's agent cannot show: those of other systems have no words for it, and
    /// older ones of ours do not know them.
    ///
    /// # Errors
    /// [`Error::HostCannot`], [`Error::OperationUnsupported`] and [`Error::Database`].
    pub(crate) async fn require_sight(
        &self,
        host: HostId,
        operation: Operation,
    ) -> Result<(), Error> {
        self.require(host, Ability::Look).await?;
        if self.store().dialect_of(host).await?.is_some() {
            return Err(Error::OperationUnsupported { operation: operation.as_str() });
        }
        self.store().require_operation(host, operation).await
    }
}
