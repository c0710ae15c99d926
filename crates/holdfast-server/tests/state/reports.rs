//! What agents tell besides their jobs' fate: log lines and lists of snapshots.

use holdfast_link::Store as _;
use holdfast_protocol::{
    JobId, Message,
    message::{
        log::{Line, Source, Stream},
        snapshot,
    },
};
use jiff::Timestamp;

use crate::fleet::{self, Fleet, record, started};

#[tokio::test]
async fn a_list_of_snapshots_replaces_the_older_one_when_it_is_whole() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let session = fleet.session(&host, 1).await;
    let report = |report_id: &str, last, ids: &[&str]| {
        Message::SnapshotsReport(snapshot::Report {
            repository_id: host.repository,
            report_id: report_id.to_owned(),
            last,
            listed_at: Timestamp::now(),
            snapshots: ids.iter().map(|id| fleet::snapshot(id)).collect(),
        })
    };
    let ids = async || {
        let snapshots = fleet.store.snapshots(host.id).await.unwrap();
        snapshots.into_iter().map(|snapshot| snapshot.id).collect::<Vec<_>>()
    };
    session.apply(vec![record(1, &report("one", true, &["a", "b"]))]).await.unwrap();
    assert_eq!(ids().await, ["a", "b"]);
    session.apply(vec![record(2, &report("lost", false, &["x"]))]).await.unwrap();
    session.apply(vec![record(3, &report("two", false, &["b"]))]).await.unwrap();
    assert_eq!(ids().await, ["a", "b"], "half a list does not count");
    session.apply(vec![record(4, &report("two", true, &["c"]))]).await.unwrap();
    assert_eq!(ids().await, ["b", "c"]);
}

#[tokio::test]
async fn log_lines_are_kept_with_their_gaps_and_only_for_the_jobs_own_host() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let other = fleet.host("web-2").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let stranger = fleet.session(&other, 1).await;
    stranger.receive(fleet::log(job, &[1, 2, 3])).await.unwrap();
    session.receive(fleet::log(job, &[2, 3])).await.unwrap();
    session.receive(fleet::log(job, &[7])).await.unwrap();
    let page = fleet::eventually(async || {
        let page = fleet.store.job_log(job, 0, 0).await.unwrap();
        (page.lines.len() == 3).then_some(page)
    })
    .await;
    let gaps: Vec<_> = page.gaps.iter().map(|gap| (gap.from, gap.to)).collect();
    assert_eq!(gaps, [(1, 1), (4, 6)]);
    let page = fleet.store.job_log(job, 2, 1).await.unwrap();
    assert_eq!((page.lines[0].seq, page.next), (3, Some(3)));
    assert!(page.gaps.is_empty());
}

#[tokio::test]
async fn log_lines_that_come_before_their_jobs_start_are_not_lost() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let session = fleet.session(&host, 1).await;
    let job = JobId::from_uuid(uuid::Uuid::from_u128(77));
    session.receive(fleet::log(job, &[1])).await.unwrap();
    // Another host's commit in between proves that the line was looked at before its job came.
    let other = fleet.host("web-2").await;
    fleet.session(&other, 1).await.apply(vec![]).await.unwrap();
    session.apply(vec![record(1, &started(job))]).await.unwrap();
    fleet::eventually(async || {
        let page = fleet.store.job_log(job, 0, 0).await.unwrap();
        (page.lines.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_log_lines_keeps_the_head_and_the_newest_within_the_limit() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let job = fleet.store.create_backup("ops", host.id, "etc").await.unwrap();
    let session = fleet.session(&host, 1).await;
    let lines: Vec<u64> = (1..=6000).collect();
    for part in lines.chunks(500) {
        let stream =
            Stream { job_id: job, lines: part.iter().map(|seq| long_line(*seq)).collect() };
        session.receive(fleet::unsequenced(&Message::LogStream(stream))).await.unwrap();
        fleet::eventually(async || {
            let after = part[part.len() - 1] - 1;
            let page = fleet.store.job_log(job, after, 1).await.unwrap();
            (!page.lines.is_empty()).then_some(())
        })
        .await;
    }
    let head = fleet.store.job_log(job, 0, 5000).await.unwrap();
    assert!(head.lines.len() <= 4096, "{} lines of 2 KiB are kept", head.lines.len());
    assert!((1..=2000).all(|seq| head.lines[seq as usize - 1].seq == seq));
    assert_eq!(head.lines.last().unwrap().seq, 6000);
    assert_eq!(head.gaps.len(), 1);
    assert_eq!(head.gaps[0].from, 2001);
}

fn long_line(seq: u64) -> Line {
    let payload = "x".repeat(2048);
    Line { seq, ts: Timestamp::now(), stream: Source::Stdout, payload }
}
