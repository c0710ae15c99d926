//! What a job does, by its operation.

use std::time::Duration;

use holdfast_engine::{
    Access, Backup, CommandBackup, Control, Event, Outcome, Restic, RestorePolicy, SourceCommand,
};
use holdfast_protocol::{
    Payload,
    message::{
        command::Run,
        job::{JobError, Operation, Status},
        parameters::{self, Parameters},
        result::Listed,
    },
};
use tokio::sync::mpsc;

use super::{hook, job_error};
use crate::policy::{Hook, JobHooks, Policy, Source};

/// How long a database may be copied before it is backed up, when nobody says.
const PREPARE_WITHIN: Duration = Duration::from_secs(60 * 60);

/// A job that nothing speaks against.
#[derive(Debug)]
pub(super) struct Plan {
    /// The host's name in the fleet.
    host: String,
    parameters: Parameters,
    /// Where a restore may write.
    restore: RestorePolicy,
    bandwidth: parameters::Bandwidth,
    tag: String,
    includes: Vec<String>,
    excludes: Vec<String>,
    /// What runs before and after, and what is backed up instead of files.
    hooks: JobHooks,
    source: Option<Source>,
    timeout: Option<Duration>,
    may_create: bool,
    job: String,
}

impl Plan {
    /// What `run` asks for, as far as this host's policy allows it.
    ///
    /// # Errors
    /// `refused_by_policy`, or `invalid_parameters`.
    pub(super) fn new(run: &Run, host: String, policy: &Policy) -> Result<Self, JobError> {
        policy.check_operation(run.operation)?;
        let mut parameters = parameters_of(run)?;
        let mut restore = RestorePolicy::default();
        let (mut hooks, mut source) = (JobHooks::default(), None);
        match &mut parameters {
            Parameters::Backup(_) => {
                policy.check_sources(&run.includes)?;
                hooks = policy.hooks(&run.hooks)?;
                source = run.source.as_ref().map(|source| policy.source(source)).transpose()?;
            }
            Parameters::Restore(wish) => {
                (*wish, restore) = policy.place(wish, &fresh_name(run, wish))?;
            }
            _ => {}
        }
        Ok(Self {
            host,
            parameters,
            restore,
            bandwidth: run.bandwidth,
            tag: run.tag.clone(),
            includes: run.includes.clone(),
            excludes: run.excludes.clone(),
            hooks,
            source,
            timeout: run.timeout_seconds.map(|it| Duration::from_secs(u64::from(it.get()))),
            may_create: run.may_create.unwrap_or(true),
            job: run.job_id.to_string(),
        })
    }

    /// What the job does, with all that was left to the host filled in.
    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Does it.
    pub(super) async fn perform(
        &self,
        restic: &Restic,
        access: &Access,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let restic = &restic.clone().with_bandwidth(self.bandwidth);
        match &self.parameters {
            Parameters::Backup(options) => {
                let restic = restic.clone().creating(self.may_create);
                Box::pin(self.between_hooks(&restic, access, options, control, events)).await
            }
            Parameters::Init => Box::pin(restic.init(access, control, events)).await,
            Parameters::Snapshots => list(restic, access, &self.host).await,
            Parameters::Restore(restore) => {
                Box::pin(restic.restore(access, restore, &self.restore, control, events)).await
            }
            Parameters::Diff(diff) => Box::pin(restic.diff(access, diff, control, events)).await,
            Parameters::Tag(tag) => {
                Box::pin(restic.tag(access, &self.host, tag, control, events)).await
            }
            Parameters::Forget(forget) => {
                Box::pin(restic.forget(access, &self.host, forget, control, events)).await
            }
            Parameters::Prune(prune) => {
                Box::pin(restic.prune(access, prune, control, events)).await
            }
            Parameters::Check(check) => {
                Box::pin(restic.check(access, check, control, events)).await
            }
            Parameters::Stats(stats) => {
                Box::pin(restic.stats(access, stats, control, events)).await
            }
            Parameters::Unlock(unlock) => {
                Box::pin(restic.unlock(access, *unlock, control, events)).await
            }
            Parameters::Ls(_) | Parameters::Dump(_) => {
                failed(not_a_job(self.parameters.operation()))
            }
        }
    }

    /// The backup with the host's hooks around it: one that fails before it prevents it, and those
    /// after it run however it ended.
    async fn between_hooks(
        &self,
        restic: &Restic,
        access: &Access,
        options: &parameters::Backup,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let outcome = match self.run_hooks(&self.hooks.pre, "pre", None, control, &events).await {
            Err(error) => stopped(error),
            Ok(()) => self.limited(restic, access, options, control, &events).await,
        };
        // Whoever cancelled the backup did not mean that what it stopped stays stopped.
        let after = Control::new();
        let post = &self.hooks.post;
        match self.run_hooks(post, "post", Some(&outcome), &after, &events).await {
            Err(error) if outcome.error.is_none() => Outcome {
                status: Status::Partial,
                error: Some(JobError {
                    message: format!("{} The backup itself is whole.", error.message),
                    ..error
                }),
                ..outcome
            },
            _ => outcome,
        }
    }

    async fn run_hooks(
        &self,
        hooks: &[Hook],
        phase: &str,
        outcome: Option<&Outcome>,
        control: &Control,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), JobError> {
        let mut first = Ok(());
        for hook in hooks {
            let environment = self.environment(hook, phase, outcome);
            let ended = hook::run(hook, &environment, control, events).await;
            if let Err(error) = &ended {
                hook::say(events, error.message.clone()).await;
            }
            // After the backup every hook has its turn.
            if ended.is_err() && outcome.is_none() {
                return ended;
            }
            first = first.and(ended);
        }
        first
    }

    /// What a hook is told. None of it comes from a file's name or a log.
    fn environment(
        &self,
        hook: &Hook,
        phase: &str,
        outcome: Option<&Outcome>,
    ) -> Vec<(&'static str, String)> {
        let status = outcome.map(|outcome| outcome.status.as_str().to_owned());
        let snapshot = outcome.and_then(|outcome| outcome.snapshot_id.clone());
        let known = [
            ("HOLDFAST_HOOK", Some(hook.name.clone())),
            ("HOLDFAST_PHASE", Some(phase.to_owned())),
            ("HOLDFAST_HOST", Some(self.host.clone())),
            ("HOLDFAST_GROUP", Some(self.tag.clone())),
            ("HOLDFAST_JOB_ID", Some(self.job.clone())),
            ("HOLDFAST_STATUS", status),
            ("HOLDFAST_SNAPSHOT_ID", snapshot),
        ];
        known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The backup within the time it has.
    async fn limited(
        &self,
        restic: &Restic,
        access: &Access,
        options: &parameters::Backup,
        control: &Control,
        events: &mpsc::Sender<Event>,
    ) -> Outcome {
        let backup = self.store(restic, access, options, control, events);
        let Some(within) = self.timeout else { return backup.await };
        let mut backup = std::pin::pin!(backup);
        if let Ok(outcome) = tokio::time::timeout(within, &mut backup).await {
            return outcome;
        }
        let asked = control.is_cancelled();
        control.cancel();
        let outcome = backup.await;
        if asked || outcome.status != Status::Cancelled {
            return outcome;
        }
        let message = format!("The backup did not end within {} s.", within.as_secs());
        let action = "Raise the source group's timeout, or find out what makes it slow; what was \
                      uploaded is not uploaded twice.";
        let error = Some(job_error("timed_out", &message, action));
        Outcome { status: Status::Failed, error, ..outcome }
    }

    async fn store(
        &self,
        restic: &Restic,
        access: &Access,
        options: &parameters::Backup,
        control: &Control,
        events: &mpsc::Sender<Event>,
    ) -> Outcome {
        let Some(source) = &self.source else {
            let backup = self.backup(options);
            return restic.backup(access, &backup, control, events.clone()).await;
        };
        let file = access.scratch_dir.join("source");
        if let Some(prepare) = &source.prepare {
            let command = Source::filled(prepare, &file);
            let command = command.into_iter().map(|part| part.to_string_lossy().into_owned());
            let name = "prepare".to_owned();
            let within = self.timeout.unwrap_or(PREPARE_WITHIN);
            let hook = Hook { name, command: command.collect(), within };
            if let Err(error) = hook::run(&hook, &[], control, events).await {
                return stopped(JobError { code: "source_command_failed".to_owned(), ..error });
            }
        }
        let mut command = Source::filled(&source.command, &file).into_iter();
        let backup = CommandBackup {
            host: self.host.clone(),
            tag: self.tag.clone(),
            file_name: source.file_name.clone(),
            command: SourceCommand {
                program: command.next().unwrap_or_default().into(),
                arguments: command.collect(),
                environment: source.environment.clone(),
            },
        };
        restic.backup_command(access, &backup, control, events.clone()).await
    }

    fn backup(&self, options: &parameters::Backup) -> Backup {
        Backup {
            host: self.host.clone(),
            tag: self.tag.clone(),
            includes: self.includes.clone(),
            excludes: self.excludes.clone(),
            options: options.clone(),
        }
    }
}

/// The command's parameters, or the plain ones where there is nothing to choose.
///
/// # Errors
/// `invalid_parameters` when they are another operation's, or missing.
pub(crate) fn parameters_of(run: &Run) -> Result<Parameters, JobError> {
    let operation = run.operation;
    if !operation.is_job() {
        return Err(not_a_job(operation));
    }
    match &run.parameters {
        Some(parameters) if parameters.operation() == operation => Ok((**parameters).clone()),
        Some(_) => Err(invalid(operation, "are those of another operation")),
        None => plain(operation).ok_or_else(|| invalid(operation, "are missing")),
    }
}

fn plain(operation: Operation) -> Option<Parameters> {
    Some(match operation {
        Operation::Backup => Parameters::Backup(parameters::Backup::default()),
        Operation::Init => Parameters::Init,
        Operation::Snapshots => Parameters::Snapshots,
        Operation::Prune => Parameters::Prune(parameters::Prune::default()),
        Operation::Check => Parameters::Check(parameters::Check::default()),
        Operation::Unlock => Parameters::Unlock(parameters::Unlock::default()),
        _ => return None,
    })
}

fn invalid(operation: Operation, what: &str) -> JobError {
    let message = format!("The parameters of the `{}` job {what}.", operation.as_str());
    job_error("invalid_parameters", &message, "Start the job again from the server's own tools.")
}

/// Directories and files of snapshots are shown while somebody waits, not stored as a job's result.
fn not_a_job(operation: Operation) -> JobError {
    let message = format!("`{}` cannot be run as a job.", operation.as_str());
    job_error("operation_unsupported", &message, "Browse the snapshot instead.")
}

/// A directory of the job's own: the snapshot for people, the job's end so that no other has it.
fn fresh_name(run: &Run, restore: &parameters::Restore) -> String {
    let id: String = restore.snapshot_id.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let job = run.job_id.as_uuid().simple().to_string();
    format!("{id}-{}", &job[job.len() - 8..])
}

async fn list(restic: &Restic, access: &Access, host: &str) -> Outcome {
    match restic.snapshots(access, host).await {
        Ok(snapshots) => Outcome {
            status: Status::Succeeded,
            stats: Some(Payload::of(&Listed { snapshot_count: snapshots.len() as u64 })),
            exit_code: None,
            snapshot_id: None,
            error: None,
        },
        Err(error) => failed(error),
    }
}

/// The end of a backup that never began.
fn stopped(error: JobError) -> Outcome {
    let cancelled = error.code == "cancelled";
    let status = if cancelled { Status::Cancelled } else { Status::Failed };
    Outcome { status, ..failed(error) }
}

fn failed(error: JobError) -> Outcome {
    Outcome {
        status: Status::Failed,
        exit_code: None,
        snapshot_id: None,
        stats: None,
        error: Some(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

    use holdfast_protocol::{
        JobId, RepositoryId,
        message::config::{CommandSource, Hooks, Secret, SourcePreset},
    };
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;

    /// A host with a policy, a file to back up and a repository that is not there yet.
    struct Bench {
        home: TempDir,
        restic: Restic,
    }

    impl Bench {
        async fn new(policy: &str) -> Self {
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join(crate::policy::FILE_NAME);
            fs::write(&file, policy.replace("HOME", &home.path().to_string_lossy())).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            fs::create_dir(home.path().join("source")).unwrap();
            fs::write(home.path().join("source/file"), "content").unwrap();
            let restic = Restic::discover(None).await.unwrap();
            Self { home, restic }
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.home.path().join(name)
        }

        fn access(&self) -> Access {
            Access {
                url: Secret::new(self.path("repository").to_string_lossy()),
                password: Secret::new("canary"),
                environment: BTreeMap::new(),
                ca_certificate: None,
                cache_dir: self.path("cache"),
                scratch_dir: self.path("scratch"),
            }
        }

        fn run(&self) -> Run {
            let job = JobId::from_uuid(Uuid::from_u128(1));
            let repository = RepositoryId::from_uuid(Uuid::from_u128(2));
            Run {
                tag: "data".to_owned(),
                includes: vec![self.path("source").to_string_lossy().into_owned()],
                ..Run::new(job, Operation::Backup, repository)
            }
        }

        async fn perform(&self, run: &Run) -> Outcome {
            let policy = Policy::load(self.home.path()).unwrap();
            let plan = match Plan::new(run, "alpha".to_owned(), &policy) {
                Ok(plan) => plan,
                Err(error) => return failed(error),
            };
            fs::create_dir_all(self.path("scratch")).unwrap();
            let (events, mut incoming) = mpsc::channel(64);
            let drain = async { while incoming.recv().await.is_some() {} };
            let control = Control::new();
            let access = self.access();
            let done = plan.perform(&self.restic, &access, &control, events);
            tokio::join!(done, drain).0
        }

        async fn snapshots(&self) -> usize {
            self.restic.snapshots(&self.access(), "alpha").await.map_or(0, |list| list.len())
        }
    }

    fn hooks(pre: &[&str], post: &[&str]) -> Hooks {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Hooks { pre: texts(pre), post: texts(post) }
    }

    fn code(outcome: &Outcome) -> &str {
        outcome.error.as_ref().map_or("", |error| error.code.as_str())
    }

    const HOOKS: &str = "[hooks.fail]\ncommand = [\"/bin/false\"]\n\
        [hooks.note]\n\
        command = [\"/bin/sh\", \"-c\", \"echo $HOLDFAST_PHASE $HOLDFAST_STATUS >> HOME/notes\"]\n";

    fn notes(bench: &Bench) -> String {
        fs::read_to_string(bench.path("notes")).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_hook_that_fails_before_a_backup_prevents_it_and_those_after_it_still_run() {
        let bench = Bench::new(HOOKS).await;
        let run = Run { hooks: hooks(&["fail", "note"], &["note"]), ..bench.run() };
        let outcome = bench.perform(&run).await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "hook_failed"));
        assert!(!bench.path("repository").exists(), "nothing was backed up");
        assert_eq!(notes(&bench), "post failed\n");
    }

    #[tokio::test]
    async fn hooks_run_around_a_backup_and_one_that_fails_after_it_is_told() {
        let bench = Bench::new(HOOKS).await;
        let run = Run { hooks: hooks(&["note"], &["fail", "note"]), ..bench.run() };
        let outcome = bench.perform(&run).await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Partial, "hook_failed"));
        assert!(outcome.snapshot_id.is_some());
        assert_eq!(notes(&bench), "pre\npost succeeded\n");
    }

    #[tokio::test]
    async fn what_the_hosts_policy_does_not_know_is_refused() {
        let bench = Bench::new("").await;
        let run = Run { hooks: hooks(&["rm"], &[]), ..bench.run() };
        assert_eq!(code(&bench.perform(&run).await), "refused_by_policy");
        let source =
            CommandSource { preset: SourcePreset::Postgresql, database: "shop".to_owned() };
        let run = Run { source: Some(source), ..bench.run() };
        assert_eq!(code(&bench.perform(&run).await), "refused_by_policy");
    }

    #[tokio::test]
    async fn a_backup_that_may_not_make_the_repository_does_not() {
        let bench = Bench::new("").await;
        let outcome = bench.perform(&Run { may_create: Some(false), ..bench.run() }).await;
        assert_eq!(code(&outcome), "repository_not_found");
        assert!(!bench.path("repository").exists());
    }

    const SOURCES: &str = "[sources.postgresql.half]\n\
        command = [\"/bin/sh\", \"-c\", \"echo CREATE TABLE; exit 1\"]\n\
        [sources.sqlite.notes]\npath = \"HOME/notes.db\"\n";

    fn from(preset: SourcePreset, database: &str) -> Option<CommandSource> {
        Some(CommandSource { preset, database: database.to_owned() })
    }

    #[tokio::test]
    async fn a_dump_that_fails_midway_never_becomes_a_snapshot() {
        let bench = Bench::new(SOURCES).await;
        let source = from(SourcePreset::Postgresql, "half");
        let run = Run { source, includes: vec![], ..bench.run() };
        let outcome = bench.perform(&run).await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "source_command_failed"));
        assert_eq!(bench.snapshots().await, 0);
    }

    #[tokio::test]
    async fn a_live_sqlite_database_is_copied_whole() {
        let sqlite = |path: &Path, words: &str| {
            let done = std::process::Command::new("sqlite3").arg(path).arg(words).output();
            done.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let bench = Bench::new(SOURCES).await;
        let made = sqlite(
            &bench.path("notes.db"),
            "PRAGMA journal_mode=wal; CREATE TABLE n(x); INSERT INTO n VALUES (42);",
        );
        made.expect("install sqlite3 to run this test");
        let source = from(SourcePreset::Sqlite, "notes");
        let run = Run { source, includes: vec![], ..bench.run() };
        let outcome = bench.perform(&run).await;
        assert_eq!(outcome.status, Status::Succeeded, "{:?}", outcome.error);
        let password = bench.path("password");
        fs::write(&password, "canary").unwrap();
        let copy = std::process::Command::new(bench.restic.program())
            .args(["dump", "latest", "/notes.sqlite", "--repo"])
            .arg(bench.path("repository"))
            .env("RESTIC_PASSWORD_FILE", &password)
            .env("RESTIC_CACHE_DIR", bench.path("cache"))
            .output()
            .unwrap();
        fs::write(bench.path("copy.db"), copy.stdout).unwrap();
        assert_eq!(sqlite(&bench.path("copy.db"), "SELECT x FROM n").unwrap(), "42");
    }
}
