//! `holdfast server` as a process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::operator::Operator;
use crate::process::Process;
use crate::wait;

/// How long a server may take from its start to its "listening on".
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to drain.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What it prints when it is ready, before its address.
const READY: &str = "listening on ";

/// A running server; it keeps its data folder and its port through a restart.
#[derive(Debug)]
pub struct Server {
    process: Process,
    program: PathBuf,
    folder: PathBuf,
    url: String,
}

impl Server {
    /// Starts a server on a free loopback port, with its data below `folder`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(program: &Path, folder: &Path) -> Result<Self> {
        let mut process = spawn(program, folder, "127.0.0.1:0", 0)?;
        let url = await_ready(&mut process)?;
        Ok(Self { process, program: program.to_path_buf(), folder: folder.to_path_buf(), url })
    }

    /// Where it listens, such as `http://127.0.0.1:4711`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Mints an administrator's API token with the server's own command line.
    ///
    /// # Errors
    /// When the command fails.
    pub fn create_admin(&self) -> Result<Operator> {
        let local = Operator::new(self.program.clone(), &self.url, "");
        let data = data(&self.folder);
        let data = data.to_str().context("the data folder's name is not text")?;
        let arguments = ["token", "create", "operator", "--role", "admin", "--data", data];
        let token = local.text(&arguments, "token")?;
        Ok(Operator::new(self.program.clone(), &self.url, &token))
    }

    /// Ends it at once, as a power cut would end the process.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Ends it the polite way.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop(STOP_LIMIT)
    }

    /// Starts it again on the same data and the same port.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self) -> Result<()> {
        let address = self.url.trim_start_matches("http://").to_owned();
        let run = self.process.id();
        self.process = spawn(&self.program, &self.folder, &address, run)?;
        await_ready(&mut self.process).map(drop)
    }

    /// The same with a variable in its environment.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart_with(&mut self, variable: &str, value: &str) -> Result<()> {
        let address = self.url.trim_start_matches("http://").to_owned();
        let run = self.process.id();
        let mut command = command(&self.program, &self.folder, &address);
        let log = self.folder.join(format!("server-{run}.log"));
        self.process = Process::spawn("the server", command.env(variable, value), &log)?;
        await_ready(&mut self.process).map(drop)
    }

    /// Whether its process runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// An error with its last words, unless it still runs.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.check_running()
    }

    /// Everything it has said in its current life.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("server")
}

/// `run` tells the logs of several lives apart; the first look for the ready line must not find
/// an older one.
fn spawn(program: &Path, folder: &Path, address: &str, run: u32) -> Result<Process> {
    let log = folder.join(format!("server-{run}.log"));
    Process::spawn("the server", &mut command(program, folder, address), &log)
}

fn command(program: &Path, folder: &Path, address: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["server", "--listen", address, "--data"]).arg(data(folder));
    command
}

fn await_ready(process: &mut Process) -> Result<String> {
    wait::until("the server to listen", START_LIMIT, || {
        process.check_running()?;
        Ok(ready_url(&process.log()))
    })
    .with_context(|| format!("its last words:\n{}", process.last_words()))
}

fn ready_url(log: &str) -> Option<String> {
    // Only a whole line: the address may be half written.
    let (whole, _) = log.rsplit_once('\n')?;
    whole.lines().find_map(|line| line.strip_prefix(READY)).map(|url| url.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_not_an_address() {
        assert_eq!(ready_url("listening on http://127.0.0.1:47"), None);
        let log = "a log line\nlistening on http://127.0.0.1:4711\nmore";
        assert_eq!(ready_url(log).as_deref(), Some("http://127.0.0.1:4711"));
    }
}
