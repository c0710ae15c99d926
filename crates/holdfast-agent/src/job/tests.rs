//! Jobs from the journal to the outbox, with a real restic.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use holdfast_link::{
    ClientConfig, Credentials, CredentialsError, Host, Identity, LinkState, LinkStatus, Record,
    Store, Unsequenced,
};
use holdfast_protocol::{
    Message, Payload,
    message::{
        command::{self, Cancel, Pause, Resume, Retry, Run},
        config::{self, Secret},
        job::{self, Operation, StateChange},
        link::Facts,
        snapshot,
    },
};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;

/// More than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct NoServer;

impl Credentials for NoServer {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(Secret::new("token"))
    }
}

impl Host for NoServer {
    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn capabilities(&self) -> Vec<String> {
        Vec::new()
    }

    fn heartbeat(&self) -> Payload {
        Payload::of(&())
    }
}

/// An agent without a link: what it reports stays in the outbox.
struct Bench {
    dir: TempDir,
    context: Context,
    seq: u64,
}

impl Bench {
    async fn new(restic: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::create(&dir.path().join("data")).unwrap();
        let state = Arc::new(State::open(&directory.state_path()).unwrap());
        let identity = Identity { incarnation: state.incarnation(), boot: 1 };
        let config = ClientConfig::new("http://127.0.0.1:9".parse().unwrap());
        let link = Client::new(config, identity, Arc::clone(&state), NoServer, NoServer).unwrap();
        let restic = Restic::discover(restic).await.expect("install restic to run this test");
        let context = Context { directory, link, restic: Arc::new(restic), state };
        let bench = Self { dir, context, seq: 0 };
        bench.configure(1).await;
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn configure(&self, version: i64) {
        let update = Message::ConfigUpdate(config::Update {
            version,
            host_name: "alpha".to_owned(),
            repositories: vec![config::Repository {
                id: repository(),
                name: "main".to_owned(),
                url: Secret::new(self.path("repository").to_string_lossy()),
                password: Secret::new("canary-password"),
                environment: std::collections::BTreeMap::new(),
                ca_certificate: None,
                admin: None,
            }],
            groups: vec![],
        });
        let message = Unsequenced {
            class: update.class(),
            key: String::new(),
            ts: Timestamp::now(),
            kind: update.kind().to_owned(),
            payload: update.encode(),
        };
        self.context.state.receive(message).await.unwrap();
    }

    async fn command(&mut self, message: Message) {
        self.seq += 1;
        let record = Record {
            seq: self.seq,
            ts: Timestamp::now(),
            kind: message.kind().to_owned(),
            payload: message.encode(),
        };
        self.context.state.apply(vec![record]).await.unwrap();
    }

    async fn order(&mut self, number: u128, source: &Path, config_version: i64) -> JobId {
        let run = Run {
            config_version,
            tag: "etc".to_owned(),
            includes: vec![source.to_string_lossy().into_owned()],
            ..Run::new(JobId::from_uuid(Uuid::from_u128(number)), Operation::Backup, repository())
        };
        let job = run.job_id;
        self.command(Message::CommandRun(run)).await;
        job
    }

    fn source(&self) -> PathBuf {
        let source = self.path("source");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("file"), "content").unwrap();
        source
    }

    fn start(&self, limits: Limits) -> (CancellationToken, tokio::task::JoinHandle<()>) {
        let stop = CancellationToken::new();
        let runner = Runner::new(self.context.clone(), limits);
        let run = runner.run(stop.clone());
        (stop, tokio::spawn(async move { run.await.unwrap() }))
    }

    async fn records(&self, kind: &str) -> Vec<Payload> {
        let records = self.context.state.load(0, 10_000).await.unwrap();
        records.into_iter().filter(|record| record.kind == kind).map(|it| it.payload).collect()
    }

    async fn kinds(&self) -> Vec<String> {
        let records = self.context.state.load(0, 10_000).await.unwrap();
        records.into_iter().map(|record| record.kind).collect()
    }

    /// Waits for the `count`th record of `kind` and returns all of them.
    async fn await_records(&self, kind: &str, count: usize) -> Vec<Payload> {
        let enough = async {
            loop {
                let records = self.records(kind).await;
                if records.len() >= count {
                    return records;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = timeout(PATIENCE, enough).await;
        match waited {
            Ok(records) => records,
            Err(_) => panic!("no {count} of {kind}, only {:?}", self.kinds().await),
        }
    }

    async fn await_end(&self) -> Finished {
        let records = self.await_records("job.finished", 1).await;
        assert_eq!(records.len(), 1, "a job has one end");
        records[0].parse().unwrap()
    }

    /// A restic that says it is one, and whose backups write `marker` and then do not end.
    fn stuck_restic(&self) -> (PathBuf, PathBuf) {
        let (program, marker) = (self.path("stuck-restic"), self.path("stuck"));
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in\n*' version '*) echo 'restic 0.18.0 compiled with go';;\n\
             *' backup '*) echo $$ > '{0}.new'; mv '{0}.new' '{0}'; exec sleep 600;;\nesac\n",
            marker.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (program, marker)
    }

    async fn with_stuck_restic() -> (Self, PathBuf) {
        let mut bench = Self::new(None).await;
        let (program, marker) = bench.stuck_restic();
        let restic = Restic::discover(Some(&program)).await.unwrap();
        bench.context.restic = Arc::new(restic);
        (bench, marker)
    }
}

fn repository() -> RepositoryId {
    RepositoryId::from_uuid(Uuid::from_u128(9))
}

async fn await_file(path: &Path) {
    let there = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, there).await.expect("the file should appear");
}

#[tokio::test]
async fn a_command_becomes_a_snapshot_a_result_and_a_list() {
    let mut bench = Bench::new(None).await;
    let source = bench.source();
    let job = bench.order(1, &source, 1).await;
    let (stop, runner) = bench.start(Limits::default());
    let (link, status) = watch::channel(LinkStatus::default());
    let listings = tokio::spawn(run_listings(bench.context.clone(), status, stop.clone()));
    let end = bench.await_end().await;
    assert_eq!(end.job_id, job);
    assert_eq!(end.status, Status::Succeeded, "{:?}", end.error);
    assert_eq!(bench.context.state.listings_due().await.unwrap().len(), 1, "nobody could hear it");
    link.send_modify(|status| status.state = LinkState::Live);
    let reports = bench.await_records("snapshots.report", 1).await;
    assert!(bench.context.state.listings_due().await.unwrap().is_empty());
    let report: snapshot::Report = reports[0].parse().unwrap();
    assert!(report.last);
    assert_eq!(report.snapshots.len(), 1);
    assert_eq!(Some(&report.snapshots[0].id), end.snapshot_id.as_ref());
    assert_eq!(report.snapshots[0].hostname, "alpha");
    assert_eq!(report.snapshots[0].tags, ["etc"]);
    stop.cancel();
    runner.await.unwrap();
    listings.await.unwrap().unwrap();
    let story = ["config.applied", "command.result", "job.started", "job.finished"];
    assert_eq!(bench.kinds().await[..4], story);
    let left = fs::read_dir(bench.context.directory.run_dir()).unwrap().count();
    assert_eq!(left, 0, "scratch files carry secrets and must go");
}

#[tokio::test]
async fn a_job_waits_for_the_configuration_it_was_made_for() {
    let mut bench = Bench::new(None).await;
    let source = bench.source();
    bench.order(1, &source, 2).await;
    let (stop, runner) = bench.start(Limits::default());
    bench.configure(2).await;
    assert_eq!(bench.await_end().await.status, Status::Succeeded);
    stop.cancel();
    runner.await.unwrap();
}

#[tokio::test]
async fn a_job_whose_configuration_never_comes_fails_with_a_sentence() {
    let mut bench = Bench::new(None).await;
    let source = bench.source();
    bench.order(1, &source, 2).await;
    let wait = Duration::from_millis(50);
    let (stop, runner) = bench.start(Limits { config_wait: wait, ..Limits::default() });
    let end = bench.await_end().await;
    assert_eq!(end.status, Status::Failed);
    assert_eq!(end.error.unwrap().code, "config_missing");
    stop.cancel();
    runner.await.unwrap();
}

#[tokio::test]
async fn a_repository_the_host_may_not_use_fails_the_job_before_anything_runs() {
    let mut bench = Bench::new(None).await;
    let run = Run {
        config_version: 1,
        tag: "etc".to_owned(),
        includes: vec!["/etc".to_owned()],
        ..Run::new(
            JobId::from_uuid(Uuid::from_u128(1)),
            Operation::Backup,
            RepositoryId::from_uuid(Uuid::from_u128(666)),
        )
    };
    bench.command(Message::CommandRun(run)).await;
    let (stop, runner) = bench.start(Limits::default());
    let end = bench.await_end().await;
    assert_eq!(end.error.unwrap().code, "repository_unknown");
    assert!(bench.records("job.started").await.is_empty());
    stop.cancel();
    runner.await.unwrap();
}

#[tokio::test]
async fn a_running_job_is_cancelled_on_command() {
    let (mut bench, marker) = Bench::with_stuck_restic().await;
    let source = bench.source();
    let job = bench.order(1, &source, 1).await;
    let (stop, runner) = bench.start(Limits::default());
    await_file(&marker).await;
    bench.command(Message::CommandCancel(Cancel { job_id: job })).await;
    let end = bench.await_end().await;
    assert_eq!(end.status, Status::Cancelled);
    assert_eq!(end.error.unwrap().code, "cancelled");
    stop.cancel();
    runner.await.unwrap();
}

#[tokio::test]
async fn a_running_job_is_paused_and_goes_on_and_says_so() {
    let (mut bench, marker) = Bench::with_stuck_restic().await;
    let source = bench.source();
    let job_id = bench.order(1, &source, 1).await;
    let (stop, runner) = bench.start(Limits::default());
    await_file(&marker).await;
    let statuses = |records: &[Payload]| -> Vec<Status> {
        records.iter().map(|it| it.parse::<StateChange>().unwrap().status).collect()
    };
    bench.command(Message::CommandPause(Pause { job_id })).await;
    bench.await_records("job.state", 1).await;
    bench.command(Message::CommandResume(Resume { job_id })).await;
    let records = bench.await_records("job.state", 2).await;
    assert_eq!(statuses(&records), [Status::Paused, Status::Running]);
    bench.command(Message::CommandCancel(Cancel { job_id })).await;
    assert_eq!(bench.await_end().await.status, Status::Cancelled);
    stop.cancel();
    runner.await.unwrap();
}

/// A restic whose first `count` backups do what `instead` says.
async fn moody_restic(bench: &mut Bench, count: u32, instead: &str) {
    let (program, tries) = (bench.path("moody-restic"), bench.path("tries"));
    let real = bench.context.restic.program().display().to_string();
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' backup '*)\n\
         echo >> '{0}'\n[ $(wc -l < '{0}') -gt {count} ] || {{ {instead}; }};;\nesac\n\
         exec '{real}' \"$@\"\n",
        tries.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    bench.context.restic = Arc::new(Restic::discover(Some(&program)).await.unwrap());
}

async fn order_with(bench: &mut Bench, retry: Retry) -> JobId {
    let source = bench.source();
    let job_id = JobId::from_uuid(Uuid::from_u128(1));
    let run = Run {
        config_version: 1,
        tag: "etc".to_owned(),
        includes: vec![source.to_string_lossy().into_owned()],
        retry,
        ..Run::new(job_id, Operation::Backup, repository())
    };
    bench.command(Message::CommandRun(run)).await;
    job_id
}

fn tries(records: &[Payload]) -> Vec<u32> {
    records.iter().map(|it| it.parse::<job::Started>().unwrap().attempt).collect()
}

fn ends(records: &[Payload]) -> Vec<Finished> {
    records.iter().map(|it| it.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_backup_that_failed_is_tried_again_by_jobs_of_their_own() {
    let mut bench = Bench::new(None).await;
    moody_restic(&mut bench, 2, "echo Fatal: no >&2; exit 1").await;
    let first = order_with(&mut bench, Retry { retry_max: 3, retry_backoff_seconds: 0 }).await;
    let (stop, runner) = bench.start(Limits::default());
    let ends = ends(&bench.await_records("job.finished", 3).await);
    let ids: Vec<_> = ends.iter().map(|end| end.job_id).collect();
    assert_eq!(ids, [first, first.of_attempt(2), first.of_attempt(3)]);
    assert_eq!(ends[2].status, Status::Succeeded, "{:?}", ends[2].error);
    let next = ends.iter().map(|end| end.next_try.map(|next| (next.job_id, next.attempt)));
    let next: Vec<_> = next.collect();
    assert_eq!(next, [Some((ids[1], 2)), Some((ids[2], 3)), None]);
    assert_eq!(tries(&bench.records("job.started").await), [1, 2, 3]);
    assert!(bench.context.state.active_jobs().await.unwrap().is_empty());
    stop.cancel();
    runner.await.unwrap();
}

#[tokio::test]
async fn the_last_try_is_the_end() {
    let mut bench = Bench::new(None).await;
    moody_restic(&mut bench, 9, "echo Fatal: no >&2; exit 1").await;
    order_with(&mut bench, Retry { retry_max: 1, retry_backoff_seconds: 0 }).await;
    let (stop, runner) = bench.start(Limits::default());
    let ends = ends(&bench.await_records("job.finished", 2).await);
    assert_eq!((ends[1].status, ends[1].next_try), (Status::Failed, None));
    assert_eq!(tries(&bench.records("job.started").await), [1, 2]);
    assert!(bench.context.state.active_jobs().await.unwrap().is_empty());
    stop.cancel();
    runner.await.unwrap();
}

#[tokio::test]
async fn a_job_between_two_tries_lets_others_run_and_is_cancelled_at_once() {
    let mut bench = Bench::new(None).await;
    moody_restic(&mut bench, 1, "echo Fatal: no >&2; exit 1").await;
    let first = order_with(&mut bench, Retry { retry_max: 1, retry_backoff_seconds: 3600 }).await;
    let source = bench.source();
    let second = bench.order(2, &source, 1).await;
    let (stop, runner) = bench.start(Limits::default());
    let told = ends(&bench.await_records("job.finished", 2).await);
    assert_eq!((told[0].job_id, told[0].status), (first, Status::Failed));
    assert_eq!((told[1].job_id, told[1].status), (second, Status::Succeeded));
    // Whoever means the try that failed means the job.
    bench.command(Message::CommandCancel(Cancel { job_id: first })).await;
    let told = ends(&bench.await_records("job.finished", 3).await);
    assert_eq!((told[2].job_id, told[2].status), (first.of_attempt(2), Status::Cancelled));
    let answers = bench.records("command.result").await;
    let answer: command::Outcome = answers.last().unwrap().parse().unwrap();
    assert!(answer.accepted, "{:?}", answer.error);
    stop.cancel();
    runner.await.unwrap();
}

#[tokio::test]
async fn a_try_that_waits_is_still_there_after_a_restart() {
    let mut bench = Bench::new(None).await;
    moody_restic(&mut bench, 1, "echo Fatal: no >&2; exit 1").await;
    let first = order_with(&mut bench, Retry { retry_max: 1, retry_backoff_seconds: 3600 }).await;
    let (stop, runner) = bench.start(Limits::default());
    bench.await_end().await;
    stop.cancel();
    runner.await.unwrap();
    recover(&bench.context).await.unwrap();
    let left = bench.context.state.active_jobs().await.unwrap();
    let [waiting] = left.as_slice() else { panic!("{left:?}") };
    assert_eq!((waiting.job_id(), waiting.attempt()), (first.of_attempt(2), 2));
    assert_eq!(waiting.stage, crate::state::Stage::Received, "nothing has begun it");
    assert_eq!(bench.records("job.finished").await.len(), 1, "and nothing has ended it");
}

#[tokio::test]
async fn what_too_long_a_pause_has_stopped_goes_on_when_it_is_resumed() {
    let mut bench = Bench::new(None).await;
    let marker = bench.path("stuck");
    let stuck =
        format!("echo $$ > '{0}.new'; mv '{0}.new' '{0}'; exec sleep 600", marker.display());
    moody_restic(&mut bench, 1, &stuck).await;
    let patience = holdfast_engine::Patience {
        pause_max: Duration::from_millis(50),
        ..holdfast_engine::Patience::default()
    };
    let restic = Restic::clone(&bench.context.restic).with_patience(patience);
    bench.context.restic = Arc::new(restic);
    let job_id = order_with(&mut bench, Retry::default()).await;
    let (stop, runner) = bench.start(Limits::default());
    await_file(&marker).await;
    bench.command(Message::CommandPause(Pause { job_id })).await;
    let process = fs::read_to_string(&marker).unwrap();
    let process = PathBuf::from("/proc").join(process.trim());
    let gone = async {
        while process.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the paused restic is ended");
    assert!(bench.records("job.finished").await.is_empty(), "the job is only paused");
    bench.command(Message::CommandResume(Resume { job_id })).await;
    let end = bench.await_end().await;
    assert_eq!(end.status, Status::Succeeded, "{:?}", end.error);
    let states = bench.records("job.state").await;
    let last: StateChange = states.last().unwrap().parse().unwrap();
    assert_eq!(last.status, Status::Running);
    stop.cancel();
    runner.await.unwrap();
}

#[tokio::test]
async fn stopping_the_agent_ends_running_jobs_as_interrupted() {
    let (mut bench, marker) = Bench::with_stuck_restic().await;
    let source = bench.source();
    bench.order(1, &source, 1).await;
    let waiting = bench.order(2, &source, 1).await;
    let (stop, runner) = bench.start(Limits::default());
    await_file(&marker).await;
    stop.cancel();
    timeout(PATIENCE, runner).await.unwrap().unwrap();
    let end = bench.await_end().await;
    assert_eq!(end.status, Status::Interrupted);
    assert_eq!(end.error.unwrap().code, "agent_shutdown");
    let left = bench.context.state.active_jobs().await.unwrap();
    assert_eq!(left.iter().map(crate::state::Entry::job_id).collect::<Vec<_>>(), [waiting]);
}

#[tokio::test]
async fn a_process_spawned_in_the_moment_before_a_crash_is_found_and_ended() {
    let mut bench = Bench::new(None).await;
    let source = bench.source();
    let job = bench.order(1, &source, 1).await;
    assert!(bench.context.state.intend(job).await.unwrap());
    let scratch = bench.context.directory.job_dir(job);
    fs::create_dir_all(&scratch).unwrap();
    let mut orphan = tokio::process::Command::new("sleep")
        .arg("600")
        .env("RESTIC_PASSWORD_FILE", scratch.join("password"))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (recovered, ended) = tokio::join!(recover(&bench.context), orphan.wait());
    recovered.unwrap();
    assert!(!ended.unwrap().success());
    let end = bench.await_end().await;
    assert_eq!(end.status, Status::Interrupted);
    assert_eq!(end.error.unwrap().code, "agent_stopped");
    assert!(!scratch.exists());
}
