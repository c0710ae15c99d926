//! Repositories, their slots, and how source groups are backed up and kept.

use serde_json::{Value, json};

use crate::support::Server;

const CANARIES: [&str; 4] =
    ["canary-everyday", "canary-admin", "canary-variable", "canary-location"];

async fn with_repository() -> Server {
    let server = Server::start().await;
    let body = json!({
        "name": "main", "url": "rest:https://u:canary-location@h:8000/", "password": CANARIES[0],
        "environment": { "RESTIC_REST_PASSWORD": CANARIES[2] },
    });
    server.post("/repositories", &body).await.expect(201);
    server
}

#[tokio::test]
async fn a_slot_is_written_and_never_read_and_an_unknown_one_is_refused() {
    let server = with_repository().await;
    let credentials = json!({ "password": CANARIES[1], "url": "rest:https://admin:x@h:8000/" });
    let path = "/repositories/main/credentials/admin";
    server.put(path, &credentials).await.expect(204);
    let listed = server.get("/repositories").await;
    for canary in CANARIES {
        assert!(!listed.text.contains(canary), "{}", listed.text);
    }
    for slot in ["maintenance", "Admin", "repo2"] {
        let path = format!("/repositories/main/credentials/{slot}");
        server.put(&path, &credentials).await.expect_problem(400, "unknown_slot");
        server.delete(&path).await.expect_problem(400, "unknown_slot");
    }
    server.delete(path).await.expect(204);
}

#[tokio::test]
async fn credentials_of_another_kind_of_backend_are_refused() {
    let server = Server::start().await;
    for (url, variable) in [
        ("/srv/restic", "AWS_ACCESS_KEY_ID"),
        ("s3:https://s3.example/bucket", "B2_ACCOUNT_KEY"),
        ("rest:https://h/", "RCLONE_PASSWORD_COMMAND"),
        ("sftp:user@h:/srv", "LD_PRELOAD"),
    ] {
        let body = json!({ "name": "x", "url": url, "password": "p",
            "environment": { variable: "value" } });
        server.post("/repositories", &body).await.expect_problem(400, "invalid_environment");
    }
    let body = json!({ "name": "x", "url": "rest:https://h/", "password": "p",
        "ca_certificate": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n" });
    server.post("/repositories", &body).await.expect_problem(400, "invalid_certificate");
}

#[tokio::test]
async fn a_source_group_is_changed_in_part_and_kept_by_rules() {
    let server = Server::with_group().await;
    let body = json!({ "options": { "one_file_system": true, "hooks": { "pre": ["stop-app"] } } });
    let group = server.put("/hosts/web-1/groups/etc", &body).await.expect(200);
    assert_eq!(group["includes"], json!(["/etc"]), "what is absent stays");
    assert_eq!(group["options"]["hooks"]["pre"], json!(["stop-app"]));

    let path = "/hosts/web-1/groups/etc/retention";
    let tags_only = json!({ "keep_tags": ["x"] });
    server.put(path, &tags_only).await.expect_problem(400, "invalid_retention");
    let rules = json!({ "keep_daily": 7, "keep_within": "1y" });
    assert_eq!(server.put(path, &rules).await.expect(200)["retention"], rules);
    assert_eq!(server.get(path).await.expect(200)["retention"], rules);
    server.put(path, &Value::Null).await.expect(200);
    assert_eq!(server.get(path).await.expect(200), json!({}));
}

#[tokio::test]
async fn a_schedule_tells_how_its_slots_are_kept() {
    let server = Server::with_group().await;
    let path = "/hosts/web-1/groups/etc/schedule";
    let body = json!({ "cron": "0 3 * * *", "time_zone": "UTC", "jitter_seconds": 600,
        "window": { "from": "22:00", "until": "06:00" }, "catch_up": false });
    let group = server.put(path, &body).await.expect(200);
    let schedule = &group["schedule"];
    assert_eq!(schedule["window"], json!({ "from": "22:00", "until": "06:00" }));
    assert_eq!((&schedule["jitter_seconds"], &schedule["catch_up"]), (&json!(600), &json!(false)));
    for (from, until) in [("25:00", "06:00"), ("6", "7"), ("06:00", "06:00")] {
        let window = json!({ "from": from, "until": until });
        let body = json!({ "cron": "0 3 * * *", "time_zone": "UTC", "window": window });
        server.put(path, &body).await.expect_problem(400, "invalid_schedule");
    }
}
