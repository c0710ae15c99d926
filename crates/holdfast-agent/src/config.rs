//! The agent's directory: what lies where, who may look, and that only one process works in it.
//!
//! ```text
//! DIR/              0700
//!   agent.json      which server, which host
//!   token           0600; the agent token
//!   state.redb      0600; everything the agent must not forget
//!   key             0600; opens the secrets in state.redb
//!   dialect.json    0600; what it is to another system's server, when it has joined one
//!   dialect-notes…  0600; how that server spells the jobs that have not ended
//!   local-token     0600; what opens the agent's own socket, once that was served
//!   status.json     what the running agent last said about itself
//!   policy.toml     what this host lets its server do; written by its administrator, never by us
//!   lock            held by the one process that works here
//!   cache/          restic's cache
//!   restore/        0700; where restored files go when nobody says otherwise
//!   run/JOB/        0700; a running job's scratch files
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use holdfast_protocol::{HostId, JobId, message::config::Secret};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

use crate::{dialect::Joined, error::Advice, trust::Trust};

/// What this agent is to another system's server.
const JOINED: &str = "dialect.json";
/// What it must remember of that.
pub(crate) const NOTES: &str = "dialect-notes.json";

/// Why the agent's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It could not be created, or nothing can be written in it.
    #[error("the data directory {} cannot be written", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process works in it.
    #[error("another holdfast-agent is already using {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// There is no enrolment in it.
    #[error("this agent is not enrolled: {} holds no enrolment", path.display())]
    NotEnrolled {
        /// The directory.
        path: PathBuf,
    },
    /// A file in it could not be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in it is not what the agent wrote.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
}

impl Advice for DirectoryError {
    fn advice(&self) -> String {
        match self {
            Self::NotWritable { .. } => {
                "choose a directory this user may write with --data, or run the agent as a user \
                 who may write this one"
                    .to_owned()
            }
            Self::InUse { .. } => {
                "stop that agent first, or give this one its own directory with --data".to_owned()
            }
            Self::NotEnrolled { path } => format!(
                "run `holdfast-agent enroll --server URL --token TOKEN --data {}` with an \
                 enrolment token from `holdfast host add`",
                path.display()
            ),
            Self::Unreadable { .. } => "check the file's owner and permissions".to_owned(),
            Self::Damaged { .. } => {
                "enrol this agent again with a new enrolment token and --force".to_owned()
            }
        }
    }
}

/// How often the lock is tried. [`Directory::is_in_use`] holds it for a moment, which must not look
/// like another agent.
const LOCK_TRIES: u32 = 5;

/// The pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The agent's directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The directory at `root`, created for this user alone when it is missing.
    ///
    /// # Errors
    /// [`DirectoryError::NotWritable`].
    pub fn create(root: &Path) -> Result<Self, DirectoryError> {
        let directory = Self { root: root.to_owned() };
        let private = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|source| DirectoryError::NotWritable { path: root.to_owned(), source })
        };
        private(root)?;
        private(&directory.cache_dir())?;
        private(&directory.run_dir())?;
        Ok(directory)
    }

    /// The directory at `root`, which must hold an enrolment. Nothing is created.
    #[must_use]
    pub fn existing(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes this process the one that works here, until the lock is dropped.
    ///
    /// # Errors
    /// [`DirectoryError::InUse`] and [`DirectoryError::NotWritable`].
    pub fn lock(&self) -> Result<Lock, DirectoryError> {
        let refuse = |source| DirectoryError::NotWritable { path: self.root.clone(), source };
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(refuse)?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOCK_PAUSE),
                Err(TryLockError::Error(source)) => return Err(refuse(source)),
            }
        }
        Err(DirectoryError::InUse { path: self.root.clone() })
    }

    /// Whether some process holds the lock.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let Ok(file) = File::open(self.root.join("lock")) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Which host of which server this agent is.
    ///
    /// # Errors
    /// [`DirectoryError::NotEnrolled`], [`DirectoryError::Unreadable`],
    /// [`DirectoryError::Damaged`].
    pub fn enrolment(&self) -> Result<Enrolment, DirectoryError> {
        self.read_json("agent.json")?
            .ok_or_else(|| DirectoryError::NotEnrolled { path: self.root.clone() })
    }

    /// The agent token.
    ///
    /// # Errors
    /// [`DirectoryError::NotEnrolled`], [`DirectoryError::Unreadable`].
    pub fn token(&self) -> Result<Secret, DirectoryError> {
        let path = self.root.join("token");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Secret::new(text.trim())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(DirectoryError::NotEnrolled { path: self.root.clone() })
            }
            Err(source) => Err(DirectoryError::Unreadable { path, source }),
        }
    }

    /// Stores an enrolment. The token goes first: an `agent.json` is only ever seen with its token.
    ///
    /// # Errors
    /// [`DirectoryError::NotWritable`].
    pub fn store_enrolment(
        &self,
        enrolment: &Enrolment,
        token: &Secret,
    ) -> Result<(), DirectoryError> {
        self.replace("token", token.expose().as_bytes())?;
        self.write_json("agent.json", enrolment)
    }

    /// What this agent is to another system's server; `None` when it belongs to one of our own.
    ///
    /// # Errors
    /// [`DirectoryError::Unreadable`], [`DirectoryError::Damaged`].
    pub(crate) fn joined(&self) -> Result<Option<Joined>, DirectoryError> {
        self.read_json(JOINED)
    }

    /// Stores what this agent is to another system's server.
    ///
    /// # Errors
    /// [`DirectoryError::NotWritable`].
    pub(crate) fn store_joined(&self, joined: &Joined) -> Result<(), DirectoryError> {
        self.write_json(JOINED, joined)
    }

    /// Forgets what was noted of another system's server that this agent leaves.
    ///
    /// # Errors
    /// [`DirectoryError::NotWritable`].
    pub(crate) fn forget_notes(&self) -> Result<(), DirectoryError> {
        match fs::remove_file(self.root.join(NOTES)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DirectoryError::NotWritable { path: self.root.clone(), source })
            }
            _ => Ok(()),
        }
    }

    /// What the agent last said about itself; `None` when it never ran.
    ///
    /// # Errors
    /// [`DirectoryError::Unreadable`], [`DirectoryError::Damaged`].
    pub fn status(&self) -> Result<Option<Status>, DirectoryError> {
        self.read_json("status.json")
    }

    /// Stores what the agent says about itself.
    ///
    /// # Errors
    /// [`DirectoryError::NotWritable`].
    pub fn store_status(&self, status: &Status) -> Result<(), DirectoryError> {
        self.write_json("status.json", status)
    }

    /// The state file.
    #[must_use]
    pub fn state_path(&self) -> PathBuf {
        self.root.join("state.redb")
    }

    /// restic's cache.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Where running jobs have their scratch directories.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    /// One job's scratch directory.
    #[must_use]
    pub fn job_dir(&self, job: JobId) -> PathBuf {
        self.run_dir().join(job.to_string())
    }

    pub(crate) fn read_json<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, DirectoryError> {
        let path = self.root.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DirectoryError::Unreadable { path, source }),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| DirectoryError::Damaged { path, source })
    }

    pub(crate) fn write_json<T: Serialize>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<(), DirectoryError> {
        let text = serde_json::to_vec_pretty(value).expect("the agent's files have a JSON form");
        self.replace(name, &text)
    }

    /// Replaces a file as a whole: after a crash it is the old one or the new one.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<(), DirectoryError> {
        let fresh = self.root.join(format!("{name}.new"));
        write_synced(&fresh, content)
            .and_then(|()| fs::rename(&fresh, self.root.join(name)))
            .and_then(|()| File::open(&self.root)?.sync_all())
            .map_err(|source| DirectoryError::NotWritable { path: self.root.clone(), source })
    }
}

/// Creates a directory that only this user can look into.
///
/// # Errors
/// The system's.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    // A file left by a crash is removed first: its permissions are not known.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Held by the one process that works in a directory.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Which host of which server this agent is. The token is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The server's address.
    pub server: Url,
    /// The path of the agent endpoint below it.
    pub connect_path: String,
    /// The host this agent is.
    pub host_id: HostId,
    /// The host's name in the fleet.
    pub host_name: String,
    /// Whether the link may go unencrypted to another machine.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Whom to trust at the other end, besides the system's authorities.
    #[serde(default, skip_serializing_if = "Trust::is_empty")]
    pub trust: Trust,
    /// The other system whose server it is; absent for one of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
}

/// What the running agent last said about itself, for `holdfast-agent status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// Whether the link to the server is up.
    pub connected: bool,
    /// Which road it takes then: `websocket` or `long_poll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Why it is not, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When this was written.
    pub at: jiff::Timestamp,
    /// The restic in use.
    pub restic_version: String,
}
