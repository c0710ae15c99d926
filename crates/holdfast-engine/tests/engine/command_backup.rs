//! Backups of what a command writes.

use std::collections::BTreeMap;
use std::fs;

use holdfast_engine::{CommandBackup, Control, Event, Restic, SourceCommand};
use holdfast_protocol::message::{
    config::Secret, job::Status, parameters::Dump, snapshot::Snapshot,
};
use tokio::sync::mpsc;

use crate::support::{Job, Place, code, eventually, noise, process_state, restics, run};

/// A backup of what a piece of shell script writes; it knows `$here`.
fn backup_of_script(place: &Place, script: &str) -> CommandBackup {
    let here = place.path("").to_str().unwrap().to_owned();
    CommandBackup {
        host: "host-1".to_owned(),
        tag: "database".to_owned(),
        file_name: "all.sql".to_owned(),
        command: SourceCommand {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: BTreeMap::from([
                ("here".to_owned(), Secret::new(here)),
                ("PGPASSWORD".to_owned(), Secret::new("canary-database")),
            ]),
        },
    }
}

fn start(restic: &Restic, place: &Place, backup: CommandBackup) -> Job {
    let (restic, access) = (restic.clone(), place.access());
    Job::of(async move |control, events| {
        restic.backup_command(&access, &backup, &control, events).await
    })
}

async fn snapshots(restic: &Restic, place: &Place) -> Vec<Snapshot> {
    restic.snapshots(&place.access(), "host-1").await.unwrap()
}

#[tokio::test]
async fn the_output_of_a_command_becomes_a_file_of_a_snapshot() {
    for restic in restics().await {
        let place = Place::new();
        fs::write(place.path("data"), noise(3_000_000)).unwrap();
        let backup = backup_of_script(&place, "cat \"$here/data\"");
        let (outcome, events) = start(&restic, &place, backup).end().await;
        assert_eq!(outcome.status, Status::Succeeded, "{outcome:?} {events:?}");
        let listed = snapshots(&restic, &place).await;
        assert_eq!(
            (listed[0].id.as_str(), &listed[0].paths[..]),
            (outcome.snapshot_id.as_deref().unwrap(), &["/all.sql".to_owned()][..],)
        );
        assert_eq!(listed[0].tags, ["database"]);
        let dump = Dump {
            snapshot_id: listed[0].id.clone(),
            path: "/all.sql".to_owned(),
            offset_bytes: 0,
        };
        let (sender, mut chunks) = mpsc::channel(100);
        let (events, _listener) = mpsc::channel(64);
        let outcome = restic.dump(&place.access(), &dump, sender, &Control::new(), events).await;
        assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            bytes.extend(chunk);
        }
        assert!(bytes == fs::read(place.path("data")).unwrap(), "restic {}", restic.version());
    }
}

#[tokio::test]
async fn a_command_that_fails_half_way_never_becomes_a_snapshot() {
    for restic in restics().await {
        let place = Place::new();
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let half = "head -c 3000000 /dev/urandom; echo 'lost the connection' >&2";
        for (script, words) in [
            (format!("{half}; exit 3"), "exit status: 3): lost the connection"),
            (format!("{half}; kill -9 $$"), "signal: 9"),
            ("exit 1".to_owned(), "exit status: 1"),
        ] {
            let backup = backup_of_script(&place, &script);
            let (outcome, events) = start(&restic, &place, backup).end().await;
            let expected = (Status::Failed, "source_command_failed");
            let what = format!("restic {}: {outcome:?} {events:?}", restic.version());
            assert_eq!((outcome.status, code(&outcome)), expected, "{what}");
            assert!(outcome.error.unwrap().message.contains(words), "{what}");
            assert_eq!(outcome.snapshot_id, None);
            assert_eq!(snapshots(&restic, &place).await.len(), 1, "{what}");
            assert_eq!(place.locks(), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn restic_sees_the_end_only_after_the_command_has_ended_well() {
    for restic in restics().await {
        let place = Place::new();
        // It closes its output and goes on: whether it ends well is not known yet.
        let script = "echo data; exec >&-; echo x >\"$here/closed\"; \
                      until [ -e \"$here/go\" ]; do sleep 0.05; done; exit $(cat \"$here/go\")";
        for (code_of_command, status) in [("0", Status::Succeeded), ("7", Status::Failed)] {
            let _ = fs::remove_file(place.path("go"));
            let _ = fs::remove_file(place.path("closed"));
            let mut job = start(&restic, &place, backup_of_script(&place, script));
            if code_of_command == "0" {
                // The first try finds no repository, the next one starts the command anew.
                job.remark("was created").await;
            }
            place.line_of("closed").await;
            let child = job.spawned().await;
            assert!(process_state(child.pid).is_some());
            fs::write(place.path("go"), code_of_command).unwrap();
            assert_eq!(job.outcome().await.status, status, "restic {}", restic.version());
        }
        assert_eq!(snapshots(&restic, &place).await.len(), 1);
    }
}

#[tokio::test]
async fn a_cancel_ends_the_command_and_restic() {
    for restic in restics().await {
        let place = Place::new();
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let script = "echo $$ >\"$here/pid\"; while :; do echo data; sleep 0.01; done";
        let mut job = start(&restic, &place, backup_of_script(&place, script));
        let child = job.spawned().await;
        let pid = place.line_of("pid").await.parse().unwrap();
        eventually("it holds its lock", || place.whole_locks() > 0).await;
        job.control.cancel();
        let outcome = job.outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Cancelled, "cancelled"));
        assert_eq!(process_state(child.pid), None);
        eventually("the command is gone", || process_state(pid).is_none()).await;
        assert_eq!(snapshots(&restic, &place).await.len(), 1);
        assert_eq!(place.locks(), 0, "restic {}", restic.version());
    }
}

#[tokio::test]
async fn restics_own_failure_is_not_blamed_on_the_command() {
    for restic in restics().await {
        let place = Place::new();
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let mut access = place.access();
        access.password = Secret::new("something else");
        let backup = backup_of_script(&place, "exec yes");
        let stranger = restic.clone();
        let job = Job::of(async move |control, events| {
            stranger.backup_command(&access, &backup, &control, events).await
        });
        let outcome = job.outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "wrong_password"));
    }
}

#[tokio::test]
async fn the_command_sees_its_own_environment_and_no_secret_of_the_repository() {
    let place = Place::new();
    let restic = place.stub("cat >\"$here/stdin\"; echo '{\"message_type\":\"summary\",\"snapshot_id\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}'").await;
    let mut backup = backup_of_script(&place, "env; echo \"for $PGPASSWORD\" >&2");
    backup.command.environment.insert("LEVEL".to_owned(), Secret::new("9"));
    let mut access = place.access();
    access.environment.insert("AWS_SECRET_ACCESS_KEY".to_owned(), Secret::new("canary-key"));
    let job = Job::of(async move |control, events| {
        restic.backup_command(&access, &backup, &control, events).await
    });
    let (outcome, events) = job.end().await;
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
    let seen = fs::read_to_string(place.path("stdin")).unwrap();
    assert!(seen.contains("PGPASSWORD=canary-database") && seen.contains("LEVEL=9"), "{seen}");
    for hidden in ["RESTIC_", "AWS_", "canary-key", "CARGO_MANIFEST_DIR"] {
        assert!(!seen.contains(hidden), "{seen}");
    }
    let told = |event: &Event| matches!(event, Event::Log { text, .. } if text == "for (secret)");
    assert!(events.iter().any(told), "{events:?}");
    let calls = fs::read_to_string(place.path("calls")).unwrap();
    assert_eq!(
        calls.trim(),
        "backup --json --host=host-1 --tag=database --stdin --stdin-filename=all.sql"
    );
}

#[tokio::test]
async fn a_snapshot_that_is_made_all_the_same_is_removed() {
    let place = Place::new();
    // It takes the interrupt for the end of its input.
    let summary = "echo '{\"message_type\":\"summary\",\"snapshot_id\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}'";
    let behaviour = format!(
        "[ $operation = backup ] || exit 0\n\
         trap 'echo {}; exit 0' INT; echo x >\"$here/ready\"; while :; do sleep 0.05; done",
        summary.trim_start_matches("echo ").replace('\'', "'\\''")
    );
    let restic = place.stub(&behaviour).await;
    let script = "until [ -e \"$here/ready\" ]; do sleep 0.05; done; exit 1";
    let outcome = start(&restic, &place, backup_of_script(&place, script)).outcome().await;
    assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "source_command_failed"));
    assert_eq!(outcome.snapshot_id, None);
    assert_eq!(place.calls(), ["backup", "forget", "unlock"]);
}

#[tokio::test]
async fn a_command_that_cannot_be_started_starts_no_restic() {
    let place = Place::new();
    let restic = place.stub("exit 0").await;
    for (program, expected) in
        [("/no/such/program", "source_command_failed"), ("sh", "invalid_configuration")]
    {
        let mut backup = backup_of_script(&place, "true");
        backup.command.program = program.into();
        let outcome = start(&restic, &place, backup).outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, expected));
    }
    assert!(place.calls().is_empty());
}
