//! Identifiers as distinct types, so that a job's id cannot be passed where a host's is meant.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text was not an id of the wanted sort.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a {noun} id: expected a UUID such as 0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b"
)]
pub struct ParseIdError {
    noun: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps an existing UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($noun, ":{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                // Long rubbish is not echoed whole: error texts are bounded like everything else.
                Uuid::parse_str(text).map(Self).map_err(|_| ParseIdError {
                    noun: $noun,
                    text: text.chars().take(64).collect(),
                })
            }
        }
    };
}

id!(
    /// A protected machine, for as long as the fleet knows it.
    HostId, "host"
);
id!(
    /// One run of one operation.
    JobId, "job"
);
id!(
    /// A restic repository, as the fleet knows it (not restic's own repository id).
    RepositoryId, "repository"
);
id!(
    /// A schedule on a host.
    ScheduleId, "schedule"
);
id!(
    /// One connected life of a link; minted by the server in its welcome.
    SessionId, "session"
);
id!(
    /// One life of an agent's outbox; minted when the outbox file is created.
    ///
    /// A copied or restored machine carries a known incarnation, a wiped one a new one: the server
    /// tells them apart by it.
    Incarnation, "incarnation"
);
id!(
    /// One running process of an agent; minted when it starts, kept in memory only.
    ///
    /// Two copies of a machine share everything that is on disk. This is what they do not share.
    Instance, "instance"
);

impl JobId {
    /// The id of a scheduled run: the same for the same slot on both sides, whoever asks.
    ///
    /// Reunion after an outage is then a matter of a unique key: a run that the agent started on
    /// its own and one that the server expected are the same row.
    #[must_use]
    pub fn of_slot(host: HostId, schedule: ScheduleId, nominal: Timestamp, attempt: u32) -> Self {
        let name = format!("{schedule}/{}/1", nominal.as_millisecond());
        Self(Uuid::new_v5(&host.as_uuid(), name.as_bytes())).of_attempt(attempt)
    }

    /// The id of a later try of the job with this id, which is that of its first try. Both sides
    /// know it before there is one.
    #[must_use]
    pub fn of_attempt(self, attempt: u32) -> Self {
        // No source group's name begins like this.
        let name = format!("\0try/{attempt}");
        if attempt <= 1 { self } else { Self(Uuid::new_v5(&self.0, name.as_bytes())) }
    }

    /// As [`JobId::of_slot`], for one of several source groups of a schedule.
    ///
    /// The first group (`index` 0) has the slot's own id; the id of a later one has the group's
    /// name mixed in, so that adding a group does not change the ids of the others.
    #[must_use]
    pub fn of_slot_group(
        host: HostId,
        schedule: ScheduleId,
        nominal: Timestamp,
        attempt: u32,
        index: usize,
        group: &str,
    ) -> Self {
        let slot = Self::of_slot(host, schedule, nominal, 1);
        let first = if index == 0 { slot } else { Self(Uuid::new_v5(&slot.0, group.as_bytes())) };
        first.of_attempt(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_always_gives_the_same_job_id() {
        let host = HostId::from_uuid(Uuid::from_u128(1));
        let schedule = ScheduleId::from_uuid(Uuid::from_u128(2));
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let first = JobId::of_slot(host, schedule, at, 1);
        assert_eq!(first, JobId::of_slot(host, schedule, at, 1));
        let second = JobId::of_slot(host, schedule, at, 2);
        assert_ne!(first, second);
        assert_eq!(second, first.of_attempt(2), "the first try leads to the others");
        assert_ne!(second, first.of_attempt(3));
        let other = HostId::from_uuid(Uuid::from_u128(3));
        assert_ne!(first, JobId::of_slot(other, schedule, at, 1));
    }

    #[test]
    fn the_groups_of_a_slot_have_ids_of_their_own() {
        let host = HostId::from_uuid(Uuid::from_u128(1));
        let schedule = ScheduleId::from_uuid(Uuid::from_u128(2));
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let id = |index, group| JobId::of_slot_group(host, schedule, at, 1, index, group);
        assert_eq!(id(0, "etc"), JobId::of_slot(host, schedule, at, 1));
        assert_ne!(id(1, "home"), id(0, "etc"));
        assert_ne!(id(1, "home"), id(2, "srv"));
        assert_eq!(id(1, "home"), id(2, "home"), "the place in the list does not matter");
    }

    #[test]
    fn a_wrong_id_says_which_noun_was_meant_and_is_bounded() {
        let error = "x".repeat(10_000).parse::<JobId>().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("is not a job id"), "{text}");
        assert!(text.len() < 200, "{}", text.len());
    }
}
