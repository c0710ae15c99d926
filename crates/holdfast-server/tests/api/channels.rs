//! Channels over the API.

use serde_json::{Value, json};

use crate::{receivers, support::Server};

#[tokio::test]
async fn a_channel_is_added_shown_without_secrets_and_removed() {
    let server = Server::with_group().await;
    let body = json!({
        "name": "chat", "host": "web-1", "group": "etc", "severity_min": "critical",
        "settings": {"kind": "slack", "url": "https://hooks.slack.com/services/canary"},
    });
    let answer = server.post("/channels", &body).await;
    let made = answer.expect(201);
    assert_eq!(
        (&made["kind"], &made["target"]),
        (&json!("slack"), &json!("https://hooks.slack.com"))
    );
    assert_eq!((&made["host_name"], &made["severity_min"]), (&json!("web-1"), &json!("critical")));
    let list = server.get("/channels").await;
    assert_eq!(list.expect(200), json!({"channels": [made]}));
    assert!(!answer.text.contains("canary") && !list.text.contains("canary"));
    server.post("/channels", &body).await.expect_problem(409, "channel_exists");
    server.delete("/channels/chat").await.expect(204);
    server.delete("/channels/chat").await.expect_problem(404, "channel_not_found");
}

#[tokio::test]
async fn a_channel_that_cannot_be_is_refused_without_repeating_its_secret() {
    let server = Server::with_group().await;
    for (settings, code) in [
        (json!({"kind": "slack", "url": "canary"}), "invalid_channel"),
        (json!({"kind": "gotify", "url": "https://g", "token": "canary\n"}), "invalid_channel"),
        (json!({"kind": "pigeon", "url": "canary"}), "invalid_body"),
        (json!({"kind": "slack"}), "invalid_body"),
    ] {
        let body = json!({"name": "chat", "settings": settings});
        let answer = server.post("/channels", &body).await;
        answer.expect_problem(400, code);
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    let slack = json!({"kind": "slack", "url": "https://hooks.slack.com/x"});
    let body = json!({"name": "chat", "group": "etc", "settings": slack});
    server.post("/channels", &body).await.expect_problem(400, "invalid_channel");
}

#[tokio::test]
async fn a_test_tells_whether_it_arrived_and_never_what_lies_inside() {
    let server = Server::with_group().await;
    let canary = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = canary.local_addr().unwrap();
    drop(canary);
    for (name, url, told) in [
        ("metadata", "http://169.254.169.254/latest".to_owned(), "network"),
        ("router", "http://192.168.0.1/".to_owned(), "network"),
        ("closed", format!("http://{closed}/"), "no connection"),
    ] {
        let body = json!({"name": name, "settings": {"kind": "webhook", "url": url}});
        server.post("/channels", &body).await.expect(201);
        let tested = server.post(&format!("/channels/{name}/test"), &json!({})).await.expect(200);
        assert_eq!(tested["delivered"], false);
        assert!(tested["error"].as_str().unwrap().contains(told), "{tested}");
        let log = server.get(&format!("/channels/{name}/deliveries")).await.expect(200);
        let entry = &log["deliveries"][0];
        assert_eq!((&entry["event"], &entry["state"]), (&json!("test"), &json!("failed")));
    }
}

#[tokio::test]
async fn a_channel_is_added_by_an_address_and_reaches_a_real_receiver() {
    let server = Server::with_group().await;
    let (web, relay) = (receivers::Web::open().await, receivers::Relay::open().await);
    let (at, mail) = (web.address, relay.address);
    for (name, address, kind, uri) in [
        ("json", format!("json://{at}/canary/x"), "webhook", "/canary/x"),
        ("ntfy", format!("ntfy://canary@{at}/topic"), "ntfy", "/"),
        ("gotify", format!("gotify://{at}/push/canary"), "gotify", "/push/message"),
        ("mmost", format!("mmost://{at}/canary"), "slack", "/hooks/canary"),
        ("mail", format!("mailto://me@{mail}?from=me@a.example&to=b@a.example"), "mail", ""),
    ] {
        let added = server.post("/channels", &json!({"name": name, "address": address})).await;
        assert_eq!(added.expect(201)["kind"], kind);
        assert!(!added.text.contains("canary"), "{}", added.text);
        let tested = server.post(&format!("/channels/{name}/test"), &json!({})).await.expect(200);
        assert_eq!(tested, json!({"delivered": true}), "{name}");
        let came = web.take();
        let uris: Vec<&str> = came.iter().map(|came| came.uri.as_str()).collect();
        assert_eq!(uris, Vec::from_iter((!uri.is_empty()).then_some(uri)), "{name}");
        for came in came {
            assert_eq!(came.headers["content-type"], "application/json", "{name}");
            assert!(came.body.contains("This is a test"), "{name}: {}", came.body);
        }
    }
    assert!(relay.take()[0].contains("To: b@a.example"));
    web.answer(500);
    let tested = server.post("/channels/json/test", &json!({})).await.expect(200);
    assert_eq!(tested["delivered"], false);
    for wrong in [
        json!({"name": "x", "address": "pigeon://canary"}),
        json!({"name": "x", "address": "ntfy://canary", "settings": {"kind": "slack", "url": "https://canary"}}),
        json!({"name": "x"}),
    ] {
        let answer = server.post("/channels", &wrong).await;
        answer.expect_problem(400, "invalid_channel");
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_digest_is_set_shown_and_read_beforehand() {
    let server = Server::with_group().await;
    let add = async |name: &str, settings: Value| {
        let body = json!({"name": name, "settings": settings});
        server.post("/channels", &body).await.expect(201);
    };
    add("chat", json!({"kind": "slack", "url": "https://hooks.slack.com/x"})).await;
    add("hook", json!({"kind": "webhook", "url": "https://h.example/x"})).await;
    add("watch", json!({"kind": "ping", "url": "https://hc-ping.com/x"})).await;
    let plan = server.get("/channels/chat/digest").await.expect(200);
    assert_eq!((&plan["enabled"], &plan["cron"]), (&json!(true), &json!("0 8 * * 1")));
    let plan = server.get("/channels/hook/digest").await.expect(200);
    assert_eq!((&plan["enabled"], plan.get("next_at")), (&json!(false), None));
    let set = async |name: &str, body: Value| {
        server.patch(&format!("/channels/{name}/digest"), &body).await
    };
    let zone = json!({"cron": "30 7 * * 5", "time_zone": "Europe/Berlin"});
    let plan = set("chat", zone).await.expect(200);
    assert_eq!((&plan["enabled"], &plan["cron"]), (&json!(true), &json!("30 7 * * 5")));
    let next: jiff::Timestamp = plan["next_at"].as_str().unwrap().parse().unwrap();
    let next = next.in_tz("Europe/Berlin").unwrap();
    assert_eq!((next.weekday(), next.hour(), next.minute()), (jiff::civil::Weekday::Friday, 7, 30));
    set("chat", json!({"cron": "at noon"})).await.expect_problem(400, "invalid_schedule");
    set("chat", json!({"time_zone": "Moon"})).await.expect_problem(400, "invalid_schedule");
    set("watch", json!({"enabled": true})).await.expect_problem(400, "digest_not_possible");
    let off = set("chat", json!({"enabled": false})).await.expect(200);
    assert_eq!(off.get("next_at"), None);
    let digest = server.get("/channels/chat/digest/preview").await.expect(200);
    assert_eq!(digest["title"], "Backups: 0 of 1 hosts are protected.");
    let text = digest["text"].as_str().unwrap();
    assert!(text.contains("- web-1: ") && text.contains("No backup ended"), "{text}");
    let entry = &server.get("/audit?action=channel.digest").await.expect(200)["entries"][0];
    assert_eq!(
        (&entry["before"]["enabled"], &entry["after"]["enabled"]),
        (&json!(true), &json!(false))
    );
}
