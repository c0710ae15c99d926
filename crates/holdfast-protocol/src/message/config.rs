//! What the server wants a host to know: repositories with their credentials, and source groups.

use std::{collections::BTreeMap, fmt, num::NonZeroU32};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    JobId, RepositoryId,
    message::{
        command::{Retry, Run},
        job::Operation,
        parameters::{Backup, Bandwidth, ExcludePreset, Parameters},
    },
};

/// `config.update`: the whole of a host's configuration, replacing what it had.
///
/// It is a state: sent at the start of every session and whenever it changes, and only the newest
/// version counts. A version lower than the one in force is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Rises with every change.
    pub version: i64,
    /// The host's name in the fleet; restic records it as the snapshot's host.
    pub host_name: String,
    /// The repositories this host may use.
    #[serde(default)]
    pub repositories: Vec<Repository>,
    /// The host's source groups.
    #[serde(default)]
    pub groups: Vec<Group>,
}

/// A restic repository and its credentials. The fields beside [`Repository::admin`] are the `repo`
/// slot, the everyday credentials.
///
/// An agent that does not know a slot ignores the field, so credentials of one slot can never end
/// up in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// The fleet's id for it.
    pub id: RepositoryId,
    /// What people call it.
    pub name: String,
    /// restic's repository location. It may carry credentials, so it is a secret too.
    pub url: Secret,
    /// The repository password.
    pub password: Secret,
    /// Backend credentials by environment variable name, such as `AWS_ACCESS_KEY_ID`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Secret>,
    /// The certificates, PEM, that the backend's own must be signed by; absent for those that the
    /// host trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
    /// The `admin` slot: what deletes, for prune, forget, tag and unlock. Only the host that keeps
    /// the repository in order has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Credentials>,
}

impl Repository {
    /// The repository with everyday credentials and nothing else said about it.
    #[must_use]
    pub fn new(id: RepositoryId, name: impl Into<String>, url: Secret, password: Secret) -> Self {
        Self {
            id,
            name: name.into(),
            url,
            password,
            environment: BTreeMap::new(),
            ca_certificate: None,
            admin: None,
        }
    }

    /// The location, password and environment for `operation`: those of the admin slot where the
    /// operation deletes and the slot says something, and the everyday ones otherwise.
    #[must_use]
    pub fn credentials_for(
        &self,
        operation: Operation,
    ) -> (Secret, Secret, BTreeMap<String, Secret>) {
        let admin = self.admin.as_ref().filter(|_| operation.needs_delete_authority());
        let mut environment = self.environment.clone();
        let Some(admin) = admin else {
            return (self.url.clone(), self.password.clone(), environment);
        };
        environment.extend(admin.environment.clone());
        let or = |said: &Option<Secret>, everyday: &Secret| {
            said.clone().unwrap_or_else(|| everyday.clone())
        };
        (or(&admin.url, &self.url), or(&admin.password, &self.password), environment)
    }
}

/// Whether restic may be given the environment variable `name` by the configuration.
#[must_use]
pub fn is_backend_variable(name: &str) -> bool {
    let known = VARIABLES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
    known && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Names of backend credentials and of where a backend is; nothing else may be set for restic.
///
/// A list of names and not of prefixes wherever a family has members that name programs or files
/// with programs in them (`AWS_CONFIG_FILE`, `RCLONE_PASSWORD_COMMAND`): the configuration comes
/// from the server, and the server may not run code here.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_ACCOUNT_KEY",
    "AZURE_ACCOUNT_NAME",
    "AZURE_ACCOUNT_SAS",
    "AZURE_ENDPOINT_SUFFIX",
    "B2_ACCOUNT_ID",
    "B2_ACCOUNT_KEY",
    "GOOGLE_ACCESS_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_PROJECT_ID",
    "RESTIC_REST_PASSWORD",
    "RESTIC_REST_USERNAME",
];

/// OpenStack Swift's two families, which hold credentials only.
const PREFIXES: &[&str] = &["OS_", "ST_"];

/// Credentials of a slot that says only what differs from the everyday ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Another location of the same repository, such as one with another user in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret>,
    /// Another of the repository's passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Backend credentials that come on top, or instead where the names are the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Secret>,
}

impl Credentials {
    /// Whether the slot says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.url.is_none() && self.password.is_none() && self.environment.is_empty()
    }
}

/// What a set of credentials is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// Everyday work: it need not be able to delete.
    Repo,
    /// Delete authority.
    Admin,
}

impl Slot {
    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repo => "repo",
            Self::Admin => "admin",
        }
    }

    /// The slot named by `word`. A slot that this build does not know is nobody's.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Repo, Self::Admin].into_iter().find(|slot| slot.as_str() == word)
    }
}

/// Named includes and excludes on a host; the name is the tag of its snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Unique on its host.
    pub name: String,
    /// Where its snapshots go.
    pub repository_id: RepositoryId,
    /// Paths to back up, absolute.
    pub includes: Vec<String>,
    /// restic exclude patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
    /// How it is backed up.
    #[serde(default, skip_serializing_if = "GroupOptions::is_default")]
    pub options: GroupOptions,
}

impl Group {
    /// A group about which nothing else is said.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        repository_id: RepositoryId,
        includes: Vec<String>,
        excludes: Vec<String>,
    ) -> Self {
        let options = GroupOptions::default();
        Self { name: name.into(), repository_id, includes, excludes, options }
    }

    /// The command to back the group up, for the configuration of `version`.
    #[must_use]
    pub fn run(&self, job_id: JobId, version: i64) -> Run {
        let options = &self.options;
        let choice = options.choice();
        Run {
            config_version: version,
            tag: self.name.clone(),
            includes: self.includes.clone(),
            excludes: self.excludes.clone(),
            parameters: (choice != Backup::default()).then(|| Box::new(Parameters::Backup(choice))),
            bandwidth: options.bandwidth,
            retry: options.retry,
            timeout_seconds: options.timeout_seconds,
            hooks: options.hooks.clone(),
            source: options.source.clone(),
            ..Run::new(job_id, Operation::Backup, self.repository_id)
        }
    }
}

/// How a source group is backed up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupOptions {
    /// Known kinds of files to leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_presets: Vec<ExcludePreset>,
    /// Leave out what directories marked with a `CACHEDIR.TAG` file hold.
    pub exclude_caches: bool,
    /// Stay within the file systems on which the paths lie.
    pub one_file_system: bool,
    /// How much of the network a backup may take.
    #[serde(skip_serializing_if = "Bandwidth::is_unlimited")]
    pub bandwidth: Bandwidth,
    /// How often a failed backup is tried again.
    #[serde(flatten)]
    pub retry: Retry,
    /// How long a backup may take before it is ended; absent for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<NonZeroU32>,
    /// What the host runs before and after.
    #[serde(skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// Back up what a command of the host writes, instead of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<CommandSource>,
}

impl GroupOptions {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn choice(&self) -> Backup {
        Backup {
            exclude_presets: self.exclude_presets.clone(),
            exclude_caches: self.exclude_caches,
            one_file_system: self.one_file_system,
            ..Backup::default()
        }
    }
}

/// What the host runs before and after a backup: *names* of commands in the host's own policy. What
/// a name stands for is the host's to say; no text of the server ever becomes a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Before the backup, in this order. When one fails there is no backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre: Vec<String>,
    /// After it, in this order, however it ended and also when a hook before it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post: Vec<String>,
}

impl Hooks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pre.is_empty() && self.post.is_empty()
    }
}

/// A command of the host whose output is backed up. As with [`Hooks`], the server names and the
/// host's policy says what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSource {
    /// What kind of data it is.
    pub preset: SourcePreset,
    /// Which of the host's entries for this preset; the database's name, as a rule.
    pub database: String,
}

/// Kinds of data that a command writes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcePreset {
    /// `pg_dump`.
    Postgresql,
    /// `mysqldump`, of MySQL and MariaDB.
    Mysql,
    /// `sqlite3 .backup`.
    Sqlite,
    /// `redis-cli --rdb`.
    Redis,
    /// `mongodump --archive`.
    Mongodb,
}

impl SourcePreset {
    /// Every preset there is.
    pub const ALL: [Self; 5] =
        [Self::Postgresql, Self::Mysql, Self::Sqlite, Self::Redis, Self::Mongodb];

    /// The word on the wire, in the API and in the host's policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
        }
    }

    /// The preset named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == word)
    }
}

/// `config.applied`: this version is stored on the agent and in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The version now in force.
    pub version: i64,
    /// When it was put in force, by the agent's clock.
    pub applied_at: Timestamp,
}

/// Text that must never be printed. `Debug` and `Display` show a placeholder; the wire and the
/// store see the text.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Call it only where the secret is used.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn repository() -> Repository {
        let id = RepositoryId::from_uuid(Uuid::from_u128(1));
        Repository::new(id, "main", Secret::new("rest:http://h/"), Secret::new("everyday"))
    }

    #[test]
    fn the_admin_slot_is_loaded_only_for_what_deletes() {
        let credentials =
            Credentials { password: Some(Secret::new("admin")), ..Default::default() };
        let repository = Repository { admin: Some(credentials), ..repository() };
        for operation in Operation::ALL {
            let (url, password, _) = repository.credentials_for(operation);
            let expected = if operation.needs_delete_authority() { "admin" } else { "everyday" };
            assert_eq!(password.expose(), expected, "{}", operation.as_str());
            assert_eq!(url.expose(), "rest:http://h/", "an empty field leaves the everyday one");
        }
    }

    #[test]
    fn a_group_that_says_nothing_looks_as_it_did_before_there_was_anything_to_say() {
        let group = Group {
            name: "etc".to_owned(),
            repository_id: RepositoryId::from_uuid(Uuid::from_u128(1)),
            includes: vec!["/etc".to_owned()],
            excludes: vec![],
            options: GroupOptions::default(),
        };
        let text = serde_json::to_string(&group).unwrap();
        assert!(!text.contains("options"), "{text}");
        assert_eq!(serde_json::from_str::<Group>(&text).unwrap(), group);
        let run = group.run(JobId::from_uuid(Uuid::from_u128(2)), 7);
        assert_eq!((run.parameters, run.config_version), (None, 7));
    }

    #[test]
    fn a_slot_that_is_not_known_is_nobodys() {
        assert_eq!(Slot::from_word("repo"), Some(Slot::Repo));
        assert_eq!(Slot::from_word("admin"), Some(Slot::Admin));
        for word in ["", "Repo", "maintenance"] {
            assert_eq!(Slot::from_word(word), None, "{word}");
        }
    }
}
