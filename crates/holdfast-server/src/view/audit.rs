//! What was done, as people see it.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditEntryView {
    /// Its place in the chain, from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who: the name of a user, an API token or a host; `local` for what was done on the server's
    /// machine past the API.
    pub actor: String,
    /// `user`, `token`, `agent`, `public`, `local` or `server`.
    pub actor_kind: String,
    /// From where; empty for what was not asked over the network.
    pub address: String,
    /// What, such as `host.add`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// How it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// How it was afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// SHA-256 over the entry before and this one.
    pub hash: String,
}

/// Some of what was done.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AuditPage {
    /// The newest first.
    pub entries: Vec<AuditEntryView>,
    /// What to give as `before` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Where the chain of entries ends. Written down elsewhere, it shows later that the whole database
/// was not put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// The newest entry.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

/// Whether the chain is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditVerdict {
    /// Whether it is.
    pub ok: bool,
    /// Entries that are.
    pub entries: u64,
    /// The first entry that was changed, taken out or moved, or that is missing at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<u64>,
    /// Where the chain ends, to be written down elsewhere.
    pub head: AuditHead,
}

/// A text is not where a chain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an anchor is a number, a colon and 64 hexadecimal digits")]
pub struct AnchorError;

impl FromStr for AuditHead {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        let (seq, hash) = text.split_once(':').ok_or(AnchorError)?;
        let seq = seq.parse().map_err(|_| AnchorError)?;
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(AnchorError);
        }
        Ok(Self { seq, hash: hash.to_ascii_lowercase() })
    }
}
