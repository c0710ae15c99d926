//! A restic that saves nothing and tells the truth about having been called.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use holdfast_e2e::slow_restic::write_program;

/// A stub with a brake: while it is on, backups wait.
#[derive(Debug, Clone)]
pub(crate) struct StubRestic {
    program: PathBuf,
    brake: PathBuf,
    calls: PathBuf,
}

/// `@calls@` and `@brake@` are put in. The job is known by its private directory.
const SCRIPT: &str = r#"#!/bin/sh
case " $* " in
*" version "*)
    echo 'restic 0.18.0 compiled with go1.24.4 on linux/amd64' ;;
*" snapshots "*)
    echo '[]' ;;
*" backup "*)
    job=${RESTIC_PASSWORD_FILE%/*}
    job=${job##*/}
    echo "$job" >>'@calls@'
    trap 'echo "signal interrupt received" >&2; exit 130' INT TERM
    while [ -e '@brake@' ]; do sleep 0.1; done
    @chatter@
    id=$(printf '%s' "$job" | tr -d -)
    echo '{"message_type":"summary","files_new":1,"total_files_processed":1,"total_bytes_processed":1,"total_duration":0.1,"snapshot_id":"'"$id$id"'"}' ;;
esac
exit 0
"#;

/// Many lines of log, as a backup of many unreadable files would have.
const CHATTER: &str = r#"line=0
    while [ $line -lt 20000 ]; do
        line=$((line + 1))
        echo "warning $line: this file has changed while it was being read, as files do" >&2
        [ $((line % 100)) = 0 ] && sleep 0.05
    done"#;

impl StubRestic {
    /// Makes one in `folder`, with the brake off.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        Self::make(folder, ":")
    }

    /// The same, which fills the log of every backup.
    pub(crate) fn chatty(folder: &Path) -> Result<Self> {
        Self::make(folder, CHATTER)
    }

    fn make(folder: &Path, chatter: &str) -> Result<Self> {
        let path = |name: &str| folder.join(name);
        let stub = Self {
            program: path("stub-restic"),
            brake: path("stub-restic.brake"),
            calls: path("stub-restic.calls"),
        };
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path is not text");
        let script = SCRIPT
            .replace("@calls@", &text(&stub.calls)?)
            .replace("@brake@", &text(&stub.brake)?)
            .replace("@chatter@", chatter);
        write_program(&stub.program, &script)?;
        fs::write(&stub.calls, "").context("cannot write the list of calls")?;
        Ok(stub)
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// From now on backups wait.
    pub(crate) fn brake(&self) -> Result<()> {
        fs::write(&self.brake, "").context("cannot put the brake on")
    }

    /// Backups go on, those that wait too.
    pub(crate) fn release(&self) -> Result<()> {
        match fs::remove_file(&self.brake) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("cannot release the brake")
            }
            _ => Ok(()),
        }
    }

    /// How often each job's process was started.
    pub(crate) fn calls(&self) -> Result<BTreeMap<String, u32>> {
        let text = fs::read_to_string(&self.calls).context("cannot read the list of calls")?;
        let mut calls = BTreeMap::new();
        for job in text.lines() {
            *calls.entry(job.to_owned()).or_insert(0) += 1;
        }
        Ok(calls)
    }
}
