//! A child process that never outlives us, and its output in a file.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::wait;

/// How many bytes of a log an error shows at most: enough for the last words.
const LOG_TAIL_BYTES: usize = 2000;

/// How long a killed process may take to be gone. The kernel needs milliseconds.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A running program in a process group of its own. Dropped, it is killed with all its group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its standard output and its standard error appended to `log`.
    ///
    /// A group of its own keeps a terminal's Ctrl-C away from it: who started it also ends it, in
    /// the right order.
    ///
    /// # Errors
    /// When the program cannot be started or the log cannot be written.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().context("cannot share the log file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_path_buf() })
    }

    /// The process id, which is also its group's.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has said so far, on both streams.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.ended()?.is_none())
    }

    /// An error with its last words, unless it still runs.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended ({status}):\n{}", self.name, self.last_words()),
        }
    }

    /// Asks it to end (SIGTERM) and waits; after `limit` it is killed.
    ///
    /// # Errors
    /// When it had to be killed, or ended with anything but success.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        if self.is_running()? {
            self.signal(Signal::SIGTERM)?;
        }
        let what = format!("{} to end after SIGTERM", self.name);
        let Ok(status) = wait::until(&what, limit, || self.ended()) else {
            self.kill()?;
            bail!("{what}: killed after {} s:\n{}", limit.as_secs(), self.last_words());
        };
        if !status.success() {
            bail!("{} did not end well ({status}):\n{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Ends it at once (SIGKILL), with its process group, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(&mut self) -> Result<()> {
        // The group may be empty already: then there is nobody left to kill.
        let _ = signal::killpg(self.pid(), Signal::SIGKILL);
        let what = format!("{} to be gone", self.name);
        wait::until(&what, KILL_LIMIT, || self.ended()).map(drop)
    }

    /// Sends `signal` to it alone.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        signal::kill(self.pid(), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits for its own end.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait::until(&what, limit, || self.ended())
            .with_context(|| format!("its last words:\n{}", self.last_words()))
    }

    /// The end of its log, for an error text.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = self.log();
        let mut start = log.len().saturating_sub(LOG_TAIL_BYTES);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        log[start..].trim_end().to_owned()
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot ask for {}", self.name))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.ended(), Ok(None)) {
            // Nobody is left to hear about it.
            let _ = self.kill();
        }
    }
}

/// Kills every process whose command line or environment names `folder`, and counts them.
///
/// For what a killed agent leaves: restic runs in a group of its own and lives on. `folder` must
/// be a fresh temporary one, so that only processes started for it can name it.
pub fn sweep(folder: &Path) -> usize {
    let found = naming(folder);
    for pid in &found {
        let _ = signal::kill(*pid, Signal::SIGKILL);
    }
    found.len()
}

/// The processes, besides us, whose command line or environment names `folder`.
#[must_use]
pub fn naming(folder: &Path) -> Vec<Pid> {
    let needle = folder.as_os_str().as_encoded_bytes();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .map(Pid::from_raw)
        .filter(|pid| *pid != Pid::this() && names(*pid, needle))
        .collect()
}

fn names(pid: Pid, needle: &[u8]) -> bool {
    ["cmdline", "environ"].into_iter().any(|part| {
        let content = fs::read(format!("/proc/{pid}/{part}")).unwrap_or_default();
        content.windows(needle.len()).any(|window| window == needle)
    })
}

/// Whether `pid` is stopped (SIGSTOP): it is there and does nothing.
#[must_use]
pub fn is_stopped(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The program's name stands in parentheses and may hold anything, even parentheses.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Whether `status` is the end by `signal`.
#[must_use]
pub fn ended_by(status: ExitStatus, signal: Signal) -> bool {
    status.signal() == Some(signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 300 & sleep 300"]).env("FOLDER", folder.path());
        let process = Process::spawn("sh", &mut command, &folder.path().join("log")).unwrap();
        wait::until("the grandchild", KILL_LIMIT, || {
            Ok((naming(folder.path()).len() >= 2).then_some(()))
        })
        .unwrap();
        drop(process);
        wait::until("all to be gone", KILL_LIMIT, || {
            Ok(naming(folder.path()).is_empty().then_some(()))
        })
        .unwrap();
    }

    #[test]
    fn a_sweep_finds_what_left_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        let mut stray =
            command.arg("300").env("FOLDER", folder.path()).process_group(0).spawn().unwrap();
        wait::until("the stray", KILL_LIMIT, || {
            Ok((naming(folder.path()).len() == 1).then_some(()))
        })
        .unwrap();
        let pid = naming(folder.path())[0];
        assert!(!is_stopped(pid));
        signal::kill(pid, Signal::SIGSTOP).unwrap();
        wait::until("the stop", KILL_LIMIT, || Ok(is_stopped(pid).then_some(()))).unwrap();
        assert_eq!(sweep(folder.path()), 1);
        assert!(ended_by(stray.wait().unwrap(), Signal::SIGKILL));
    }

    #[test]
    fn a_stopped_process_that_refuses_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"]);
        let mut process = Process::spawn("sh", &mut command, &folder.path().join("log")).unwrap();
        wait::until("its trap", KILL_LIMIT, || Ok(process.log().contains("deaf").then_some(())))
            .unwrap();
        let error = process.stop(Duration::from_millis(200)).unwrap_err().to_string();
        assert!(error.contains("killed after"), "{error}");
        assert!(!process.is_running().unwrap());
    }
}
