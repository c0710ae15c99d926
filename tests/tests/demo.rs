//! `cargo xtask demo` cleans up after itself, however it ends.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holdfast_e2e::process::{self, Process};
use holdfast_e2e::slow_restic::write_program;
use holdfast_e2e::{programs, wait};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// How long a small demo may take on a busy machine.
const DEMO_LIMIT: Duration = Duration::from_secs(240);

/// A demo whose temporary files and processes can all be found below one folder.
struct Demo {
    process: Process,
    folder: TempDir,
}

impl Demo {
    fn start(restic: &Path, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let room = folder.path().join("room");
        std::fs::create_dir(&room)?;
        let mut command = Command::new(xtask()?);
        command.args(["demo", "--no-build", "--size", "30MB"]).args(arguments);
        command.arg("--restic").arg(restic).env("TMPDIR", &room);
        let log = folder.path().join("log");
        Ok(Self { process: Process::spawn("the demo", &mut command, &log)?, folder })
    }

    fn await_line(&mut self, text: &str) -> Result<()> {
        wait::until(&format!("the demo to say {text:?}"), DEMO_LIMIT, || {
            self.process.check_running()?;
            Ok(self.process.log().contains(text).then_some(()))
        })
        .with_context(|| self.process.last_words())
    }

    /// Neither a file nor a process is left.
    fn check_nothing_left(&self) -> Result<()> {
        let room = self.folder.path().join("room");
        let left: Vec<_> = std::fs::read_dir(&room)?.flatten().map(|entry| entry.path()).collect();
        ensure!(left.is_empty(), "files are left: {left:?}");
        let running = process::naming(&room);
        ensure!(running.is_empty(), "processes are left: {running:?}");
        Ok(())
    }
}

/// Built beside this test.
fn xtask() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("no target folder")?;
    let program = folder.join("xtask");
    ensure!(program.is_file(), "{} is missing: cargo build --workspace", program.display());
    Ok(program)
}

#[test]
fn a_demo_that_runs_once_proves_every_host_and_leaves_nothing() -> Result<()> {
    let mut demo = Demo::start(&programs::restic()?, &["--once"])?;
    let status = demo.process.wait(DEMO_LIMIT)?;
    let said = demo.process.log();
    ensure!(status.success(), "{status}: {said}");
    ensure!(said.matches("same, byte for byte").count() == 3, "{said}");
    demo.check_nothing_left()
}

#[test]
fn a_demo_stays_up_until_ctrl_c_and_leaves_nothing() -> Result<()> {
    let mut demo = Demo::start(&programs::restic()?, &[])?;
    demo.await_line("the fleet stays up")?;
    demo.process.signal(Signal::SIGINT)?;
    let status = demo.process.wait(DEMO_LIMIT)?;
    ensure!(status.success(), "{status}: {}", demo.process.last_words());
    demo.check_nothing_left()
}

#[test]
fn a_demo_stopped_in_mid_backup_leaves_nothing() -> Result<()> {
    let mut demo = Demo::start(&programs::restic()?, &[])?;
    demo.await_line("running")?;
    demo.process.signal(Signal::SIGINT)?;
    let status = demo.process.wait(DEMO_LIMIT)?;
    ensure!(status.code() == Some(1), "{status}: {}", demo.process.last_words());
    demo.check_nothing_left()
}

#[test]
fn a_demo_whose_backups_fail_says_so_and_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broken = folder.path().join("broken-restic");
    let script = "#!/bin/sh\n[ \"$1\" = version ] && \
        echo 'restic 0.18.0 compiled with go1.24.4 on linux/amd64' && exit 0\n\
        echo 'Fatal: broken on purpose' >&2\nexit 1\n";
    write_program(&broken, script)?;
    let mut demo = Demo::start(&broken, &["--once"])?;
    let status = demo.process.wait(DEMO_LIMIT)?;
    ensure!(status.code() == Some(1), "{status}: {}", demo.process.last_words());
    demo.check_nothing_left()
}
