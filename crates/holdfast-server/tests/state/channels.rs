//! News from the alert to a real receiver.

use holdfast_link::Store as _;
use holdfast_protocol::message::job::Status;
use holdfast_server::{
    alert::{Courier, Event, Severity, channel::Settings, guard::Guard, wire::Wire},
    store::{NewChannel, NewSilence},
    view::DeliveryView,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    alerts::Watched,
    fleet::{record, started},
    receivers::{Relay, Web},
};

/// A watched host, a courier who may go to this machine, and one channel.
struct Told {
    watched: Watched,
    courier: Courier,
}

impl Told {
    async fn by(settings: Value) -> Self {
        let watched = Watched::new().await;
        let inside = vec!["127.0.0.1".parse().unwrap()];
        let (store, live) = (watched.fleet.store.clone(), watched.live.clone());
        let courier = Courier::new(store, live, Wire::new(Guard::new(inside)));
        let told = Self { watched, courier };
        told.add("ops", settings).await;
        told
    }

    async fn add(&self, name: &str, settings: Value) {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let channel = NewChannel {
            name: name.to_owned(),
            settings,
            severity_min: Severity::Warning,
            host: None,
            group: None,
        };
        self.watched.fleet.store.add_channel("admin", &channel).await.unwrap();
    }

    /// Lets a backup end so, and the alarm and the courier look.
    async fn backup(&mut self, status: Status) {
        self.watched.backup(status).await;
        self.watched.look().await;
        self.look_after(0).await;
    }

    async fn look_after(&self, minutes: i64) {
        let now = Timestamp::now() + SignedDuration::from_mins(minutes);
        self.courier.look(now).await.unwrap();
    }

    async fn log(&self) -> Vec<DeliveryView> {
        let store = &self.watched.fleet.store;
        let channel = store.channel("ops").await.unwrap();
        let mut log = store.deliveries(channel.id, 100).await.unwrap();
        log.reverse();
        log
    }

    async fn states(&self) -> Vec<(Event, String, u64)> {
        let log = self.log().await;
        log.into_iter().map(|it| (it.event, it.state, it.attempts)).collect()
    }
}

fn hook(web: &Web) -> Value {
    json!({"kind": "webhook", "url": web.url("/hook?key=canary-url"), "secret": "canary-secret"})
}

#[tokio::test]
async fn an_alert_is_told_once_and_its_end_when_it_has_settled() {
    let web = Web::open().await;
    let mut told = Told::by(hook(&web)).await;
    told.backup(Status::Failed).await;
    told.look_after(1).await;
    told.backup(Status::Failed).await;
    let came = web.take();
    assert_eq!(came.len(), 1, "{came:?}");
    let body: Value = serde_json::from_str(&came[0].body).unwrap();
    assert_eq!((&body["event"], &body["alert"]["rule"]), (&json!("opened"), &json!("failed")));
    assert_eq!(came[0].uri, "/hook?key=canary-url");
    assert_eq!(came[0].headers["x-holdfast-event"], "opened");
    told.backup(Status::Succeeded).await;
    told.look_after(4).await;
    assert_eq!(web.take().len(), 0, "it may come back");
    told.look_after(6).await;
    told.look_after(7).await;
    let came = web.take();
    assert_eq!(came.len(), 1, "{came:?}");
    let body: Value = serde_json::from_str(&came[0].body).unwrap();
    assert_eq!((&body["event"], &body["severity"]), (&json!("resolved"), &json!("info")));
    let sent = |event| (event, "sent".to_owned(), 1);
    assert_eq!(told.states().await, [sent(Event::Opened), sent(Event::Resolved)]);
}

#[tokio::test]
async fn what_flaps_is_told_once() {
    let web = Web::open().await;
    let mut told = Told::by(hook(&web)).await;
    for _ in 0..3 {
        told.backup(Status::Failed).await;
        told.backup(Status::Succeeded).await;
    }
    assert_eq!(web.take().len(), 1);
    told.look_after(10).await;
    assert_eq!(web.take().len(), 1, "and its end once");
    told.backup(Status::Failed).await;
    assert_eq!(web.take().len(), 1, "who heard of the end must hear that it came back");
}

#[tokio::test]
async fn a_receiver_in_trouble_is_tried_again_and_told_the_same() {
    let web = Web::open().await;
    web.answer(503);
    let mut told = Told::by(hook(&web)).await;
    told.backup(Status::Failed).await;
    told.look_after(0).await;
    assert_eq!(told.states().await, [(Event::Opened, "waiting".to_owned(), 1)]);
    let error = told.log().await.remove(0).error.unwrap();
    assert!(error.contains("503") && !error.contains("canary"), "{error}");
    web.answer(200);
    told.look_after(2).await;
    assert_eq!(told.states().await, [(Event::Opened, "sent".to_owned(), 2)]);
    let came = web.take();
    assert_eq!(came.len(), 2);
    let id = |index: usize| came[index].headers["x-holdfast-delivery"].clone();
    assert_eq!(id(0), id(1), "a receiver can tell that it is the same");
}

#[tokio::test]
async fn a_message_that_is_refused_or_too_old_is_given_up() {
    let web = Web::open().await;
    web.answer(404);
    let mut told = Told::by(hook(&web)).await;
    told.backup(Status::Failed).await;
    told.look_after(60).await;
    assert_eq!(told.states().await, [(Event::Opened, "failed".to_owned(), 1)]);

    web.answer(500);
    let mut told = Told::by(hook(&web)).await;
    told.backup(Status::Failed).await;
    told.look_after(23 * 60).await;
    assert_eq!(told.states().await, [(Event::Opened, "waiting".to_owned(), 2)]);
    told.look_after(25 * 60).await;
    assert_eq!(told.states().await, [(Event::Opened, "failed".to_owned(), 3)]);
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let web = Web::open().await;
    web.answer(302);
    let mut told = Told::by(hook(&web)).await;
    told.backup(Status::Failed).await;
    assert_eq!(told.states().await, [(Event::Opened, "failed".to_owned(), 1)]);
    assert_eq!(web.take().len(), 1, "the place it leads to was not asked");
}

#[tokio::test]
async fn what_was_over_before_it_could_be_told_is_not_told() {
    let web = Web::open().await;
    web.answer(503);
    let mut told = Told::by(hook(&web)).await;
    told.backup(Status::Failed).await;
    told.backup(Status::Succeeded).await;
    web.take();
    web.answer(200);
    told.look_after(30).await;
    told.look_after(31).await;
    assert_eq!(web.take().len(), 0);
    assert_eq!(told.states().await, []);
}

#[tokio::test]
async fn a_silence_keeps_it_quiet_and_its_end_does_not_hide_it() {
    let web = Web::open().await;
    let mut told = Told::by(hook(&web)).await;
    let store = told.watched.fleet.store.clone();
    let silence = NewSilence {
        until: Timestamp::now() + SignedDuration::from_hours(1),
        reason: "A test.".to_owned(),
        host: None,
        group: None,
        rule: None,
        alert: None,
    };
    store.add_silence("ops", &silence).await.unwrap();
    told.backup(Status::Failed).await;
    told.look_after(59).await;
    assert_eq!(web.take().len(), 0);
    told.look_after(61).await;
    assert_eq!(web.take().len(), 1, "it still lasts when the silence has ended");
}

#[tokio::test]
async fn an_alert_that_somebody_has_taken_on_wakes_nobody() {
    let web = Web::open().await;
    let mut told = Told::by(hook(&web)).await;
    told.watched.backup(Status::Failed).await;
    told.watched.look().await;
    let alert = told.watched.alerts(&[]).await.remove(0);
    told.watched.fleet.store.acknowledge_alert("alice", alert.id).await.unwrap();
    told.look_after(0).await;
    assert_eq!(web.take().len(), 0);
}

#[tokio::test]
async fn a_channel_tells_nothing_that_was_before_it() {
    let web = Web::open().await;
    let mut told = Told::by(hook(&web)).await;
    told.backup(Status::Failed).await;
    assert_eq!(web.take().len(), 1);
    told.add("late", hook(&web)).await;
    told.look_after(1).await;
    assert_eq!(web.take().len(), 0);
}

#[tokio::test]
async fn a_mail_arrives_at_a_real_relay() {
    let relay = Relay::open().await;
    let port = relay.address.port();
    let mut told = Told::by(json!({
        "kind": "mail", "host": "127.0.0.1", "port": port, "tls": "none",
        "from": "Holdfast <holdfast@example.org>", "to": ["ops@example.org", "b@example.org"],
    }))
    .await;
    told.backup(Status::Failed).await;
    let mails = relay.take();
    assert_eq!(mails.len(), 1, "{mails:?}");
    let mail = &mails[0];
    for wanted in [
        "From: Holdfast <holdfast@example.org>",
        "To: ops@example.org, b@example.org",
        "Subject: The backup of `etc` on web-1 failed.",
        "What to do: Look at the log.",
    ] {
        assert!(mail.contains(wanted), "{wanted} in {mail}");
    }
    assert_eq!(told.states().await, [(Event::Opened, "sent".to_owned(), 1)]);
}

#[tokio::test]
async fn a_mail_that_is_refused_or_unencrypted_is_not_sent_on() {
    let relay = Relay::open().await;
    let mail = |to: &str, tls: &str| {
        let port = relay.address.port();
        json!({"kind": "mail", "host": "127.0.0.1", "port": port, "tls": tls,
            "from": "holdfast@example.org", "to": [to]})
    };
    let mut refused = Told::by(mail("refused@example.org", "none")).await;
    refused.backup(Status::Failed).await;
    assert_eq!(refused.states().await, [(Event::Opened, "failed".to_owned(), 1)]);
    let error = refused.log().await.remove(0).error.unwrap();
    assert!(error.contains("550") && !error.contains("no such box"), "{error}");

    let mut plain = Told::by(mail("ops@example.org", "starttls")).await;
    plain.backup(Status::Failed).await;
    assert_ne!(plain.states().await[0].1, "sent", "the relay offers no encryption");
    assert_eq!(relay.take(), Vec::<String>::new());
}

#[tokio::test]
async fn a_watchman_elsewhere_hears_of_every_beginning_and_end() {
    let web = Web::open().await;
    let mut told = Told::by(json!({"kind": "ping", "url": web.url("/check")})).await;
    let fleet = &told.watched.fleet;
    let job = fleet.store.create_backup("ops", told.watched.host.id, "etc").await.unwrap();
    let session = fleet.session(&told.watched.host, 1).await;
    session.apply(vec![record(1, &started(job))]).await.unwrap();
    told.watched.seq = 2;
    told.look_after(0).await;
    told.look_after(0).await;
    let uris: Vec<String> = web.take().into_iter().map(|came| came.uri).collect();
    assert_eq!(uris, [format!("/check/start?rid={job}")]);
    told.backup(Status::Failed).await;
    let uris: Vec<String> = web.take().into_iter().map(|came| came.uri).collect();
    assert_eq!(uris.len(), 1, "{uris:?}");
    assert!(uris[0].starts_with("/check/fail?rid="), "{uris:?}");
    told.backup(Status::Succeeded).await;
    let uris: Vec<String> = web.take().into_iter().map(|came| came.uri).collect();
    assert!(uris[0].starts_with("/check?rid="), "{uris:?}");
}

#[tokio::test]
async fn a_digest_comes_once_for_each_time_it_is_due_and_after_a_pause_only_the_newest() {
    let web = Web::open().await;
    let mut told = Told::by(json!({"kind": "slack", "url": web.url("/chat")})).await;
    told.backup(Status::Succeeded).await;
    assert_eq!(web.take().len(), 0, "what was due before the channel was there is not told");
    let week = 7 * 24 * 60;
    told.look_after(week).await;
    told.look_after(week + 1).await;
    let came = web.take();
    assert_eq!(came.len(), 1, "{came:?}");
    assert!(came[0].body.contains("hosts are protected."), "{}", came[0].body);
    told.look_after(5 * week).await;
    assert_eq!(web.take().len(), 1);
    assert_eq!(told.states().await[0].0, Event::Digest);
}

#[tokio::test]
async fn what_a_program_reads_gets_no_digest_unasked() {
    let web = Web::open().await;
    let told = Told::by(hook(&web)).await;
    told.look_after(8 * 24 * 60).await;
    assert_eq!(web.take().len(), 0);
}

#[tokio::test]
async fn a_channels_secrets_are_sealed_on_the_disk() {
    let web = Web::open().await;
    let told = Told::by(hook(&web)).await;
    let dir = told.watched.fleet.dir.path();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for canary in ["canary-url", "canary-secret"] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} in {}", path.display());
        }
    }
}
