//! Options of operations, and answers that no real restic gives.

use std::fs;
use std::num::NonZeroU32;

use holdfast_engine::{Backup, Control, Outcome, Restic};
use holdfast_protocol::message::{
    job::Status,
    parameters::{
        self, Bandwidth, Check, Diff, Dump, ExcludePreset, Forget, Ls, Prune, Retention, Selection,
    },
    result::{Checked, Pruned},
};
use tokio::sync::mpsc;

use crate::support::{Job, Place, ask_restic, code, restics, result_of, run};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_dry_run_of_a_backup_stores_nothing_and_creates_nothing() {
    for restic in restics().await {
        let place = Place::new();
        let dry = || {
            let options = parameters::Backup { dry_run: true, ..parameters::Backup::default() };
            Job::start(&restic, place.access(), Backup { options, ..place.backup() })
        };
        assert_eq!(code(&dry().outcome().await), "repository_not_found");
        assert!(!place.repository().exists());
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);
        let outcome = dry().outcome().await;
        assert_eq!((outcome.status, &outcome.snapshot_id), (Status::Succeeded, &None));
        let stats: serde_json::Value = outcome.stats.unwrap().parse().unwrap();
        assert_eq!(stats["total_files_processed"], 1);
        assert_eq!(restic.snapshots(&place.access(), "host-1").await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn caches_and_known_kinds_of_files_are_left_out() {
    for restic in restics().await {
        let place = Place::new();
        let source = place.source();
        for name in ["kept/target", "kept/node_modules/x", "marked", ".Trash-1000/files"] {
            fs::create_dir_all(source.join(name)).unwrap();
            fs::write(source.join(name).join("inner"), "text").unwrap();
        }
        fs::write(source.join("kept/code.py"), "").unwrap();
        fs::write(source.join("kept/code.pyc"), "").unwrap();
        let mark = "Signature: 8a477f597d28d172789f06886806bc55\n";
        fs::write(source.join("marked/CACHEDIR.TAG"), mark).unwrap();
        let options = parameters::Backup {
            exclude_presets: vec![
                ExcludePreset::SystemPseudo,
                ExcludePreset::Caches,
                ExcludePreset::Development,
                ExcludePreset::Trash,
                ExcludePreset::Containers,
            ],
            exclude_caches: true,
            one_file_system: true,
            dry_run: false,
        };
        let backup = Backup { options, ..place.backup() };
        let outcome = Job::start(&restic, place.access(), backup).outcome().await;
        assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
        let listed = ask_restic(&restic, &place, &["ls", &outcome.snapshot_id.unwrap()]).await;
        let source = source.to_str().unwrap().to_owned() + "/";
        let files: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix(&source)).collect();
        let expected =
            ["file", "kept", "kept/code.py", "kept/target", "kept/target/inner", "marked"];
        let expected: Vec<_> = expected.into_iter().chain(["marked/CACHEDIR.TAG"]).collect();
        assert_eq!(files, expected, "restic {}", restic.version());
    }
}

#[tokio::test]
async fn every_call_obeys_the_limits_of_the_network() {
    let place = Place::new();
    let limits =
        Bandwidth { upload_kib_s: NonZeroU32::new(100), download_kib_s: NonZeroU32::new(200) };
    let restic = place.stub("exit 0").await.with_bandwidth(limits);
    run(&restic, &place).await;
    check(&restic, &place).await;
    let calls = fs::read_to_string(place.path("calls")).unwrap();
    assert_eq!(calls.lines().count(), 2);
    for call in calls.lines() {
        assert!(call.starts_with("--limit-upload=100 --limit-download=200 "), "{call}");
    }
}

async fn check(restic: &Restic, place: &Place) -> Outcome {
    let (events, _listener) = mpsc::channel(64);
    restic.check(&place.access(), &Check::default(), &Control::new(), events).await
}

#[tokio::test]
async fn noise_on_standard_error_does_not_fail_a_check_that_ended_well() {
    let place = Place::new();
    let restic = place.stub("echo 'some warning' >&2; exit 0").await;
    assert_eq!(result_of::<Checked>(&check(&restic, &place).await), Checked::default());
}

#[tokio::test]
async fn answers_that_make_no_sense_are_failures() {
    let garbage = "echo '{\"struct_type\":\"node\"'; echo '[{'";
    let broken_off = "head -c 100000 /dev/zero; exit 1";
    for (behaviour, expected) in [(garbage, "restic_failed"), (broken_off, "restic_failed")] {
        let place = Place::new();
        let restic = place.stub(behaviour).await;
        let (access, control) = (place.access(), Control::new());
        let events = || mpsc::channel(64).0;
        let (path, snapshot_id) = ("/".to_owned(), ID.to_owned());

        let list = Ls { snapshot_id: snapshot_id.clone(), path, offset: 0, limit: None };
        let entries = mpsc::channel(100).0;
        let outcome = restic.ls(&access, &list, entries, &control, events()).await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, expected));

        let (from_snapshot_id, to_snapshot_id) = (snapshot_id.clone(), snapshot_id);
        let diff = Diff { from_snapshot_id, to_snapshot_id, metadata: false, limit: None };
        let outcome = restic.diff(&access, &diff, &control, events()).await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, expected));

        let keep = Retention { keep_last: NonZeroU32::new(1), ..Retention::default() };
        let which = Selection::Policy { tag: String::new(), keep };
        let forget = Forget { which, dry_run: false };
        let outcome = restic.forget(&access, "h", &forget, &control, events()).await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, expected));
    }
}

#[tokio::test]
async fn bytes_of_a_file_that_broke_off_are_no_success() {
    let place = Place::new();
    let restic = place.stub("head -c 100000 /dev/zero; exit 1").await;
    let (sender, mut chunks) = mpsc::channel(100);
    let dump = Dump { snapshot_id: ID.to_owned(), path: "/file".to_owned(), offset_bytes: 0 };
    let events = mpsc::channel(64).0;
    let outcome = restic.dump(&place.access(), &dump, sender, &Control::new(), events).await;
    assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "restic_failed"));
    let mut size = 0;
    while let Some(chunk) = chunks.recv().await {
        size += chunk.len();
    }
    assert_eq!(size, 100_000);
}

#[tokio::test]
async fn output_that_nobody_took_is_no_success_however_short_it_is() {
    let node = r#"{"name":"a","type":"file","path":"/a","struct_type":"node"}"#;
    let place = Place::new();
    let restic = place.stub(&format!("echo '{node}'")).await;
    let (access, control) = (place.access(), Control::new());
    let path = || "/".to_owned();
    let dump = Dump { snapshot_id: ID.to_owned(), path: path(), offset_bytes: 0 };
    let chunks = mpsc::channel(1).0;
    let outcome = restic.dump(&access, &dump, chunks, &control, mpsc::channel(64).0).await;
    assert_eq!((outcome.status, code(&outcome)), (Status::Cancelled, "cancelled"));
    let ls = Ls { snapshot_id: ID.to_owned(), path: path(), offset: 0, limit: None };
    let entries = mpsc::channel(1).0;
    let outcome = restic.ls(&access, &ls, entries, &control, mpsc::channel(64).0).await;
    assert_eq!((outcome.status, code(&outcome)), (Status::Cancelled, "cancelled"));
}

#[tokio::test]
async fn a_small_step_that_takes_too_long_is_a_failure_and_not_a_cancel() {
    let place = Place::new();
    let patience = holdfast_engine::Patience {
        command_max: std::time::Duration::from_millis(200),
        ..crate::support::hasty()
    };
    let restic = place.stub("sleep 600").await.with_patience(patience);
    let (access, control) = (place.access(), Control::new());
    let outcome = restic.init(&access, &control, mpsc::channel(64).0).await;
    assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "repository_unreachable"));
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte_also_after_restic_has_ended() {
    let place = Place::new();
    let restic = place.stub("head -c 120000 /dev/zero; echo x >\"$here/done\"").await;
    let (sender, mut chunks) = mpsc::channel(1);
    let dump = Dump { snapshot_id: ID.to_owned(), path: "/file".to_owned(), offset_bytes: 0 };
    let access = place.access();
    let job = Job::of(async move |control, events| {
        restic.dump(&access, &dump, sender, &control, events).await
    });
    place.line_of("done").await;
    // Longer than what is allowed to processes that hold the pipes.
    let idle = std::time::Duration::from_millis(1000);
    assert!(tokio::time::timeout(idle, std::future::pending::<()>()).await.is_err());
    let mut size = 0;
    while let Some(chunk) = chunks.recv().await {
        size += chunk.len();
    }
    assert_eq!((job.outcome().await.status, size), (Status::Succeeded, 120_000));
}

#[tokio::test]
async fn a_job_that_was_done_when_it_was_cancelled_is_not_called_cancelled() {
    let place = Place::new();
    let behaviour = "[ $operation = prune ] || exit 0; trap 'echo done; exit 0' INT; \
                     echo x >\"$here/ready\"; while :; do sleep 0.05; done";
    let (restic, access) = (place.stub(behaviour).await, place.access());
    let job = Job::of(async move |control, events| {
        restic.prune(&access, &Prune::default(), &control, events).await
    });
    place.line_of("ready").await;
    job.control.cancel();
    result_of::<Pruned>(&job.outcome().await);
}
