//! What came of a job, in types: the `stats` of its end.
//!
//! What an old restic cannot tell is absent. A backup's is restic's own summary, as restic wrote
//! it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What came of `init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initialised {
    /// Whether the job made the repository; it may have been there.
    pub created: bool,
    /// restic's own id of the repository.
    pub restic_id: String,
    /// The version of the repository's format.
    pub format_version: u32,
}

/// What came of `snapshots`; the list itself is reported apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// How many snapshots of the host there are.
    pub snapshot_count: u64,
}

/// What came of `ls` and of a search; the entries come apart from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// How many entries were told.
    pub entry_count: u64,
    /// Whether there are more, after those.
    pub more: bool,
}

/// One thing in a directory of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name. Bytes that are not UTF-8 are replaced, and then the name finds nothing: what has
    /// it can be restored with the directory only.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its length in bytes, of files only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The lowest twelve bits of its mode, as `chmod` takes them.
    pub mode: u32,
    /// The number of its owner.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// When its content changed last; absent for a time out of any calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<Timestamp>,
}

/// Something that was looked for, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its path, absolute. Bytes that are not UTF-8 are replaced, as in the name.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe, a socket.
    Other,
}

/// What came of `dump`; the bytes come apart from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dumped {
    /// How long the whole is, with what was passed over.
    pub size_bytes: u64,
}

/// What came of `diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What changed, in the order of the paths.
    pub changes: Vec<Change>,
    /// Changes that are not told because there are too many.
    pub omitted: u64,
    /// Files with other content.
    pub changed_files: u64,
    /// What is only in the later one.
    pub added: Amount,
    /// What is only in the earlier one.
    pub removed: Amount,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The path; a directory's ends with `/`.
    pub path: String,
    /// How it changed.
    pub kind: ChangeKind,
}

/// How a path changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It came.
    Added,
    /// It went.
    Removed,
    /// It has another content.
    Content,
    /// It has another owner, mode or time.
    Metadata,
    /// It is a thing of another kind.
    Kind,
    /// Something that this build of Holdfast has no word for.
    Other,
}

/// An amount of what a repository stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Links, devices and the like.
    pub others: u64,
    /// Bytes stored for them.
    pub size_bytes: u64,
}

/// What came of `restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The directory below which the files are; `/` for their original place.
    pub target: String,
    /// Whether nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// Files and directories that were to be restored; absent before restic 0.16, like the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_files: Option<u64>,
    /// Of those, the ones that are there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_restored: Option<u64>,
    /// Files that were left as they are by the overwrite rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_skipped: Option<u64>,
    /// Bytes that were to be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Bytes restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_restored: Option<u64>,
    /// Files and directories that could not be restored, wholly or in part.
    #[serde(default)]
    pub error_count: u64,
}

/// What came of `tag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retagged {
    /// How many snapshots were stored anew.
    pub snapshot_count: u64,
    /// Their old and new ids; empty before restic 0.17, which does not tell them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<Renamed>,
}

/// A snapshot that has a new id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// The id it had.
    pub from: String,
    /// The id it has.
    pub to: String,
}

/// What came of `forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// How many snapshots stay, of those that were looked at.
    pub kept_count: u64,
    /// How many are removed.
    pub removed_count: u64,
    /// The groups to which the policy was applied; one for chosen snapshots.
    pub groups: Vec<Group>,
    /// Snapshots that are counted but not listed because there are too many.
    #[serde(default)]
    pub omitted: u64,
}

/// Snapshots of one host with the same tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The host.
    pub host: String,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What stays, newest first.
    pub keep: Vec<Judged>,
    /// What goes, newest first.
    pub remove: Vec<Judged>,
}

/// A snapshot and what was said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Its id.
    pub snapshot_id: String,
    /// When it was made.
    pub time: Timestamp,
    /// The rules that keep it, in restic's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// What came of `prune`, as restic planned it. restic tells sizes in words, rounded to three
/// digits, so all of them are near the truth and no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// Bytes of data that were moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repacked_bytes: Option<u64>,
    /// Bytes that were freed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed_bytes: Option<u64>,
    /// Bytes that stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_bytes: Option<u64>,
    /// Bytes that stay and that nothing needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_bytes: Option<u64>,
}

/// What came of `check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// How many errors restic told, one a line.
    pub error_count: u64,
    /// The ids of pack files whose content is broken; at most a hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken_packs: Vec<String>,
    /// Whether restic advises to repair the index.
    #[serde(default)]
    pub suggest_repair_index: bool,
    /// Whether restic advises to prune.
    #[serde(default)]
    pub suggest_prune: bool,
}

/// What came of `stats`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Bytes: to restore, or stored, by what was asked for.
    pub total_size_bytes: u64,
    /// Files and directories in all snapshots together; of the restore size only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_file_count: Option<u64>,
    /// Pieces of data stored; of the stored size only, like the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_blob_count: Option<u64>,
    /// Bytes before compression; absent before restic 0.16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_uncompressed_size_bytes: Option<u64>,
    /// Bytes before compression for each byte stored; absent before restic 0.16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression_ratio: Option<f64>,
    /// How many snapshots were measured.
    pub snapshot_count: u64,
}

/// What came of `unlock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlocked {
    /// How many locks are left.
    pub locks_left: u64,
    /// How many were removed.
    pub locks_removed: u64,
}
