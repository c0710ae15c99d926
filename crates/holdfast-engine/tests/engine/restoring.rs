//! Restores from real restics, compared with what was backed up.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use holdfast_engine::{Event, Outcome, Restic, RestorePolicy, Version};
use holdfast_protocol::message::{
    job::Status,
    parameters::{Bandwidth, Overwrite, Restore, Target},
    result::Restored,
};
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};

use crate::support::{
    Job, Place, backup_of, brisk, code, noise, restics, result_of, run, stats_of, things,
};

/// The first restic that can look without writing, or leave files alone.
const CAREFUL: Version = Version::new(0, 17, 0);

async fn snapshot(restic: &Restic, place: &Place) -> String {
    let outcome = run(restic, place).await;
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
    outcome.snapshot_id.unwrap()
}

fn wish(snapshot_id: &str, target: &Path, paths: &[&Path]) -> Restore {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    Restore {
        snapshot_id: snapshot_id.to_owned(),
        paths: paths.iter().map(|path| text(path)).collect(),
        target: Target::Directory(text(target)),
        overwrite: Overwrite::Always,
        dry_run: false,
        verify: false,
    }
}

fn start(restic: &Restic, place: &Place, restore: Restore) -> Job {
    fs::create_dir_all(place.path("root")).unwrap();
    let policy = RestorePolicy { roots: vec![place.path("root")], original: true };
    let (restic, access) = (restic.clone(), place.access());
    Job::of(async move |control, events| {
        restic.restore(&access, &restore, &policy, &control, events).await
    })
}

async fn restore(restic: &Restic, place: &Place, wish: Restore) -> Outcome {
    start(restic, place, wish).outcome().await
}

/// The place of `original` below `target`.
fn below(target: &Path, original: &Path) -> PathBuf {
    target.join(original.strip_prefix("/").unwrap())
}

/// A tree with everything in it that is easily lost.
fn difficult_tree(root: &Path, version: Version) {
    let file = |name: &[u8], content: &[u8], mode: u32| {
        let path = root.join(OsStr::from_bytes(name));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir_all(root.join("directory/deeper/empty")).unwrap();
    file(b"secret", b"for one", 0o600);
    file(b"read only", b"for all", 0o444);
    file(b"none", b"for nobody", 0);
    file(b"empty", b"", 0o644);
    file(b"large", &noise(3_000_000), 0o640);
    file(b"zeroes", &vec![0; 2_000_000], 0o644);
    file(b"not-utf8-\xff\xfe", b"bytes", 0o644);
    file(b"new\nline", b"text", 0o644);
    file(b"\\back*[sl]ash?", b"pattern", 0o644);
    file(b"-rf", b"option", 0o644);
    file("größe 🦀".as_bytes(), b"letters", 0o644);
    file(b"directory/one name", b"twice there", 0o644);
    fs::hard_link(root.join("directory/one name"), root.join("other name")).unwrap();
    symlink("directory/one name", root.join("link")).unwrap();
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    // Older versions store another target than this one.
    let bytes = if version < CAREFUL { &b"\n"[..] } else { b"\xff\n" };
    symlink(OsStr::from_bytes(bytes), root.join("odd link")).unwrap();
    mkfifo(&root.join("pipe"), Mode::from_bits_truncate(0o620)).unwrap();
    if geteuid().is_root() {
        chown(root.join("secret"), Some(1234), Some(4321)).unwrap();
    }
    // A change of owner takes this bit away, so it comes last.
    file(b"tool", b"#!/bin/sh", 0o4755);
    fs::set_permissions(root.join("directory/deeper"), Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(root.join("directory"), Permissions::from_mode(0o710)).unwrap();
    let past = SystemTime::UNIX_EPOCH + Duration::new(981_173_106, 123_456_789);
    for name in ["large", "empty", "directory/deeper/empty", "directory/deeper", "directory"] {
        let times = FileTimes::new().set_modified(past);
        File::open(root.join(name)).unwrap().set_times(times).unwrap();
    }
}

#[tokio::test]
async fn a_restored_tree_is_the_original_in_every_byte_mode_time_and_link() {
    for restic in restics().await {
        let place = Place::new();
        difficult_tree(&place.source(), restic.version());
        let id = snapshot(&restic, &place).await;
        let target = place.path("root/new");
        let verified = Restore { verify: true, ..wish(&id, &target, &[]) };
        let outcome = restore(&restic, &place, verified).await;
        let result: Restored = result_of(&outcome);
        assert_eq!(result.target, target.to_str().unwrap());
        let (before, after) = (things(&place.source()), things(&below(&target, &place.source())));
        assert_eq!(before.len(), 22);
        for (after, before) in after.iter().zip(&before) {
            assert_eq!(after, before, "restic {}", restic.version());
        }
        assert_eq!(after.len(), before.len());
        assert_eq!(place.locks(), 0);
        if restic.version() >= CAREFUL {
            assert!(result.bytes_restored.unwrap() > 5_000_000, "{result:?}");
        }
    }
}

#[tokio::test]
async fn chosen_paths_are_names_and_not_patterns() {
    for restic in restics().await {
        let place = Place::new();
        let source = place.source();
        let wanted = ["a*", "[x]", "q?", "back\\slash", "new\nline", "-dash", "!no", "$HOME", "**"];
        for name in wanted.iter().chain(&["ab", "x", "qq", "a", "bare"]) {
            fs::create_dir(source.join(name)).unwrap();
            fs::write(source.join(name).join("in it"), name).unwrap();
        }
        let id = snapshot(&restic, &place).await;
        let paths: Vec<_> = wanted.iter().map(|name| source.join(name)).collect();
        let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
        let target = place.path("root/chosen");
        let outcome = restore(&restic, &place, wish(&id, &target, &paths)).await;
        assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
        let mut found: Vec<_> = fs::read_dir(below(&target, &source))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        let mut expected = wanted.map(str::to_owned);
        expected.sort();
        assert_eq!(found, expected, "restic {}", restic.version());
        for name in wanted {
            let restored = below(&target, &source).join(name).join("in it");
            assert_eq!(fs::read_to_string(restored).unwrap(), name);
        }
    }
}

#[tokio::test]
async fn files_go_back_to_where_they_were_and_the_others_stay() {
    for restic in restics().await {
        let place = Place::new();
        let (lost, kept) = (place.source().join("lost"), place.source().join("file"));
        fs::write(&lost, "precious").unwrap();
        let id = snapshot(&restic, &place).await;
        fs::remove_file(&lost).unwrap();
        fs::write(&kept, "newer").unwrap();
        let back = Restore { target: Target::Original, ..wish(&id, Path::new("/"), &[&lost]) };
        let result: Restored = result_of(&restore(&restic, &place, back).await);
        assert_eq!(result.target, "/");
        assert_eq!(fs::read_to_string(&lost).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&kept).unwrap(), "newer");
    }
}

#[tokio::test]
async fn a_place_that_the_host_does_not_allow_is_not_written_to() {
    for restic in restics().await {
        let place = Place::new();
        let id = snapshot(&restic, &place).await;
        let outside = place.path("outside");
        fs::create_dir(&outside).unwrap();
        let (direct, through_link) = (outside.join("x"), place.path("root/target"));
        fs::create_dir_all(&through_link).unwrap();
        // restic would follow it: the snapshot has a directory of this name.
        let first = place.source().components().nth(1).unwrap().as_os_str().to_owned();
        symlink(&outside, through_link.join(first)).unwrap();
        for target in [direct, through_link] {
            let outcome = restore(&restic, &place, wish(&id, &target, &[])).await;
            let expected = (Status::Failed, "restore_target_refused");
            assert_eq!((outcome.status, code(&outcome)), expected);
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        }
    }
}

#[tokio::test]
async fn a_path_that_is_not_in_the_snapshot_restores_nothing() {
    for restic in restics().await {
        let place = Place::new();
        let id = snapshot(&restic, &place).await;
        let (there, missing) = (place.source().join("file"), place.source().join("missing"));
        let target = place.path("root/none");
        let outcome = restore(&restic, &place, wish(&id, &target, &[&there, &missing])).await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "path_not_found"));
        let message = outcome.error.unwrap().message;
        assert!(message.contains(missing.to_str().unwrap()), "{message}");
        assert!(!target.exists());
    }
}

#[tokio::test]
async fn a_snapshot_that_is_not_there_is_said_so() {
    for restic in restics().await {
        let place = Place::new();
        snapshot(&restic, &place).await;
        let file = place.source().join("file");
        for paths in [&[][..], &[file.as_path()]] {
            let unknown = wish("0123456789abcdef", &place.path("root/none"), paths);
            let outcome = restore(&restic, &place, unknown).await;
            let expected = (Status::Failed, "snapshot_not_found");
            assert_eq!((outcome.status, code(&outcome)), expected, "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_the_overwrite_rule_is_kept() {
    for restic in restics().await {
        let place = Place::new();
        let id = snapshot(&restic, &place).await;
        let target = place.path("root/careful");
        let copy = below(&target, &place.source()).join("file");
        let plain = wish(&id, &target, &[]);
        let dry = Restore { dry_run: true, ..plain.clone() };
        let never = Restore { overwrite: Overwrite::Never, ..plain.clone() };
        if restic.version() < CAREFUL {
            for wish in [dry, never] {
                assert_eq!(code(&restore(&restic, &place, wish).await), "restic_unsuited");
            }
            continue;
        }
        let result: Restored = result_of(&restore(&restic, &place, dry).await);
        assert!(result.dry_run && result.files_restored.unwrap() > 0 && !target.exists());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(&copy, "mine").unwrap();
        let result: Restored = result_of(&restore(&restic, &place, never).await);
        assert_eq!(result.files_skipped, Some(1));
        assert_eq!(fs::read_to_string(&copy).unwrap(), "mine");
        let newer = Restore { overwrite: Overwrite::IfNewer, ..plain.clone() };
        result_of::<Restored>(&restore(&restic, &place, newer).await);
        assert_eq!(fs::read_to_string(&copy).unwrap(), "mine");
        let changed = Restore { overwrite: Overwrite::IfChanged, ..plain };
        result_of::<Restored>(&restore(&restic, &place, changed).await);
        assert_eq!(fs::read_to_string(&copy).unwrap(), "some text");
    }
}

#[tokio::test]
async fn files_whose_data_is_damaged_are_named_and_the_others_restored() {
    for restic in restics().await {
        let place = Place::new();
        fs::write(place.source().join("large"), noise(400_000)).unwrap();
        let id = snapshot(&restic, &place).await;
        crate::maintenance::damage(&place);
        let target = place.path("root/damaged");
        let outcome = restore(&restic, &place, wish(&id, &target, &[])).await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Partial, "restore_incomplete"));
        assert_eq!(stats_of::<Restored>(&outcome).error_count, 1, "{outcome:?}");
        let message = outcome.error.unwrap().message;
        assert!(message.contains("/source/large"), "restic {}: {message}", restic.version());
        let file = below(&target, &place.source()).join("file");
        assert_eq!(fs::read_to_string(file).unwrap(), "some text");
    }
}

#[tokio::test]
async fn a_restore_tells_how_far_it_is_and_can_be_cancelled() {
    for restic in restics().await {
        let place = Place::new();
        // Newer restics write what they read of a pack (16 MiB) at its end, and they read two at
        // once: so many packs that some are written long before the last.
        fs::write(place.source().join("large"), noise(100_000_000)).unwrap();
        let id = snapshot(&restic, &place).await;
        let download_kib_s = NonZeroU32::new(12_000);
        let slow = brisk(restic.clone())
            .with_bandwidth(Bandwidth { download_kib_s, ..Bandwidth::default() });
        let target = place.path("root/slow");
        let mut job = start(&slow, &place, wish(&id, &target, &[]));
        if restic.version() >= CAREFUL {
            let done = job
                .event(|event| match event {
                    Event::Progress(progress) if progress.bytes_done > 0 => Some(progress.clone()),
                    _ => None,
                })
                .await;
            assert!(done.total_bytes >= 100_000_000 && done.percent_done < 1.0, "{done:?}");
        } else {
            let begun = || place.whole_locks() > 0 && target.exists();
            crate::support::eventually("it restores", begun).await;
        }
        job.control.cancel();
        let outcome = job.outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Cancelled, "cancelled"));
        assert_eq!(place.locks(), 0, "restic {}", restic.version());
    }
}

#[tokio::test]
async fn restores_of_several_sources_keep_their_whole_paths() {
    for restic in restics().await {
        let place = Place::new();
        let other = place.path("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), "another text").unwrap();
        let backup = backup_of(&[&place.source(), &other]);
        let outcome = Job::start(&restic, place.access(), backup).outcome().await;
        let target = place.path("root/both");
        let wish = wish(&outcome.snapshot_id.unwrap(), &target, &[&other]);
        result_of::<Restored>(&restore(&restic, &place, wish).await);
        assert_eq!(
            fs::read_to_string(below(&target, &other).join("file")).unwrap(),
            "another text"
        );
        assert!(!below(&target, &place.source()).exists());
    }
}
