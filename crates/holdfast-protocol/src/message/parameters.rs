//! What a job is to do, in types.
//!
//! There is no place for an argument of restic's: every wish has a field, and the engine alone
//! makes arguments of them. A field that this build does not know makes the whole refused, other
//! than elsewhere in the protocol: to leave out half of a wish to delete or to overwrite is worse
//! than to leave out all of it.

mod retention;

use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

pub use retention::{ParseSpanError, Retention, Span};

use crate::message::job::Operation;

/// The parameters of one job; the word `kind` says which operation they are for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Parameters {
    /// Of [`Operation::Backup`]; what to back up is the source group's.
    Backup(Backup),
    /// Of [`Operation::Init`], which has none.
    Init,
    /// Of [`Operation::Snapshots`], which has none.
    Snapshots,
    /// Of [`Operation::Ls`].
    Ls(Ls),
    /// Of [`Operation::Dump`].
    Dump(Dump),
    /// Of [`Operation::Diff`].
    Diff(Diff),
    /// Of [`Operation::Restore`].
    Restore(Restore),
    /// Of [`Operation::Tag`].
    Tag(Tag),
    /// Of [`Operation::Forget`].
    Forget(Forget),
    /// Of [`Operation::Prune`].
    Prune(Prune),
    /// Of [`Operation::Check`].
    Check(Check),
    /// Of [`Operation::Stats`].
    Stats(Stats),
    /// Of [`Operation::Unlock`].
    Unlock(Unlock),
}

impl Parameters {
    /// The operation they are for.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::Backup(_) => Operation::Backup,
            Self::Init => Operation::Init,
            Self::Snapshots => Operation::Snapshots,
            Self::Ls(_) => Operation::Ls,
            Self::Dump(_) => Operation::Dump,
            Self::Diff(_) => Operation::Diff,
            Self::Restore(_) => Operation::Restore,
            Self::Tag(_) => Operation::Tag,
            Self::Forget(_) => Operation::Forget,
            Self::Prune(_) => Operation::Prune,
            Self::Check(_) => Operation::Check,
            Self::Stats(_) => Operation::Stats,
            Self::Unlock(_) => Operation::Unlock,
        }
    }
}

/// How much of the network restic may take, in KiB per second; absent for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// Towards the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_kib_s: Option<NonZeroU32>,
    /// From the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_kib_s: Option<NonZeroU32>,
}

impl Bandwidth {
    /// Whether there is no limit at all.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// How a backup chooses among the files of its source group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Known kinds of files to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_presets: Vec<ExcludePreset>,
    /// Leave out what directories marked with a `CACHEDIR.TAG` file hold.
    #[serde(default)]
    pub exclude_caches: bool,
    /// Stay within the file systems on which the paths lie.
    #[serde(default)]
    pub one_file_system: bool,
    /// Look only; nothing is stored.
    #[serde(default)]
    pub dry_run: bool,
}

/// A known kind of files that few people want to back up. What is in it may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExcludePreset {
    /// The system's own pretended files: `/proc`, `/sys`, `/dev`, `/run` and the like.
    SystemPseudo,
    /// Temporary files: `/tmp`, `/var/tmp`.
    Temporary,
    /// Caches of programs and package managers.
    Caches,
    /// What builds make and package managers fetch: `node_modules`, `target`, `__pycache__`.
    Development,
    /// Trash folders.
    Trash,
    /// Layers and images of container engines; volumes stay in.
    Containers,
}

/// One directory of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ls {
    /// The snapshot's id.
    pub snapshot_id: String,
    /// The directory, absolute; `/` for the top.
    pub path: String,
    /// How many of its entries to pass over; a snapshot does not change, so that is a safe way on.
    #[serde(default)]
    pub offset: u64,
    /// How many entries to tell at most; absent for as many as an answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroU32>,
}

/// What one path of a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stat {
    /// The snapshot's id.
    pub snapshot_id: String,
    /// The path, absolute.
    pub path: String,
}

/// What has a certain name, anywhere in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// The snapshot's id.
    pub snapshot_id: String,
    /// A part of the name, or with `*` and `?` all of it; with a `/` in it, of the whole path.
    /// Capitals do not matter.
    pub pattern: String,
    /// How much to tell at most; absent for as much as an answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroU32>,
}

/// The content of a file of a snapshot; a directory comes as a tar archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dump {
    /// The snapshot's id.
    pub snapshot_id: String,
    /// The file or directory, absolute; `/` for all of it.
    pub path: String,
    /// How many bytes to pass over, so that a broken download can go on.
    #[serde(default)]
    pub offset_bytes: u64,
}

/// What changed from one snapshot to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diff {
    /// The id of the snapshot to start from.
    pub from_snapshot_id: String,
    /// The id of the snapshot to get to.
    pub to_snapshot_id: String,
    /// Whether a change of owner, mode or time alone counts.
    #[serde(default)]
    pub metadata: bool,
    /// How many changed paths to tell at most; absent for as many as an answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroU32>,
}

/// Bring files back from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The snapshot's id.
    pub snapshot_id: String,
    /// Which files and directories, absolute and as they are, no patterns; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Where to.
    pub target: Target,
    /// What happens to files that are there already.
    #[serde(default)]
    pub overwrite: Overwrite,
    /// Look only; nothing is written. Needs restic 0.17.
    #[serde(default)]
    pub dry_run: bool,
    /// Read the restored files again and compare.
    #[serde(default)]
    pub verify: bool,
}

/// Where restored files go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Where they were.
    Original,
    /// In a new directory below the first of the host's own restore roots.
    RestoreRoot,
    /// Under this directory, absolute, with their whole path below it. The host's own policy has to
    /// allow it.
    Directory(String),
}

/// What a restore does to files that are there already. All but the first need restic 0.17.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overwrite {
    /// They are replaced.
    #[default]
    Always,
    /// They are replaced when their size or time differs.
    IfChanged,
    /// They are replaced when the snapshot's is newer.
    IfNewer,
    /// They stay.
    Never,
}

/// Change the tags of snapshots. restic stores them anew, so their ids change too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tag {
    /// The ids of the snapshots; at least one.
    pub snapshot_ids: Vec<String>,
    /// How to change them.
    pub edit: TagEdit,
}

/// A change of tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagEdit {
    /// These come, whether they were there or not.
    Add(Vec<String>),
    /// These go, whether they were there or not.
    Remove(Vec<String>),
    /// These and no others; none for no tags at all.
    Set(Vec<String>),
}

/// Remove snapshots: of the host that runs the job and of no other, unless others are named. The
/// data stays until a prune.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// Which ones.
    pub which: Selection,
    /// Look only; nothing is removed.
    #[serde(default)]
    pub dry_run: bool,
}

/// Which snapshots to remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// Those that a policy does not keep. It is applied apart to each group of snapshots with the
    /// same host and the same tags.
    Policy {
        /// Only snapshots with this tag, the source group's name; empty for all of the host.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        tag: String,
        /// What to keep.
        keep: Retention,
    },
    /// Those that the policies of these source groups do not keep, whichever hosts they are of: so
    /// the one host that may delete does it for all that share its repository.
    Groups(Vec<GroupRetention>),
    /// Those with these ids; at least one.
    Snapshots(Vec<String>),
}

/// Which snapshots of one source group of one host to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRetention {
    /// The host, as its snapshots name it.
    pub host: String,
    /// The source group's name, which is the tag of its snapshots.
    pub tag: String,
    /// What to keep.
    pub keep: Retention,
}

/// Delete the data that no snapshot needs any more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// How much unused data may stay; absent for restic's own measure (5 %).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unused: Option<MaxUnused>,
    /// How much data may be moved to free more; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_repack_bytes: Option<NonZeroU64>,
    /// Move only data that restic caches, which costs no download.
    #[serde(default)]
    pub repack_cacheable_only: bool,
    /// Move data that was stored before there was compression.
    #[serde(default)]
    pub repack_uncompressed: bool,
    /// Look only; nothing is deleted.
    #[serde(default)]
    pub dry_run: bool,
}

/// How much unused data may stay after a prune.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxUnused {
    /// This share of the repository, from 0 up to but not including 100.
    Percent(f64),
    /// This many bytes.
    Bytes(u64),
    /// Any amount: nothing is moved, only what is wholly unused is deleted.
    Unlimited,
}

/// Look whether the repository is whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// How much of the data itself to read; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_data: Option<ReadData>,
}

/// How much of the data a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ReadData {
    /// All of it.
    All,
    /// This share of it, chosen by chance; above 0 and up to 100.
    Percent(f64),
    /// One of several equal parts, so that all data is read in turn.
    Part {
        /// Which, from 1.
        number: NonZeroU32,
        /// Of how many.
        of: NonZeroU32,
    },
}

/// Measure what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// What to measure.
    pub mode: StatsMode,
    /// The id of the only snapshot to measure; absent for all of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatsMode {
    /// What a restore would write, summed over the snapshots.
    RestoreSize,
    /// What the repository stores for them.
    RawData,
}

/// Remove locks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlock {
    /// Also the locks of those who live: their work may then destroy what others do. Otherwise only
    /// locks that restic takes for abandoned.
    #[serde(default)]
    pub remove_all: bool,
}
