//! Two hosts that share a repository and know nothing of each other: their backups, prunes and
//! checks meet restic's locks and nothing else, as when slots fire while the server is away.
//!
//! `HOLDFAST_RACE_SECONDS` sets how long they race.

use std::fs;
use std::num::NonZeroU32;
use std::time::Duration;

use holdfast_engine::{Access, Backup, Control, Outcome, Patience, Restic};
use holdfast_protocol::message::{
    job::Status,
    parameters::{Check, Forget, Prune, Retention, Selection},
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::support::{Place, ask_restic, restics};

/// How long one job may take before the race counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(300);

fn seconds() -> u64 {
    let text = std::env::var("HOLDFAST_RACE_SECONDS").unwrap_or_default();
    text.parse().unwrap_or(15)
}

/// Patient as an agent is, but looking more often.
fn patient() -> Patience {
    Patience {
        lock_wait: Duration::from_secs(3600),
        retry_min: Duration::from_millis(50),
        retry_max: Duration::from_secs(1),
        ..Patience::default()
    }
}

/// One host's way to the shared repository: a cache and scratch files of its own.
fn access(place: &Place, host: &str, work: &str) -> Access {
    Access {
        cache_dir: place.path(&format!("cache-{host}")),
        scratch_dir: place.path(&format!("scratch-{host}-{work}")),
        ..place.access()
    }
}

async fn drained(mut events: mpsc::Receiver<holdfast_engine::Event>) {
    while events.recv().await.is_some() {}
}

async fn judge(what: &str, work: impl Future<Output = Outcome>) {
    let outcome = timeout(STUCK_AFTER, work).await.unwrap_or_else(|_| panic!("{what} is stuck"));
    assert_eq!(outcome.status, Status::Succeeded, "{what}: {:?}", outcome.error);
}

async fn back_up(restic: &Restic, access: &Access, backup: &Backup) -> Outcome {
    let (events, incoming) = mpsc::channel(64);
    let control = Control::new();
    tokio::join!(restic.backup(access, backup, &control, events), drained(incoming)).0
}

async fn backups(restic: &Restic, place: &Place, host: &str, until: Instant) -> u32 {
    let (access, source) = (access(place, host, "backup"), place.path(&format!("source-{host}")));
    fs::create_dir(&source).unwrap();
    let mut count = 0;
    while Instant::now() < until {
        fs::write(source.join("changing"), format!("{host} {count}").repeat(5000)).unwrap();
        let includes = vec![source.to_str().unwrap().to_owned()];
        let backup = Backup { host: host.to_owned(), includes, ..place.backup() };
        judge("a backup", Box::pin(back_up(restic, &access, &backup))).await;
        count += 1;
    }
    count
}

async fn upkeep(restic: &Restic, place: &Place, host: &str, until: Instant) -> u32 {
    let access = access(place, host, "upkeep");
    let keep = Retention { keep_last: NonZeroU32::new(2), ..Retention::default() };
    let which = Selection::Policy { tag: String::new(), keep };
    let forget = Forget { which, dry_run: false };
    let mut rounds = 0;
    while Instant::now() < until {
        let (control, prune, check) = (Control::new(), Prune::default(), Check::default());
        let (events, incoming) = mpsc::channel(64);
        let work = restic.forget(&access, host, &forget, &control, events);
        judge("forget", Box::pin(async { tokio::join!(work, drained(incoming)).0 })).await;
        let (events, incoming) = mpsc::channel(64);
        let work = restic.prune(&access, &prune, &control, events);
        judge("prune", Box::pin(async { tokio::join!(work, drained(incoming)).0 })).await;
        let (events, incoming) = mpsc::channel(64);
        let work = restic.check(&access, &check, &control, events);
        judge("check", Box::pin(async { tokio::join!(work, drained(incoming)).0 })).await;
        rounds += 1;
    }
    rounds
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_share_a_repository_race_and_no_job_ends_in_a_lock() {
    for restic in restics().await {
        let restic = restic.with_patience(patient());
        let place = Place::new();
        judge("the first backup", back_up(&restic, &place.access(), &place.backup())).await;
        let until = Instant::now() + Duration::from_secs(seconds());
        let (one, two, rounds_one, rounds_two) = tokio::join!(
            backups(&restic, &place, "one", until),
            backups(&restic, &place, "two", until),
            upkeep(&restic, &place, "one", until),
            upkeep(&restic, &place, "two", until),
        );
        println!(
            "{}: {one} + {two} backups, {rounds_one} + {rounds_two} rounds of upkeep",
            restic.version()
        );
        assert!(one > 0 && two > 0 && rounds_one + rounds_two > 0);
        ask_restic(&restic, &place, &["check", "--read-data"]).await;
        assert_eq!(place.whole_locks(), 0, "somebody left a lock");
    }
}
