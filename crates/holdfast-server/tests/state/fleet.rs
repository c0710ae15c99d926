//! A small fleet on a temporary disk, and the words its agents say.

use std::{collections::BTreeMap, error::Error as StdError, path::Path, time::Duration};

use holdfast_link::{Record, Unsequenced};
use holdfast_protocol::{
    HostId, Incarnation, JobId, Message, PROTOCOL_VERSION, RepositoryId, Seq,
    message::{
        config::Secret,
        job::{Finished, JobError, Operation, Progress, Started, Status},
        link::{Facts, Hello},
        log::{Line, Source, Stream},
        snapshot::{Report, Snapshot},
    },
};
use holdfast_server::{
    clock::Clock,
    live::{Live, Subscription},
    store::{Enrolment, HostStore, NewGroup, NewHost, NewRepository, Store},
    view::JobView,
};
use jiff::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const PASSWORD_CANARY: &str = "canary-password-3f1c";
pub(crate) const CANARIES: [&str; 3] =
    [PASSWORD_CANARY, "canary-url-91aa", "canary-environment-77d0"];

pub(crate) struct Fleet {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    repository: RepositoryId,
}

/// An enrolled host with one source group named `etc`.
pub(crate) struct TestHost {
    pub(crate) id: HostId,
    pub(crate) incarnation: Incarnation,
    pub(crate) repository: RepositoryId,
    pub(crate) agent_token: String,
    pub(crate) enrolment_token: String,
}

impl Fleet {
    pub(crate) async fn new() -> Self {
        Self::on(Clock::real()).await
    }

    /// The same, on a clock that may be set by hand.
    pub(crate) async fn on(clock: Clock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_with(dir.path(), clock).await.unwrap();
        let repository = store.add_repository("ops", &repository()).await.unwrap();
        Self { dir, store, repository }
    }

    /// Closes the store and opens it again, as another start of the server would.
    pub(crate) async fn restart(&mut self) {
        self.store.close().await;
        self.store = Store::open(self.dir.path()).await.unwrap();
    }

    pub(crate) async fn pending_host(&self, name: &str) -> NewHost {
        let host = self.store.add_host("ops", name).await.unwrap();
        let group = NewGroup {
            name: "etc".to_owned(),
            repository_id: self.repository,
            includes: vec!["/etc".to_owned()],
            excludes: vec!["*.tmp".to_owned()],
            objective_seconds: None,
            options: Default::default(),
            retention: None,
        };
        self.store.add_group("ops", host.host_id, &group).await.unwrap();
        host
    }

    pub(crate) async fn enrol(&self, new: &NewHost) -> TestHost {
        let enrolment = enrolment(&new.enrolment_token);
        let enrolled = self.store.enrol(&enrolment).await.unwrap();
        TestHost {
            id: enrolled.host_id,
            incarnation: enrolment.incarnation,
            repository: self.repository,
            agent_token: enrolled.agent_token.expose().to_owned(),
            enrolment_token: new.enrolment_token.expose().to_owned(),
        }
    }

    pub(crate) async fn host(&self, name: &str) -> TestHost {
        let new = self.pending_host(name).await;
        self.enrol(&new).await
    }

    /// A repository that no host uses.
    pub(crate) async fn other_repository(&self, name: &str) -> RepositoryId {
        let new = NewRepository { name: name.to_owned(), ..repository() };
        self.store.add_repository("ops", &new).await.unwrap()
    }

    /// The host again, with an agent that starts from nothing.
    pub(crate) async fn reenrol(&self, host: &TestHost) -> TestHost {
        let new = self.store.renew_enrolment("ops", host.id).await.unwrap();
        self.enrol(&new).await
    }

    /// The store as the link has it in a new session.
    pub(crate) async fn session(&self, host: &TestHost, boot: u64) -> HostStore {
        let opened = self.store.open_session(host.id, &hello(host, boot)).await.unwrap().unwrap();
        HostStore::new(self.store.clone(), host.id, opened.epoch)
    }

    pub(crate) async fn live(&self) -> Live {
        Live::load(self.store.clone()).await.unwrap()
    }

    pub(crate) async fn job(&self, job: JobId) -> JobView {
        self.live().await.job(job).await.unwrap()
    }
}

fn repository() -> NewRepository {
    let environment = ("AWS_SECRET_ACCESS_KEY".to_owned(), Secret::new(CANARIES[2]));
    NewRepository {
        name: "vault".to_owned(),
        kind: "rest".to_owned(),
        location: "rest:https://backup.example/".to_owned(),
        url: Secret::new(format!("rest:https://user:{}@backup.example/", CANARIES[1])),
        password: Secret::new(PASSWORD_CANARY),
        environment: BTreeMap::from([environment]),
        ca_certificate: None,
    }
}

pub(crate) fn enrolment(token: &Secret) -> Enrolment {
    Enrolment {
        token: token.clone(),
        incarnation: Incarnation::from_uuid(Uuid::new_v4()),
        hostname: "web".to_owned(),
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        agent_version: "0.1.0".to_owned(),
    }
}

pub(crate) fn hello(host: &TestHost, boot: u64) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        incarnation: host.incarnation,
        boot,
        instance: None,
        epoch: 0,
        received: 0,
        oldest: 1,
        capabilities: vec![],
        facts: Facts { agent_version: "0.1.0".to_owned(), ..Facts::default() },
    }
}

pub(crate) fn record(seq: Seq, message: &Message) -> Record {
    Record { seq, ts: Timestamp::now(), kind: message.kind().to_owned(), payload: message.encode() }
}

pub(crate) fn unsequenced(message: &Message) -> Unsequenced {
    Unsequenced {
        class: message.class(),
        key: String::new(),
        ts: Timestamp::now(),
        kind: message.kind().to_owned(),
        payload: message.encode(),
    }
}

pub(crate) fn started(job_id: JobId) -> Message {
    Message::JobStarted(Started {
        job_id,
        operation: Operation::Backup,
        started_at: Timestamp::now(),
        attempt: 1,
        tag: "etc".to_owned(),
        schedule_id: None,
        scheduled_at: None,
    })
}

pub(crate) fn finished(job_id: JobId, status: Status) -> Message {
    let good = matches!(status, Status::Succeeded | Status::Partial);
    Message::JobFinished(Finished {
        job_id,
        status,
        exit_code: Some(i32::from(!good)),
        finished_at: Timestamp::now(),
        snapshot_id: good.then(|| "abc123".to_owned()),
        stats: None,
        error: (!good).then(|| job_error("restic_failed")),
        next_try: None,
    })
}

pub(crate) fn job_error(code: &str) -> JobError {
    JobError {
        code: code.to_owned(),
        message: "It did not work.".to_owned(),
        action: "Look at the log.".to_owned(),
    }
}

pub(crate) fn progress(job_id: JobId, percent_done: f64) -> Unsequenced {
    unsequenced(&Message::JobProgress(Progress {
        job_id,
        percent_done,
        files_done: 1,
        total_files: 2,
        bytes_done: 3,
        total_bytes: 4,
        eta_seconds: None,
        throughput_bps: 5,
        current_files: vec![],
        error_count: 0,
    }))
}

pub(crate) fn log(job_id: JobId, numbers: &[u64]) -> Unsequenced {
    let line = |seq: &u64| Line {
        seq: *seq,
        ts: Timestamp::now(),
        stream: Source::Stderr,
        payload: format!("line {seq}"),
    };
    let lines = numbers.iter().map(line).collect();
    unsequenced(&Message::LogStream(Stream { job_id, lines }))
}

pub(crate) fn snapshot(id: &str) -> Snapshot {
    Snapshot {
        id: id.to_owned(),
        short_id: id.to_owned(),
        time: "2026-11-20T02:00:00Z".parse().unwrap(),
        hostname: "web-1".to_owned(),
        paths: vec!["/etc".to_owned()],
        tags: vec!["etc".to_owned()],
        size_bytes: Some(1),
        file_count: None,
    }
}

/// The agent's list of the repository, with a snapshot of the group `etc` that was made just now.
pub(crate) fn listing(host: &TestHost, id: &str) -> Message {
    let newest = Snapshot { time: Timestamp::now(), ..snapshot(id) };
    Message::SnapshotsReport(Report {
        repository_id: host.repository,
        report_id: format!("list-with-{id}"),
        last: true,
        listed_at: Timestamp::now(),
        snapshots: vec![newest],
    })
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The snapshot that a subscription begins with.
pub(crate) async fn first(subscription: &mut Subscription) -> serde_json::Value {
    serde_json::from_str(subscription.next().await.unwrap().as_str()).unwrap()
}

/// Asks again until there is an answer, for a minute at most.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Duration::from_secs(60);
    let asked = tokio::time::timeout(limit, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    asked.await.expect("it did not happen within a minute")
}

/// What a counting statement finds in the database of a store.
pub(crate) async fn count(dir: &Path, statement: &'static str) -> i64 {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("holdfast.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let found = sqlx::query_scalar(statement).fetch_one(&pool).await.unwrap();
    pool.close().await;
    found
}

/// Changes the database behind the server's back.
pub(crate) async fn meddle(dir: &Path, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("holdfast.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(statement).execute(&pool).await.unwrap();
    pool.close().await;
}
