//! Roles that count for some host groups only, and the tokens that carry them.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Server;

/// A server with `web-1` in the host group `dmz` and `db-1` in `lan`, each with a job, and a token
/// of an operator in `dmz`.
async fn two_groups() -> (Server, String, [String; 2]) {
    let server = Server::with_group().await;
    server.post("/hosts", &json!({"name": "db-1"})).await.expect(201);
    let group = json!({"name": "etc", "repository": "main", "includes": ["/etc"]});
    server.post("/hosts/db-1/groups", &group).await.expect(201);
    let mut jobs = [String::new(), String::new()];
    for (place, (host, group)) in [("web-1", "dmz"), ("db-1", "lan")].into_iter().enumerate() {
        let change = json!({"host_group": group, "labels": {"rack": "7"}});
        let path = format!("/hosts/{host}");
        let changed = server.ask(Method::PATCH, &path, Some(&server.admin), Some(&change)).await;
        assert_eq!(changed.expect(200)["host_group"], group);
        let order = json!({"operation": "backup", "group": "etc"});
        let job = server.post(&format!("/hosts/{host}/jobs"), &order).await.expect(202);
        jobs[place] = job["job_id"].as_str().unwrap().to_owned();
    }
    let token = json!({"name": "dmz", "role": "operator", "host_groups": ["dmz"]});
    let made = server.post("/tokens", &token).await.expect(201);
    (server, made["token"].as_str().unwrap().to_owned(), jobs)
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().unwrap();
    list.iter().map(|it| it[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lists_and_numbers_hold_only_the_hosts_of_the_groups() {
    let (server, token, jobs) = two_groups().await;
    let get =
        async |path: &str| server.ask(Method::GET, path, Some(&token), None).await.expect(200);
    assert_eq!(names(&get("/hosts").await["hosts"], "name"), ["web-1"]);
    assert_eq!(names(&get("/jobs").await["jobs"], "id"), [jobs[0].clone()]);
    assert_eq!(get("/jobs?host=db-1").await["jobs"], json!([]));
    let overview = get("/overview").await;
    assert_eq!((&overview["hosts_total"], &overview["jobs_queued"]), (&json!(1), &json!(1)));
    assert_eq!(get("/alerts?state=all").await["alerts"], json!([]));
    assert_eq!(get("/me").await["host_groups"], json!(["dmz"]));
}

#[tokio::test]
async fn what_is_elsewhere_is_as_if_it_did_not_exist() {
    let (server, token, jobs) = two_groups().await;
    let ask = async |method: Method, path: &str| {
        let body = json!({"operation": "backup", "group": "etc"});
        server.ask(method, path, Some(&token), Some(&body)).await
    };
    let there = ask(Method::GET, "/hosts/db-1").await;
    let nowhere = ask(Method::GET, "/hosts/nobody").await;
    assert_eq!(there.text.replace("db-1", "nobody"), nowhere.text);
    ask(Method::POST, "/hosts/db-1/jobs").await.expect_problem(404, "host_not_found");
    ask(Method::POST, "/hosts/web-1/jobs").await.expect(202);
    let cancel = |job: &str| format!("/jobs/{job}/cancel");
    ask(Method::POST, &cancel(&jobs[1])).await.expect_problem(404, "job_not_found");
    ask(Method::POST, &cancel(&jobs[0])).await.expect(202);
    ask(Method::GET, "/repositories").await.expect_problem(403, "outside_scope");
    ask(Method::GET, "/channels").await.expect_problem(403, "outside_scope");
}

#[tokio::test]
async fn nobody_moves_a_host_into_a_group_of_others() {
    let (server, _, _) = two_groups().await;
    let admin = json!({"name": "dmz-admin", "role": "admin", "host_groups": ["dmz"]});
    let made = server.post("/tokens", &admin).await.expect(201);
    let token = made["token"].as_str().unwrap();
    let patch = async |body: Value| {
        server.ask(Method::PATCH, "/hosts/web-1", Some(token), Some(&body)).await
    };
    patch(json!({"host_group": "lan"})).await.expect_problem(403, "outside_scope");
    patch(json!({"host_group": ""})).await.expect_problem(403, "outside_scope");
    patch(json!({"labels": {"site": "north"}})).await.expect(200);
    patch(json!({"labels": {"a b": "x"}})).await.expect_problem(400, "invalid_labels");
}

#[tokio::test]
async fn a_token_is_listed_without_itself_and_ends_when_removed() {
    let server = Server::start().await;
    let new = json!({"name": "ci", "role": "viewer", "expires_in_seconds": 3600});
    let made = server.post("/tokens", &new).await.expect(201);
    let token = made["token"].as_str().unwrap();
    server.post("/tokens", &new).await.expect_problem(409, "token_exists");
    let find = async || {
        let tokens = server.get("/tokens").await;
        assert!(!tokens.text.contains(token) && !tokens.text.contains("hash"), "{}", tokens.text);
        let tokens = tokens.expect(200)["tokens"].clone();
        tokens.as_array().unwrap().iter().find(|it| it["name"] == "ci").cloned().unwrap()
    };
    let listed = find().await;
    assert!(listed["expires_at"].is_string() && listed["last_used_at"].is_null(), "{listed}");
    server.ask(Method::GET, "/me", Some(token), None).await.expect(200);
    assert!(find().await["last_used_at"].is_string());
    let id = made["id"].as_str().unwrap();
    server.delete(&format!("/tokens/{id}")).await.expect(204);
    server.ask(Method::GET, "/me", Some(token), None).await.expect_problem(401, "invalid_token");
    server.delete(&format!("/tokens/{id}")).await.expect_problem(404, "token_not_found");
    for bad in [
        json!({"name": "x y", "role": "viewer"}),
        json!({"name": "x", "role": "viewer", "host_groups": []}),
        json!({"name": "x", "role": "viewer", "expires_in_seconds": 0}),
    ] {
        assert_eq!(server.post("/tokens", &bad).await.status, 400, "{bad}");
    }
}
