//! Backups against real restics.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use holdfast_engine::{Event, Reaped, Restic, reap_orphan};
use holdfast_protocol::message::{config::Secret, job::Status, snapshot::Snapshot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::{
    Job, PASSWORD, Place, backup_of, code, eager, eventually, noise, process_state, restics, run,
};

async fn snapshots(restic: &Restic, place: &Place) -> Vec<Snapshot> {
    restic.snapshots(&place.access(), "host-1").await.unwrap()
}

/// A file that takes restic for ever to read and no space.
fn endless_file(place: &Place) -> PathBuf {
    const SIZE_BYTES: u64 = 1 << 40;
    let path = place.path("endless");
    File::create(&path).unwrap().set_len(SIZE_BYTES).unwrap();
    path
}

fn start_endless(restic: &Restic, place: &Place) -> Job {
    Job::start(restic, place.access(), backup_of(&[&endless_file(place)]))
}

#[tokio::test]
async fn the_first_backup_creates_the_repository_and_the_second_uses_it() {
    for restic in restics().await {
        let place = Place::new();
        let mut first = Job::start(&restic, place.access(), place.backup());
        first.remark("the repository did not exist and was created").await;
        let first = first.outcome().await;
        assert_eq!((first.status, first.exit_code), (Status::Succeeded, Some(0)), "{first:?}");
        let config = fs::read(place.repository().join("config")).unwrap();

        let (second, events) = Job::start(&restic, place.access(), place.backup()).end().await;
        assert_eq!(second.status, Status::Succeeded, "{second:?}");
        assert_eq!(fs::read(place.repository().join("config")).unwrap(), config);
        let created =
            |event: &Event| matches!(event, Event::Log { text, .. } if text.contains("created"));
        assert!(!events.iter().any(created));

        let listed = snapshots(&restic, &place).await;
        let ids: Vec<_> = listed.iter().map(|snapshot| snapshot.id.clone()).collect();
        assert_eq!(ids, [first.snapshot_id.unwrap(), second.snapshot_id.unwrap()]);
        for snapshot in listed {
            assert_eq!(
                (snapshot.hostname.as_str(), snapshot.tags),
                ("host-1", vec!["documents".to_owned()])
            );
            assert_eq!(snapshot.paths, [place.source().to_str().unwrap()]);
        }
        assert!(restic.snapshots(&place.access(), "other").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn excludes_and_hostile_file_names_are_taken_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    for restic in restics().await {
        let place = Place::new();
        for name in [&b"-rf"[..], b"new\nline", b"not-utf8-\xff", b"left-out.tmp"] {
            fs::write(place.source().join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
        }
        let mut backup = place.backup();
        backup.excludes.push("*.tmp".to_owned());
        let outcome = Job::start(&restic, place.access(), backup).outcome().await;
        assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
        let stats: serde_json::Value = outcome.stats.unwrap().parse().unwrap();
        assert_eq!(stats["total_files_processed"], 4);
    }
}

#[tokio::test]
async fn many_first_backups_at_once_share_one_repository() {
    for restic in restics().await.into_iter().map(eager) {
        let place = Place::new();
        let mut jobs = Vec::new();
        for number in 0..4 {
            let mut access = place.access();
            access.scratch_dir = place.path(&format!("scratch-{number}"));
            jobs.push(Job::start(&restic, access, place.backup()));
        }
        for job in jobs {
            let outcome = job.outcome().await;
            assert_eq!(outcome.status, Status::Succeeded, "{} {outcome:?}", restic.version());
        }
        assert_eq!(snapshots(&restic, &place).await.len(), 4);
    }
}

#[tokio::test]
async fn a_repository_that_lost_its_config_is_not_created_anew() {
    for restic in restics().await.into_iter().map(eager) {
        let place = Place::new();
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let keys = || fs::read_dir(place.repository().join("keys")).unwrap().count();
        fs::remove_file(place.repository().join("config")).unwrap();
        let outcome = run(&restic, &place).await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "repository_init_failed"));
        assert_eq!(keys(), 1, "restic {}", restic.version());
    }
}

#[tokio::test]
async fn a_cancel_does_not_break_off_the_creation_of_a_repository() {
    for restic in restics().await {
        let place = Place::new();
        let mut job = Job::start(&restic, place.access(), place.backup());
        // The first child finds no repository, the second one creates it.
        job.spawned().await;
        job.spawned().await;
        job.control.cancel();
        assert_eq!(job.outcome().await.status, Status::Cancelled);
        assert!(place.repository().join("config").exists());
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
    }
}

#[tokio::test]
async fn a_missing_path_among_others_makes_the_backup_partial() {
    for restic in restics().await {
        let place = Place::new();
        let missing = place.path("missing");
        let backup = backup_of(&[&place.source(), &missing]);
        let outcome = Job::start(&restic, place.access(), backup).outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Partial, "source_missing"));
        assert!(outcome.error.unwrap().message.contains(missing.to_str().unwrap()));
        assert_eq!(outcome.snapshot_id.unwrap(), snapshots(&restic, &place).await[0].id);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_makes_the_backup_partial() {
    for restic in restics().await {
        let place = Place::new();
        // Reading a process's own memory from its start fails for everybody, root included.
        let backup = backup_of(&[&place.source(), Path::new("/proc/self/mem")]);
        let outcome = Job::start(&restic, place.access(), backup).outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Partial, "source_unreadable"));
        assert_eq!(outcome.exit_code, Some(3));
        assert!(outcome.error.unwrap().message.contains("/proc/self/mem"));
        assert_eq!(outcome.snapshot_id.unwrap(), snapshots(&restic, &place).await[0].id);
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_and_changes_nothing() {
    for restic in restics().await {
        let place = Place::new();
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let keys = fs::read_dir(place.repository().join("keys")).unwrap().count();
        let mut access = place.access();
        access.password = Secret::new("something else");
        let outcome = Job::start(&restic, access.clone(), place.backup()).outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "wrong_password"));
        assert_eq!(fs::read_dir(place.repository().join("keys")).unwrap().count(), keys);
        let error = restic.snapshots(&access, "host-1").await.unwrap_err();
        assert_eq!(error.code, "wrong_password");
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_has_no_snapshots() {
    for restic in restics().await {
        let place = Place::new();
        let error = restic.snapshots(&place.access(), "host-1").await.unwrap_err();
        assert_eq!(error.code, "repository_not_found");
        assert!(!place.repository().exists());
    }
}

#[tokio::test]
async fn a_live_lock_is_waited_for_and_not_removed() {
    for restic in restics().await.into_iter().map(eager) {
        let place = Place::new();
        fs::write(place.source().join("large"), noise(3_000_000)).unwrap();
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let mut holder = hold_lock(&restic, &place).await;
        let mut job = Job::start(&restic, place.access(), place.backup());
        for _ in 0..2 {
            job.remark("the repository is locked").await;
        }
        assert_eq!(place.locks(), 1, "the live lock is still there");
        interrupt(&mut holder).await;
        let outcome = job.outcome().await;
        assert_eq!(outcome.status, Status::Succeeded, "{} {outcome:?}", restic.version());
    }
}

/// A check that may read one KiB per second: it holds an exclusive lock for long.
pub(crate) async fn hold_lock(restic: &Restic, place: &Place) -> Child {
    let check = Command::new(restic.program())
        .args(["--limit-download", "1", "check", "--read-data"])
        .env("RESTIC_REPOSITORY", place.repository())
        .env("RESTIC_PASSWORD", PASSWORD)
        .env("RESTIC_CACHE_DIR", place.path("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("the check holds its lock", || place.whole_locks() > 0).await;
    check
}

/// Ends what holds a lock. A restic held back by its limit may not hear an interrupt for minutes;
/// the lock that a kill leaves has no owner.
pub(crate) async fn interrupt(child: &mut Child) {
    const PATIENCE: Duration = Duration::from_secs(1);
    kill(pid(child.id().unwrap()), Signal::SIGINT).unwrap();
    if timeout(PATIENCE, child.wait()).await.is_err() {
        child.kill().await.unwrap();
    }
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap())
}

#[tokio::test]
async fn a_cancelled_backup_leaves_no_process_and_no_lock() {
    for restic in restics().await {
        let place = Place::new();
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let mut job = start_endless(&restic, &place);
        let child = job.spawned().await;
        job.reading(0).await;
        assert!(place.locks() > 0);
        job.control.cancel();
        let outcome = job.outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Cancelled, "cancelled"));
        assert_eq!(process_state(child.pid), None);
        assert_eq!(place.locks(), 0, "restic {}", restic.version());
        assert_eq!(snapshots(&restic, &place).await.len(), 1);
    }
}

#[tokio::test]
async fn a_paused_backup_stands_still_and_goes_on() {
    for restic in restics().await {
        let place = Place::new();
        let mut job = start_endless(&restic, &place);
        let done = job.reading(0).await;
        let spawned = |event: &Event| match event {
            Event::Spawned(child) => Some(child.pid),
            _ => None,
        };
        let pid = job.seen.iter().filter_map(spawned).next_back().unwrap();
        job.control.pause();
        job.event(|event| (*event == Event::Paused).then_some(())).await;
        eventually("it is stopped", || process_state(pid) == Some('T')).await;
        job.control.resume();
        job.event(|event| (*event == Event::Resumed).then_some(())).await;
        job.reading(done).await;
        job.control.pause();
        job.event(|event| (*event == Event::Paused).then_some(())).await;
        job.control.cancel();
        assert_eq!(job.outcome().await.status, Status::Cancelled);
        assert_eq!(place.locks(), 0, "restic {}", restic.version());
    }
}

#[tokio::test]
async fn a_killed_restic_does_not_block_the_next_run() {
    for restic in restics().await {
        let place = Place::new();
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let mut job = start_endless(&restic, &place);
        let child = job.spawned().await;
        job.reading(0).await;
        kill(pid(child.pid), Signal::SIGKILL).unwrap();
        let outcome = job.outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "restic_killed"));
        assert!(place.locks() > 0, "the lock was left");
        restic.unlock_stale(&place.access()).await.unwrap();
        assert_eq!(place.locks(), 0, "restic {}", restic.version());
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
    }
}

#[tokio::test]
async fn an_orphan_is_ended_and_takes_its_lock_along() {
    for restic in restics().await {
        let place = Place::new();
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let mut job = start_endless(&restic, &place);
        let child = job.spawned().await;
        job.reading(0).await;
        assert_eq!(reap_orphan(child).await, Reaped::Interrupted);
        assert_eq!(place.locks(), 0, "restic {}", restic.version());
        // Nobody had asked this engine for the end, so for it the job failed.
        let outcome = job.outcome().await;
        assert_eq!(
            (outcome.status, code(&outcome)),
            (Status::Failed, "interrupted"),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn no_secret_shows_in_arguments_or_environment() {
    for restic in restics().await {
        let place = Place::new();
        let mut job = start_endless(&restic, &place);
        job.reading(0).await;
        let spawned = |event: &Event| match event {
            Event::Spawned(child) => Some(child.pid),
            _ => None,
        };
        let pid = job.seen.iter().filter_map(spawned).next_back().unwrap();
        let repository = place.repository();
        for file in ["cmdline", "environ"] {
            let shown = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            let shown = String::from_utf8_lossy(&shown).into_owned();
            assert!(shown.contains(if file == "cmdline" {
                "backup"
            } else {
                "RESTIC_PASSWORD_FILE"
            }));
            assert!(!shown.contains(PASSWORD), "{file}: {shown}");
            assert!(!shown.contains(repository.to_str().unwrap()), "{file}: {shown}");
        }
        assert_eq!(fs::read_dir(place.scratch()).unwrap().count(), 2);
        job.control.cancel();
        job.outcome().await;
        assert_eq!(fs::read_dir(place.scratch()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_never_taken_for_an_empty_place() {
    for restic in restics().await {
        let place = Place::new();
        let mut access = place.access();
        access.url = Secret::new("rest:http://joe:canary-url@127.0.0.1:1/");
        access.environment = BTreeMap::new();
        let mut job = Job::start(&restic, access, place.backup());
        // Newer versions try for a quarter of an hour, older ones give up.
        job.remark("connection refused").await;
        job.control.cancel();
        let (outcome, events) = job.end().await;
        assert!(matches!(outcome.status, Status::Failed | Status::Cancelled), "{outcome:?}");
        let children = events.iter().filter(|event| matches!(event, Event::Spawned(_)));
        assert_eq!(children.count(), 1, "nothing was created: {events:?}");
        assert!(!format!("{outcome:?} {events:?}").contains("canary"));
    }
}
