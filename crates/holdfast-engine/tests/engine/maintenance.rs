//! Keeping repositories in order, with real restics.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use holdfast_engine::{Backup, Event, Outcome, Restic};
use holdfast_protocol::message::{
    config::Secret,
    job::Status,
    parameters::{
        Bandwidth, Check, Forget, GroupRetention, MaxUnused, Prune, ReadData, Retention, Selection,
        Stats, StatsMode, Tag, TagEdit, Unlock,
    },
    result::{Checked, Forgotten, Initialised, Pruned, Retagged, Sizes, Unlocked},
    snapshot::Snapshot,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::real_restic::{hold_lock, interrupt};
use crate::support::{
    Job, Place, ask_restic, brisk, code, eager, noise, restics, result_of, run, stats_of,
};

/// An operation that needs no more than its parameters.
macro_rules! start {
    ($restic:expr, $place:expr, $operation:ident $(, $parameter:expr)*) => {{
        let (restic, access) = ($restic.clone(), $place.access());
        Job::of(async move |control, events| {
            restic.$operation(&access, $($parameter,)* &control, events).await
        })
    }};
}

async fn snapshot(restic: &Restic, place: &Place, host: &str, tag: &str) -> String {
    let backup = Backup { host: host.to_owned(), tag: tag.to_owned(), ..place.backup() };
    let outcome = Job::start(restic, place.access(), backup).outcome().await;
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
    outcome.snapshot_id.unwrap()
}

/// All snapshots, as restic itself lists them.
async fn ids(restic: &Restic, place: &Place) -> Vec<String> {
    let listed = ask_restic(restic, place, &["snapshots", "--json"]).await;
    let listed: Vec<Snapshot> = serde_json::from_str(&listed).unwrap();
    listed.into_iter().map(|snapshot| snapshot.id).collect()
}

/// Changes some bytes of the largest pack of the repository.
pub(crate) fn damage(place: &Place) {
    let path = largest_pack(place);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000..1008].fill(b'X');
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, bytes).unwrap();
}

fn largest_pack(place: &Place) -> std::path::PathBuf {
    let folders = fs::read_dir(place.repository().join("data")).unwrap();
    let packs = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let packs = packs.map(|pack| pack.unwrap().path());
    packs.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap()
}

fn stored_bytes(folder: &Path) -> u64 {
    let size = |entry: fs::DirEntry| {
        let found = entry.metadata().unwrap();
        if found.is_dir() { stored_bytes(&entry.path()) } else { found.len() }
    };
    fs::read_dir(folder).unwrap().map(|entry| size(entry.unwrap())).sum()
}

fn is_step(event: &Event) -> Option<()> {
    matches!(event, Event::Progress(progress) if progress.total_files > 0).then_some(())
}

#[tokio::test]
async fn a_repository_is_created_once_and_then_found() {
    for restic in restics().await {
        let place = Place::new();
        let first: Initialised = result_of(&start!(restic, place, init).outcome().await);
        assert!(first.created && first.restic_id.len() == 64 && first.format_version >= 1);
        let second: Initialised = result_of(&start!(restic, place, init).outcome().await);
        assert_eq!(second, Initialised { created: false, ..first });
        assert_eq!(run(&restic, &place).await.status, Status::Succeeded);

        let mut access = place.access();
        access.password = Secret::new("something else");
        let stranger = restic.clone();
        let job =
            Job::of(async move |control, events| stranger.init(&access, &control, events).await);
        assert_eq!(code(&job.outcome().await), "wrong_password");
        assert_eq!(place.locks(), 0);
    }
}

fn keep_last(count: u32, tag: &str, dry_run: bool) -> Forget {
    let keep = Retention { keep_last: NonZeroU32::new(count), ..Retention::default() };
    Forget { which: Selection::Policy { tag: tag.to_owned(), keep }, dry_run }
}

async fn forget(restic: &Restic, place: &Place, forget: Forget) -> Outcome {
    start!(restic, place, forget, "host-1", &forget).outcome().await
}

#[tokio::test]
async fn a_policy_removes_snapshots_of_its_host_and_group_only() {
    for restic in restics().await {
        let place = Place::new();
        let mut made = Vec::new();
        for (host, tag) in [
            ("host-1", "documents"),
            ("host-1", "documents"),
            ("host-1", "documents"),
            ("host-1", "pictures"),
            ("host-2", "documents"),
            ("host-2", "documents"),
        ] {
            made.push(snapshot(&restic, &place, host, tag).await);
        }
        let outcome = forget(&restic, &place, keep_last(1, "documents", true)).await;
        let plan: Forgotten = result_of(&outcome);
        assert!(plan.dry_run);
        assert_eq!((plan.kept_count, plan.removed_count, plan.omitted), (1, 2, 0));
        assert_eq!(ids(&restic, &place).await.len(), 6);

        let outcome = forget(&restic, &place, keep_last(1, "documents", false)).await;
        let done: Forgotten = result_of(&outcome);
        assert_eq!(done.groups, plan.groups);
        let group = &done.groups[0];
        assert_eq!(
            (group.host.as_str(), &group.tags[..]),
            ("host-1", &["documents".to_owned()][..])
        );
        assert_eq!(group.keep[0].snapshot_id, made[2]);
        assert_eq!(group.keep[0].reasons, ["last snapshot"]);
        assert_eq!(group.remove.len(), 2);
        assert_eq!(ids(&restic, &place).await, made[2..], "restic {}", restic.version());
        assert_eq!(place.locks(), 0);

        let nothing: Forgotten =
            result_of(&forget(&restic, &place, keep_last(1, "no-such-group", false)).await);
        assert_eq!((nothing.kept_count, nothing.removed_count), (0, 0));
    }
}

#[tokio::test]
async fn one_host_keeps_the_groups_of_many_each_by_its_own_policy() {
    for restic in restics().await {
        let place = Place::new();
        let mut made = Vec::new();
        for (host, tag) in [
            ("host-1", "documents"),
            ("host-1", "documents"),
            ("host-2", "documents"),
            ("host-2", "documents"),
            ("host-2", "documents"),
            ("host-2", "pictures"),
            ("host-2", "pictures"),
        ] {
            made.push(snapshot(&restic, &place, host, tag).await);
        }
        let rule = |host: &str, count| GroupRetention {
            host: host.to_owned(),
            tag: "documents".to_owned(),
            keep: Retention { keep_last: NonZeroU32::new(count), ..Retention::default() },
        };
        let which = Selection::Groups(vec![rule("host-1", 1), rule("host-2", 2)]);
        let outcome = forget(&restic, &place, Forget { which, dry_run: false }).await;
        let done: Forgotten = result_of(&outcome);
        assert_eq!((done.kept_count, done.removed_count), (3, 2));
        let hosts: Vec<_> = done.groups.iter().map(|group| group.host.as_str()).collect();
        assert_eq!(hosts, ["host-1", "host-2"]);
        made.remove(2);
        assert_eq!(ids(&restic, &place).await, made[1..], "restic {}", restic.version());
    }
}

#[tokio::test]
async fn chosen_snapshots_are_removed_and_those_of_other_hosts_are_not() {
    for restic in restics().await {
        let place = Place::new();
        let mine = snapshot(&restic, &place, "host-1", "a").await;
        let kept = snapshot(&restic, &place, "host-1", "b").await;
        let theirs = snapshot(&restic, &place, "host-2", "a").await;
        let choose = |ids: &[&str], dry_run| Forget {
            which: Selection::Snapshots(ids.iter().map(|&id| id.to_owned()).collect()),
            dry_run,
        };
        for wrong in [theirs.as_str(), "0123456789abcdef"] {
            let outcome = forget(&restic, &place, choose(&[&mine, wrong], false)).await;
            let expected = (Status::Failed, "snapshot_not_found");
            assert_eq!((outcome.status, code(&outcome)), expected, "{outcome:?}");
        }
        for dry_run in [true, false] {
            assert_eq!(ids(&restic, &place).await.len(), 3);
            let outcome = forget(&restic, &place, choose(&[&mine[..8]], dry_run)).await;
            let result: Forgotten = result_of(&outcome);
            assert_eq!((result.removed_count, result.dry_run), (1, dry_run));
            assert_eq!(result.groups[0].remove[0].snapshot_id, mine);
        }
        assert_eq!(ids(&restic, &place).await, [kept, theirs]);
    }
}

#[tokio::test]
async fn a_prune_frees_what_no_snapshot_needs_and_a_dry_run_frees_nothing() {
    for restic in restics().await {
        let place = Place::new();
        fs::write(place.source().join("large"), noise(2_000_000)).unwrap();
        let old = snapshot(&restic, &place, "host-1", "a").await;
        fs::remove_file(place.source().join("large")).unwrap();
        let kept = snapshot(&restic, &place, "host-1", "a").await;
        let which = Selection::Snapshots(vec![old]);
        result_of::<Forgotten>(&forget(&restic, &place, Forget { which, dry_run: false }).await);

        let before = stored_bytes(&place.repository());
        for dry_run in [true, false] {
            let prune =
                Prune { dry_run, max_unused: Some(MaxUnused::Percent(0.0)), ..Prune::default() };
            let mut job = start!(restic, place, prune, &prune);
            job.event(is_step).await;
            let result: Pruned = result_of(&job.outcome().await);
            assert_eq!(result.dry_run, dry_run);
            let freed = result.freed_bytes.unwrap();
            assert!(
                (1_900_000..2_100_000).contains(&freed),
                "restic {}: {freed}",
                restic.version()
            );
            let after = stored_bytes(&place.repository());
            assert_eq!(before - after > 1_900_000, !dry_run, "{before} {after}");
        }
        assert_eq!(ids(&restic, &place).await, [kept]);
        ask_restic(&restic, &place, &["check", "--read-data"]).await;
        assert_eq!(place.locks(), 0);
    }
}

#[tokio::test]
async fn limits_of_a_prune_are_taken_by_every_version() {
    for restic in restics().await {
        let place = Place::new();
        snapshot(&restic, &place, "host-1", "a").await;
        for max_unused in [MaxUnused::Unlimited, MaxUnused::Bytes(1000), MaxUnused::Percent(2.5)] {
            let prune = Prune {
                max_unused: Some(max_unused),
                max_repack_bytes: std::num::NonZeroU64::new(1 << 20),
                repack_cacheable_only: max_unused == MaxUnused::Unlimited,
                repack_uncompressed: false,
                dry_run: false,
            };
            result_of::<Pruned>(&start!(restic, place, prune, &prune).outcome().await);
        }
    }
}

#[tokio::test]
async fn a_check_tells_a_whole_repository_from_a_damaged_one() {
    for restic in restics().await {
        let place = Place::new();
        fs::write(place.source().join("large"), noise(400_000)).unwrap();
        snapshot(&restic, &place, "host-1", "a").await;
        let one = NonZeroU32::MIN;
        for read_data in [
            None,
            Some(ReadData::All),
            Some(ReadData::Percent(50.0)),
            Some(ReadData::Part { number: one, of: one }),
        ] {
            let check = Check { read_data };
            let mut job = start!(restic, place, check, &check);
            job.event(is_step).await;
            assert_eq!(result_of::<Checked>(&job.outcome().await), Checked::default());
        }
        let pack = largest_pack(&place).file_name().unwrap().to_str().unwrap().to_owned();
        damage(&place);
        let check = Check { read_data: Some(ReadData::All) };
        let outcome = start!(restic, place, check, &check).outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "repository_errors_found"));
        let found: Checked = stats_of(&outcome);
        assert_eq!((found.error_count, found.broken_packs), (1, vec![pack]), "{outcome:?}");
        assert_eq!(place.locks(), 0);
    }
}

#[tokio::test]
async fn a_lost_pack_is_an_error_that_a_check_counts() {
    for restic in restics().await {
        let place = Place::new();
        fs::write(place.source().join("large"), noise(400_000)).unwrap();
        snapshot(&restic, &place, "host-1", "a").await;
        fs::remove_file(largest_pack(&place)).unwrap();
        let check = Check::default();
        let outcome = start!(restic, place, check, &check).outcome().await;
        assert_eq!(code(&outcome), "repository_errors_found");
        assert_eq!(stats_of::<Checked>(&outcome).error_count, 1, "restic {}", restic.version());
    }
}

#[tokio::test]
async fn a_cancelled_check_leaves_no_lock() {
    for restic in restics().await {
        let place = Place::new();
        fs::write(place.source().join("large"), noise(3_000_000)).unwrap();
        snapshot(&restic, &place, "host-1", "a").await;
        let download_kib_s = NonZeroU32::new(1);
        let slow = brisk(restic.clone())
            .with_bandwidth(Bandwidth { download_kib_s, ..Bandwidth::default() });
        let check = Check { read_data: Some(ReadData::All) };
        let job = start!(slow, place, check, &check);
        crate::support::eventually("it holds its lock", || place.whole_locks() > 0).await;
        job.control.cancel();
        let outcome = job.outcome().await;
        assert_eq!((outcome.status, code(&outcome)), (Status::Cancelled, "cancelled"));
        assert_eq!(place.locks(), 0, "restic {}", restic.version());
    }
}

#[tokio::test]
async fn what_is_stored_is_measured_in_both_ways() {
    for restic in restics().await {
        let place = Place::new();
        fs::write(place.source().join("large"), noise(500_000)).unwrap();
        let id = snapshot(&restic, &place, "host-1", "a").await;
        snapshot(&restic, &place, "host-1", "a").await;
        let measure = async |mode, snapshot_id: Option<&str>| {
            let stats = Stats { mode, snapshot_id: snapshot_id.map(str::to_owned) };
            start!(restic, place, stats, &stats).outcome().await
        };
        let all: Sizes = result_of(&measure(StatsMode::RestoreSize, None).await);
        assert_eq!((all.total_size_bytes, all.snapshot_count), (1_000_018, 2));
        assert!(all.total_file_count.unwrap() >= 4 && all.total_blob_count.is_none());
        let one: Sizes = result_of(&measure(StatsMode::RestoreSize, Some(&id)).await);
        assert_eq!((one.total_size_bytes, one.snapshot_count), (500_009, 1));
        let raw: Sizes = result_of(&measure(StatsMode::RawData, None).await);
        assert!((500_000..600_000).contains(&raw.total_size_bytes), "{raw:?}");
        assert!(raw.total_blob_count.unwrap() > 0 && raw.total_file_count.is_none());
        let unknown = measure(StatsMode::RawData, Some("0123456789abcdef")).await;
        assert_eq!(code(&unknown), "snapshot_not_found");
    }
}

#[tokio::test]
async fn stale_locks_are_removed_and_counted_and_live_ones_only_when_told() {
    for restic in restics().await {
        let place = Place::new();
        fs::write(place.source().join("large"), noise(3_000_000)).unwrap();
        snapshot(&restic, &place, "host-1", "a").await;
        let mut dead = hold_lock(&restic, &place).await;
        kill(Pid::from_raw(dead.id().unwrap().cast_signed()), Signal::SIGKILL).unwrap();
        dead.wait().await.unwrap();
        let unlock = async |remove_all| -> Unlocked {
            result_of(&start!(restic, place, unlock, Unlock { remove_all }).outcome().await)
        };
        assert_eq!(unlock(false).await, Unlocked { locks_left: 0, locks_removed: 1 });
        assert_eq!(unlock(false).await, Unlocked { locks_left: 0, locks_removed: 0 });

        let mut living = hold_lock(&restic, &place).await;
        assert_eq!(unlock(false).await, Unlocked { locks_left: 1, locks_removed: 0 });
        assert_eq!(place.locks(), 1);
        assert_eq!(unlock(true).await, Unlocked { locks_left: 0, locks_removed: 1 });
        assert_eq!(place.locks(), 0, "restic {}", restic.version());
        interrupt(&mut living).await;
    }
}

#[tokio::test]
async fn tags_come_and_go_and_the_new_ids_are_told_where_restic_tells_them() {
    for restic in restics().await {
        let place = Place::new();
        let other = snapshot(&restic, &place, "host-2", "documents").await;
        let mut id = snapshot(&restic, &place, "host-1", "documents").await;
        let text = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
        for (edit, expected) in [
            (TagEdit::Add(text(&["kept", "-x"])), text(&["documents", "kept", "-x"])),
            (TagEdit::Remove(text(&["-x"])), text(&["documents", "kept"])),
            (TagEdit::Set(text(&["a b"])), text(&["a b"])),
            (TagEdit::Set(Vec::new()), Vec::new()),
        ] {
            let tag = Tag { snapshot_ids: vec![id.clone()], edit };
            let outcome = start!(restic, place, tag, "host-1", &tag).outcome().await;
            let result: Retagged = result_of(&outcome);
            assert_eq!(result.snapshot_count, 1);
            let listed = restic.snapshots(&place.access(), "host-1").await.unwrap();
            assert_eq!(listed.len(), 1);
            assert_eq!(listed[0].tags, expected, "restic {}", restic.version());
            if let Some(renamed) = result.renamed.first() {
                assert_eq!((&renamed.from, &renamed.to), (&id, &listed[0].id));
            }
            id.clone_from(&listed[0].id);
        }
        let theirs = Tag { snapshot_ids: vec![other], edit: TagEdit::Set(Vec::new()) };
        let outcome = start!(restic, place, tag, "host-1", &theirs).outcome().await;
        assert_eq!(code(&outcome), "snapshot_not_found");
        let listed = restic.snapshots(&place.access(), "host-2").await.unwrap();
        assert_eq!(listed[0].tags, ["documents"]);
    }
}

#[tokio::test]
async fn what_needs_the_repository_for_itself_waits_for_others() {
    for restic in restics().await.into_iter().map(eager) {
        let place = Place::new();
        fs::write(place.source().join("large"), noise(3_000_000)).unwrap();
        snapshot(&restic, &place, "host-1", "a").await;
        let mut holder = hold_lock(&restic, &place).await;
        let prune = Prune::default();
        let mut job = start!(restic, place, prune, &prune);
        job.remark("the repository is locked").await;
        interrupt(&mut holder).await;
        result_of::<Pruned>(&job.outcome().await);
    }
}
