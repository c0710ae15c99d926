//! The policy as it is written down.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    num::NonZeroU32,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use holdfast_protocol::message::{
    config::{Secret, SourcePreset},
    job::{JobError, Operation},
};
use nix::unistd::geteuid;
use serde::Deserialize;

use crate::job::job_error;

/// The largest file that is read.
const SIZE_MAX: u64 = 1024 * 1024;

/// Everything in the file. A word that is not known refuses the whole: it may be a misspelt rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rules {
    pub(super) operations: Operations,
    pub(super) backup: Backup,
    pub(super) repositories: Repositories,
    pub(super) restore: Restore,
    pub(super) hooks: BTreeMap<String, Hook>,
    pub(super) sources: BTreeMap<SourcePreset, BTreeMap<String, Source>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hook {
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) timeout_seconds: Option<NonZeroU32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Source {
    pub(super) command: Option<Vec<String>>,
    pub(super) file_name: Option<String>,
    /// The database's file, of sqlite.
    pub(super) path: Option<PathBuf>,
    pub(super) environment: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Operations {
    pub(super) allowed: Option<Vec<Operation>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Backup {
    pub(super) paths: Option<Vec<PathBuf>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Repositories {
    pub(super) locations: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Restore {
    pub(super) roots: Option<Vec<PathBuf>>,
    pub(super) original: bool,
}

/// Reads the file; without one the rules are those of an empty one.
pub(super) fn read(path: &Path) -> Result<Rules, JobError> {
    // A link to nowhere is no missing file.
    if let Err(error) = fs::symlink_metadata(path)
        && error.kind() == io::ErrorKind::NotFound
    {
        return Ok(Rules::default());
    }
    let text = read_trusted(path).map_err(|reason| unusable(path, &reason))?;
    toml::from_str(&text).map_err(|error| unusable(path, error.message()))
}

/// The text of a file that nobody but its owner may write, who is root or this agent's user.
fn read_trusted(path: &Path) -> Result<String, String> {
    const OTHERS_MAY_WRITE: u32 = 0o022;
    let file = File::open(path).map_err(|error| error.to_string())?;
    let facts = file.metadata().map_err(|error| error.to_string())?;
    if facts.mode() & OTHERS_MAY_WRITE != 0 {
        return Err("others than its owner may write it".to_owned());
    }
    if facts.uid() != 0 && facts.uid() != geteuid().as_raw() {
        return Err("its owner is neither root nor the agent's user".to_owned());
    }
    let mut text = String::new();
    file.take(SIZE_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

fn unusable(path: &Path, reason: &str) -> JobError {
    let reason = reason.trim().replace('\n', " ");
    let message = format!("The host's policy {} cannot be used: {reason}.", path.display());
    let action = "Correct the file on the host (owner root, mode 0644 or stricter), then start the \
                  job again; until then the host refuses every job.";
    job_error("policy_unusable", &message, action)
}
