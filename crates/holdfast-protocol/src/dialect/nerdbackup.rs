//! NerdBackup's JSON (D0): an agent that dials `/ws/agent` and says what it does, without a
//! handshake, numbers or acknowledgements.
//!
//! A source group's name is their `repo_id`; our job's id goes out as their `job_id` and comes back
//! as `dashboard_job_id`. What is said over HTTP beside the socket is in [`http`].

mod agent;
mod command;
pub mod http;
mod report;
mod said;

use super::gojson::{self, Go, Raw, ReadError, go_struct};

pub use agent::*;
pub use command::*;
pub use report::{HostMetrics, reports};
pub use said::{hear_agent, hear_command, refuse};

/// Where the server listens. Their agent replaces the path of its base address by this one.
pub const PATH: &str = "/ws/agent";

/// The largest message their agent reads, in bytes; a larger one costs the connection.
pub const COMMAND_SIZE_MAX: usize = 1 << 20;

go_struct! {
    /// Agent to server: `data` is always there.
    struct Report {
        kind: String = "type",
        data: Raw,
    }

    /// Server to agent: only `type` = `command` with an `action` is looked at.
    struct Order {
        kind: String = "type",
        action: String,
        job_id: String [omit],
        data: Raw [omit],
    }
}

macro_rules! agent_messages {
    ($($variant:ident($body:ty) => $kind:literal,)*) => {
        /// What an agent says.
        #[derive(Debug, Clone, PartialEq)]
        pub enum AgentMessage {
            $(#[doc = concat!("`", $kind, "`.")] $variant($body),)*
            /// A type this build does not know; kept as it came.
            Unknown {
                /// The frame's `type`.
                kind: String,
                /// The frame's `data`.
                data: Raw,
            },
        }

        impl AgentMessage {
            /// Every type the original agent sends.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The frame's `type`.
            #[must_use]
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                    Self::Unknown { kind, .. } => kind,
                }
            }

            fn data(&self) -> Raw {
                match self {
                    $(Self::$variant(body) => Raw::of(body),)*
                    Self::Unknown { data, .. } => data.clone(),
                }
            }

            /// Reads one frame of an agent; text and binary mean the same.
            ///
            /// # Errors
            /// [`ReadError`] when it is not such JSON. The original would end the connection
            /// (1007).
            pub fn decode(frame: &[u8]) -> Result<Self, ReadError> {
                let Report { kind, data } = gojson::from_slice(frame)?;
                let read = match kind.as_str() {
                    $($kind => data.read_as().map(Self::$variant),)*
                    _ => return Ok(Self::Unknown { kind, data }),
                };
                read.map_err(|error| error.inside("data"))
            }

            /// Writes the frame: one text message that ends in a line break.
            #[must_use]
            pub fn encode(&self) -> String {
                let frame = Report { kind: self.kind().to_owned(), data: self.data() };
                gojson::to_text(&frame) + "\n"
            }
        }
    };
}

agent_messages! {
    Heartbeat(Heartbeat) => "heartbeat",
    Progress(Progress) => "progress",
    JobStarted(JobStarted) => "job_started",
    JobReport(Box<JobReport>) => "job_report",
    ForgetCompleted(ForgetCompleted) => "forget_completed",
    FsListResponse(FsListResponse) => "fs_list_response",
    FsSearchResponse(FsSearchResponse) => "fs_search_response",
    FsMkdirResponse(FsMkdirResponse) => "fs_mkdir_response",
    PitrSetupResult(PitrSetupResult) => "pitr_setup_result",
    PitrBaseBackupResult(PitrBaseBackupResult) => "pitr_base_backup_result",
    PitrRestoreResult(PitrRestoreResult) => "pitr_restore_result",
    PitrStatusResult(PitrStatusResult) => "pitr_status_result",
    VerifyResult(VerifyResult) => "verify_result",
}

/// What a server orders.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Back a source group up.
    StartBackup(StartBackup),
    /// End the job. An id that their agent does not know ends every job it runs: never send one.
    Cancel {
        /// The job.
        job_id: String,
    },
    /// Stop the job's process. The same trap as with cancel: an unknown id hits some other job.
    Pause {
        /// The job.
        job_id: String,
    },
    /// Let the job go on. The same trap again.
    Resume {
        /// The job.
        job_id: String,
    },
    /// Bring files back; always from the first repository.
    Restore(Restore),
    /// Send one file over HTTP.
    FileDump(FileDump),
    /// Forget a snapshot and prune.
    ForgetSnapshot(ForgetSnapshot),
    /// List a folder.
    FsList(FsPath),
    /// Search below a folder.
    FsSearch(FsSearch),
    /// Create a folder and those above it.
    FsMkdir(FsPath),
    /// Fetch the configuration over HTTP.
    ConfigUpdate,
    /// Set continuous archiving of a database up.
    PitrSetup(PitrSetup),
    /// Take a base backup of a database.
    PitrBaseBackup(PitrBaseBackup),
    /// Bring a database back to a moment.
    PitrRestore(PitrRestore),
    /// Ask how far behind the archive is.
    PitrStatus(PitrStatus),
    /// Check a repository.
    VerifyRepo(VerifyRepo),
    /// An action this build does not know; nothing is answered.
    Unknown {
        /// The frame's `action`.
        action: String,
        /// The frame's `job_id`.
        job_id: String,
        /// The frame's `data`.
        data: Raw,
    },
    /// Not a command at all; ignored, as the original does.
    Ignored,
}

impl Command {
    /// Every action the original agent obeys.
    pub const ACTIONS: &'static [&'static str] = &[
        "start_backup",
        "cancel",
        "pause",
        "resume",
        "restore",
        "file_dump",
        "forget_snapshot",
        "fs_list",
        "fs_search",
        "fs_mkdir",
        "config_update",
        "pitr_setup",
        "pitr_base_backup",
        "pitr_restore",
        "pitr_status",
        "verify_repo",
    ];

    /// Reads one frame of a server.
    ///
    /// # Errors
    /// [`ReadError`] when it is not such JSON, or the data of a known action has another shape.
    pub fn decode(frame: &[u8]) -> Result<Self, ReadError> {
        let order: Order = gojson::from_slice(frame)?;
        if order.kind != "command" || order.action.is_empty() {
            return Ok(Self::Ignored);
        }
        Self::of_order(order).map_err(|error| error.inside("data"))
    }

    fn of_order(Order { action, job_id, data, .. }: Order) -> Result<Self, ReadError> {
        Ok(match action.as_str() {
            "start_backup" => Self::StartBackup(StartBackup::of(job_id, data.read_as()?)),
            "cancel" => Self::Cancel { job_id },
            "pause" => Self::Pause { job_id },
            "resume" => Self::Resume { job_id },
            "restore" => Self::Restore(data.read_as()?),
            "file_dump" => Self::FileDump(data.read_as()?),
            "forget_snapshot" => Self::ForgetSnapshot(data.read_as()?),
            "fs_list" => Self::FsList(data.read_as()?),
            "fs_search" => Self::FsSearch(data.read_as()?),
            "fs_mkdir" => Self::FsMkdir(data.read_as()?),
            "config_update" => Self::ConfigUpdate,
            "pitr_setup" => Self::PitrSetup(data.read_as()?),
            "pitr_base_backup" => Self::PitrBaseBackup(data.read_as()?),
            "pitr_restore" => Self::PitrRestore(data.read_as()?),
            "pitr_status" => Self::PitrStatus(data.read_as()?),
            "verify_repo" => Self::VerifyRepo(data.read_as()?),
            _ => Self::Unknown { action, job_id, data },
        })
    }

    /// Writes the frame: one text message.
    #[must_use]
    pub fn encode(&self) -> String {
        let (action, job_id, data) = self.parts();
        let (action, job_id) = (action.to_owned(), job_id.to_owned());
        let kind = if action.is_empty() { "" } else { "command" }.to_owned();
        gojson::to_text(&Order { kind, action, job_id, data })
    }

    fn parts(&self) -> (&str, &str, Raw) {
        fn with<'a, T: Go>(action: &'a str, data: &T) -> (&'a str, &'a str, Raw) {
            (action, "", Raw::of(data))
        }
        match self {
            Self::StartBackup(data) => ("start_backup", &data.job_id, Raw::of(data)),
            Self::Cancel { job_id } => ("cancel", job_id, Raw::ABSENT),
            Self::Pause { job_id } => ("pause", job_id, Raw::ABSENT),
            Self::Resume { job_id } => ("resume", job_id, Raw::ABSENT),
            Self::Restore(data) => with("restore", data),
            Self::FileDump(data) => with("file_dump", data),
            Self::ForgetSnapshot(data) => with("forget_snapshot", data),
            Self::FsList(data) => with("fs_list", data),
            Self::FsSearch(data) => with("fs_search", data),
            Self::FsMkdir(data) => with("fs_mkdir", data),
            Self::ConfigUpdate => ("config_update", "", Raw::ABSENT),
            Self::PitrSetup(data) => with("pitr_setup", data),
            Self::PitrBaseBackup(data) => with("pitr_base_backup", data),
            Self::PitrRestore(data) => with("pitr_restore", data),
            Self::PitrStatus(data) => with("pitr_status", data),
            Self::VerifyRepo(data) => with("verify_repo", data),
            Self::Unknown { action, job_id, data } => (action, job_id, data.clone()),
            Self::Ignored => ("", "", Raw::ABSENT),
        }
    }
}
