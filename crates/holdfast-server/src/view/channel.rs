//! Channels and what was sent by them, as people see them.

use holdfast_protocol::{HostId, JobId};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::alert::{Event, Severity};

/// A way to tell people. Its secrets are never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Channel)]
pub struct ChannelView {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// `webhook`, `mail`, `ntfy`, `gotify`, `slack`, `discord`, `telegram` or `ping`.
    pub kind: String,
    /// Where it goes, without credentials.
    pub target: String,
    /// Only alerts at least this grave.
    pub severity_min: Severity,
    /// Only of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub host_id: Option<HostId>,
    /// That host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Only of this source group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// When it was added. It tells of nothing that was before.
    pub created_at: Timestamp,
}

/// A message and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// Its id, the same at every try.
    pub id: Uuid,
    /// What it tells of.
    pub event: Event,
    /// The alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_id: Option<Uuid>,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub job_id: Option<JobId>,
    /// `waiting`, `sent` or `failed`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u64,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// Why the last try did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it had arrived, or was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}
