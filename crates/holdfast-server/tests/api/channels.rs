//! Channels over the API.

use serde_json::json;

use crate::support::Server;

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
