//! `holdfast-agent` as a process.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::Process;

/// How long an agent may take to end: it gives restic time to let go of the repository.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// One host's agent: its data folder, and its process while it runs.
#[derive(Debug)]
pub struct Agent {
    name: String,
    program: PathBuf,
    restic: PathBuf,
    data: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
}

impl Agent {
    /// The agent of the host `name`, with its data below `folder`; not enrolled, not running.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(program: &Path, restic: &Path, folder: &Path, name: &str) -> Result<Self> {
        let agents = folder.join("agents");
        fs::create_dir_all(&agents).with_context(|| format!("cannot make {}", agents.display()))?;
        Ok(Self {
            name: name.to_owned(),
            program: program.to_path_buf(),
            restic: restic.to_path_buf(),
            data: agents.join(name),
            arguments: Vec::new(),
            log: agents.join(format!("{name}.log")),
            process: None,
        })
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Redeems the enrolment `token` at the server `url`.
    ///
    /// # Errors
    /// When the agent says no; with what it said.
    pub fn enrol(&self, url: &str, token: &str) -> Result<()> {
        let output = self.try_enrol(url, token)?;
        if !output.status.success() {
            bail!("cannot enrol {}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// The same, whatever comes of it. The token goes in by standard input, never by argument.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn try_enrol(&self, url: &str, token: &str) -> Result<Output> {
        let mut child = Command::new(&self.program)
            .args(["enroll", "--server", url, "--token-file", "-", "--data"])
            .arg(&self.data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        if let Some(mut input) = child.stdin.take() {
            // An agent that refuses before it reads closes the pipe: its exit tells more.
            let _ = writeln!(input, "{token}");
        }
        child.wait_with_output().context("cannot wait for the agent")
    }

    /// Starts `holdfast-agent run`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> Result<()> {
        let name = format!("the agent of {}", self.name);
        self.process = Some(Process::spawn(&name, &mut self.run_command(), &self.log)?);
        Ok(())
    }

    /// The same with a variable in its environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with(&mut self, variable: &str, value: &str) -> Result<()> {
        let name = format!("the agent of {}", self.name);
        let mut command = self.run_command();
        self.process = Some(Process::spawn(&name, command.env(variable, value), &self.log)?);
        Ok(())
    }

    /// Whether its process runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.as_mut().map_or(Ok(false), Process::is_running)
    }

    /// Runs it in the foreground, for when it should refuse to run: how it ended, what it said.
    ///
    /// # Errors
    /// When it cannot be started, or has not ended after `limit`.
    pub fn run_to_end(&self, limit: Duration) -> Result<(ExitStatus, String)> {
        let log = self.log.with_extension("refusal.log");
        let name = format!("the agent of {}", self.name);
        let mut process = Process::spawn(&name, &mut self.run_command(), &log)?;
        let status = process.wait(limit)?;
        Ok((status, process.log()))
    }

    /// From the next start on it uses this restic.
    pub fn use_restic(&mut self, restic: &Path) {
        self.restic = restic.to_path_buf();
    }

    /// From the next start on it gets these arguments too.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    }

    /// Ends it at once, as a power cut would end the process. Its restic lives on.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::kill)
    }

    /// Ends it the polite way.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.stop(STOP_LIMIT))
    }

    /// An error with its last words, unless it runs.
    ///
    /// # Errors
    /// When it has ended or was never started.
    pub fn check_running(&mut self) -> Result<()> {
        match self.process.as_mut() {
            Some(process) => process.check_running(),
            None => bail!("the agent of {} was never started", self.name),
        }
    }

    /// The end of its log, for an error text.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::last_words)
    }

    fn run_command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["run", "--data"]).arg(&self.data).arg("--restic").arg(&self.restic);
        command.args(&self.arguments);
        command
    }
}
