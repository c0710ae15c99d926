//! What most tests begin with: a fleet in a temporary folder that goes when the test ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::Fleet;
use crate::programs::{self, Programs};
use crate::slow_restic::{BYTES_PER_SECOND, SlowRestic};

/// How long a backup of a test's size may take, on a busy machine.
pub const BACKUP_LIMIT: Duration = Duration::from_secs(120);

/// The one host of most tests, and its one source group.
pub const HOST: &str = "db-1";
/// Its source group.
pub const GROUP: &str = "data";

/// A fleet, and the folder that holds all of it.
#[derive(Debug)]
pub struct Stage {
    /// Ends before its folder does.
    pub fleet: Fleet,
    folder: TempDir,
}

impl Stage {
    /// A server without hosts, and the machine's restic.
    ///
    /// # Errors
    /// When a program does not do its part.
    pub fn new() -> Result<Self> {
        Self::with_restic(&programs::restic()?)
    }

    /// A server without hosts; its hosts will use `restic`.
    ///
    /// # Errors
    /// When a program does not do its part.
    pub fn with_restic(restic: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("no room for the test's folder")?;
        let fleet = Fleet::start(&Programs::beside_this_test()?, restic, folder.path())?;
        Ok(Self { fleet, folder })
    }

    /// A server and [`HOST`], whose [`GROUP`] takes restic about `seconds` to back up, beyond the
    /// first second or two.
    ///
    /// # Errors
    /// When a program does not do its part.
    pub fn with_slow_host(seconds: u64) -> Result<(Self, SlowRestic)> {
        let mut stage = Self::new()?;
        let slow = SlowRestic::new(&programs::restic()?, stage.path())?;
        stage.fleet.add_host_with(HOST, slow.program())?;
        let source = stage.source()?;
        crate::data::random_file(&source.join("big.dat"), seconds * BYTES_PER_SECOND, 1)?;
        stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
        Ok((stage, slow))
    }

    /// The folder that holds all of it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder whose files are backed up; made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn source(&self) -> Result<PathBuf> {
        let source = self.path().join("source");
        std::fs::create_dir_all(&source).context("cannot make the source folder")?;
        Ok(source)
    }

    /// Backs up [`GROUP`] of [`HOST`] and returns the id of a snapshot that restic knows.
    ///
    /// # Errors
    /// When the job does not succeed, or restic knows no such snapshot.
    pub fn back_up(&self) -> Result<String> {
        let job = self.fleet.operator.run(HOST, GROUP)?;
        let end = self.fleet.operator.await_end(&job, BACKUP_LIMIT)?;
        ensure!(end["status"] == "succeeded", "the backup did not succeed: {end}");
        self.confirmed_snapshot(&end)
    }

    /// The snapshot that `job` claims, if restic has it under the right host and tag.
    ///
    /// # Errors
    /// When it has not.
    pub fn confirmed_snapshot(&self, job: &Value) -> Result<String> {
        let claimed = job["snapshot_id"].as_str().context("the job names no snapshot")?;
        let snapshots = self.fleet.repository().snapshots()?;
        let found = snapshots.iter().find(|snapshot| snapshot["id"] == claimed);
        let found = found.with_context(|| format!("restic knows no snapshot {claimed}"))?;
        ensure!(found["hostname"] == HOST, "it belongs to another host: {found}");
        ensure!(found["tags"][0] == GROUP, "it belongs to another group: {found}");
        Ok(claimed.to_owned())
    }
}
