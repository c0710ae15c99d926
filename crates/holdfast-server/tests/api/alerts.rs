//! Alerts, silences and rules over the API.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::Server;

fn in_hours(hours: i64) -> String {
    (Timestamp::now() + SignedDuration::from_hours(hours)).to_string()
}

#[tokio::test]
async fn alerts_are_listed_by_state() {
    let server = Server::with_group().await;
    for state in ["active", "open", "acknowledged", "resolved", "all"] {
        let page = server.get(&format!("/alerts?state={state}")).await.expect(200);
        assert_eq!(page, json!({"alerts": []}));
    }
    server.get("/alerts?state=loud").await.expect_problem(400, "invalid_state");
    server.get("/alerts?limit=501").await.expect_problem(400, "invalid_limit");
    server.get("/alerts?before=x").await.expect_problem(400, "invalid_cursor");
    server.get("/alerts/none").await.expect_problem(404, "alert_not_found");
    let nobody = server.post("/alerts/none/acknowledge", &json!({})).await;
    nobody.expect_problem(404, "alert_not_found");
}

#[tokio::test]
async fn a_silence_has_an_end_a_reason_and_an_existing_subject() {
    let server = Server::with_group().await;
    let silence = |until: String, reason: &str| json!({"until": until, "reason": reason});
    for (wrong, code) in [
        (silence(in_hours(-1), "Because."), "invalid_silence"),
        (silence(in_hours(91 * 24), "Because."), "invalid_silence"),
        (silence(in_hours(1), " "), "invalid_silence"),
        (json!({"until": in_hours(1), "reason": "x", "group": "etc"}), "invalid_silence"),
        (json!({"until": in_hours(1), "reason": "x", "rule": "loud"}), "invalid_body"),
        (json!({"until": "soon", "reason": "x"}), "invalid_body"),
    ] {
        server.post("/silences", &wrong).await.expect_problem(400, code);
    }
    let nobody = json!({"until": in_hours(1), "reason": "x", "host": "web-2"});
    server.post("/silences", &nobody).await.expect_problem(404, "host_not_found");

    let body = json!({
        "until": in_hours(8), "reason": "The disk is replaced.", "host": "web-1",
        "group": "etc", "rule": "failed",
    });
    let made = server.post("/silences", &body).await.expect(201);
    assert_eq!((&made["host_name"], &made["rule"]), (&json!("web-1"), &json!("failed")));
    assert_eq!(server.get("/silences").await.expect(200), json!({"silences": [made]}));
    let path = format!("/silences/{}", made["id"].as_str().unwrap());
    server.delete(&path).await.expect(204);
    server.delete(&path).await.expect_problem(404, "silence_not_found");
    assert_eq!(server.get("/silences").await.expect(200), json!({"silences": []}));
}

#[tokio::test]
async fn a_rule_is_set_and_stays_so() {
    let server = Server::with_group().await;
    let rules = server.get("/alert-rules").await.expect(200);
    let offline = json!({
        "rule": "offline", "severity": "warning", "enabled": true, "grace_seconds": 86400,
    });
    assert!(rules["rules"].as_array().unwrap().contains(&offline), "{rules}");
    let set = json!({"enabled": false, "grace_seconds": 600});
    let changed = server.put("/alert-rules/offline", &set).await.expect(200);
    assert_eq!((&changed["enabled"], &changed["grace_seconds"]), (&json!(false), &json!(600)));
    let rules = server.get("/alert-rules").await.expect(200);
    assert!(rules["rules"].as_array().unwrap().contains(&changed), "{rules}");
    server.put("/alert-rules/loud", &set).await.expect_problem(404, "rule_not_found");
    let long = json!({"enabled": true, "grace_seconds": 2_592_001});
    server.put("/alert-rules/offline", &long).await.expect_problem(400, "invalid_grace");
}
