//! What real restics said, replayed. `recorded/record.sh` records them anew.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_engine::{Event, Outcome};
use holdfast_protocol::message::job::Status;

use crate::support::{Job, Place, code};

fn versions() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/recorded");
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let versions: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    assert!(versions.len() >= 3, "recordings are missing: {versions:?}");
    versions
}

/// A piece of script that replays `case`.
fn replay(version: &Path, case: &str) -> String {
    let file = |ending: &str| version.join(format!("{case}.{ending}"));
    let exit = fs::read_to_string(file("exit")).unwrap();
    let (stdout, stderr) = (file("stdout.jsonl"), file("stderr.jsonl"));
    format!("cat '{}'; cat '{}' >&2; exit {}", stdout.display(), stderr.display(), exit.trim())
}

/// Replays `case` as the answer to every backup; everything else succeeds silently, but for
/// listing, which answers as recorded.
async fn backup(version: &Path, case: &str) -> (Outcome, Vec<Event>, Place) {
    let place = Place::new();
    let behaviour = format!(
        "case $operation in\nbackup) {};;\nsnapshots) {};;\nesac",
        replay(version, case),
        replay(version, "snapshots")
    );
    let number = version.file_name().unwrap().to_str().unwrap();
    let restic = place.stub_of_version(number, &behaviour).await;
    let (outcome, events) = Job::start(&restic, place.access(), place.backup()).end().await;
    (outcome, events, place)
}

#[tokio::test]
async fn every_version_ends_every_case_alike() {
    for version in versions() {
        for (case, status, expected) in [
            ("ok", Status::Succeeded, ""),
            ("partial", Status::Partial, "source_unreadable"),
            ("source_missing", Status::Partial, "source_missing"),
            ("wrong_password", Status::Failed, "wrong_password"),
            ("locked", Status::Failed, "repository_locked"),
            ("no_repository", Status::Failed, "repository_not_found"),
        ] {
            let (outcome, _, place) = backup(&version, case).await;
            let what = format!("{} {case}: {outcome:?}", version.display());
            assert_eq!((outcome.status, code(&outcome)), (status, expected), "{what}");
            assert_eq!(
                place.calls().contains(&"init".to_owned()),
                case == "no_repository",
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn the_snapshot_is_named_in_full_even_by_an_old_restic() {
    for version in versions() {
        for case in ["ok", "partial"] {
            let (outcome, events, _) = backup(&version, case).await;
            let id = outcome.snapshot_id.unwrap();
            assert_eq!(id.len(), 64, "{} {case}: {id}", version.display());
            assert!(outcome.stats.unwrap().as_str().contains(&id[..8]));
            let progress = events.iter().any(|event| matches!(event, Event::Progress(_)));
            assert!(progress, "{} {case}", version.display());
        }
    }
}

#[tokio::test]
async fn errors_name_the_file_and_the_owner_of_a_lock() {
    for version in versions() {
        for (case, words) in [
            ("partial", ["/proc/self/mem", "input/output error"]),
            ("locked", ["PID ", "host.example"]),
            ("source_missing", ["/missing", "not exist on this host"]),
        ] {
            let message = backup(&version, case).await.0.error.unwrap().message;
            for word in words {
                assert!(message.contains(word), "{} {case}: {message}", version.display());
            }
        }
    }
}

#[tokio::test]
async fn a_list_of_snapshots_is_read_from_every_version() {
    for version in versions() {
        let place = Place::new();
        let restic = place.stub(&replay(&version, "snapshots")).await;
        let snapshots = restic.snapshots(&place.access(), "host").await.unwrap();
        assert_eq!(snapshots.len(), 3, "{}", version.display());
        for snapshot in snapshots {
            assert_eq!((snapshot.hostname.as_str(), snapshot.tags.len()), ("host", 1));
            let tells_size = !version.ends_with("0.14.0");
            assert_eq!(snapshot.size_bytes.is_some(), tells_size, "{}", version.display());
        }
    }
}

#[tokio::test]
async fn a_repository_that_appeared_meanwhile_is_used() {
    for version in versions() {
        let place = Place::new();
        let behaviour = format!(
            "case $operation in\n\
             backup) if [ -e \"$here/tried\" ]; then {}; else touch \"$here/tried\"; {}; fi;;\n\
             init) {};;\nsnapshots) {};;\nesac",
            replay(&version, "ok"),
            replay(&version, "no_repository"),
            replay(&version, "init_again"),
            replay(&version, "snapshots"),
        );
        let restic = place.stub(&behaviour).await;
        let outcome = Job::start(&restic, place.access(), place.backup()).outcome().await;
        assert_eq!(outcome.status, Status::Succeeded, "{} {outcome:?}", version.display());
        assert_eq!(place.calls()[..3], ["backup", "init", "backup"]);
    }
}
