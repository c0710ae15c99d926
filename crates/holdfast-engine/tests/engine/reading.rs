//! Looking into snapshots of real restics.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use holdfast_engine::{Control, Outcome, Restic};
use holdfast_protocol::message::{
    job::Status,
    parameters::{Diff, Dump, Find, Ls, Stat},
    result::{ChangeKind, Difference, Dumped, Entry, EntryKind, Found, Listing},
};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{
    Job, LIMIT, Place, Thing, backup_of, code, noise, restics, result_of, run, things,
};

async fn snapshot(restic: &Restic, place: &Place) -> String {
    let outcome = run(restic, place).await;
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
    outcome.snapshot_id.unwrap()
}

fn page(snapshot_id: &str, path: &Path, offset: u64, limit: u32) -> Ls {
    let path = path.to_str().unwrap().to_owned();
    Ls { snapshot_id: snapshot_id.to_owned(), path, offset, limit: NonZeroU32::new(limit) }
}

async fn ls(restic: &Restic, place: &Place, ls: Ls) -> (Outcome, Vec<Entry>) {
    let (sender, mut receiver) = mpsc::channel(4);
    let (restic, access) = (restic.clone(), place.access());
    let job = Job::of(async move |control, events| {
        restic.ls(&access, &ls, sender, &control, events).await
    });
    let mut entries = Vec::new();
    while let Some(entry) = timeout(LIMIT, receiver.recv()).await.unwrap() {
        entries.push(entry);
    }
    (job.outcome().await, entries)
}

#[tokio::test]
async fn a_directory_is_listed_without_itself_and_without_what_is_deeper() {
    for restic in restics().await {
        let place = Place::new();
        let source = place.source();
        fs::create_dir_all(source.join("directory/deeper")).unwrap();
        fs::set_permissions(source.join("file"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::write(source.join("new\nline"), "text").unwrap();
        fs::write(source.join(std::ffi::OsStr::from_bytes(b"bad\xff")), "").unwrap();
        symlink("file", source.join("link")).unwrap();
        let id = snapshot(&restic, &place).await;
        let (outcome, entries) = ls(&restic, &place, page(&id, &source, 0, 0)).await;
        assert_eq!(result_of::<Listing>(&outcome), Listing { entry_count: 5, more: false });
        let found: BTreeMap<_, _> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), (entry.kind, entry.size_bytes)))
            .collect();
        let expected = BTreeMap::from([
            ("directory", (EntryKind::Directory, None)),
            ("file", (EntryKind::File, Some(9))),
            ("new\nline", (EntryKind::File, Some(4))),
            ("bad\u{fffd}", (EntryKind::File, Some(0))),
            ("link", (EntryKind::Symlink, None)),
        ]);
        assert_eq!(found, expected, "restic {}", restic.version());
        let file = entries.iter().find(|entry| entry.name == "file").unwrap();
        assert_eq!(file.mode, 0o4750);
        let modified = fs::metadata(source.join("file")).unwrap().modified().unwrap();
        assert_eq!(std::time::SystemTime::from(file.modified_at.unwrap()), modified);

        let (outcome, entries) = ls(&restic, &place, page(&id, Path::new("/"), 0, 0)).await;
        assert_eq!(result_of::<Listing>(&outcome).entry_count, 1);
        let top = source.components().nth(1).unwrap();
        assert_eq!(entries[0].name.as_str(), top.as_os_str());
    }
}

#[tokio::test]
async fn a_large_directory_comes_in_pages() {
    for restic in restics().await {
        let place = Place::new();
        let source = place.path("many");
        fs::create_dir(&source).unwrap();
        (0..3000).for_each(|n| fs::write(source.join(format!("file-{n:04}")), "").unwrap());
        let outcome = Job::start(&restic, place.access(), backup_of(&[&source])).outcome().await;
        let id = outcome.snapshot_id.unwrap();
        let mut names = Vec::new();
        for (offset, told, more) in
            [(0, 10, true), (10, 10, true), (20, 2500, true), (2520, 480, false), (3000, 0, false)]
        {
            let limit = if told == 0 { 1 } else { 2500.min(u32::try_from(told).unwrap().max(10)) };
            let limit = if told == 480 { 2500 } else { limit };
            let (outcome, entries) = ls(&restic, &place, page(&id, &source, offset, limit)).await;
            let expected = Listing { entry_count: told, more };
            assert_eq!(result_of::<Listing>(&outcome), expected, "from {offset}");
            names.extend(entries.into_iter().map(|entry| entry.name));
        }
        let expected: Vec<_> = (0..3000).map(|n| format!("file-{n:04}")).collect();
        assert_eq!(names, expected, "restic {}", restic.version());
    }
}

#[tokio::test]
async fn what_is_no_directory_of_the_snapshot_is_said_so() {
    for restic in restics().await {
        let place = Place::new();
        let id = snapshot(&restic, &place).await;
        for (path, words) in [
            (place.source().join("missing"), "is not in the snapshot"),
            (place.source().join("file"), "is no directory"),
        ] {
            let (outcome, entries) = ls(&restic, &place, page(&id, &path, 0, 0)).await;
            assert_eq!((code(&outcome), entries.len()), ("path_not_found", 0));
            assert!(outcome.error.unwrap().message.contains(words));
        }
        let (outcome, _) =
            ls(&restic, &place, page("0123456789abcdef", Path::new("/"), 0, 0)).await;
        assert_eq!(code(&outcome), "snapshot_not_found", "restic {}", restic.version());
        for (id, path) in [("latest", "/"), ("--help", "/"), (id.as_str(), "relative")] {
            let (outcome, _) = ls(&restic, &place, page(id, Path::new(path), 0, 0)).await;
            assert_eq!(code(&outcome), "invalid_configuration");
        }
    }
}

fn file_of(snapshot_id: &str, path: &Path, offset_bytes: u64) -> Dump {
    let path = path.to_str().unwrap().to_owned();
    Dump { snapshot_id: snapshot_id.to_owned(), path, offset_bytes }
}

fn start_dump(restic: &Restic, place: &Place, dump: Dump) -> (Job, mpsc::Receiver<Vec<u8>>) {
    let (sender, receiver) = mpsc::channel(1);
    let (restic, access) = (restic.clone(), place.access());
    let job = Job::of(async move |control, events| {
        restic.dump(&access, &dump, sender, &control, events).await
    });
    (job, receiver)
}

async fn dump(restic: &Restic, place: &Place, dump: Dump) -> (Outcome, Vec<u8>) {
    let (job, mut receiver) = start_dump(restic, place, dump);
    let mut bytes = Vec::new();
    while let Some(chunk) = timeout(LIMIT, receiver.recv()).await.unwrap() {
        bytes.extend(chunk);
    }
    (job.outcome().await, bytes)
}

#[tokio::test]
async fn a_file_is_read_byte_for_byte_and_from_any_point() {
    for restic in restics().await {
        let place = Place::new();
        let (content, path) = (noise(5_000_000), place.source().join("-large\nfile"));
        fs::write(&path, &content).unwrap();
        let id = snapshot(&restic, &place).await;
        for offset in [0, 4_999_999, 1_234_567] {
            let (outcome, bytes) = dump(&restic, &place, file_of(&id, &path, offset)).await;
            assert_eq!(result_of::<Dumped>(&outcome).size_bytes, 5_000_000);
            let start = usize::try_from(offset).unwrap();
            assert!(bytes == content[start..], "restic {} from {offset}", restic.version());
        }
        assert_eq!(place.locks(), 0);
    }
}

#[tokio::test]
async fn a_directory_is_read_as_an_archive() {
    for restic in restics().await {
        let place = Place::new();
        let source = place.source();
        fs::create_dir_all(source.join("directory/empty")).unwrap();
        fs::write(source.join("directory/file"), noise(100_000)).unwrap();
        fs::set_permissions(source.join("directory/file"), fs::Permissions::from_mode(0o640))
            .unwrap();
        symlink("file", source.join("directory/link")).unwrap();
        let id = snapshot(&restic, &place).await;
        for path in [source.as_path(), Path::new("/")] {
            let (outcome, bytes) = dump(&restic, &place, file_of(&id, path, 0)).await;
            assert_eq!(result_of::<Dumped>(&outcome).size_bytes, bytes.len() as u64);
            let unpacked = unpack(&place, &bytes).await;
            let found = unpacked.join(source.strip_prefix("/").unwrap());
            let names = |things: Vec<Thing>| {
                things.into_iter().map(Thing::without_times).collect::<Vec<_>>()
            };
            let original = names(things(&source.join("directory")));
            assert_eq!(names(things(&found.join("directory"))), original);
        }
    }
}

async fn unpack(place: &Place, archive: &[u8]) -> PathBuf {
    let (file, directory) = (place.path("archive.tar"), place.path("unpacked"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    fs::write(&file, archive).unwrap();
    let tar = Command::new("tar").arg("-xpf").arg(&file).arg("-C").arg(&directory).status();
    assert!(tar.await.unwrap().success());
    directory
}

#[tokio::test]
async fn what_is_no_file_of_the_snapshot_is_not_read() {
    for restic in restics().await {
        let place = Place::new();
        symlink("file", place.source().join("link")).unwrap();
        let id = snapshot(&restic, &place).await;
        for name in ["missing", "link", "file/below"] {
            let wish = file_of(&id, &place.source().join(name), 0);
            let (outcome, bytes) = dump(&restic, &place, wish).await;
            assert_eq!(
                (outcome.status, code(&outcome)),
                (Status::Failed, "path_not_found"),
                "{name}"
            );
            assert!(bytes.is_empty());
        }
        let unknown = file_of("0123456789abcdef", &place.source().join("file"), 0);
        assert_eq!(code(&dump(&restic, &place, unknown).await.0), "snapshot_not_found");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_or_a_cancel_ends_the_reading() {
    for restic in restics().await {
        let place = Place::new();
        let path = place.source().join("large");
        fs::write(&path, noise(5_000_000)).unwrap();
        let id = snapshot(&restic, &place).await;
        for cancel in [false, true] {
            let (job, mut receiver) = start_dump(&restic, &place, file_of(&id, &path, 0));
            assert!(timeout(LIMIT, receiver.recv()).await.unwrap().is_some());
            assert_eq!(place.locks(), 0, "who reads holds nobody up");
            if cancel {
                job.control.cancel();
            } else {
                drop(receiver);
            }
            let outcome = job.outcome().await;
            assert_eq!((outcome.status, code(&outcome)), (Status::Cancelled, "cancelled"));
            assert_eq!(place.locks(), 0, "restic {}", restic.version());
        }
    }
}

async fn find(restic: &Restic, place: &Place, find: Find) -> (Outcome, Vec<Found>) {
    let (sender, mut receiver) = mpsc::channel(4);
    let (restic, access) = (restic.clone(), place.access());
    let job = Job::of(async move |control, events| {
        restic.find(&access, &find, sender, &control, events).await
    });
    let mut found = Vec::new();
    while let Some(entry) = timeout(LIMIT, receiver.recv()).await.unwrap() {
        found.push(entry);
    }
    (job.outcome().await, found)
}

#[tokio::test]
async fn names_are_found_anywhere_in_a_snapshot() {
    for restic in restics().await {
        let place = Place::new();
        let source = place.source();
        fs::create_dir_all(source.join("deep/Deeper")).unwrap();
        fs::write(source.join("deep/Deeper/Invoice-7.PDF"), "text").unwrap();
        fs::write(source.join("invoice\nnew.txt"), "").unwrap();
        fs::write(source.join(std::ffi::OsStr::from_bytes(b"invoice\xff")), "").unwrap();
        let id = snapshot(&restic, &place).await;
        let look = async |pattern: &str, limit: u32| {
            let (snapshot_id, pattern) = (id.clone(), pattern.to_owned());
            let wish = Find { snapshot_id, pattern, limit: NonZeroU32::new(limit) };
            find(&restic, &place, wish).await
        };
        let (outcome, found) = look("invoice", 0).await;
        assert_eq!(result_of::<Listing>(&outcome), Listing { entry_count: 3, more: false });
        let deep = source.join("deep/Deeper/Invoice-7.PDF");
        let deep = found.iter().find(|it| it.path == deep.to_str().unwrap()).unwrap();
        assert_eq!((deep.entry.name.as_str(), deep.entry.size_bytes), ("Invoice-7.PDF", Some(4)));
        assert_eq!(look("*.pdf", 0).await.1.len(), 1);
        assert_eq!(look("deep/deeper", 0).await.1.len(), 2, "the folder and what is in it");
        let (outcome, found) = look("invoice", 2).await;
        assert_eq!(result_of::<Listing>(&outcome), Listing { entry_count: 2, more: true });
        assert_eq!(found.len(), 2, "restic {}", restic.version());
        assert_eq!(look("nothing of this name", 0).await.1.len(), 0);
        assert_eq!(code(&look("", 0).await.0), "invalid_configuration");
        let wish =
            Find { snapshot_id: "0123456789abcdef".to_owned(), pattern: "x".into(), limit: None };
        assert_eq!(code(&find(&restic, &place, wish).await.0), "snapshot_not_found");
    }
}

#[tokio::test]
async fn one_path_is_told_without_what_is_below_it() {
    for restic in restics().await {
        let place = Place::new();
        let many = place.source().join("many");
        fs::create_dir(&many).unwrap();
        (0..500).for_each(|n| fs::write(many.join(format!("-{n}")), "12345").unwrap());
        let id = snapshot(&restic, &place).await;
        let stat = async |path: &Path| {
            let (sender, _events) = mpsc::channel(64);
            let path = path.to_str().unwrap().to_owned();
            let wish = Stat { snapshot_id: id.clone(), path };
            restic.stat(&place.access(), &wish, &Control::new(), sender).await
        };
        let directory: Entry = result_of(&stat(&many).await);
        assert_eq!((directory.name.as_str(), directory.kind), ("many", EntryKind::Directory));
        let file: Entry = result_of(&stat(&many.join("-499")).await);
        assert_eq!((file.kind, file.size_bytes), (EntryKind::File, Some(5)));
        for missing in ["-500", "-499/below"] {
            let outcome = stat(&many.join(missing)).await;
            assert_eq!(code(&outcome), "path_not_found", "restic {}", restic.version());
        }
        assert_eq!(code(&stat(Path::new("/")).await), "invalid_configuration");
    }
}

async fn diff(restic: &Restic, place: &Place, diff: Diff) -> Outcome {
    let (sender, _events) = mpsc::channel(64);
    restic.diff(&place.access(), &diff, &Control::new(), sender).await
}

#[tokio::test]
async fn changes_between_two_snapshots_are_told_by_their_kind() {
    for restic in restics().await {
        let place = Place::new();
        let at = |name: &str| place.source().join(name);
        for name in ["same", "gone", "changed", "touched", "turned"] {
            fs::write(at(name), name).unwrap();
        }
        let from_snapshot_id = snapshot(&restic, &place).await;
        fs::remove_file(at("gone")).unwrap();
        fs::write(at("come"), "new").unwrap();
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("changed"), "something else").unwrap();
        fs::set_permissions(at("touched"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(at("turned")).unwrap();
        symlink("same", at("turned")).unwrap();
        let to_snapshot_id = snapshot(&restic, &place).await;
        let wish = Diff { from_snapshot_id, to_snapshot_id, metadata: true, limit: None };

        let all: Difference = result_of(&diff(&restic, &place, wish.clone()).await);
        let kinds: BTreeMap<_, _> =
            all.changes.iter().map(|change| (change.path.clone(), change.kind)).collect();
        let kind = |name: &str| kinds.get(at(name).to_str().unwrap()).copied();
        assert_eq!(kind("come"), Some(ChangeKind::Added), "{all:?}");
        assert_eq!(kind("folder/"), Some(ChangeKind::Added), "{all:?}");
        assert_eq!(kind("gone"), Some(ChangeKind::Removed));
        assert_eq!(kind("changed"), Some(ChangeKind::Content));
        assert_eq!(kind("touched"), Some(ChangeKind::Metadata));
        assert_eq!(kind("turned"), Some(ChangeKind::Kind));
        assert_eq!(kind("same"), None);
        assert_eq!((all.omitted, all.added.directories), (0, 1));
        assert!(all.changed_files >= 1 && all.added.size_bytes > 0);

        let few = Diff { limit: NonZeroU32::new(2), ..wish.clone() };
        let few: Difference = result_of(&diff(&restic, &place, few).await);
        assert_eq!(few.changes, all.changes[..2]);
        assert_eq!(few.omitted as usize, all.changes.len() - 2);

        let unknown = Diff { to_snapshot_id: "0123456789abcdef".to_owned(), ..wish };
        assert_eq!(code(&diff(&restic, &place, unknown).await), "snapshot_not_found");
    }
}
