//! What each kind of channel puts on the wire.

use holdfast_protocol::message::config::Secret;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::alert::{Severity, note::NotedJob};

fn note() -> Note {
    Note {
        severity: Severity::Critical,
        event: Event::Opened,
        title: "The backup of `etc` on <!channel> failed.".to_owned(),
        text: "The disk is \"full\".\nWhat to do: Make room.".to_owned(),
        ..Note::test(Uuid::from_u128(1), "x", Timestamp::from_second(1_800_000_000).unwrap())
    }
}

fn settings(value: Value) -> Settings {
    serde_json::from_value(value).unwrap()
}

fn posted(settings: &Settings, note: &Note) -> (String, Value, Vec<(String, String)>) {
    let post = settings.http().unwrap().request(note).unwrap().unwrap();
    let body = serde_json::from_slice(post.body()).unwrap_or(Value::Null);
    (post.url().to_string(), body, post.plain_headers())
}

#[test]
fn each_kind_speaks_its_receivers_language() {
    let (url, body, _) =
        posted(&settings(json!({"kind": "slack", "url": "https://h/T/x"})), &note());
    assert_eq!(url, "https://h/T/x");
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("&lt;!channel&gt;") && !text.contains("<!channel>"), "{text}");

    let (_, body, _) = posted(&settings(json!({"kind": "discord", "url": "https://h/d"})), &note());
    assert_eq!(body["allowed_mentions"], json!({"parse": []}));
    assert!(body["content"].as_str().unwrap().starts_with("The backup of"));

    let telegram = json!({"kind": "telegram", "token": "1:A", "chat_id": "@ops"});
    let (url, body, _) = posted(&settings(telegram), &note());
    assert_eq!(url, "https://api.telegram.org/bot1:A/sendMessage");
    assert_eq!(body["chat_id"], "@ops");

    let ntfy = json!({"kind": "ntfy", "url": "https://ntfy.sh", "topic": "t", "token": "tk"});
    let (url, body, headers) = posted(&settings(ntfy), &note());
    assert_eq!(
        (url.as_str(), &body["topic"], &body["priority"]),
        ("https://ntfy.sh/", &json!("t"), &json!(5))
    );
    assert!(headers.contains(&("authorization".into(), "Bearer tk".into())));

    let gotify = json!({"kind": "gotify", "url": "https://g/push/", "token": "tk"});
    let (url, body, headers) = posted(&settings(gotify), &note());
    assert_eq!((url.as_str(), &body["priority"]), ("https://g/push/message", &json!(8)));
    assert!(headers.contains(&("x-gotify-key".into(), "tk".into())));
}

#[test]
fn a_webhook_is_signed_so_that_its_receiver_can_tell() {
    let hook = json!({"kind": "webhook", "url": "https://h/x?key=1", "secret": "s3cret"});
    let settings = settings(hook);
    let post = settings.http().unwrap().request(&note()).unwrap().unwrap();
    let body: Value = serde_json::from_slice(post.body()).unwrap();
    assert_eq!((&body["event"], &body["severity"]), (&json!("opened"), &json!("critical")));
    let signature = webhook::sign(&Secret::new("s3cret"), 1_800_000_000, post.body());
    let wanted = format!("t=1800000000,v1={signature}");
    let headers = post.plain_headers();
    assert!(headers.contains(&("x-holdfast-signature".into(), wanted)), "{headers:?}");
    assert!(headers.contains(&("x-holdfast-delivery".into(), note().id.to_string())));
}

/// A vector that another implementation made: `printf '1800000000.{"a":1}' | openssl dgst -sha256
/// -hmac key`.
#[test]
fn the_signature_is_the_standard_one() {
    let ours = webhook::sign(&Secret::new("key"), 1_800_000_000, br#"{"a":1}"#);
    assert_eq!(ours, "7330c9cf7d886970cbebbbb5494c04d2aeff06a990adb7d7a75abfeb0159d291");
}

#[test]
fn a_template_is_filled_without_breaking_out_of_its_strings() {
    let hook = json!({
        "kind": "webhook", "url": "https://h/x",
        "template": r#"{"msg":"[{{severity}}] {{ title }}","more":"{{text}}","x":"{{unknown}}"}"#,
    });
    let (_, body, _) = posted(&settings(hook), &note());
    assert_eq!(body["msg"], "[critical] The backup of `etc` on <!channel> failed.");
    assert_eq!(body["more"], note().text);
    assert_eq!(body["x"], "{{unknown}}");
}

#[test]
fn a_ping_pairs_a_beginning_with_its_end() {
    use holdfast_protocol::message::job::Status;
    let settings = settings(json!({"kind": "ping", "url": "https://hc-ping.com/uuid?create=1"}));
    let job = holdfast_protocol::JobId::from_uuid(Uuid::from_u128(5));
    let ping = |event, status| {
        let host = "web-1".to_owned();
        let job = NotedJob { id: job, host, group: "etc".to_owned(), status };
        let note = Note { event, job: Some(job), ..note() };
        settings.http().unwrap().request(&note).unwrap().map(|post| post.url().to_string())
    };
    let wanted = |path: &str| Some(format!("https://hc-ping.com/uuid{path}?create=1&rid={job}"));
    assert_eq!(ping(Event::JobStarted, Status::Running), wanted("/start"));
    assert_eq!(ping(Event::JobEnded, Status::Succeeded), wanted(""));
    assert_eq!(ping(Event::JobEnded, Status::Failed), wanted("/fail"));
    assert_eq!(ping(Event::JobEnded, Status::Partial), wanted("/fail"));
    assert_eq!(ping(Event::JobEnded, Status::Cancelled), wanted("/log"));
    assert_eq!(ping(Event::Opened, Status::Failed), None, "alerts are not for pings");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    for wrong in [
        json!({"kind": "slack", "url": "not an address"}),
        json!({"kind": "slack", "url": "ftp://h/x"}),
        json!({"kind": "ntfy", "url": "https://ntfy.sh", "topic": " "}),
        json!({"kind": "gotify", "url": "https://g", "token": "a\nb"}),
        json!({"kind": "webhook", "url": "https://h", "template": "{\"a\": {{title}} }"}),
        json!({"kind": "webhook", "url": "https://h", "template": "no json"}),
        json!({"kind": "mail", "host": "h", "from": "a@b.c", "to": []}),
        json!({"kind": "mail", "host": "h", "from": "nobody", "to": ["a@b.c"]}),
        json!({"kind": "mail", "host": "h", "from": "a@b.c", "to": ["a@b.c"], "tls": "none",
            "username": "u", "password": "p"}),
    ] {
        assert!(settings(wrong.clone()).check().is_err(), "{wrong}");
    }
    let unknown = json!({"kind": "slack", "url": "https://h", "colour": "red"});
    assert!(serde_json::from_value::<Settings>(unknown).is_err());
    let named = json!({"kind": "mail", "host": "h", "from": "Holdfast <a@b.c>", "to": ["d@e.f"]});
    assert!(settings(named).check().is_ok());
}

#[test]
fn nothing_secret_is_shown() {
    let all = [
        json!({"kind": "slack", "url": "https://hooks.slack.com/services/canary"}),
        json!({"kind": "discord", "url": "https://discord.com/api/webhooks/canary"}),
        json!({"kind": "telegram", "token": "canary", "chat_id": "@ops"}),
        json!({"kind": "ntfy", "url": "https://ntfy.sh", "topic": "t", "token": "canary"}),
        json!({"kind": "gotify", "url": "https://g", "token": "canary"}),
        json!({"kind": "webhook", "url": "https://h/canary", "secret": "canary"}),
        json!({"kind": "ping", "url": "https://hc-ping.com/canary"}),
        json!({"kind": "mail", "host": "h", "username": "u", "password": "canary",
            "from": "a@b.c", "to": ["d@e.f"]}),
    ];
    for settings in all.map(settings) {
        assert!(!settings.target().contains("canary"), "{}", settings.target());
        assert!(!format!("{settings:?}").contains("canary"), "{settings:?}");
        if let Some(post) = settings.http().and_then(|it| it.request(&note()).ok().flatten()) {
            let shown = format!("{post:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
