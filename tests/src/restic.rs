//! restic asked directly: the judge of what was really saved.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A repository and what opens it, seen with restic's own eyes.
#[derive(Debug, Clone)]
pub struct Repository {
    program: PathBuf,
    location: PathBuf,
    password_file: PathBuf,
    cache: PathBuf,
}

impl Repository {
    /// The repository in the folder `location`; `scratch` takes restic's cache.
    #[must_use]
    pub fn new(program: &Path, location: &Path, password_file: &Path, scratch: &Path) -> Self {
        Self {
            program: program.to_path_buf(),
            location: location.to_path_buf(),
            password_file: password_file.to_path_buf(),
            cache: scratch.join("judge-cache"),
        }
    }

    /// Every snapshot in it, as restic tells.
    ///
    /// # Errors
    /// When restic fails.
    pub fn snapshots(&self) -> Result<Vec<Value>> {
        let said = self.restic(&["snapshots", "--json"])?;
        let list: Value = serde_json::from_str(&said).context("restic snapshots: no JSON")?;
        // Old versions say `null` for an empty list.
        Ok(list.as_array().cloned().unwrap_or_default())
    }

    /// Restores `path` of `snapshot` and says whether it is the same, byte for byte, as the
    /// original is now.
    ///
    /// # Errors
    /// When restic fails, or restores nothing there.
    pub fn restores_same(&self, snapshot: &str, path: &Path) -> Result<bool> {
        let target = tempfile::tempdir().context("no room for a restore")?;
        let into = target.path().to_str().context("the temporary folder's name is not text")?;
        let wanted = path.to_str().context("the file's name is not text")?;
        self.restic(&["restore", snapshot, "--target", into, "--include", wanted])?;
        let restored = target.path().join(path.strip_prefix("/").unwrap_or(path));
        let restored = fs::read(&restored)
            .with_context(|| format!("restic did not restore {}", path.display()))?;
        let original = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(restored == original)
    }

    /// The locks held on it. Looking at them takes none.
    ///
    /// # Errors
    /// When restic fails.
    pub fn locks(&self) -> Result<Vec<String>> {
        let said = self.restic(&["list", "locks", "--no-lock"])?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// Reads all of it back and finds no fault.
    ///
    /// # Errors
    /// When restic finds one.
    pub fn check(&self) -> Result<()> {
        self.restic(&["check", "--read-data"]).map(drop)
    }

    /// What restic answers to `arguments`.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        self.restic(arguments)
    }

    /// restic on this repository, to be started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("RESTIC_REPOSITORY", &self.location)
            .env("RESTIC_PASSWORD_FILE", &self.password_file)
            .env("RESTIC_CACHE_DIR", &self.cache);
        command
    }

    fn restic(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("restic {} failed: {}", arguments[0], said.trim());
        }
        String::from_utf8(output.stdout).context("restic said something that is not text")
    }
}
