//! A real rest-server, as the repository's other side.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Process;
use crate::{programs, wait};

/// How long it may take to listen.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What it says when it does, before its address.
const READY: &str = "start server on ";

/// A rest-server with one user. Dropped, it is killed.
#[derive(Debug)]
pub struct RestServer {
    process: Process,
    address: String,
    user: User,
}

/// Who may use a rest-server.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// The name.
    pub name: &'static str,
    /// The password.
    pub password: &'static str,
    /// Its SHA-1 in base 64, as the password file has it.
    pub sha1: &'static str,
}

impl RestServer {
    /// Serves `folder` to `user`; `append_only`, it deletes nothing but locks. `None` where there
    /// is no rest-server.
    ///
    /// # Errors
    /// When it does not begin to listen.
    pub fn start(folder: &Path, user: User, append_only: bool) -> Result<Option<Self>> {
        let Some(program) = programs::rest_server() else { return Ok(None) };
        let name = if append_only { "append-only" } else { "full" };
        let users = folder.with_extension(format!("{name}.htpasswd"));
        fs::write(&users, format!("{}:{{SHA}}{}\n", user.name, user.sha1))?;
        let mut command = Command::new(program);
        command.arg("--path").arg(folder).arg("--htpasswd-file").arg(&users);
        command.args(["--listen", "127.0.0.1:0"]);
        if append_only {
            command.arg("--append-only");
        }
        let log = folder.with_extension(format!("{name}.log"));
        let mut process = Process::spawn("rest-server", &mut command, &log)?;
        let address = wait::until("rest-server to listen", START_LIMIT, || {
            process.check_running()?;
            Ok(ready(&process.log()))
        })?;
        Ok(Some(Self { process, address, user }))
    }

    /// restic's location of the repository `name`, with its user's name and password in it.
    #[must_use]
    pub fn location(&self, name: &str) -> String {
        format!("rest:http://{}:{}@{}/{name}/", self.user.name, self.user.password, self.address)
    }

    /// The same without its user.
    #[must_use]
    pub fn bare_location(&self, name: &str) -> String {
        format!("rest:http://{}/{name}/", self.address)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().context("rest-server")
    }
}

fn ready(log: &str) -> Option<String> {
    // Only a whole line: the address may be half written.
    let (whole, _) = log.rsplit_once('\n')?;
    whole.lines().find_map(|line| line.strip_prefix(READY)).map(str::to_owned)
}
