//! Commands of the host: what the names of hooks and of data sources stand for.
//!
//! The server says a name; which program runs, with which arguments, stands in the host's own file
//! and nowhere else. No shell reads any of it.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use holdfast_protocol::message::{
    config::{CommandSource, Hooks, Secret, SourcePreset},
    job::JobError,
};

use super::{
    Policy,
    file::{Hook as HookEntry, Source as SourceEntry},
    rule,
};

/// How long a hook may run when the policy does not say.
const HOOK_WITHIN: Duration = Duration::from_secs(10 * 60);

/// A command to run before or after a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What the server calls it.
    pub name: String,
    /// The program, absolute, and its arguments.
    pub command: Vec<String>,
    /// How long it may run.
    pub within: Duration,
}

/// The hooks of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobHooks {
    /// Before the backup.
    pub pre: Vec<Hook>,
    /// After it.
    pub post: Vec<Hook>,
}

/// A command whose output is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What the output is called in the snapshot.
    pub file_name: String,
    /// A command that has to end well first, if there is one. `{}` in it stands for a file in the
    /// job's private directory.
    pub prepare: Option<Vec<String>>,
    /// The program, absolute, and its arguments; `{}` as above.
    pub command: Vec<String>,
    /// Its environment.
    pub environment: BTreeMap<String, Secret>,
}

impl Source {
    /// `command` with `file` in the place of every `{}`.
    #[must_use]
    pub fn filled(command: &[String], file: &Path) -> Vec<OsString> {
        let file = file.to_string_lossy();
        command.iter().map(|part| OsString::from(part.replace("{}", &file))).collect()
    }
}

impl Policy {
    /// The commands that `hooks` name.
    ///
    /// # Errors
    /// `refused_by_policy` when the host knows no hook of a name.
    pub fn hooks(&self, hooks: &Hooks) -> Result<JobHooks, JobError> {
        let find = |names: &[String]| -> Result<Vec<Hook>, JobError> {
            names.iter().map(|name| self.hook(name)).collect()
        };
        Ok(JobHooks { pre: find(&hooks.pre)?, post: find(&hooks.post)? })
    }

    fn hook(&self, name: &str) -> Result<Hook, JobError> {
        let entry = self.rules.hooks.get(name).filter(|entry| is_command(&entry.command));
        let Some(HookEntry { command, timeout_seconds }) = entry else {
            let name = rule::shown(name);
            return Err(self.refusal(
                &format!("This host's policy knows no hook `{name}`."),
                &format!(
                    "add [hooks.{name}] with `command = [\"/absolute/program\", \"argument\"]`"
                ),
            ));
        };
        let within = timeout_seconds
            .map_or(HOOK_WITHIN, |seconds| Duration::from_secs(u64::from(seconds.get())));
        Ok(Hook { name: name.to_owned(), command: command.clone(), within })
    }

    /// The command that writes out `source`.
    ///
    /// # Errors
    /// `refused_by_policy` when the host has no such source.
    pub fn source(&self, source: &CommandSource) -> Result<Source, JobError> {
        let (preset, name) = (source.preset.as_str(), rule::shown(&source.database));
        let entries = self.rules.sources.get(&source.preset);
        let entry = entries.and_then(|entries| entries.get(&source.database));
        let Some(entry) = entry else {
            return Err(self.refusal(
                &format!("This host's policy knows no {preset} source `{name}`."),
                &format!("add [sources.{preset}.{name}], empty for the usual command"),
            ));
        };
        built(source, entry).ok_or_else(|| {
            self.refusal(
                &format!("The {preset} source `{name}` of this host's policy has no command."),
                &format!(
                    "install the usual program, or say `command = [\"/absolute/program\", …]` (and \
                     for sqlite `path = \"/the/database\"`) in [sources.{preset}.{name}]"
                ),
            )
        })
    }
}

fn is_command(command: &[String]) -> bool {
    command.first().is_some_and(|program| Path::new(program).is_absolute())
        && command.iter().all(|part| !part.contains('\0'))
}

fn built(source: &CommandSource, entry: &SourceEntry) -> Option<Source> {
    let usual = usual(source, entry);
    let (prepare, command) = match &entry.command {
        Some(command) => (None, command.clone()),
        None => usual?,
    };
    let extension = extension(source.preset);
    let file_name = entry.file_name.clone();
    Some(Source {
        file_name: file_name.unwrap_or_else(|| format!("{}.{extension}", source.database)),
        prepare,
        command: Some(command).filter(|command| is_command(command))?,
        environment: entry.environment.clone(),
    })
}

fn extension(preset: SourcePreset) -> &'static str {
    match preset {
        SourcePreset::Postgresql | SourcePreset::Mysql => "sql",
        SourcePreset::Sqlite => "sqlite",
        SourcePreset::Redis => "rdb",
        SourcePreset::Mongodb => "archive",
    }
}

type Commands = (Option<Vec<String>>, Vec<String>);

/// The command that a preset stands for, and one that has to come first.
fn usual(source: &CommandSource, entry: &SourceEntry) -> Option<Commands> {
    let line = |names: &[&str], arguments: &[&str]| {
        let program = names.iter().find_map(|name| program(name))?;
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Some(std::iter::once(program).chain(arguments).collect::<Vec<String>>())
    };
    let database = source.database.as_str();
    match source.preset {
        SourcePreset::Postgresql => {
            let name = format!("--dbname={database}");
            Some((None, line(&["pg_dump"], &["--no-password", &name])?))
        }
        SourcePreset::Mysql => {
            let arguments =
                ["--single-transaction", "--routines", "--events", "--databases", "--", database];
            Some((None, line(&["mariadb-dump", "mysqldump"], &arguments)?))
        }
        SourcePreset::Sqlite => {
            // `.backup` copies a live database page by page into another file, and a pipe is none.
            let path = entry.path.as_deref().filter(|path| path.is_absolute())?.to_str()?;
            let copy = line(&["sqlite3"], &["-readonly", path, ".backup '{}'"])?;
            Some((Some(copy), line(&["cat"], &["{}"])?))
        }
        SourcePreset::Redis => Some((None, line(&["redis-cli"], &["--rdb", "-"])?)),
        SourcePreset::Mongodb => {
            let name = format!("--db={database}");
            Some((None, line(&["mongodump"], &["--quiet", "--archive", &name])?))
        }
    }
}

/// The program `name` of this host, absolute.
fn program(name: &str) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|program| program.is_file());
    found.map(PathBuf::into_os_string)?.into_string().ok()
}
