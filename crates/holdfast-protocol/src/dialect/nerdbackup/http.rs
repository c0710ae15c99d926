//! The bodies of NerdBackup's HTTP side channel, which its agent needs beside the socket: it
//! fetches its configuration there, and polls and reports there while the socket is down.
//!
//! Answers are wrapped in [`Answer`]. `heartbeat`, `progress` and `report` take the same bodies as
//! the socket ([`super::Heartbeat`], [`super::Progress`], [`super::JobReport`]).

use std::{collections::BTreeMap, num::NonZeroU32};

use super::super::gojson::{Go, Raw, go_struct};
use crate::{
    dialect::Ledger,
    message::{
        config::{Group, GroupOptions, Repository, Secret, Update},
        parameters::Bandwidth,
        schedule,
    },
};

go_struct! {
    /// Every answer with status 200 or 201.
    pub struct Answer {
        data: Raw,
        meta: Meta,
    }

    /// What goes with an answer.
    pub struct Meta {
        request_id: String,
        cursor: String [omit],
    }

    /// `POST /api/v1/agents`, with an API key.
    pub struct Register {
        name: String,
        platform: String,
        arch: String,
        hostname: String,
    }

    /// The answer to [`Register`].
    pub struct Registered {
        id: String,
        token: Secret,
    }

    /// `POST /api/v1/agents/register-with-token`, without authentication.
    pub struct Enrol {
        install_token: Secret,
        platform: String,
        arch: String,
        hostname: String,
    }

    /// The answer to [`Enrol`].
    pub struct Enrolled {
        agent_id: String,
        agent_token: Secret,
        api_base_url: String,
    }

    /// The answer to a heartbeat.
    pub struct HeartbeatAnswer {
        config_changed: bool,
        config_hash: String,
    }

    /// One of `GET …/pending-backups`.
    pub struct PendingBackup {
        job_id: String = "jobId",
        repo_id: String = "repoId",
        created_at: String = "createdAt",
    }

    /// One of `GET …/pending-restores`.
    pub struct PendingRestore {
        job_id: String = "jobId",
        snapshot_id: String = "snapshotId",
        target_path: String = "targetPath",
        include_paths: Vec<String> = "includePaths",
        exclude_paths: Vec<String> = "excludePaths",
        created_at: String = "createdAt",
    }

    /// One of `GET …/pending-file-dumps`.
    pub struct PendingFileDump {
        request_id: String = "requestId",
        snapshot_id: String = "snapshotId",
        file_path: String = "filePath",
        created_at: String = "createdAt",
    }

    /// `POST …/file-dump-result`; `data` is base64.
    pub struct FileDumpResult {
        request_id: String = "requestId",
        file_name: String = "fileName",
        data: String,
    }

    /// `POST …/logs`.
    pub struct LogBatch {
        lines: Vec<String>,
    }

    /// One of `GET …/repos`: a source group with its repository and schedule.
    pub struct Repo {
        id: String,
        storage_backend_id: String,
        policy_id: String [omit],
        /// restic's repository location, taken as it is.
        restic_repo_path: Secret,
        restic_password: Secret,
        paths: Vec<String>,
        exclude_patterns: Vec<String>,
        exclude_presets: Vec<String>,
        tags: Vec<String>,
        schedule_cron: String [omit],
        bandwidth_limit_kib: i64 [omit],
        pre_backup_command: String [omit],
        post_backup_command: String [omit],
        check_every_n_backups: i64,
        preset: String [omit],
        storage_config: StorageConfig,
        config_hash: String [omit],
    }

    /// Where a [`Repo`] is stored; the keys become restic's `AWS_…` environment.
    pub struct StorageConfig {
        provider: String,
        endpoint: String,
        bucket: String,
        region: String,
        access_key_id: Secret,
        secret_access_key: Secret,
    }
}

/// The body of an answer.
#[must_use]
pub fn answer<T: Go>(data: &T, request_id: &str) -> String {
    let meta = Meta { request_id: request_id.to_owned(), cursor: String::new() };
    super::gojson::to_text(&Answer { data: Raw::of(data), meta })
}

/// A host's configuration as the list that their agent fetches.
///
/// Their schedules are cron in the agent's zone without a zone's name, so one is passed along only
/// when it is enabled; while the link is up their agent leaves schedules to the server.
#[must_use]
pub fn repos_of(update: &Update, schedules: Option<&schedule::Set>) -> Vec<Repo> {
    let repo = |group: &Group| {
        let stored = update.repositories.iter().find(|r| r.id == group.repository_id)?;
        Some(Repo {
            id: group.name.clone(),
            storage_backend_id: stored.id.to_string(),
            restic_repo_path: stored.url.clone(),
            restic_password: stored.password.clone(),
            paths: group.includes.clone(),
            exclude_patterns: group.excludes.clone(),
            tags: vec![group.name.clone()],
            schedule_cron: cron_of(&group.name, schedules),
            bandwidth_limit_kib: group
                .options
                .bandwidth
                .upload_kib_s
                .map_or(0, |kib| kib.get().into()),
            storage_config: StorageConfig::of(stored),
            config_hash: update.version.to_string(),
            ..Repo::default()
        })
    };
    update.groups.iter().filter_map(repo).collect()
}

fn cron_of(group: &str, schedules: Option<&schedule::Set>) -> String {
    let mut all = schedules.into_iter().flat_map(|set| &set.schedules);
    let own = all.find(|one| one.enabled && one.source_groups.iter().any(|name| name == group));
    own.map(|one| one.cron_expr.clone()).unwrap_or_default()
}

/// The list that their server gives as a configuration of ours. Ids come from the ledger, so that
/// the same list always gives the same configuration.
///
/// Hooks are left out: a server must not be able to run commands of its choice on a host.
#[must_use]
pub fn update_of(repos: &[Repo], ledger: &Ledger, version: i64, host_name: &str) -> Update {
    let groups = repos.iter().map(|repo| Group {
        name: repo.id.clone(),
        repository_id: ledger.repository_of(&repo.id),
        includes: repo.paths.clone(),
        excludes: repo.exclude_patterns.clone(),
        options: GroupOptions { bandwidth: bandwidth_of(repo), ..GroupOptions::default() },
    });
    let repositories = repos.iter().map(|repo| Repository {
        id: ledger.repository_of(&repo.id),
        name: repo.id.clone(),
        url: repo.restic_repo_path.clone(),
        password: repo.restic_password.clone(),
        environment: repo.storage_config.environment(),
        ca_certificate: None,
        admin: None,
    });
    Update {
        version,
        host_name: host_name.to_owned(),
        repositories: repositories.collect(),
        groups: groups.collect(),
    }
}

/// Their limit, which is one for what goes to the repository.
fn bandwidth_of(repo: &Repo) -> Bandwidth {
    let kib = u32::try_from(repo.bandwidth_limit_kib).ok().and_then(NonZeroU32::new);
    Bandwidth { upload_kib_s: kib, download_kib_s: None }
}

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const KEY: &str = "AWS_SECRET_ACCESS_KEY";
const REGION: &str = "AWS_DEFAULT_REGION";

impl StorageConfig {
    fn of(repository: &Repository) -> Self {
        let of = |name| repository.environment.get(name).cloned().unwrap_or_default();
        let provider = if repository.environment.contains_key(KEY_ID) { "s3" } else { "" };
        Self {
            provider: provider.to_owned(),
            region: of(REGION).expose().to_owned(),
            access_key_id: of(KEY_ID),
            secret_access_key: of(KEY),
            ..Self::default()
        }
    }

    fn environment(&self) -> BTreeMap<String, Secret> {
        let region = Secret::new(&*self.region);
        let all =
            [(KEY_ID, &self.access_key_id), (KEY, &self.secret_access_key), (REGION, &region)];
        all.into_iter()
            .filter(|(_, secret)| !secret.expose().is_empty())
            .map(|(name, secret)| (name.to_owned(), secret.clone()))
            .collect()
    }
}
