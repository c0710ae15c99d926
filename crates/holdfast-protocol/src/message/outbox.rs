//! What an agent says about its own memory.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `outbox.reset`: the agent's state was damaged, and it began a new one. Whatever it had not
/// delivered by then may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// When, by the agent's clock.
    pub reset_at: Timestamp,
    /// The name of the damaged file, which stays beside the new one; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_as: Option<String>,
}
