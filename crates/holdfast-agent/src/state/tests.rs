use std::fs;

use holdfast_link::Unsequenced;
use holdfast_protocol::{
    HostId, RepositoryId,
    message::{
        command::{Cancel, Outcome, Pause, Run},
        config::{self, Secret},
        job::{Operation, Status},
        schedule::{Schedule, Set},
    },
};
use serde_json::json;
use tempfile::TempDir;

use super::*;

struct Bench {
    dir: TempDir,
    state: Option<State>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = Some(State::open(&dir.path().join("state.redb")).unwrap());
        Self { dir, state }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state.redb")
    }

    fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        drop(self.state.take());
        self.state = Some(State::open(&self.path()).unwrap());
    }

    /// What the file holds at this moment, opened as after a power cut: nothing was closed.
    fn after_power_cut(&self) -> State {
        let cut = self.dir.path().join("cut.redb");
        fs::copy(self.path(), &cut).unwrap();
        State::open(&cut).unwrap()
    }

    async fn outbox(&self) -> Vec<Record> {
        self.state().load(0, 10_000).await.unwrap()
    }

    async fn kinds(&self) -> Vec<String> {
        self.outbox().await.into_iter().map(|record| record.kind).collect()
    }

    async fn apply(&self, records: Vec<Record>) {
        self.state().apply(records).await.unwrap();
    }

    async fn last_outcome(&self) -> Outcome {
        let records = self.outbox().await;
        let record = records.iter().rfind(|record| record.kind == "command.result").unwrap();
        record.payload.parse().unwrap()
    }
}

fn job(number: u128) -> JobId {
    JobId::from_uuid(Uuid::from_u128(number))
}

fn command(job_id: JobId) -> Run {
    Run {
        config_version: 1,
        tag: "etc".to_owned(),
        includes: vec!["/etc".to_owned()],
        ..Run::new(job_id, Operation::Backup, RepositoryId::from_uuid(Uuid::from_u128(9)))
    }
}

fn record(seq: Seq, message: &Message) -> Record {
    let (kind, payload) = (message.kind().to_owned(), message.encode());
    Record { seq, ts: Timestamp::now(), kind, payload }
}

fn run_record(seq: Seq, number: u128) -> Record {
    record(seq, &Message::CommandRun(command(job(number))))
}

fn state_message(message: &Message) -> Unsequenced {
    Unsequenced {
        class: message.class(),
        key: String::new(),
        ts: Timestamp::now(),
        kind: message.kind().to_owned(),
        payload: message.encode(),
    }
}

fn config_update(version: i64) -> Message {
    Message::ConfigUpdate(config::Update {
        version,
        host_name: "alpha".to_owned(),
        repositories: vec![config::Repository {
            id: RepositoryId::from_uuid(Uuid::from_u128(9)),
            name: "main".to_owned(),
            url: Secret::new("/repo"),
            password: Secret::new("canary"),
            environment: BTreeMap::new(),
            ca_certificate: None,
            admin: None,
        }],
        groups: vec![],
    })
}

fn finished(job_id: JobId) -> Finished {
    Finished {
        job_id,
        status: Status::Succeeded,
        exit_code: Some(0),
        finished_at: Timestamp::now(),
        snapshot_id: None,
        stats: None,
        error: None,
        next_try: None,
    }
}

fn note(version: i64) -> Message {
    Message::ConfigApplied(config::Applied { version, applied_at: Timestamp::now() })
}

fn seqs(records: &[Record]) -> Vec<Seq> {
    records.iter().map(|record| record.seq).collect()
}

#[tokio::test]
async fn records_are_numbered_from_one_and_leave_only_when_acknowledged() {
    let mut bench = Bench::new();
    let empty = Positions { received: 0, oldest: 1, next: 1 };
    assert_eq!(bench.state().positions().await.unwrap(), empty);
    bench.state().append((1..=5).map(note).collect()).await.unwrap();
    bench.state().forget(2).await.unwrap();
    bench.reopen();
    assert_eq!(bench.state().summary().unwrap().1, 3);
    assert_eq!(seqs(&bench.state().load(2, 10).await.unwrap()), [3, 4, 5]);
    assert_eq!(seqs(&bench.state().load(3, 1).await.unwrap()), [4]);
    bench.state().forget(5).await.unwrap();
    bench.reopen();
    assert_eq!(bench.state().summary().unwrap().1, 0);
    bench.state().append(vec![note(6)]).await.unwrap();
    let new = bench.state().load(5, 10).await.unwrap();
    assert_eq!(seqs(&new), [6], "a position is never used twice");
}

#[tokio::test]
async fn a_server_from_yesterday_is_given_what_it_had_acknowledged_since() {
    let mut bench = Bench::new();
    bench.state().append((1..=5).map(note).collect()).await.unwrap();
    bench.state().forget(5).await.unwrap();
    bench.reopen();
    // It says that it has received 2 records; the session goes on behind those.
    let positions = bench.state().positions().await.unwrap();
    assert_eq!(positions, Positions { received: 0, oldest: 1, next: 6 });
    assert_eq!(seqs(&bench.state().load(2, 10).await.unwrap()), [3, 4, 5]);
    // And acknowledges them a second time.
    bench.state().forget(3).await.unwrap();
    assert_eq!(bench.state().summary().unwrap().1, 0, "none of them waits");
}

#[tokio::test]
async fn of_what_was_acknowledged_only_the_newest_is_kept() {
    let mut bench = Bench::new();
    bench.state().append((1..=600).map(note).collect()).await.unwrap();
    for through in [1, 300, 600] {
        bench.state().forget(through).await.unwrap();
    }
    let positions = bench.state().positions().await.unwrap();
    assert_eq!(positions, Positions { received: 0, oldest: 600 - 512 + 1, next: 601 });
    let large = |number: u128| {
        let snapshot_id = Some("x".repeat(10_000));
        Message::JobFinished(Finished { snapshot_id, ..finished(job(number)) })
    };
    bench.state().append((1..=100).map(large).collect()).await.unwrap();
    bench.state().forget(700).await.unwrap();
    let positions = bench.state().positions().await.unwrap();
    assert!((670..=680).contains(&positions.oldest), "{positions:?}");
    bench.reopen();
    assert_eq!(bench.state().summary().unwrap().1, 0);
}

#[tokio::test]
async fn what_was_answered_with_ok_survives_a_power_cut() {
    let bench = Bench::new();
    for version in 1..=20 {
        bench.state().append(vec![note(version)]).await.unwrap();
        let cut = bench.after_power_cut();
        assert_eq!(cut.positions().await.unwrap().next, version.unsigned_abs() + 1);
    }
}

#[tokio::test]
async fn many_writers_share_commits_and_none_is_lost() {
    let bench = Bench::new();
    let writes = (0..500).map(|version| bench.state().append(vec![note(version)]));
    let mut tasks: Vec<_> = writes.map(Box::pin).collect();
    for outcome in join_all(&mut tasks).await {
        outcome.unwrap();
    }
    assert_eq!(seqs(&bench.outbox().await), (1..=500).collect::<Vec<_>>());
}

/// Polls all of `tasks` in one task, so that all of them wait for the writer at once.
async fn join_all<F: Future + Unpin>(tasks: &mut [F]) -> Vec<F::Output> {
    let mut outputs: Vec<Option<F::Output>> = tasks.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (task, output) in tasks.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = std::pin::Pin::new(task).poll(context)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn a_command_its_answer_and_the_position_are_one_change() {
    let bench = Bench::new();
    bench.apply(vec![run_record(1, 1), run_record(2, 2)]).await;
    let cut = bench.after_power_cut();
    assert_eq!(cut.positions().await.unwrap().received, 2);
    let jobs: Vec<_> = cut.active_jobs().await.unwrap().iter().map(Entry::job_id).collect();
    assert_eq!(jobs, [job(1), job(2)]);
    assert_eq!(cut.load(0, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn records_that_come_again_have_no_effect() {
    let mut bench = Bench::new();
    bench.apply(vec![run_record(1, 1)]).await;
    bench.reopen();
    bench.apply(vec![run_record(1, 1), run_record(2, 2)]).await;
    assert_eq!(bench.kinds().await, ["command.result", "command.result"]);
    assert_eq!(bench.state().active_jobs().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_command_for_a_known_job_is_answered_again_and_not_run_again() {
    let bench = Bench::new();
    bench.apply(vec![run_record(1, 1), run_record(2, 1)]).await;
    assert_eq!(bench.state().active_jobs().await.unwrap().len(), 1);
    assert!(bench.state().finish(finished(job(1))).await.unwrap());
    bench.apply(vec![run_record(3, 1)]).await;
    assert!(bench.last_outcome().await.accepted);
    assert!(bench.state().active_jobs().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_job_ends_once_and_the_first_result_stands() {
    let bench = Bench::new();
    bench.apply(vec![run_record(1, 1)]).await;
    assert!(bench.state().finish(finished(job(1))).await.unwrap());
    assert!(!bench.state().finish(finished(job(1))).await.unwrap());
    assert_eq!(bench.kinds().await, ["command.result", "job.finished"]);
}

#[tokio::test]
async fn a_snapshot_makes_a_list_due_until_the_newest_change_is_in_it() {
    let mut bench = Bench::new();
    bench.apply(vec![run_record(1, 1), run_record(2, 2), run_record(3, 3)]).await;
    let with_snapshot =
        |number| Finished { snapshot_id: Some("abc".to_owned()), ..finished(job(number)) };
    bench.state().finish(finished(job(1))).await.unwrap();
    assert!(bench.state().listings_due().await.unwrap().is_empty(), "nothing new is in it");
    bench.state().finish(with_snapshot(2)).await.unwrap();
    bench.reopen();
    let first = bench.state().listings_due().await.unwrap()[0];
    bench.state().finish(with_snapshot(3)).await.unwrap();
    bench.state().append_listing(first, vec![]).await.unwrap();
    let second = bench.state().listings_due().await.unwrap()[0];
    assert_ne!(first, second, "the list was made before the last snapshot");
    bench.state().append_listing(second, vec![]).await.unwrap();
    assert!(bench.state().listings_due().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_write_changes_nothing_and_stops_the_agent() {
    let bench = Bench::new();
    let full = |txn: &WriteTransaction| {
        outbox::append(txn, &note(1))?;
        Err::<(), _>(redb::Error::Io(std::io::ErrorKind::StorageFull.into()))
    };
    assert!(bench.state().write("testing", full).await.is_err());
    assert!(bench.state().failed().is_cancelled());
    assert!(bench.outbox().await.is_empty());
}

#[tokio::test]
async fn a_job_is_started_at_most_once_even_across_a_crash() {
    let mut bench = Bench::new();
    bench.apply(vec![run_record(1, 1)]).await;
    assert!(bench.state().intend(job(1)).await.unwrap());
    assert!(!bench.state().intend(job(1)).await.unwrap());
    bench.reopen();
    assert!(!bench.state().intend(job(1)).await.unwrap());
    assert_eq!(bench.state().active_jobs().await.unwrap()[0].stage, Stage::Intent);
    let child = Child { pid: 7, start_time: 8 };
    bench.state().note_child(job(1), child, None).await.unwrap();
    bench.reopen();
    assert_eq!(bench.state().active_jobs().await.unwrap()[0].stage, Stage::Started(child));
}

#[tokio::test]
async fn cancelling_a_waiting_job_ends_it_at_once() {
    let bench = Bench::new();
    let cancel = record(2, &Message::CommandCancel(Cancel { job_id: job(1) }));
    bench.apply(vec![run_record(1, 1), cancel]).await;
    assert_eq!(bench.kinds().await, ["command.result", "command.result", "job.finished"]);
    assert!(!bench.state().intend(job(1)).await.unwrap(), "it must not start any more");
}

#[tokio::test]
async fn wishes_about_a_running_job_are_kept_for_the_runner() {
    let bench = Bench::new();
    bench.apply(vec![run_record(1, 1)]).await;
    bench.state().intend(job(1)).await.unwrap();
    bench.apply(vec![record(2, &Message::CommandPause(Pause { job_id: job(1) }))]).await;
    assert_eq!(bench.state().active_jobs().await.unwrap()[0].wanted, Wanted::Pause);
    bench.apply(vec![record(3, &Message::CommandCancel(Cancel { job_id: job(1) }))]).await;
    bench.apply(vec![record(4, &Message::CommandPause(Pause { job_id: job(1) }))]).await;
    assert_eq!(bench.state().active_jobs().await.unwrap()[0].wanted, Wanted::Cancel);
}

#[tokio::test]
async fn wishes_about_unknown_and_ended_jobs_are_refused_with_a_code() {
    let bench = Bench::new();
    bench.apply(vec![record(1, &Message::CommandCancel(Cancel { job_id: job(1) }))]).await;
    let outcome = bench.last_outcome().await;
    assert!(!outcome.accepted);
    assert_eq!(outcome.error.unwrap().code, "unknown_job");

    bench.apply(vec![run_record(2, 1)]).await;
    bench.state().finish(finished(job(1))).await.unwrap();
    bench.apply(vec![record(3, &Message::CommandPause(Pause { job_id: job(1) }))]).await;
    assert_eq!(bench.last_outcome().await.error.unwrap().code, "job_ended");
}

#[tokio::test]
async fn an_operation_that_the_agent_cannot_run_is_refused_and_never_a_backup_instead() {
    let bench = Bench::new();
    let run = Run { operation: Operation::Ls, ..command(job(1)) };
    bench.apply(vec![record(1, &Message::CommandRun(run))]).await;
    let outcome = bench.last_outcome().await;
    assert!(!outcome.accepted);
    assert_eq!(outcome.error.unwrap().code, "operation_unsupported");
    assert!(bench.state().active_jobs().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_queue_has_an_end_and_a_command_beyond_it_is_refused() {
    let bench = Bench::new();
    bench.apply((1..=1001).map(|number| run_record(number, number.into())).collect()).await;
    let outcome = bench.last_outcome().await;
    assert_eq!(outcome.job_id, job(1001));
    assert_eq!(outcome.error.unwrap().code, "queue_full");
    assert_eq!(bench.state().active_jobs().await.unwrap().len(), 1000);
}

#[tokio::test]
async fn records_that_cannot_be_understood_do_not_stop_the_stream() {
    let bench = Bench::new();
    let odd = |seq, kind: &str| Record {
        seq,
        ts: Timestamp::now(),
        kind: kind.to_owned(),
        payload: Payload::of(&json!({"job_id": 7})),
    };
    bench.apply(vec![odd(1, "command.run"), odd(2, "from.the.future"), run_record(3, 1)]).await;
    assert_eq!(bench.state().positions().await.unwrap().received, 3);
    assert_eq!(bench.state().active_jobs().await.unwrap().len(), 1);
    let letters = bench.state().database.read_now("counting", |txn| {
        Ok(redb::ReadableTableMetadata::len(&txn.open_table(table::DEAD_LETTERS)?)?)
    });
    assert_eq!(letters.unwrap(), 1);
}

#[tokio::test]
async fn only_newer_settings_count_and_each_is_confirmed_once() {
    let mut bench = Bench::new();
    let mut seen = bench.state().settings();
    for version in [2, 2, 1] {
        bench.state().receive(state_message(&config_update(version))).await.unwrap();
    }
    assert!(seen.has_changed().unwrap());
    assert_eq!(seen.borrow_and_update().config_version(), 2);
    assert_eq!(bench.kinds().await, ["config.applied"]);
    bench.reopen();
    assert_eq!(bench.state().settings().borrow().config_version(), 2);
    let set = Message::ScheduleSet(Set { version: 1, schedules: vec![] });
    bench.state().receive(state_message(&set)).await.unwrap();
    assert_eq!(bench.kinds().await, ["config.applied", "schedule.ack"]);
}

#[tokio::test]
async fn the_state_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let mode = fs::metadata(bench.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "it holds credentials");
}

#[tokio::test]
async fn a_slot_fires_once_though_the_clock_goes_back() {
    let bench = Bench::new();
    let schedule = Schedule {
        id: ScheduleId::from_uuid(Uuid::from_u128(4)),
        cron_expr: "0 3 * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        enabled: true,
        source_groups: vec!["etc".to_owned()],
        timing: Default::default(),
    };
    let scheduled_at: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
    let host = HostId::from_uuid(Uuid::from_u128(1));
    let firing = Firing {
        slot: Slot { schedule_id: schedule.id, scheduled_at },
        mark: Mark::new(&schedule, scheduled_at),
        runs: vec![command(JobId::of_slot(host, schedule.id, scheduled_at, 1))],
        missed: 0,
        passed: vec![],
        skipped: None,
    };
    assert_eq!(bench.state().fire(firing.clone()).await.unwrap(), 1);
    assert_eq!(bench.state().fire(firing.clone()).await.unwrap(), 0, "while it still waits");
    let id = firing.runs[0].job_id;
    bench.state().finish(finished(id)).await.unwrap();
    assert_eq!(bench.state().fire(firing).await.unwrap(), 0, "after it has ended");
    assert_eq!(bench.kinds().await, ["schedule.fire", "job.finished"]);
    let marks = bench.state().marks().await.unwrap();
    assert_eq!(marks[&schedule.id].fired_through, scheduled_at);
}

#[tokio::test]
async fn a_slot_leaves_out_a_group_whose_last_job_has_not_ended() {
    let bench = Bench::new();
    let schedule_id = ScheduleId::from_uuid(Uuid::from_u128(4));
    let fire = |hour: i64, number: u128| {
        let scheduled_at = Timestamp::from_second(hour * 3600).unwrap();
        let mark = Mark {
            cron_expr: "0 * * * *".to_owned(),
            time_zone: "UTC".to_owned(),
            fired_through: scheduled_at,
        };
        let slot = Slot { schedule_id, scheduled_at };
        bench.state().fire(Firing {
            slot,
            mark,
            runs: vec![command(job(number))],
            missed: 0,
            passed: vec![],
            skipped: None,
        })
    };
    assert_eq!(fire(1, 1).await.unwrap(), 1);
    assert_eq!(fire(2, 2).await.unwrap(), 0);
    bench.state().finish(finished(job(1))).await.unwrap();
    assert_eq!(fire(3, 3).await.unwrap(), 1);
}

#[tokio::test]
async fn boots_are_counted_and_the_incarnation_stays() {
    let mut bench = Bench::new();
    let incarnation = bench.state().incarnation();
    assert_eq!(bench.state().begin_boot().await.unwrap(), 1);
    bench.reopen();
    assert_eq!(bench.state().incarnation(), incarnation);
    assert_eq!(bench.state().begin_boot().await.unwrap(), 2);
}

#[tokio::test]
async fn a_new_enrolment_as_the_same_host_keeps_what_waits_and_numbers_it_anew() {
    let mut bench = Bench::new();
    bench.apply(vec![run_record(1, 1)]).await;
    bench.state().append(vec![note(1), note(2)]).await.unwrap();
    bench.state().forget(1).await.unwrap();
    let fresh = mint();
    bench.state().begin_incarnation(fresh, true).await.unwrap();
    bench.reopen();
    assert_eq!(bench.state().incarnation(), fresh);
    assert_eq!(seqs(&bench.outbox().await), [1, 2]);
    let positions = bench.state().positions().await.unwrap();
    assert_eq!(positions, Positions { received: 0, oldest: 1, next: 3 });
    assert_eq!(bench.state().active_jobs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_new_enrolment_as_another_host_starts_from_nothing() {
    let mut bench = Bench::new();
    bench.apply(vec![run_record(1, 1)]).await;
    bench.state().receive(state_message(&config_update(3))).await.unwrap();
    bench.state().begin_incarnation(mint(), false).await.unwrap();
    bench.reopen();
    assert!(bench.outbox().await.is_empty());
    assert!(bench.state().active_jobs().await.unwrap().is_empty());
    assert_eq!(bench.state().settings().borrow().config_version(), 0);
}

#[tokio::test]
async fn damage_is_set_aside_and_told_in_the_first_record() {
    let mut bench = Bench::new();
    bench.state().begin_boot().await.unwrap();
    let incarnation = bench.state().incarnation();
    drop(bench.state.take());
    let mut bytes = fs::read(bench.path()).unwrap();
    for byte in bytes.iter_mut().skip(320).step_by(97) {
        *byte ^= 0xA5;
    }
    fs::write(bench.path(), bytes).unwrap();
    bench.reopen();
    assert_ne!(bench.state().incarnation(), incarnation);
    assert_eq!(bench.kinds().await, ["outbox.reset"]);
    let names = fs::read_dir(bench.dir.path()).unwrap();
    let kept = names.flatten().any(|entry| entry.file_name().to_string_lossy().contains("damaged"));
    assert!(kept, "the damaged file stays for a person to look at");
}

#[tokio::test]
async fn no_credential_of_the_configuration_is_readable_in_the_files() {
    let mut bench = Bench::new();
    bench.state().receive(state_message(&config_update(3))).await.unwrap();
    bench.reopen();
    let config = bench.state().settings().borrow().config.clone().unwrap();
    assert_eq!(config.repositories[0].password.expose(), "canary");
    let file = fs::read(bench.path()).unwrap();
    assert!(!file.windows(6).any(|window| window == b"canary"));
}

#[tokio::test]
async fn a_lost_key_costs_the_configuration_and_nothing_else() {
    let mut bench = Bench::new();
    bench.state().receive(state_message(&config_update(3))).await.unwrap();
    bench.apply(vec![run_record(1, 1)]).await;
    fs::remove_file(bench.dir.path().join("key")).unwrap();
    bench.reopen();
    assert_eq!(bench.state().settings().borrow().config, None);
    assert_eq!(bench.state().active_jobs().await.unwrap().len(), 1);
    // The server sends the same version again, and that is now news.
    bench.state().receive(state_message(&config_update(3))).await.unwrap();
    assert_eq!(bench.state().settings().borrow().config_version(), 3);
}
