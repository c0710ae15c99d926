//! restics that lie, crash, hang, flood and die.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use holdfast_engine::{Control, DiscoverError, Event, Patience, Reaped, Restic, reap_orphan};
use holdfast_protocol::message::{config::Secret, job::Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc;

use crate::support::{
    Job, PASSWORD, Place, backup_of, code, eventually, hasty, process_state, run,
};

const SUMMARY: &str = r#"echo '{"message_type":"summary","snapshot_id":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}'"#;

#[tokio::test]
async fn every_exit_code_has_its_end() {
    for (exit, status, expected, calls) in [
        ("exit 0", Status::Failed, "snapshot_unconfirmed", 1),
        ("exit 1", Status::Failed, "restic_failed", 1),
        ("exit 2", Status::Failed, "restic_failed", 1),
        ("exit 3", Status::Failed, "snapshot_unconfirmed", 1),
        ("exit 12", Status::Failed, "wrong_password", 1),
        ("exit 77", Status::Failed, "restic_failed", 1),
        ("exit 130", Status::Failed, "interrupted", 1),
        ("kill -9 $$", Status::Failed, "restic_killed", 1),
        ("kill -11 $$", Status::Failed, "restic_killed", 1),
        ("kill -15 $$", Status::Failed, "restic_killed", 1),
        (r#"echo '{"message_type":"summary"}'"#, Status::Failed, "snapshot_unconfirmed", 1),
        (
            r#"echo '{"message_type":"summary","snapshot_id":"latest"}'"#,
            Status::Failed,
            "snapshot_unconfirmed",
            1,
        ),
        (SUMMARY, Status::Succeeded, "", 1),
        (&format!("{SUMMARY}; exit 3"), Status::Partial, "source_unreadable", 1),
        (&format!("{SUMMARY}; exit 1"), Status::Failed, "restic_failed", 1),
    ] {
        let place = Place::new();
        let outcome = run(&place.stub(exit).await, &place).await;
        assert_eq!((outcome.status, code(&outcome)), (status, expected), "{exit}");
        assert_eq!(place.calls().len(), calls, "{exit}");
        let number = exit.rsplit("exit ").next().and_then(|number| number.parse().ok());
        let expected = if exit.starts_with("kill") { None } else { Some(number.unwrap_or(0)) };
        assert_eq!(outcome.exit_code, expected, "{exit}");
    }
}

#[tokio::test]
async fn a_repository_that_never_comes_to_be_ends_the_job() {
    let place = Place::new();
    let restic = place.stub("[ $operation = init ] || exit 10").await;
    let outcome = run(&restic, &place).await;
    assert_eq!(code(&outcome), "repository_not_found");
    assert!(place.calls().len() < 20, "{:?}", place.calls());
}

#[tokio::test]
async fn a_repository_that_cannot_be_created_says_why() {
    let place = Place::new();
    let restic = place
        .stub("[ $operation = init ] || exit 10; echo 'Fatal: no luck today' >&2; exit 1")
        .await;
    let error = run(&restic, &place).await.error.unwrap();
    assert_eq!(error.code, "repository_init_failed");
    assert_eq!(error.message, "The repository could not be created: no luck today.");
}

#[tokio::test]
async fn a_lock_is_waited_for_after_stale_ones_were_removed() {
    let place = Place::new();
    let behaviour = format!(
        "[ $operation = backup ] || exit 0\n\
         echo x >>\"$here/tries\"; [ $(wc -l <\"$here/tries\") -gt 2 ] || exit 11\n{SUMMARY}"
    );
    let outcome = run(&place.stub(&behaviour).await, &place).await;
    assert_eq!(outcome.status, Status::Succeeded);
    assert_eq!(place.calls(), ["backup", "unlock", "backup", "unlock", "backup"]);
}

#[tokio::test]
async fn a_lock_that_stays_ends_the_wait() {
    let place = Place::new();
    let restic = place.stub("[ $operation = unlock ] || exit 11").await;
    assert_eq!(code(&run(&restic, &place).await), "repository_locked");
    let calls = fs::read_to_string(place.path("calls")).unwrap();
    assert!(!calls.contains("remove-all"), "{calls}");
}

#[tokio::test]
async fn a_cancel_ends_the_wait_for_a_lock() {
    let place = Place::new();
    let patience =
        Patience { lock_wait: Duration::MAX, retry_min: Duration::from_secs(600), ..hasty() };
    let restic = place.stub("[ $operation = unlock ] || exit 11").await.with_patience(patience);
    let mut job = Job::start(&restic, place.access(), place.backup());
    job.remark("the repository is locked").await;
    job.control.cancel();
    let outcome = job.outcome().await;
    assert_eq!((outcome.status, code(&outcome)), (Status::Cancelled, "cancelled"));
}

#[tokio::test]
async fn garbage_does_not_hide_the_snapshot() {
    let place = Place::new();
    let behaviour =
        format!("head -c 1000000 /dev/urandom; echo; echo '{{\"message_type\":'; {SUMMARY}");
    assert_eq!(run(&place.stub(&behaviour).await, &place).await.status, Status::Succeeded);
}

#[tokio::test]
async fn an_endless_line_is_cut_and_memory_stays_flat() {
    let place = Place::new();
    let behaviour = format!("head -c 50000000 /dev/zero | tr '\\0' x; echo; {SUMMARY}");
    let restic = place.stub(&behaviour).await;
    let before = peak_memory_kib();
    let (outcome, events) = Job::start(&restic, place.access(), place.backup()).end().await;
    assert_eq!(outcome.status, Status::Succeeded);
    let grown = peak_memory_kib() - before;
    assert!(grown < 30_000, "{grown} KiB");
    let told =
        |event: &Event| matches!(event, Event::Log { text, .. } if text.contains("not kept"));
    assert!(events.iter().any(told));
}

fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_silent_grandchild_that_holds_the_pipes_is_killed() {
    let place = Place::new();
    let behaviour = format!("sleep 600 & echo $! >\"$here/grandchild\"; {SUMMARY}");
    let restic = place.stub(&behaviour).await;
    let start = Instant::now();
    assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let grandchild = place.line_of("grandchild").await.parse().unwrap();
    eventually("the grandchild is gone", || process_state(grandchild).is_none()).await;
}

#[tokio::test]
async fn a_process_that_left_the_group_with_the_pipes_is_not_waited_for() {
    let place = Place::new();
    let behaviour = format!(
        "setsid sh -c 'echo $$ >\"$0\"; exec sleep 600' \"$here/deserter\" &\n\
         until [ -s \"$here/deserter\" ]; do sleep 0.01; done; {SUMMARY}"
    );
    let restic = place.stub(&behaviour).await;
    let start = Instant::now();
    assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let deserter = place.line_of("deserter").await.parse().unwrap();
    assert!(process_state(deserter).is_some(), "it held the pipes all the time");
    kill(Pid::from_raw(deserter.cast_signed()), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_restic_deaf_to_sigint_is_killed_and_its_lock_removed() {
    let place = Place::new();
    let behaviour = "[ $operation = backup ] || exit 0\n\
                     trap '' INT; echo ready >\"$here/ready\"; while :; do sleep 1; done";
    let restic = place.stub(behaviour).await;
    let mut job = Job::start(&restic, place.access(), place.backup());
    let child = job.spawned().await;
    place.line_of("ready").await;
    job.control.cancel();
    let (outcome, events) = job.end().await;
    assert_eq!((outcome.status, outcome.exit_code), (Status::Cancelled, None));
    assert_eq!(process_state(child.pid), None);
    assert_eq!(place.calls(), ["backup", "unlock"]);
    let told = |event: &Event| matches!(event, Event::Log { text, .. } if text.contains("killed"));
    assert!(events.iter().any(told), "{events:?}");
}

#[tokio::test]
async fn a_cancelled_job_that_was_done_already_is_not_called_cancelled() {
    let place = Place::new();
    let behaviour = format!(
        "trap '{}; exit 0' INT; echo ready >\"$here/ready\"; while :; do sleep 0.05; done",
        SUMMARY.replace('\'', "'\\''")
    );
    let job = Job::start(&place.stub(&behaviour).await, place.access(), place.backup());
    place.line_of("ready").await;
    job.control.cancel();
    let outcome = job.outcome().await;
    assert_eq!(outcome.status, Status::Succeeded);
}

#[tokio::test]
async fn a_job_cancelled_before_its_start_starts_nothing() {
    let place = Place::new();
    let (restic, control) = (place.stub(SUMMARY).await, Control::new());
    control.cancel();
    let (sender, mut events) = mpsc::channel(8);
    let outcome = restic.backup(&place.access(), &place.backup(), &control, sender).await;
    assert_eq!(outcome.status, Status::Cancelled);
    assert_eq!(events.recv().await, None);
    assert!(place.calls().is_empty());
}

#[tokio::test]
async fn a_pause_longer_than_the_lock_bears_ends_the_job() {
    let place = Place::new();
    let behaviour = "case \"$*\" in *unlock*) exit 0;; esac; trap 'exit 130' INT; \
                     echo ready >\"$here/ready\"; while :; do sleep 0.05; done";
    let patience = Patience { pause_max: Duration::from_millis(300), ..hasty() };
    let restic = place.stub(behaviour).await.with_patience(patience);
    let job = Job::start(&restic, place.access(), place.backup());
    place.line_of("ready").await;
    job.control.pause();
    let (outcome, events) = job.end().await;
    assert_eq!((outcome.status, code(&outcome)), (Status::Cancelled, "pause_too_long"));
    assert_eq!(outcome.exit_code, Some(130));
    assert!(events.contains(&Event::Paused));
}

#[tokio::test]
async fn a_dropped_job_takes_its_whole_group_with_it() {
    let place = Place::new();
    let behaviour = "sleep 600 & echo $! >\"$here/grandchild\"; wait";
    let mut job = Job::start(&place.stub(behaviour).await, place.access(), place.backup());
    let child = job.spawned().await;
    let grandchild = place.line_of("grandchild").await.parse().unwrap();
    job.drop_future().await;
    for pid in [child.pid, grandchild] {
        eventually("the group is gone", || process_state(pid).is_none()).await;
    }
    let left = fs::read_dir(place.scratch()).unwrap().count();
    assert_eq!(left, 0, "secret files are gone");
}

#[tokio::test]
async fn an_orphan_deaf_to_sigint_is_killed_even_when_paused() {
    let place = Place::new();
    // No child of the shell: one stopped between fork and exec holds its parent in another state.
    let behaviour = "trap '' INT; echo ready >\"$here/ready\"; exec sleep 600";
    let mut job = Job::start(&place.stub(behaviour).await, place.access(), place.backup());
    let child = job.spawned().await;
    place.line_of("ready").await;
    job.control.pause();
    eventually("it is stopped", || process_state(child.pid) == Some('T')).await;
    assert_eq!(reap_orphan(child).await, Reaped::Killed);
    assert_eq!(code(&job.outcome().await), "restic_killed");
}

#[tokio::test]
async fn a_listener_that_does_not_listen_does_not_slow_restic() {
    let place = Place::new();
    let behaviour = format!("seq 200000; echo x >\"$here/done\"; {SUMMARY}");
    let restic = place.stub(&behaviour).await;
    let (sender, mut events) = mpsc::channel(1);
    let (access, backup) = (place.access(), place.backup());
    let job =
        tokio::spawn(async move { restic.backup(&access, &backup, &Control::new(), sender).await });
    place.line_of("done").await;
    let mut lost = false;
    while let Some(event) = events.recv().await {
        lost |= matches!(event, Event::Log { text, .. } if text.contains("were dropped"));
    }
    assert_eq!(job.await.unwrap().status, Status::Succeeded);
    assert!(lost, "what was lost is told");
}

#[tokio::test]
async fn restic_sees_only_the_environment_it_is_meant_to_see() {
    let place = Place::new();
    let restic = place.stub(&format!("env >\"$here/environment\"; {SUMMARY}")).await;
    let mut access = place.access();
    access.environment =
        BTreeMap::from([("AWS_ACCESS_KEY_ID".to_owned(), Secret::new("canary-key"))]);
    Job::start(&restic, access, place.backup()).outcome().await;
    let environment = fs::read_to_string(place.path("environment")).unwrap();
    assert!(environment.contains("AWS_ACCESS_KEY_ID=canary-key"));
    assert!(environment.contains("RESTIC_PROGRESS_FPS=2"));
    assert!(!environment.contains(PASSWORD));
    // Cargo sets this one for every test, so it would be there if all were inherited.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!environment.contains("CARGO_MANIFEST_DIR"), "{environment}");
}

#[tokio::test]
async fn secrets_in_restics_words_are_not_passed_on() {
    let words =
        format!("cannot open with {PASSWORD} at http://joe:canary-url@host/ key canary-key");
    let tells = format!(
        "echo '{words}' >&2; echo '{words}'\n\
         echo '{{\"message_type\":\"error\",\"error\":{{\"message\":\"{words}\"}},\"item\":\"/x\"}}' >&2\n"
    );
    let fatal = format!(
        "echo '{{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"{words}\"}}' >&2"
    );
    for behaviour in [format!("{tells}; {fatal}; exit 1"), format!("{tells}; {SUMMARY}; exit 3")] {
        let place = Place::new();
        let restic = place.stub(&behaviour.replace("\n;", "\n")).await;
        let mut access = place.access();
        access.url = Secret::new("rest:http://joe:canary-url@host/");
        access.environment =
            BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), Secret::new("canary-key"))]);
        let (outcome, events) = Job::start(&restic, access, place.backup()).end().await;
        let message = outcome.error.clone().unwrap().message;
        assert!(message.contains("cannot open with (secret)"), "{message}");
        let all = format!("{outcome:?} {events:?}");
        assert!(!all.contains("canary"), "{all}");
    }
}

#[tokio::test]
async fn unacceptable_configuration_starts_nothing() {
    let place = Place::new();
    let restic = place.stub(SUMMARY).await;
    let mut with_preload = place.access();
    with_preload.environment.insert("LD_PRELOAD".to_owned(), Secret::new("/x.so"));
    let mut option = place.backup();
    option.includes.push("--password-command=touch /tmp/x".to_owned());
    for (access, backup) in [(with_preload, place.backup()), (place.access(), option)] {
        let outcome = Job::start(&restic, access, backup).outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "invalid_configuration"));
    }
    assert!(place.calls().is_empty());
}

#[tokio::test]
async fn sources_that_do_not_exist_are_named_and_start_nothing() {
    let place = Place::new();
    let restic = place.stub(SUMMARY).await;
    let missing = place.path("missing");
    let outcome = Job::start(&restic, place.access(), backup_of(&[&missing])).outcome().await;
    let error = outcome.error.unwrap();
    assert_eq!(error.code, "source_missing");
    assert!(error.message.contains(missing.to_str().unwrap()), "{}", error.message);
    assert!(place.calls().is_empty());
}

#[tokio::test]
async fn a_program_that_vanished_is_missing() {
    let place = Place::new();
    let restic = place.stub(SUMMARY).await;
    fs::remove_file(restic.program()).unwrap();
    assert_eq!(code(&run(&restic, &place).await), "restic_missing");
}

#[tokio::test]
async fn a_command_that_hangs_is_ended() {
    let place = Place::new();
    let patience = Patience { command_max: Duration::from_millis(200), ..hasty() };
    let restic = place.stub("sleep 600").await.with_patience(patience);
    let error = restic.snapshots(&place.access(), "host-1").await.unwrap_err();
    assert_eq!(error.code, "repository_unreachable");
}

#[tokio::test]
async fn discovery_says_what_is_wrong_in_one_sentence() {
    let place = Place::new();
    let missing = Restic::discover(Some(&place.path("no-restic"))).await.unwrap_err();
    assert!(matches!(missing, DiscoverError::NotFound { .. }));
    assert!(missing.to_string().ends_with("/no-restic does not exist"), "{missing}");
    assert!(missing.action().contains("apt install restic"));
    let nowhere = Restic::discover(Some("no-such-restic".as_ref())).await.unwrap_err();
    assert_eq!(nowhere.to_string(), "restic was not found: no-such-restic is not on the PATH");

    let text = place.path("text");
    fs::write(&text, "not a program").unwrap();
    let not_executable = Restic::discover(Some(&text)).await.unwrap_err();
    assert!(matches!(not_executable, DiscoverError::NotExecutable { .. }));
    fs::set_permissions(&text, fs::Permissions::from_mode(0o700)).unwrap();
    let refused = Restic::discover(Some(&text)).await.unwrap_err();
    assert!(matches!(refused, DiscoverError::NotExecutable { source: Some(_), .. }), "{refused:?}");

    let unreadable = Restic::discover(Some("/bin/true".as_ref())).await.unwrap_err();
    assert_eq!(unreadable.to_string(), "/bin/true does not answer `version` as restic does");
    assert_eq!(unreadable.to_job_error().code, "restic_missing");
}

#[tokio::test]
async fn a_restic_too_old_is_refused() {
    let place = Place::new();
    let stub = place.stub_of_version("0.14.0", "").await;
    let behaviour = "echo 'restic 0.13.1 compiled with sh'";
    fs::write(place.path("behaviour.sh"), behaviour).unwrap();
    let error = Restic::discover(Some(stub.program())).await.unwrap_err();
    assert!(error.to_string().ends_with("is restic 0.13.1, but 0.14.0 or newer is needed"));
    assert_eq!(error.to_job_error().code, "restic_too_old");
}
