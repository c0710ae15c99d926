//! A server and its agents in one folder.

mod agent;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

pub use agent::Agent;
pub use server::Server;

use crate::operator::Operator;
use crate::process;
use crate::programs::Programs;
use crate::restic::Repository;

/// The repository all hosts share, and its password.
const REPOSITORY: &str = "vault";
const PASSWORD: &str = "correct horse battery staple";

/// How long a newly started agent may take to be seen online.
const ONLINE_LIMIT: Duration = Duration::from_secs(30);

/// A whole fleet below one folder, which should be a temporary one: dropping the fleet kills what
/// still runs, but leaves the folder to its owner.
#[derive(Debug)]
pub struct Fleet {
    /// Agents end before the server, so that their last words reach it.
    pub agents: Vec<Agent>,
    /// The server.
    pub server: Server,
    /// An administrator.
    pub operator: Operator,
    programs: Programs,
    restic: PathBuf,
    folder: PathBuf,
}

impl Fleet {
    /// A running server, an administrator's token, and one repository; no hosts yet.
    ///
    /// # Errors
    /// When a program does not do its part.
    pub fn start(programs: &Programs, restic: &Path, folder: &Path) -> Result<Self> {
        let server = Server::start(&programs.holdfast, folder)?;
        let operator = server.create_admin()?;
        let fleet = Self {
            agents: Vec::new(),
            server,
            operator,
            programs: programs.clone(),
            restic: restic.to_path_buf(),
            folder: folder.to_path_buf(),
        };
        fleet.add_repository(REPOSITORY, &fleet.repository_folder(), PASSWORD)?;
        Ok(fleet)
    }

    /// Adds a host called `name`, enrols an agent for it and waits until it is online.
    ///
    /// # Errors
    /// When a program does not do its part.
    pub fn add_host(&mut self, name: &str) -> Result<&mut Agent> {
        let restic = self.restic.clone();
        self.add_host_with(name, &restic)
    }

    /// The same with a restic of its own.
    ///
    /// # Errors
    /// When a program does not do its part.
    pub fn add_host_with(&mut self, name: &str, restic: &Path) -> Result<&mut Agent> {
        let token = self.operator.text(&["host", "add", name], "enrolment_token")?;
        self.enrol_with(name, &token, restic)
    }

    /// Enrols an agent for a host that somebody added, with that somebody's `token`, and waits
    /// until it is online.
    ///
    /// # Errors
    /// When a program does not do its part.
    pub fn enrol(&mut self, name: &str, token: &str) -> Result<&mut Agent> {
        let restic = self.restic.clone();
        self.enrol_with(name, token, &restic)
    }

    fn enrol_with(&mut self, name: &str, token: &str, restic: &Path) -> Result<&mut Agent> {
        let mut agent = Agent::new(&self.programs.agent, restic, &self.folder, name)?;
        agent.enrol(self.server.url(), token)?;
        agent.start()?;
        self.operator
            .await_host(name, "online", ONLINE_LIMIT)
            .with_context(|| format!("the agent of {name} says:\n{}", agent.last_words()))?;
        self.agents.push(agent);
        self.agents.last_mut().context("just pushed")
    }

    /// Gives `host` the source group `name` over `includes`, kept in the shared repository.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn add_group(
        &self,
        host: &str,
        name: &str,
        includes: &[&Path],
        excludes: &[&str],
    ) -> Result<()> {
        self.add_group_in(REPOSITORY, host, name, includes, excludes)
    }

    /// The same in another repository.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn add_group_in(
        &self,
        repository: &str,
        host: &str,
        name: &str,
        includes: &[&Path],
        excludes: &[&str],
    ) -> Result<()> {
        let mut arguments = vec!["group", "add", host, name, "--repo", repository];
        for include in includes {
            let include = include.to_str().context("the folder's name is not text")?;
            arguments.extend(["--include", include]);
        }
        for exclude in excludes {
            arguments.extend(["--exclude", exclude]);
        }
        self.operator.json(&arguments).map(drop)
    }

    /// Tells the server about the repository at `location`.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn add_repository(&self, name: &str, location: &Path, password: &str) -> Result<()> {
        let file = self.folder.join(format!("password-{name}"));
        write_secret(&file, password)?;
        let url = location.to_str().context("the repository's folder is not text")?;
        let file = file.to_str().context("the password file's name is not text")?;
        let arguments = ["repo", "add", name, "--url", url, "--password-file", file];
        self.operator.json(&arguments).map(drop)
    }

    /// The same for a repository that is no folder; its `url` may carry a password.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn add_repository_at(&self, name: &str, url: &str, password: &str) -> Result<()> {
        let repository = json!({"name": name, "url": url, "password": password});
        self.operator.api().post("/repositories", &repository).map(drop)
    }

    /// The shared repository, with restic's own eyes.
    #[must_use]
    pub fn repository(&self) -> Repository {
        let password_file = self.folder.join(format!("password-{REPOSITORY}"));
        Repository::new(&self.restic, &self.repository_folder(), &password_file, &self.folder)
    }

    /// Where the shared repository lies.
    #[must_use]
    pub fn repository_folder(&self) -> PathBuf {
        self.folder.join("repository")
    }

    /// The folder of everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends all in order: agents first (they end their restic), then the server.
    ///
    /// # Errors
    /// When one had to be killed; the others are ended all the same.
    pub fn stop(&mut self) -> Result<()> {
        let agents: Vec<Result<()>> = self.agents.iter_mut().map(Agent::stop).collect();
        let server = self.server.stop();
        agents.into_iter().chain([server]).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            // Nobody is left to hear about it.
            let _ = agent.kill();
        }
        // A killed agent's restic lives on.
        process::sweep(&self.folder);
    }
}

fn write_secret(file: &Path, secret: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = fs::File::options();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    opened
        .and_then(|mut opened| opened.write_all(secret.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}
