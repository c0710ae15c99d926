//! The closed set of things agent and server say, and what the link owes each of them.

pub mod browse;
pub mod command;
pub mod config;
pub mod exchange;
pub mod job;
pub mod link;
pub mod log;
pub mod outbox;
pub mod parameters;
pub mod result;
pub mod schedule;
pub mod snapshot;

use crate::envelope::Payload;

/// What the link promises for a message; the promises are I1 to I12 in `ARCHITECTURE.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Numbered, stored before it is sent, kept until acknowledged, applied exactly once, in order.
    Record,
    /// The latest version of one thing; an older version still waiting is replaced.
    State,
    /// At most one waits per job; the newest replaces it, and the job's end removes it.
    Progress,
    /// Bounded; what does not fit is dropped oldest first and counted as a gap.
    Log,
    /// Proof of life; only the newest waits.
    Heartbeat,
}

/// A message of the native protocol that is not part of the link's own conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// `command.run`, server to agent.
    CommandRun(command::Run),
    /// `command.cancel`, server to agent.
    CommandCancel(command::Cancel),
    /// `command.pause`, server to agent.
    CommandPause(command::Pause),
    /// `command.resume`, server to agent.
    CommandResume(command::Resume),
    /// `command.result`, agent to server.
    CommandResult(command::Outcome),
    /// `config.update`, server to agent.
    ConfigUpdate(config::Update),
    /// `config.applied`, agent to server.
    ConfigApplied(config::Applied),
    /// `heartbeat`, agent to server.
    Heartbeat(job::Heartbeat),
    /// `job.started`, agent to server.
    JobStarted(job::Started),
    /// `job.state`, agent to server: paused, or running again.
    JobState(job::StateChange),
    /// `job.progress`, agent to server.
    JobProgress(job::Progress),
    /// `job.finished`, agent to server.
    JobFinished(job::Finished),
    /// `log.stream`, agent to server.
    LogStream(log::Stream),
    /// `outbox.reset`, agent to server.
    OutboxReset(outbox::Reset),
    /// `repo.stats`, agent to server.
    RepoStats(snapshot::RepoStats),
    /// `schedule.set`, server to agent.
    ScheduleSet(schedule::Set),
    /// `schedule.ack`, agent to server.
    ScheduleAck(schedule::Ack),
    /// `schedule.fire`, agent to server.
    ScheduleFire(schedule::Fire),
    /// `snapshots.report`, agent to server.
    SnapshotsReport(snapshot::Report),
}

/// Why a body could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A kind this build does not know. Not an error of the peer: count it and go on.
    #[error("unknown kind `{kind}`")]
    UnknownKind {
        /// The kind as it came.
        kind: String,
    },
    /// A known kind whose body is missing or has the wrong shape.
    #[error("`{kind}` has a body of the wrong shape")]
    Malformed {
        /// The kind as it came.
        kind: String,
        /// What serde disliked; it names fields and positions, never values of strings.
        #[source]
        source: serde_json::Error,
    },
}

macro_rules! messages {
    ($($variant:ident => $kind:literal, $class:ident;)*) => {
        impl Message {
            /// Every kind of the native protocol outside the link's own.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The word on the wire.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            /// What the link owes this message.
            #[must_use]
            pub fn class(&self) -> Class {
                match self {
                    $(Self::$variant(_) => Class::$class,)*
                }
            }

            /// What the link owes messages of `kind`; `None` for a kind this build does not know.
            #[must_use]
            pub fn class_of(kind: &str) -> Option<Class> {
                match kind {
                    $($kind => Some(Class::$class),)*
                    _ => None,
                }
            }

            /// The body as it goes on the wire.
            #[must_use]
            pub fn encode(&self) -> Payload {
                match self {
                    $(Self::$variant(body) => Payload::of(body),)*
                }
            }

            /// Reads the body of a frame of `kind`. Never panics, whatever the text.
            ///
            /// # Errors
            /// [`DecodeError::UnknownKind`] and [`DecodeError::Malformed`].
            pub fn decode(kind: &str, payload: &Payload) -> Result<Self, DecodeError> {
                match kind {
                    $($kind => payload.parse().map(Self::$variant).map_err(|source| {
                        DecodeError::Malformed { kind: kind.to_owned(), source }
                    }),)*
                    _ => Err(DecodeError::UnknownKind { kind: kind.chars().take(64).collect() }),
                }
            }
        }
    };
}

messages! {
    CommandRun => "command.run", Record;
    CommandCancel => "command.cancel", Record;
    CommandPause => "command.pause", Record;
    CommandResume => "command.resume", Record;
    CommandResult => "command.result", Record;
    ConfigUpdate => "config.update", State;
    ConfigApplied => "config.applied", Record;
    Heartbeat => "heartbeat", Heartbeat;
    JobStarted => "job.started", Record;
    JobState => "job.state", Record;
    JobProgress => "job.progress", Progress;
    JobFinished => "job.finished", Record;
    LogStream => "log.stream", Log;
    OutboxReset => "outbox.reset", Record;
    RepoStats => "repo.stats", Record;
    ScheduleSet => "schedule.set", State;
    ScheduleAck => "schedule.ack", Record;
    ScheduleFire => "schedule.fire", Record;
    SnapshotsReport => "snapshots.report", Record;
}
