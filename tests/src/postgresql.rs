//! A PostgreSQL of our own: a cluster in a folder, reached through a socket in it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::programs;

/// The user in the cluster who may do everything.
pub const KEEPER: &str = "keeper";

/// A running cluster. Dropped, it is gone with its files.
#[derive(Debug)]
pub struct Postgresql {
    programs: PathBuf,
    /// Apart from the test's own folder: that is root's where the tests are root, and PostgreSQL
    /// refuses to be.
    folder: TempDir,
    user: Option<User>,
}

impl Postgresql {
    /// Makes a cluster and starts it. `None` where there is no PostgreSQL.
    ///
    /// # Errors
    /// When it does not begin to serve.
    pub fn start() -> Result<Option<Self>> {
        let Some(programs) = programs::postgresql() else { return Ok(None) };
        let folder = tempfile::tempdir().context("no room for a cluster")?;
        let user = match Uid::effective().is_root() {
            true => Some(User::from_name("nobody")?.context("there is no user nobody")?),
            false => None,
        };
        if let Some(user) = &user {
            std::os::unix::fs::chown(folder.path(), Some(user.uid.into()), Some(user.gid.into()))?;
        }
        let cluster = Self { programs, folder, user };
        let data = cluster.data();
        let data = data.to_str().context("the folder's name is not text")?;
        let made = ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--pgdata", data];
        cluster.own("initdb", &[&["--username", KEEPER], &made[..]].concat())?;
        let log = cluster.socket().join("log");
        let log = log.to_str().context("the folder's name is not text")?;
        let options =
            format!("-c listen_addresses= -c fsync=off -k {}", cluster.socket().display());
        cluster.own("pg_ctl", &["start", "--wait", "-D", data, "-l", log, "-o", &options])?;
        Ok(Some(cluster))
    }

    /// The folder of its socket, as `PGHOST` takes it.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of PostgreSQL's programs.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// What `sql` answers in `database`, as psql prints it without decoration.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask(&self, database: &str, sql: &str) -> Result<String> {
        self.psql(database, &["-c", sql])
    }

    /// Runs the script in `file` in `database`.
    ///
    /// # Errors
    /// When any of it fails.
    pub fn load(&self, database: &str, file: &Path) -> Result<()> {
        let file = file.to_str().context("the script's name is not text")?;
        self.psql(database, &["-f", file]).map(drop)
    }

    fn psql(&self, database: &str, arguments: &[&str]) -> Result<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", KEEPER, "-d", database, "-h"]);
        finished(psql.arg(self.socket()).args(arguments))
    }

    /// Runs one of PostgreSQL's own programs, as a user that it accepts.
    fn own(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir(self.folder.path());
        if let Some(user) = &self.user {
            command.uid(user.uid.into()).gid(user.gid.into());
        }
        // The server inherits a pipe and holds it open; a file ends with its writer.
        let said = fs::File::create(self.folder.path().join("said"))?;
        let status = command
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .status()
            .with_context(|| format!("cannot start {program}"))?;
        let said = fs::read_to_string(self.folder.path().join("said")).unwrap_or_default();
        ensure!(status.success(), "{program}: {status}: {said}");
        Ok(said)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Postgresql {
    fn drop(&mut self) {
        let data = self.data();
        let stop = ["stop", "-m", "immediate", "-D"].into_iter().chain(data.to_str());
        // Nobody is left to hear about it.
        let _ = self.own("pg_ctl", &stop.collect::<Vec<_>>());
    }
}

fn finished(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("cannot start psql")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "psql: {said}");
    String::from_utf8(output.stdout).context("psql said something that is not text")
}
