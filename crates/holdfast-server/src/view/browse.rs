//! What snapshots hold, as agents tell it.

use holdfast_protocol::message::{
    browse::{Entries, Matches},
    result::{Amount, Change, ChangeKind, Difference, Entry, EntryKind, Found},
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// Entries of a directory of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = EntryPage)]
pub struct EntryPageView {
    /// The entries, in the order of their names.
    pub entries: Vec<EntryView>,
    /// Whether there are more: ask again with an `offset` that passes over these.
    pub more: bool,
}

/// One thing in a directory of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct EntryView {
    /// Its name. Bytes that are not UTF-8 are replaced by U+FFFD, and then the name finds nothing.
    pub name: String,
    /// What it is.
    pub kind: EntryKindView,
    /// Its length, of files only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The lowest twelve bits of its mode, as `chmod` takes them.
    pub mode: u32,
    /// The number of its owner.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// When its content changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<Timestamp>,
}

/// What a thing in a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EntryKind)]
pub enum EntryKindView {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe, a socket.
    Other,
}

/// What has a certain name in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FoundPage)]
pub struct FoundPageView {
    /// What was found, in the order of the paths.
    pub entries: Vec<FoundView>,
    /// Whether there is more.
    pub more: bool,
}

/// Something that was looked for, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Found)]
pub struct FoundView {
    /// Its path, absolute.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub entry: EntryView,
}

/// What changed from one snapshot to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Difference)]
pub struct DifferenceView {
    /// What changed, in the order of the paths.
    pub changes: Vec<ChangeView>,
    /// Changes that are not told because there are too many.
    pub omitted: u64,
    /// Files with other content.
    pub changed_files: u64,
    /// What is only in the later one.
    pub added: AmountView,
    /// What is only in the earlier one.
    pub removed: AmountView,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Change)]
pub struct ChangeView {
    /// The path; a directory's ends with `/`.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKindView,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ChangeKind)]
pub enum ChangeKindView {
    /// It is only in the later one.
    Added,
    /// It is only in the earlier one.
    Removed,
    /// Its content is another.
    Content,
    /// Only its owner, mode or times are others.
    Metadata,
    /// It is another kind of thing.
    Kind,
    /// What this build has no word for.
    Other,
}

/// An amount of what a repository stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Amount)]
pub struct AmountView {
    /// Files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Links, devices and the like.
    pub others: u64,
    /// Bytes stored for them.
    pub size_bytes: u64,
}

impl From<Entries> for EntryPageView {
    fn from(it: Entries) -> Self {
        Self { entries: it.entries.into_iter().map(EntryView::from).collect(), more: it.more }
    }
}

impl From<Entry> for EntryView {
    fn from(it: Entry) -> Self {
        Self {
            name: it.name,
            kind: it.kind.into(),
            size_bytes: it.size_bytes,
            mode: it.mode,
            uid: it.uid,
            gid: it.gid,
            modified_at: it.modified_at,
        }
    }
}

impl From<EntryKind> for EntryKindView {
    fn from(it: EntryKind) -> Self {
        match it {
            EntryKind::File => Self::File,
            EntryKind::Directory => Self::Directory,
            EntryKind::Symlink => Self::Symlink,
            EntryKind::Other => Self::Other,
        }
    }
}

impl From<Matches> for FoundPageView {
    fn from(it: Matches) -> Self {
        Self { entries: it.entries.into_iter().map(FoundView::from).collect(), more: it.more }
    }
}

impl From<Found> for FoundView {
    fn from(it: Found) -> Self {
        Self { path: it.path, entry: it.entry.into() }
    }
}

impl From<Difference> for DifferenceView {
    fn from(it: Difference) -> Self {
        Self {
            changes: it.changes.into_iter().map(ChangeView::from).collect(),
            omitted: it.omitted,
            changed_files: it.changed_files,
            added: it.added.into(),
            removed: it.removed.into(),
        }
    }
}

impl From<Change> for ChangeView {
    fn from(it: Change) -> Self {
        Self { path: it.path, kind: it.kind.into() }
    }
}

impl From<ChangeKind> for ChangeKindView {
    fn from(it: ChangeKind) -> Self {
        match it {
            ChangeKind::Added => Self::Added,
            ChangeKind::Removed => Self::Removed,
            ChangeKind::Content => Self::Content,
            ChangeKind::Metadata => Self::Metadata,
            ChangeKind::Kind => Self::Kind,
            ChangeKind::Other => Self::Other,
        }
    }
}

impl From<Amount> for AmountView {
    fn from(it: Amount) -> Self {
        Self {
            files: it.files,
            directories: it.directories,
            others: it.others,
            size_bytes: it.size_bytes,
        }
    }
}
