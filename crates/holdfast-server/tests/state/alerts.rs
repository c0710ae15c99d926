//! Alerts over the real store and live view.

use holdfast_link::Store as _;
use holdfast_protocol::message::job::Status;
use holdfast_server::{
    alert::{Alarm, Rule, State},
    live::Live,
    store::{AlertFilter, NewSilence},
    view::AlertView,
};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::fleet::{self, Fleet, TestHost, finished, record, started};

/// A fleet whose one host is watched by an alarm.
pub(crate) struct Watched {
    pub(crate) fleet: Fleet,
    pub(crate) host: TestHost,
    pub(crate) live: Live,
    alarm: Alarm,
    pub(crate) seq: u64,
    _running: DropGuard,
}

impl Watched {
    pub(crate) async fn new() -> Self {
        let fleet = Fleet::new().await;
        let host = fleet.host("web-1").await;
        let live = fleet.live().await;
        let stop = CancellationToken::new();
        tokio::spawn(live.clone().run(stop.clone()));
        let alarm = Alarm::new(fleet.store.clone(), live.clone(), Timestamp::UNIX_EPOCH);
        Self { fleet, host, live, alarm, seq: 1, _running: stop.drop_guard() }
    }

    /// Runs a backup that ends like this. Afterwards the live view knows.
    pub(crate) async fn backup(&mut self, status: Status) {
        let job = self.fleet.store.create_backup("ops", self.host.id, "etc").await.unwrap();
        let session = self.fleet.session(&self.host, 1).await;
        let end = finished(job, status);
        let list = fleet::listing(&self.host, &job.to_string());
        let story = [started(job), end, list];
        let records = story.iter().zip(self.seq..).map(|(message, seq)| record(seq, message));
        session.apply(records.collect()).await.unwrap();
        self.seq += 3;
        let hosts = self.live.hosts().await;
        let host = hosts.iter().find(|host| host.id == self.host.id).unwrap();
        // The group's own, which is read together with what its verdict is made from.
        assert_eq!(host.groups[0].last_backup.as_ref().unwrap().job_id, job);
    }

    pub(crate) async fn look(&self) {
        self.alarm.look(Timestamp::now()).await.unwrap();
    }

    pub(crate) async fn alerts(&self, states: &[State]) -> Vec<AlertView> {
        let filter = AlertFilter { states: states.to_vec(), limit: 50, before: None };
        self.fleet.store.alerts(&filter, Timestamp::now()).await.unwrap().alerts
    }
}

#[tokio::test]
async fn a_failed_backup_opens_one_alert_that_its_success_resolves() {
    let mut watched = Watched::new().await;
    watched.look().await;
    assert_eq!(watched.alerts(&[]).await, []);
    watched.backup(Status::Failed).await;
    watched.look().await;
    watched.look().await;
    let open = watched.alerts(&[State::Open]).await;
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].rule, open[0].count), (Rule::Failed, 1));
    assert_eq!(open[0].title, "The backup of `etc` on web-1 failed.");
    assert_eq!(open[0].subjects[0].host_name, "web-1");
    watched.backup(Status::Failed).await;
    watched.look().await;
    assert_eq!(watched.alerts(&[State::Open]).await[0].count, 2);
    watched.backup(Status::Succeeded).await;
    watched.look().await;
    assert_eq!(watched.alerts(&[State::Open]).await, []);
    assert_eq!(watched.alerts(&[State::Resolved]).await[0].id, open[0].id);
}

#[tokio::test]
async fn who_takes_an_alert_on_stays_named_and_a_resolved_one_cannot_be_taken() {
    let mut watched = Watched::new().await;
    watched.backup(Status::Failed).await;
    watched.look().await;
    let id = watched.alerts(&[]).await[0].id;
    let store = watched.fleet.store.clone();
    store.acknowledge_alert("alice", id).await.unwrap();
    store.acknowledge_alert("bob", id).await.unwrap();
    watched.backup(Status::Failed).await;
    watched.look().await;
    let taken = watched.alerts(&[]).await.remove(0);
    assert_eq!((taken.state, taken.count), (State::Acknowledged, 2));
    assert_eq!(taken.acknowledged_by.as_deref(), Some("alice"));
    watched.backup(Status::Succeeded).await;
    watched.look().await;
    let late = store.acknowledge_alert("alice", id).await.unwrap_err();
    assert_eq!(late.code(), "alert_resolved");
    let nobody = store.acknowledge_alert("alice", Uuid::nil()).await.unwrap_err();
    assert_eq!(nobody.code(), "alert_not_found");
}

#[tokio::test]
async fn browsers_see_an_alert_come_and_go() {
    let mut watched = Watched::new().await;
    let mut subscription = watched.live.subscribe();
    watched.backup(Status::Failed).await;
    watched.look().await;
    let mut told = Vec::new();
    let mut next_alert = async || {
        loop {
            let text = subscription.next().await.unwrap();
            let update: serde_json::Value = serde_json::from_str(text.as_str()).unwrap();
            if update["kind"] == "alert" {
                return update["alert"]["state"].as_str().unwrap().to_owned();
            }
        }
    };
    let limit = std::time::Duration::from_secs(10);
    told.push(tokio::time::timeout(limit, next_alert()).await.unwrap());
    let again = fleet::first(&mut watched.live.subscribe()).await;
    assert_eq!(again["alerts"][0]["rule"], "failed");
    watched.backup(Status::Succeeded).await;
    watched.look().await;
    told.push(tokio::time::timeout(limit, next_alert()).await.unwrap());
    assert_eq!(told, ["open", "resolved"]);
    let again = fleet::first(&mut watched.live.subscribe()).await;
    assert_eq!(again["alerts"], serde_json::json!([]));
}

#[tokio::test]
async fn a_silenced_alert_is_shown_as_such_until_the_silence_ends() {
    let mut watched = Watched::new().await;
    watched.backup(Status::Failed).await;
    watched.look().await;
    let until = Timestamp::now() + SignedDuration::from_hours(8);
    let silence = NewSilence {
        until,
        reason: "The disk is being replaced.".to_owned(),
        host: Some(watched.host.id),
        group: None,
        rule: None,
        alert: None,
    };
    let store = watched.fleet.store.clone();
    let made = store.add_silence("ops", &silence).await.unwrap();
    assert_eq!(made.host_name.as_deref(), Some("web-1"));
    let millis = |at: Timestamp| at.as_millisecond();
    let silenced = watched.alerts(&[]).await[0].silenced_until;
    assert_eq!(silenced.map(millis), Some(millis(until)));
    let filter = AlertFilter { limit: 1, ..AlertFilter::default() };
    let later = store.alerts(&filter, until).await.unwrap();
    assert_eq!(later.alerts[0].silenced_until, None);
    store.end_silence("ops", made.id).await.unwrap();
    assert_eq!(watched.alerts(&[]).await[0].silenced_until, None);
    let twice = store.end_silence("ops", made.id).await.unwrap_err();
    assert_eq!(twice.code(), "silence_not_found");
}

#[tokio::test]
async fn alerts_outlive_the_server() {
    let mut watched = Watched::new().await;
    watched.backup(Status::Failed).await;
    watched.look().await;
    let before = watched.alerts(&[]).await;
    watched.fleet.restart().await;
    let live = watched.fleet.live().await;
    let again = fleet::first(&mut live.subscribe()).await;
    assert_eq!(again["alerts"][0]["id"], before[0].id.to_string());
    let alarm = Alarm::new(watched.fleet.store.clone(), live, Timestamp::now());
    alarm.look(Timestamp::now()).await.unwrap();
    assert_eq!(watched.alerts(&[]).await, before, "nothing is told twice");
}

#[tokio::test]
async fn a_page_of_alerts_leads_to_the_next() {
    let mut watched = Watched::new().await;
    for _ in 0..3 {
        watched.backup(Status::Failed).await;
        watched.look().await;
        watched.backup(Status::Succeeded).await;
        watched.look().await;
        let long_ago = "UPDATE alerts SET resolved_at = resolved_at - 7200000";
        fleet::meddle(watched.fleet.dir.path(), long_ago).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut filter = AlertFilter { limit: 2, ..AlertFilter::default() };
    loop {
        let page = watched.fleet.store.alerts(&filter, Timestamp::now()).await.unwrap();
        seen.extend(page.alerts.iter().map(|alert| alert.id));
        filter.before = page.next;
        if filter.before.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 3);
}
