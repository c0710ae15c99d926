//! What records and messages of the simulated world carry: just enough to recognise them.

use serde::{Deserialize, Serialize};

/// Recognises one record for ever.
pub(crate) type RecordId = u64;
/// Recognises one command for ever.
pub(crate) type CommandId = u64;

/// The body of every message in this world.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) id: RecordId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<CommandId>,
    /// Progress: how far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tick: Option<u64>,
    /// Configuration: which version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
}

/// Answers carry no id of their own: they are made inside the transaction that takes the command.
const ANSWER_IDS_FROM: RecordId = 1 << 40;

impl Body {
    pub(crate) fn plain(id: RecordId) -> Self {
        Self { id, command: None, tick: None, version: None }
    }

    /// "The command is stored here."
    pub(crate) fn answer(command: CommandId) -> Self {
        Self { id: ANSWER_IDS_FROM + command, command: Some(command), tick: None, version: None }
    }

    /// Whether `id` is that of an answer.
    pub(crate) fn is_answer(id: RecordId) -> bool {
        id >= ANSWER_IDS_FROM
    }

    pub(crate) fn progress(command: CommandId, tick: u64) -> Self {
        Self { id: 0, command: Some(command), tick: Some(tick), version: None }
    }

    pub(crate) fn config(version: u64) -> Self {
        Self { id: 0, command: None, tick: None, version: Some(version) }
    }

    /// The kind of the record that carries it from the agent.
    pub(crate) fn kind(&self) -> &'static str {
        match self.command {
            None => "repo.stats",
            Some(_) if Self::is_answer(self.id) => "command.result",
            Some(_) => "job.finished",
        }
    }
}
