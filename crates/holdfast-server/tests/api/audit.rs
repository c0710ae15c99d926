//! Who did what, as the API tells it.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Server;

async fn newest(server: &Server) -> Value {
    server.get("/audit?limit=1").await.expect(200)["entries"][0].clone()
}

#[tokio::test]
async fn a_change_is_told_with_who_from_where_before_and_after() {
    let server = Server::with_group().await;
    let user = json!({"name": "alice", "role": "viewer", "password": "canary canary canary"});
    server.post("/users", &user).await.expect(201);
    let change = json!({"role": "operator", "password": "canary canary canary 2"});
    server.ask(Method::PATCH, "/users/alice", Some(&server.admin), Some(&change)).await.expect(200);
    let entry = newest(&server).await;
    assert_eq!(entry["actor"], "admin-token");
    assert_eq!(entry["actor_kind"], "token");
    assert_eq!(entry["address"], "0.0.0.0");
    assert_eq!((&entry["action"], &entry["subject"]), (&json!("user.change"), &json!("alice")));
    assert_eq!(entry["before"]["role"], "viewer");
    assert_eq!(entry["after"]["role"], "operator");
    assert_eq!(entry["after"]["password"], "changed");
    let all = server.get("/audit?limit=500").await.text;
    assert!(!all.contains("canary") && !all.contains("argon2"), "{all}");
}

#[tokio::test]
async fn what_a_route_itself_does_not_note_is_noted_by_the_guard() {
    let server = Server::start().await;
    let channel = json!({
        "name": "chat", "settings": {"kind": "slack", "url": "http://127.0.0.1:9/canary"},
    });
    server.post("/channels", &channel).await.expect(201);
    let before = newest(&server).await["seq"].as_u64().unwrap();
    server.post("/channels/chat/test", &json!({})).await.expect(200);
    let entry = newest(&server).await;
    assert_eq!(entry["seq"].as_u64().unwrap(), before + 1);
    assert_eq!(entry["action"], "request");
    assert_eq!(entry["subject"], "POST /api/v1/channels/chat/test");
    // Looking and being refused change nothing.
    server.get("/channels").await.expect(200);
    server.post("/channels", &json!({})).await;
    assert_eq!(newest(&server).await["seq"], entry["seq"]);
}

#[tokio::test]
async fn sign_ins_are_told_and_so_are_refused_ones() {
    let server = Server::start().await;
    let user = json!({"name": "alice", "role": "viewer", "password": "a long enough password"});
    server.post("/users", &user).await.expect(201);
    server.sign_in(&json!({"name": "alice", "password": "a long enough password"})).await;
    let entry = newest(&server).await;
    assert_eq!((&entry["action"], &entry["actor_kind"]), (&json!("sign_in"), &json!("user")));
    let wrong = json!({"name": "alice", "password": "canary"});
    server
        .ask(Method::POST, "/sign-in", None, Some(&wrong))
        .await
        .expect_problem(401, "invalid_credentials");
    let entry = newest(&server).await;
    assert_eq!(
        (&entry["action"], &entry["actor_kind"]),
        (&json!("sign_in.refused"), &json!("public"))
    );
}

#[tokio::test]
async fn the_chain_is_verified_over_the_api_with_an_anchor() {
    let server = Server::with_group().await;
    let verdict = server.get("/audit/verify").await.expect(200);
    assert_eq!(verdict["ok"], true);
    let anchor =
        format!("{}:{}", verdict["head"]["seq"], verdict["head"]["hash"].as_str().unwrap());
    server.post("/hosts", &json!({"name": "db-1"})).await.expect(201);
    let verdict = server.get(&format!("/audit/verify?anchor={anchor}")).await.expect(200);
    assert_eq!(verdict["ok"], true);
    let ahead = format!("/audit/verify?anchor=999:{}", "0".repeat(64));
    assert_eq!(server.get(&ahead).await.expect(200)["first_bad"], 999);
    server.get("/audit/verify?anchor=x").await.expect_problem(400, "invalid_anchor");
}
