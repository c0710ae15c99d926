//! What this host lets its server do.
//!
//! The server is a machine on the network like any other, and one day it may be somebody else's. So
//! what it may ask of this host is the host's own decision: a file that its administrator writes,
//! and that no message can change.
//!
//! ```toml
//! # DIR/policy.toml; what is not said stays as the comments tell.
//! [operations]
//! allowed = ["backup", "restore"]   # all, when absent
//! [backup]
//! paths = ["/home", "/etc"]         # everything, when absent
//! [repositories]
//! locations = ["/srv/backup"]       # any, when absent; each stands for what is below it too
//! [restore]
//! roots = ["/srv/restored"]         # DIR/restore, when absent
//! original = false                  # whether files may go back to where they were
//! [hooks.stop-app]                  # what the server may name before and after a backup
//! command = ["/usr/bin/systemctl", "stop", "app"]
//! timeout_seconds = 60              # 600, when absent
//! [sources.postgresql.shop]         # what the server may name as a source; here pg_dump of shop
//! environment = { PGPASSFILE = "/root/.pgpass" }
//! [sources.sqlite.notes]
//! path = "/var/lib/notes/notes.db"
//! ```
//!
//! It is read anew for every job. One that cannot be read, or that others than its owner may write,
//! refuses everything: a mistake in it must not open the host.

mod command;
mod file;
mod rule;

use std::path::{Path, PathBuf};

use holdfast_engine::RestorePolicy;
use holdfast_protocol::message::{
    job::{JobError, Operation},
    parameters::{Restore, Target},
};

use crate::job::job_error;
pub use command::{Hook, JobHooks, Source};

/// The name of the file in the agent's directory.
pub const FILE_NAME: &str = "policy.toml";

/// The host's own rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Where they are written.
    path: PathBuf,
    rules: file::Rules,
    /// Where restored files go when nobody says.
    restore_root: PathBuf,
}

impl Policy {
    /// The rules in force for the agent's directory `root`.
    ///
    /// # Errors
    /// `policy_unusable` when there is a file and it cannot be trusted or understood.
    pub fn load(root: &Path) -> Result<Self, JobError> {
        let path = root.join(FILE_NAME);
        let rules = file::read(&path)?;
        Ok(Self { path, rules, restore_root: root.join("restore") })
    }

    /// Whether the host runs such jobs at all.
    ///
    /// # Errors
    /// `refused_by_policy`.
    pub fn check_operation(&self, operation: Operation) -> Result<(), JobError> {
        let Some(allowed) = &self.rules.operations.allowed else { return Ok(()) };
        if allowed.contains(&operation) {
            return Ok(());
        }
        let word = operation.as_str();
        Err(self.refusal(
            &format!("This host's policy does not allow `{word}`."),
            &format!("add \"{word}\" to `allowed` under [operations]"),
        ))
    }

    /// Whether all of these paths may be backed up.
    ///
    /// # Errors
    /// `refused_by_policy`, which names the first that may not.
    pub fn check_sources(&self, includes: &[String]) -> Result<(), JobError> {
        let Some(roots) = &self.rules.backup.paths else { return Ok(()) };
        let refused = |path: &&String| !rule::may_be_read(Path::new(path.as_str()), roots);
        let Some(path) = includes.iter().find(refused) else { return Ok(()) };
        let path = rule::shown(path);
        Err(self.refusal(
            &format!("This host's policy does not allow to back up {path}."),
            &format!("add \"{path}\" to `paths` under [backup]"),
        ))
    }

    /// Whether the repository at `url` may be used.
    ///
    /// # Errors
    /// `refused_by_policy`. The location is not repeated: it may carry a password.
    pub fn check_repository(&self, name: &str, url: &str) -> Result<(), JobError> {
        let Some(locations) = &self.rules.repositories.locations else { return Ok(()) };
        if locations.iter().any(|location| rule::lies_at(url, location)) {
            return Ok(());
        }
        let name = rule::shown(name);
        Err(self.refusal(
            &format!("This host's policy does not allow the location of repository {name}."),
            "add the location, without credentials, to `locations` under [repositories]",
        ))
    }

    /// Where a restore may write, and `restore` with a directory of its own where it names none.
    ///
    /// `fresh` names that directory. Links that lead out of a root are the engine's to find.
    ///
    /// # Errors
    /// `refused_by_policy`.
    pub fn place(
        &self,
        restore: &Restore,
        fresh: &str,
    ) -> Result<(Restore, RestorePolicy), JobError> {
        let rules = &self.rules.restore;
        let roots = rules.roots.clone().unwrap_or_else(|| vec![self.restore_root.clone()]);
        let target = match &restore.target {
            Target::Original if !rules.original => return Err(self.no_original()),
            Target::Original => Target::Original,
            Target::Directory(directory) if !rule::is_below(Path::new(directory), &roots) => {
                return Err(self.no_such_root(directory, &roots));
            }
            Target::Directory(directory) => Target::Directory(directory.clone()),
            Target::RestoreRoot => self.fresh(&roots, fresh)?,
        };
        let policy = RestorePolicy { roots, original: rules.original };
        Ok((Restore { target, ..restore.clone() }, policy))
    }

    /// The root of restores that is used when the policy names none.
    #[must_use]
    pub fn own_restore_root(&self) -> Option<&Path> {
        self.rules.restore.roots.is_none().then_some(self.restore_root.as_path())
    }

    fn fresh(&self, roots: &[PathBuf], name: &str) -> Result<Target, JobError> {
        let directory = roots.first().and_then(|root| root.join(name).to_str().map(str::to_owned));
        directory.map(Target::Directory).ok_or_else(|| {
            self.refusal(
                "This host's policy names no place for restored files.",
                "add a directory to `roots` under [restore]",
            )
        })
    }

    fn no_original(&self) -> JobError {
        self.refusal(
            "This host's policy does not allow to restore files to where they were.",
            "write `original = true` under [restore]; or restore into a directory instead",
        )
    }

    fn no_such_root(&self, directory: &str, roots: &[PathBuf]) -> JobError {
        let directory = rule::shown(directory);
        let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
        self.refusal(
            &format!(
                "This host's policy does not allow to restore to {directory}, only below {}.",
                roots.join(" and ")
            ),
            &format!("add \"{directory}\" to `roots` under [restore]"),
        )
    }

    fn refusal(&self, message: &str, edit: &str) -> JobError {
        let file = self.path.display();
        let action = format!("As the host's administrator, {edit} in {file}, then start it again.");
        job_error("refused_by_policy", message, &action)
    }
}

#[cfg(test)]
mod tests;
