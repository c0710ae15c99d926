//! Backupy's protobuf (D1): an agent that dials `/v1/agents/connect`, registers, and gets its whole
//! configuration with the acknowledgement.
//!
//! What they call a job (`job_id`, a `BackupJobSpec`) is a source group here; what they call a run
//! (`run_id`) is a job here. The messages are in [`wire`].

mod config;
mod report;
mod said;
pub mod wire;

use prost::Message as _;

pub use config::{agent_config, is_database, update_of};
pub use report::{DataKey, Upload, command, heartbeat, register, register_ack, report};
pub use said::{hear_agent, hear_server};

use wire::{Ack, Body, Envelope, Ping};

/// Where the server listens. Their agent appends it to the path of its address.
pub const PATH: &str = "/v1/agents/connect";

/// The largest frame their agent reads, in bytes.
pub const FRAME_SIZE_MAX: usize = 4 << 20;

/// The bytes are no envelope. Their agent drops the connection then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Backupy envelope")]
pub struct WireError {
    source: prost::DecodeError,
}

impl Envelope {
    /// A frame with the sender's clock and nothing else.
    #[must_use]
    pub fn of(seq: u64, ts_ms: u64, body: Body) -> Self {
        Self { seq, ts_ms, correlation_id: String::new(), payload: Some(body) }
    }

    /// Reads one binary frame. Unknown fields are skipped, an unknown body reads as none.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not protobuf or a known field is of another type.
    pub fn from_bytes(frame: &[u8]) -> Result<Self, WireError> {
        Self::decode(frame).map_err(|source| WireError { source })
    }

    /// Writes the frame.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// A ping of our server. Their agent needs a data frame every 90 s: the WebSocket's own pings
    /// do not count for it.
    #[must_use]
    pub fn ping(seq: u64, ts_ms: u64, correlation_id: impl Into<String>) -> Self {
        let mut ping = Self::of(seq, ts_ms, Body::Ping(Ping { ts_ms }));
        ping.correlation_id = correlation_id.into();
        ping
    }

    /// The answer to this frame; it carries the correlation id twice, as the original's does.
    #[must_use]
    pub fn ack(&self, seq: u64, ts_ms: u64, refusal: Option<&str>) -> Self {
        let body = Ack {
            correlation_id: self.correlation_id.clone(),
            accepted: refusal.is_none(),
            reason: refusal.unwrap_or_default().to_owned(),
        };
        let mut ack = Self::of(seq, ts_ms, Body::Ack(body));
        ack.correlation_id.clone_from(&self.correlation_id);
        ack
    }
}

impl Body {
    /// The contract's name for it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Register(_) => "register",
            Self::Heartbeat(_) => "heartbeat",
            Self::Discovery(_) => "discovery",
            Self::JobUpdate(_) => "job_update",
            Self::BackupCompleted(_) => "backup_completed",
            Self::HealthResult(_) => "health_result",
            Self::Log(_) => "log",
            Self::RestoreUpdate(_) => "restore_update",
            Self::Ack(_) => "ack",
            Self::RegisterAck(_) => "register_ack",
            Self::ConfigUpdate(_) => "config_update",
            Self::RunBackup(_) => "run_backup",
            Self::CancelJob(_) => "cancel_job",
            Self::RunHealthCheck(_) => "run_health_check",
            Self::SelfUpdate(_) => "self_update",
            Self::Ping(_) => "ping",
        }
    }
}
