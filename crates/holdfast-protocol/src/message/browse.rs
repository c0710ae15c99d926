//! Questions of the server about what snapshots hold. Somebody waits for the answers and nothing of
//! them is kept: these are the words of requests, not of records.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    RepositoryId,
    message::{
        parameters::{Diff, Dump, Find, Ls, Stat},
        result::{Entry, Found},
    },
};

/// Asks for the entries of one directory: a [`Question`] of [`Ls`], answered by [`Entries`].
pub const LS: &str = "snapshot.ls";
/// Asks what one path is: a [`Question`] of [`Stat`], answered by [`Entry`].
pub const STAT: &str = "snapshot.stat";
/// Asks what has a certain name: a [`Question`] of [`Find`], answered by [`Matches`].
pub const FIND: &str = "snapshot.find";
/// Asks what changed between two snapshots: a [`Question`] of [`Diff`], answered by
/// [`Difference`](crate::message::result::Difference).
pub const DIFF: &str = "snapshot.diff";
/// Asks for the next piece of a file: a [`Read`], answered by [`Piece`].
pub const READ: &str = "snapshot.read";

/// How many bytes of a file one [`Piece`] holds at most. A few of them, in Base64, must find room
/// beside whatever else waits for the wire.
pub const PIECE_SIZE_MAX: usize = 256 * 1024;

/// A question about a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question<T> {
    /// The repository.
    pub repository_id: RepositoryId,
    /// What is wanted of it.
    pub wish: T,
}

/// The question behind [`LS`].
pub type List = Question<Ls>;
/// The question behind [`STAT`].
pub type Look = Question<Stat>;
/// The question behind [`FIND`].
pub type Search = Question<Find>;
/// The question behind [`DIFF`].
pub type Compare = Question<Diff>;

/// Entries of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// The entries, in the order of their names.
    pub entries: Vec<Entry>,
    /// Whether there are more after those; also when they would not have fitted into an answer.
    pub more: bool,
}

/// What has a certain name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matches {
    /// What was found, in the order of the paths.
    pub entries: Vec<Found>,
    /// Whether there is more; also when it would not have fitted into an answer.
    pub more: bool,
}

/// Asks for the bytes of a file from `wish.offset_bytes` on. A download asks again and again, each
/// time for what comes next; asked again for what was answered last, the agent answers the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Names the download, so that the agent keeps its place; minted by the server.
    pub download: Uuid,
    /// The repository.
    pub repository_id: RepositoryId,
    /// The file, and where in it.
    pub wish: Dump,
}

/// A piece of a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Its bytes, in Base64.
    pub data: String,
    /// Whether the file ends here, and whole.
    pub last: bool,
}

/// What is in people's files is nobody's to log.
impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = self.data.len();
        f.debug_struct("Piece").field("data", &length).field("last", &self.last).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_does_not_show_what_is_in_it() {
        let piece = Piece { data: "Y2FuYXJ5".to_owned(), last: true };
        assert_eq!(format!("{piece:?}"), "Piece { data: 8, last: true }");
    }

    #[test]
    fn what_was_found_is_an_entry_with_its_path() {
        let text =
            r#"{"path":"/a/b","name":"b","kind":"file","size_bytes":1,"mode":420,"uid":0,"gid":0}"#;
        let found: Found = serde_json::from_str(text).unwrap();
        assert_eq!((found.path.as_str(), found.entry.name.as_str()), ("/a/b", "b"));
        assert_eq!(serde_json::to_string(&found).unwrap(), text);
    }
}
