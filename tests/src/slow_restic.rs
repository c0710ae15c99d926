//! A restic that takes its time, so that there is a "mid-backup" to do something in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// How fast it may write, in KiB/s. A test's data is a multiple of it: its seconds.
const LIMIT_KIB: u64 = 8 << 10;

/// How many bytes keep it busy for about a second. What restic reads ahead, some 50 MB, is shown
/// as progress at once; the rest follows at this speed.
pub const BYTES_PER_SECOND: u64 = LIMIT_KIB << 10;

/// A program that is restic, with a speed limit that can be lifted for later runs.
#[derive(Debug)]
pub struct SlowRestic {
    program: PathBuf,
    brake: PathBuf,
}

impl SlowRestic {
    /// Makes one in `folder` out of the real `restic`, with the brake on.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn new(restic: &Path, folder: &Path) -> Result<Self> {
        let (program, brake) = (folder.join("slow-restic"), folder.join("slow-restic.brake"));
        let script = format!(
            "#!/bin/sh\nif [ -e '{brake}' ]; then\n  exec '{restic}' --limit-upload {LIMIT_KIB} \
             \"$@\"\nfi\nexec '{restic}' \"$@\"\n",
            brake = brake.display(),
            restic = restic.display(),
        );
        write_program(&program, &script)?;
        fs::write(&brake, "").with_context(|| format!("cannot write {}", brake.display()))?;
        Ok(Self { program, brake })
    }

    /// What to give as `--restic`.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// From now on new runs go at full speed. Runs under way keep theirs.
    ///
    /// # Errors
    /// When the brake cannot be removed.
    pub fn release_brake(&self) -> Result<()> {
        fs::remove_file(&self.brake).context("the brake cannot be removed")
    }
}

/// Writes `script` to `path`, to be run.
///
/// # Errors
/// When the file cannot be written.
pub fn write_program(path: &Path, script: &str) -> Result<()> {
    fs::write(path, script)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))
}
