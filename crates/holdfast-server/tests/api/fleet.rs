//! Hosts, repositories, source groups and schedules.

use serde_json::json;

use crate::support::Server;

#[tokio::test]
async fn names_that_could_hurt_a_page_or_a_shell_are_refused() {
    let server = Server::with_group().await;
    let names =
        ["<script>alert(1)</script>", "-rf", "a b", "../x", "", "a\u{0}", "x\u{202e}y", "é"];
    for name in names {
        server.post("/hosts", &json!({"name": name})).await.expect_problem(400, "invalid_name");
        let repository = json!({"name": name, "url": "/srv", "password": "p"});
        server.post("/repositories", &repository).await.expect_problem(400, "invalid_name");
        let group = json!({"name": name, "repository": "main", "includes": ["/etc"]});
        let answer = server.post("/hosts/web-1/groups", &group).await;
        answer.expect_problem(400, "invalid_name");
    }
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let server = Server::with_group().await;
    let host = json!({"name": "web-1"});
    server.post("/hosts", &host).await.expect_problem(409, "host_exists");
    let repository = json!({"name": "main", "url": "/srv", "password": "p"});
    server.post("/repositories", &repository).await.expect_problem(409, "repository_exists");
    let group = json!({"name": "etc", "repository": "main", "includes": ["/etc"]});
    server.post("/hosts/web-1/groups", &group).await.expect_problem(409, "group_exists");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let server = Server::with_group().await;
    let title = server.get("/hosts/web-2").await.expect_problem(404, "host_not_found");
    assert_eq!(title, "There is no host `web-2`.");
    let group = json!({"name": "srv", "repository": "man", "includes": ["/srv"]});
    let answer = server.post("/hosts/web-1/groups", &group).await;
    answer.expect_problem(404, "repository_not_found");
    server.delete("/hosts/web-1/groups/srv").await.expect_problem(404, "group_not_found");
    server.get("/hosts/web-2/groups").await.expect_problem(404, "host_not_found");
    server.get("/hosts/web-2/snapshots").await.expect_problem(404, "host_not_found");
    server.delete("/hosts/web-2").await.expect_problem(404, "host_not_found");
}

#[tokio::test]
async fn a_host_is_found_by_name_and_by_id() {
    let server = Server::with_group().await;
    let by_name = server.get("/hosts/web-1").await.expect(200);
    let by_id =
        server.get(&format!("/hosts/{}", by_name["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(by_name, by_id);
    assert_eq!(by_name["state"], "pending");
    assert_eq!(by_name["groups"][0]["includes"], json!(["/etc"]));
    assert_eq!(server.get("/hosts/web-1/snapshots").await.expect(200), json!({"snapshots": []}));
}

#[tokio::test]
async fn a_group_of_wrong_paths_is_refused_with_the_path() {
    let server = Server::with_group().await;
    let group = |includes| json!({"name": "x", "repository": "main", "includes": includes});
    let relative = server.post("/hosts/web-1/groups", &group(json!(["etc"]))).await;
    let title = relative.expect_problem(400, "invalid_includes");
    assert_eq!(title, "`etc` is not an absolute path.");
    let empty = server.post("/hosts/web-1/groups", &group(json!([]))).await;
    empty.expect_problem(400, "invalid_includes");
}

#[tokio::test]
async fn a_repository_is_listed_without_its_secrets() {
    let server = Server::start().await;
    let body = json!({
        "name": "main", "url": "rest:https://user:canary-url@backup.example/r",
        "password": "canary-password", "environment": {"RESTIC_REST_PASSWORD": "canary-key"},
    });
    server.post("/repositories", &body).await.expect(201);
    let answer = server.get("/repositories").await;
    let list = answer.expect(200);
    assert_eq!(list["repositories"][0]["location"], "rest:https://backup.example/r");
    assert_eq!(list["repositories"][0]["kind"], "rest");
    assert!(!answer.text.contains("canary"), "{}", answer.text);
}

#[tokio::test]
async fn a_dangerous_location_or_variable_is_refused_without_repeating_it() {
    let server = Server::start().await;
    for url in ["--canary", "canary/relative", "ftp:canary"] {
        let body = json!({"name": "main", "url": url, "password": "p"});
        let answer = server.post("/repositories", &body).await;
        answer.expect_problem(400, "invalid_repository_url");
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    let body = json!({
        "name": "main", "url": "/srv", "password": "p", "environment": {"LD_PRELOAD": "canary"},
    });
    let answer = server.post("/repositories", &body).await;
    answer.expect_problem(400, "invalid_environment");
    assert!(!answer.text.contains("canary"), "{}", answer.text);
    let body = json!({"name": "main", "url": "/srv", "password": ""});
    server.post("/repositories", &body).await.expect_problem(400, "invalid_password");
}

#[tokio::test]
async fn a_schedule_is_answered_in_words_with_its_next_run() {
    let server = Server::with_group().await;
    let path = "/hosts/web-1/groups/etc/schedule";
    let body = json!({"cron": "30 2 * * *", "time_zone": "Europe/Berlin"});
    let group = server.put(path, &body).await.expect(200);
    let schedule = &group["schedule"];
    assert_eq!(schedule["in_words"], "At 02:30.");
    assert_eq!(schedule["enabled"], true);
    assert!(schedule["next_at"].is_string(), "{schedule}");
    let host = server.get("/hosts/web-1").await.expect(200);
    assert_eq!(host["next_backup_at"], schedule["next_at"]);
    server.delete(path).await.expect(204);
    server.delete(path).await.expect_problem(404, "schedule_not_found");
}

#[tokio::test]
async fn a_schedule_that_cannot_be_is_refused_with_the_reason() {
    let server = Server::with_group().await;
    for (cron, zone, reason) in [
        ("30 2 * * * *", "UTC", "five-field"),
        ("0 0 31 2 *", "UTC", "never comes due"),
        ("daily-ish", "UTC", "five-field"),
        ("0 3 * * *", "Mars/Olympus", "not a known time zone"),
    ] {
        let body = json!({"cron": cron, "time_zone": zone});
        let answer = server.put("/hosts/web-1/groups/etc/schedule", &body).await;
        let title = answer.expect_problem(400, "invalid_schedule");
        assert!(title.contains(reason), "{title}");
    }
    let body = json!({"cron": "0 3 * * *", "time_zone": "UTC"});
    let answer = server.put("/hosts/web-1/groups/srv/schedule", &body).await;
    answer.expect_problem(404, "group_not_found");
}

#[tokio::test]
async fn an_objective_is_set_within_reason_and_given_back() {
    let server = Server::with_group().await;
    let path = "/hosts/web-1/groups/etc/objective";
    let group = server.put(path, &json!({"objective_seconds": 7200})).await.expect(200);
    assert_eq!(
        (&group["objective_seconds"], &group["objective_source"]),
        (&json!(7200), &json!("set"))
    );
    for wrong in [0, 899, 366 * 86_400 + 1] {
        let answer = server.put(path, &json!({"objective_seconds": wrong})).await;
        answer.expect_problem(400, "invalid_objective");
    }
    let group = server.delete(path).await.expect(200);
    assert_eq!(group["objective_source"], "default");
    let elsewhere = server.delete("/hosts/web-1/groups/srv/objective").await;
    elsewhere.expect_problem(404, "group_not_found");
}

#[tokio::test]
async fn a_host_is_shown_with_its_verdict_and_what_to_do() {
    let server = Server::with_group().await;
    let host = server.get("/hosts/web-1").await.expect(200);
    assert_eq!(host["verdict"]["standing"], "never");
    let reason = &host["verdict"]["reasons"][0];
    assert_eq!((&reason["code"], &reason["group"]), (&json!("not_enrolled"), &json!("etc")));
    assert!(reason["action"].as_str().unwrap().contains("enrolment"), "{reason}");
    assert_eq!(host["groups"][0]["verdict"]["standing"], "never");
    assert!(host["verdict"].get("until").is_none(), "that is nobody's business");
}

#[tokio::test]
async fn evaluations_are_asked_for_within_limits() {
    let server = Server::with_group().await;
    let none = server.get("/hosts/web-1/evaluations?group=etc&limit=10").await.expect(200);
    assert_eq!(none, json!({"evaluations": []}));
    let path = "/hosts/web-1/evaluations?limit=0";
    server.get(path).await.expect_problem(400, "invalid_limit");
    let path = "/hosts/web-1/evaluations?before=yesterday";
    server.get(path).await.expect_problem(400, "invalid_query");
    server.get("/hosts/web-2/evaluations").await.expect_problem(404, "host_not_found");
}

#[tokio::test]
async fn the_overview_counts_the_fleet() {
    let server = Server::with_group().await;
    let overview = server.get("/overview").await.expect(200);
    assert_eq!(overview["hosts_total"], 1);
    assert_eq!(overview["hosts_online"], 0);
    assert_eq!(overview["never"], 1);
}
