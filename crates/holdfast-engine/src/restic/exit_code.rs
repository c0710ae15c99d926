//! What restic's end means.
//!
//! restic 0.17 and newer tell the common causes by exit code. Older ones end with 1 for nearly
//! everything, and then what they said on standard error decides. Whatever is not known is a
//! failure.

use crate::run::Exit;

/// Why restic ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It did what it was for.
    Complete,
    /// A snapshot exists, but some files could not be read.
    Partial,
    /// There is no repository, said restic itself.
    NoRepository,
    /// `init` found a repository.
    RepositoryExists,
    Locked,
    WrongPassword,
    Unreachable,
    StorageFull,
    /// Its key and its config do not belong together.
    Damaged,
    /// None of the paths to back up exists.
    SourcesMissing,
    /// An exclude pattern cannot be understood.
    InvalidPattern,
    /// An id that no snapshot has.
    NoSnapshot,
    /// A path that is not in the snapshot.
    NoPath,
    /// A check found errors.
    ErrorsFound,
    /// A restore left something out.
    Incomplete,
    /// Something that was to be deleted is still there; restic up to 0.18 calls that a success.
    NotDeleted,
    /// Somebody sent SIGINT.
    Interrupted,
    /// Ended by this signal.
    Killed(i32),
    /// Ended with this code.
    Failed(i32),
}

impl Cause {
    /// The cause of `exit`, given what restic said on standard error.
    pub(crate) fn of(exit: Exit, said: &str) -> Self {
        match exit {
            Exit::Signal(signal) => Self::Killed(signal),
            Exit::Code(0) => Self::Complete,
            Exit::Code(3) => Self::Partial,
            Exit::Code(10) => Self::NoRepository,
            Exit::Code(11) => Self::Locked,
            Exit::Code(12) => Self::WrongPassword,
            Exit::Code(130) => Self::Interrupted,
            Exit::Code(code) => Self::of_words(said).unwrap_or(Self::Failed(code)),
        }
    }

    fn of_words(said: &str) -> Option<Self> {
        let said = said.to_lowercase();
        let telling = telling(&said);
        let has = |words: &[&str]| words.iter().any(|word| telling.contains(word));
        if INTERRUPTED.iter().any(|words| said.contains(words)) {
            Some(Self::Interrupted)
        } else if has(&["no space left on device", "disk quota exceeded", "insufficient storage"]) {
            Some(Self::StorageFull)
        } else if has(&["config file already exists", "repository already contains keys"]) {
            Some(Self::RepositoryExists)
        } else if has(&["repository is already locked"]) {
            Some(Self::Locked)
        } else if has(&["wrong password or no key found"]) {
            Some(Self::WrongPassword)
        } else if has(&["is damaged: ciphertext verification failed"]) {
            Some(Self::Damaged)
        } else if has(&["directories/files do not exist"]) {
            Some(Self::SourcesMissing)
        } else if has(&["invalid pattern"]) {
            Some(Self::InvalidPattern)
        } else if has(&["no matching id found", "no snapshot found"]) {
            Some(Self::NoSnapshot)
        } else if has(&[
            "not found in snapshot",
            "should be a file, but is",
            "should be a dir, but is",
        ]) {
            Some(Self::NoPath)
        } else if has(&["repository contains errors"]) {
            Some(Self::ErrorsFound)
        } else if telling.lines().any(counts_errors) {
            Some(Self::Incomplete)
        } else if has(UNREACHABLE) {
            Some(Self::Unreachable)
        } else if has(&["unable to open config file"]) && has(ABSENT) {
            Some(Self::NoRepository)
        } else if has(&["unable to open repository at", "unable to open config file"]) {
            Some(Self::Unreachable)
        } else {
            None
        }
    }
}

/// The lines in which restic says why it ends. The others may be about anything: a missing source
/// next to a config file that cannot be read must not look like a missing repository.
fn telling(said: &str) -> String {
    const STARTS: [&str; 5] =
        ["fatal:", "unable to ", "invalid id", "no matching id found", "cannot dump file"];
    let tells = |line: &&str| STARTS.iter().any(|start| line.starts_with(start));
    said.lines().filter(tells).collect::<Vec<_>>().join("\n")
}

/// `fatal: there were 3 errors`
fn counts_errors(line: &str) -> bool {
    line.starts_with("fatal: there were ") && line.trim_end().ends_with(" errors")
}

/// Said by a restic that somebody told to end, wherever it was at the time.
const INTERRUPTED: &[&str] =
    &["signal interrupt received", "signal terminated received", "context canceled"];

/// The backend could not be asked, so whether there is a repository is unknown. These come before
/// [`ABSENT`]: creating a second repository is worse than failing once more.
const UNREACHABLE: &[&str] = &[
    "connection refused",
    "connection reset",
    "connection timed out",
    "no such host",
    "no route to host",
    "network is unreachable",
    "i/o timeout",
    "tls handshake",
    "x509:",
    "permission denied",
    "access denied",
    "unauthorized",
    "forbidden",
    "not a directory",
    "stale file handle",
    "input/output error",
    "transport endpoint is not connected",
    "subprocess ssh",
];

/// The backend answered, and there is no config file.
const ABSENT: &[&str] = &[
    "no such file or directory",
    "file does not exist",
    "does not exist",
    "not found (404)",
    "404 not found",
    "key does not exist",
    "nosuchkey",
    "blobnotfound",
    "blob not found",
    "object not found",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_absence_counts_as_no_repository() {
        let tail = "Is there a repository at the following location?\n/repo";
        for (said, cause) in [
            ("stat /repo/config: no such file or directory", Cause::NoRepository),
            ("<config/> does not exist", Cause::NoRepository),
            ("Stat: The specified key does not exist.", Cause::NoRepository),
            ("stat /repo/config: permission denied", Cause::Unreachable),
            ("dial tcp 127.0.0.1:1: connect: connection refused", Cause::Unreachable),
            ("dial tcp: lookup nowhere: no such host", Cause::Unreachable),
            ("unexpected HTTP response (500): 500 Internal Server Error", Cause::Unreachable),
            ("unexpected HTTP response (401): 401 Unauthorized", Cause::Unreachable),
            ("context canceled", Cause::Interrupted),
        ] {
            let said = format!("Fatal: unable to open config file: {said}\n{tail}");
            assert_eq!(Cause::of(Exit::Code(1), &said), cause, "{said}");
        }
    }

    #[test]
    fn a_missing_source_is_not_a_missing_repository() {
        let skipped = "/src does not exist, skipping\n";
        for (said, cause) in [
            ("Fatal: all target directories/files do not exist", Cause::SourcesMissing),
            ("Fatal: all source directories/files do not exist", Cause::SourcesMissing),
            ("Fatal: unable to open config file: something new", Cause::Unreachable),
            ("Fatal: something new", Cause::Failed(1)),
        ] {
            assert_eq!(Cause::of(Exit::Code(1), &format!("{skipped}{said}")), cause, "{said}");
        }
    }

    #[test]
    fn causes_without_an_exit_code_are_told_apart_from_the_rest() {
        for (said, cause) in [
            ("Fatal: unable to save snapshot: write: no space left on device", Cause::StorageFull),
            (
                "Fatal: config or key 0d4d is damaged: ciphertext verification failed",
                Cause::Damaged,
            ),
            ("Fatal: --exclude: invalid pattern(s) provided:\n[", Cause::InvalidPattern),
        ] {
            assert_eq!(Cause::of(Exit::Code(1), said), cause, "{said}");
        }
    }

    #[test]
    fn unknown_codes_are_failures() {
        for code in [1, 2, 4, 77, 255] {
            assert_eq!(Cause::of(Exit::Code(code), ""), Cause::Failed(code));
        }
        assert_eq!(Cause::of(Exit::Signal(9), "wrong password or no key found"), Cause::Killed(9));
    }
}
