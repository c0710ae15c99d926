//! restic, as far as the server's own backup needs it: make a repository, put a folder in, take the
//! newest out.
//!
//! Backups of hosts are the agents' work. This one runs where the server's data is, before and
//! after there is a server, so it asks no agent for help.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::failure::Failure;

/// Where copies go.
#[derive(Debug, Clone)]
pub(crate) struct Depot {
    /// restic's program.
    pub(crate) program: PathBuf,
    /// The file that holds restic's repository location.
    pub(crate) repository_file: PathBuf,
    /// The file that holds the repository's password.
    pub(crate) password_file: PathBuf,
    /// The backend's credentials.
    pub(crate) environment: Vec<(String, String)>,
}

/// The tag by which the server's own snapshots are found again.
const TAG: &str = "holdfast-server";
/// The exit code for "there is no repository" since restic 0.17.
const NO_REPOSITORY: i32 = 10;
/// What the child may see of our own environment.
const INHERITED: [&str; 8] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "LANG",
    "SSH_AUTH_SOCK",
    "HTTPS_PROXY",
    "NO_PROXY",
];

impl Depot {
    /// Puts `folder` into the repository, which is made when it does not exist.
    pub(crate) fn store(&self, folder: &Path) -> Result<(), Failure> {
        self.init()?;
        let backup = ["backup", "--tag", TAG, "--host", TAG, "."];
        self.run(&backup, folder).and_then(|output| done(&output, "store the copy"))
    }

    /// Takes the newest copy, or the one named, out of the repository.
    pub(crate) fn fetch(&self, snapshot: &str, folder: &Path) -> Result<(), Failure> {
        let target = folder.as_os_str().to_string_lossy();
        let restore =
            ["restore", snapshot, "--tag", TAG, "--host", TAG, "--target", &target, "--verify"];
        self.run(&restore, folder).and_then(|output| done(&output, "fetch the copy"))
    }

    fn init(&self) -> Result<(), Failure> {
        let here = Path::new("/");
        let found = self.run(&["cat", "config"], here)?;
        let missing = found.status.code() == Some(NO_REPOSITORY)
            || text(&found).contains("Is there a repository at the following location?");
        if !missing {
            return done(&found, "open the repository");
        }
        self.run(&["init"], here).and_then(|output| done(&output, "make the repository"))
    }

    fn run(&self, arguments: &[&str], folder: &Path) -> Result<Output, Failure> {
        let inherited =
            INHERITED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        Command::new(&self.program)
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .envs(inherited)
            .envs(self.environment.iter().cloned())
            .env("RESTIC_REPOSITORY_FILE", &self.repository_file)
            .env("RESTIC_PASSWORD_FILE", &self.password_file)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                Failure::new(
                    format!("`{}` cannot be started: {error}.", self.program.display()),
                    "Install restic, or name it with --restic.",
                )
            })
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn done(output: &Output, what: &str) -> Result<(), Failure> {
    if output.status.success() {
        return Ok(());
    }
    let said = text(output);
    let said = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    let said: String = said.chars().filter(|letter| !letter.is_control()).take(300).collect();
    Err(Failure::new(
        format!("restic could not {what}: {said}."),
        "Check the repository's location, its password and its credentials.",
    ))
}
