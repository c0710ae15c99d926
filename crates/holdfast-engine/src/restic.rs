//! The restic program: finding it, and calling it.

pub(crate) mod access;
pub(crate) mod call;
pub(crate) mod command;
pub(crate) mod deletion;
pub(crate) mod exit_code;
pub(crate) mod findings;
mod operations;
pub(crate) mod output;
pub(crate) mod redactor;
pub(crate) mod session;
pub(crate) mod step;
pub(crate) mod transcript;
pub(crate) mod version;

use std::env;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_protocol::message::{job::JobError, parameters::Bandwidth};

use crate::{Code, MINIMUM, Patience, Version, error::job_error};

/// A usable restic program. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Restic {
    program: PathBuf,
    version: Version,
    patience: Patience,
    bandwidth: Bandwidth,
    creates: bool,
}

impl Restic {
    /// Finds restic: the `configured` program, or else `restic`; a name without a directory is
    /// looked for on the `PATH`.
    ///
    /// # Errors
    /// [`DiscoverError`]; its `Display` is one sentence, [`DiscoverError::action`] says what to do.
    ///
    /// # Cancel safety
    /// Safe: the program that is asked for its version is killed.
    pub async fn discover(configured: Option<&Path>) -> Result<Self, DiscoverError> {
        let program = match configured {
            Some(path) if path.components().count() > 1 => usable(path)?,
            Some(name) => on_path(name)?,
            None => on_path("restic".as_ref())?,
        };
        let version = ask_version(&program).await?;
        if version < MINIMUM {
            return Err(DiscoverError::TooOld { program, found: version, needed: MINIMUM });
        }
        Ok(Self {
            program,
            version,
            patience: Patience::default(),
            bandwidth: Bandwidth::default(),
            creates: true,
        })
    }

    /// The same program with other waits.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The same program with a limit to what it may take of the network. Every operation obeys it.
    #[must_use]
    pub fn with_bandwidth(self, bandwidth: Bandwidth) -> Self {
        Self { bandwidth, ..self }
    }

    /// The same program, which makes a repository for a backup that finds none, or does not: two
    /// hosts that do it at once would break the repository.
    #[must_use]
    pub fn creating(self, creates: bool) -> Self {
        Self { creates, ..self }
    }

    pub(crate) fn creates(&self) -> bool {
        self.creates
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where it is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    pub(crate) fn bandwidth(&self) -> Bandwidth {
        self.bandwidth
    }
}

/// There is no usable restic.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// It is nowhere.
    #[error("restic was not found: {} {}", program.display(), where_looked(program))]
    NotFound {
        /// What was looked for: a path, or a name on the `PATH`.
        program: PathBuf,
    },
    /// There is something, but it cannot be run.
    #[error("{} cannot be run as a program", program.display())]
    NotExecutable {
        /// What was found.
        program: PathBuf,
        /// Why the system refused, when it was asked.
        #[source]
        source: Option<io::Error>,
    },
    /// It is older than what is supported.
    #[error("{} is restic {found}, but {needed} or newer is needed", program.display())]
    TooOld {
        /// What was found.
        program: PathBuf,
        /// Its version.
        found: Version,
        /// The oldest that would do.
        needed: Version,
    },
    /// It ran, but did not say a version of restic.
    #[error("{} does not answer `version` as restic does", program.display())]
    Unreadable {
        /// What was found.
        program: PathBuf,
    },
}

impl DiscoverError {
    /// The stable code: `restic_missing` or `restic_too_old`.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::TooOld { .. } => Code::ResticTooOld,
            _ => Code::ResticMissing,
        }
    }

    /// One sentence: what to do about it.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.code().action()
    }

    /// The error of a job that could not run for this reason.
    #[must_use]
    pub fn to_job_error(&self) -> JobError {
        job_error(self.code(), format!("{self}."))
    }
}

fn where_looked(program: &Path) -> &'static str {
    if program.is_absolute() { "does not exist" } else { "is not on the PATH" }
}

fn usable(path: &Path) -> Result<PathBuf, DiscoverError> {
    // A child does not run where the agent was started, so the path must not depend on it.
    let program = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match std::fs::metadata(&program) {
        Err(_) => Err(DiscoverError::NotFound { program }),
        Ok(found) if !is_program(&found) => {
            Err(DiscoverError::NotExecutable { program, source: None })
        }
        Ok(_) => Ok(program),
    }
}

fn on_path(name: &Path) -> Result<PathBuf, DiscoverError> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|program| std::fs::metadata(program).is_ok_and(|found| is_program(&found)))
        .ok_or_else(|| DiscoverError::NotFound { program: name.to_owned() })
}

fn is_program(found: &std::fs::Metadata) -> bool {
    found.is_file() && found.permissions().mode() & 0o111 != 0
}

async fn ask_version(program: &Path) -> Result<Version, DiscoverError> {
    const ANSWER_MAX: Duration = Duration::from_secs(30);
    let unreadable = || DiscoverError::Unreadable { program: program.to_owned() };
    let answer = command::bare(program).arg("version").output();
    let answer = tokio::time::timeout(ANSWER_MAX, answer).await.map_err(|_| unreadable())?;
    let answer = answer.map_err(|source| DiscoverError::NotExecutable {
        program: program.to_owned(),
        source: Some(source),
    })?;
    Version::from_announcement(&String::from_utf8_lossy(&answer.stdout)).ok_or_else(unreadable)
}
