//! The bodies of the long-poll road, for networks that let no WebSocket pass.
//!
//! They carry the same frames as a WebSocket does. Each direction counts its frames from 0 for as
//! long as the link lives, and whoever sent a frame keeps it until the other side's count has
//! passed it. So an exchange that is lost, repeated or answered twice neither loses a frame nor
//! doubles one.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Payload;

/// What the agent posts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// One life of a link; minted by the agent, unguessable.
    pub link: Uuid,
    /// Counts the exchanges of this link from 0. The exchange 0 opens the link and carries nothing;
    /// a newer one relieves those that are still held.
    pub number: u64,
    /// The agent has every frame of the server below this count.
    pub received: u64,
    /// The count of the first of `frames`.
    pub first: u64,
    /// Frames for the server, in order, each as the JSON object it is on a WebSocket.
    #[serde(default)]
    pub frames: Vec<Payload>,
    /// The agent's last word, after `frames`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<Close>,
}

/// What the server answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The server has every frame of the agent below this count.
    pub received: u64,
    /// The count of the first of `frames`.
    pub first: u64,
    /// Frames for the agent, in order.
    #[serde(default)]
    pub frames: Vec<Payload>,
    /// The server's last word, after `frames`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<Close>,
}

/// A last word, as on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The WebSocket close code.
    pub code: u16,
    /// One sentence for people.
    #[serde(default)]
    pub reason: String,
}
