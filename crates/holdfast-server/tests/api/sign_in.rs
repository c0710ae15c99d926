//! People: the first one, signing in with a password, and being signed out.

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::support::{Answer, Server};

const PASSWORD: &str = "a long enough password";

async fn sign_in(server: &Server, name: &str, password: &str) -> Answer {
    let body = json!({"name": name, "password": password});
    server.ask(Method::POST, "/sign-in", None, Some(&body)).await
}

/// A request with a cookie, from our own page.
async fn browse(server: &Server, method: Method, path: &str, cookie: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{path}"))
        .header("host", "backup.example")
        .header("origin", "http://backup.example")
        .header("cookie", cookie)
        .header("content-type", "application/json");
    server.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn me(server: &Server, cookie: &str) -> Answer {
    browse(server, Method::GET, "/me", cookie, &Value::Null).await
}

async fn with_user(name: &str, role: &str) -> Server {
    let server = Server::start().await;
    let user = json!({"name": name, "role": role, "password": PASSWORD});
    server.post("/users", &user).await.expect(201);
    server
}

#[tokio::test]
async fn the_first_user_takes_the_printed_code_and_there_is_only_one() {
    let server = Server::empty().await;
    let needed = server.ask(Method::GET, "/setup", None, None).await.expect(200);
    assert_eq!(needed, json!({"needed": true}));
    let first = |code: &str| json!({"code": code, "name": "Alice", "password": PASSWORD});
    let make = async |body: &Value| server.ask(Method::POST, "/setup", None, Some(body)).await;
    make(&first("AAAA-AAAA-AAAA-AAAA")).await.expect_problem(401, "setup_code_wrong");
    let code = server.setup_code.clone().unwrap();
    let weak = json!({"code": code, "name": "alice", "password": "short"});
    make(&weak).await.expect_problem(400, "weak_password");
    let both = (first(&code), json!({"code": code, "name": "eve", "password": PASSWORD}));
    let (one, other) = tokio::join!(make(&both.0), make(&both.1));
    let won = if one.status == 200 { &one } else { &other };
    let lost = if one.status == 200 { &other } else { &one };
    assert_eq!(won.expect(200)["role"], "admin");
    lost.expect_problem(409, "setup_done");
    me(&server, &won.cookie()).await.expect(200);
    make(&first(&code)).await.expect_problem(409, "setup_done");
    let needed = server.ask(Method::GET, "/setup", None, None).await.expect(200);
    assert_eq!(needed, json!({"needed": false}));
}

#[tokio::test]
async fn a_token_is_somebody_so_nobody_needs_to_be_set_up() {
    let server = Server::start().await;
    let first = json!({"code": "x", "name": "alice", "password": PASSWORD});
    let answer = server.ask(Method::POST, "/setup", None, Some(&first)).await;
    answer.expect_problem(409, "setup_done");
}

#[tokio::test]
async fn a_name_in_any_case_and_its_password_sign_in() {
    let server = with_user("Alice", "operator").await;
    let answer = sign_in(&server, "aLICE", PASSWORD).await;
    let me_now = json!({
        "name": "alice", "kind": "user", "role": "operator", "host_groups": ["*"],
        "totp_enabled": false,
    });
    assert_eq!(answer.expect(200), me_now);
    assert_eq!(me(&server, &answer.cookie()).await.expect(200), me_now);
    let users = server.get("/users").await.expect(200);
    assert!(users["users"][0]["last_sign_in_at"].is_string(), "{users}");
    assert!(!users.to_string().contains("argon2"), "{users}");
}

#[tokio::test]
async fn who_does_not_exist_gets_the_same_answer_as_a_wrong_password() {
    let server = with_user("alice", "viewer").await;
    let change = json!({"disabled": true});
    server.post("/users", &json!({"name": "bob", "role": "viewer", "password": PASSWORD})).await;
    server.ask(Method::PATCH, "/users/bob", Some(&server.admin), Some(&change)).await.expect(200);
    let wrong = sign_in(&server, "alice", "not her password").await;
    wrong.expect_problem(401, "invalid_credentials");
    let nobody = sign_in(&server, "mallory", PASSWORD).await;
    let disabled = sign_in(&server, "bob", PASSWORD).await;
    assert_eq!((nobody.status, &nobody.text), (wrong.status, &wrong.text));
    assert_eq!((disabled.status, &disabled.text), (wrong.status, &wrong.text));
}

#[tokio::test]
async fn guessing_is_stopped_and_the_right_password_waits_too() {
    let server = with_user("alice", "viewer").await;
    for _ in 0..10 {
        sign_in(&server, "alice", "a guess").await.expect_problem(401, "invalid_credentials");
    }
    sign_in(&server, "alice", PASSWORD).await.expect_problem(429, "too_many_attempts");
    for n in 0..20 {
        sign_in(&server, &format!("nobody-{n}"), "a guess").await;
    }
    // All of it came from one address.
    sign_in(&server, "bob", "a guess").await.expect_problem(429, "too_many_attempts");
    server.get("/me").await.expect(200);
}

#[tokio::test]
async fn whoever_is_changed_or_removed_is_signed_out() {
    let server = with_user("alice", "viewer").await;
    let patch = async |body: Value| {
        let admin = Some(server.admin.as_str());
        server.ask(Method::PATCH, "/users/alice", admin, Some(&body)).await.expect(200)
    };
    let second = "another long password";
    for (change, password) in [
        (json!({"role": "operator"}), PASSWORD),
        (json!({"password": second}), PASSWORD),
        (json!({"host_groups": ["dmz"]}), second),
    ] {
        let cookie = sign_in(&server, "alice", password).await.cookie();
        me(&server, &cookie).await.expect(200);
        patch(change).await;
        me(&server, &cookie).await.expect_problem(401, "invalid_token");
    }
    let cookie = sign_in(&server, "alice", second).await.cookie();
    server.delete("/users/alice").await.expect(204);
    me(&server, &cookie).await.expect_problem(401, "invalid_token");
    server.delete("/users/alice").await.expect_problem(404, "user_not_found");
}

#[tokio::test]
async fn a_new_password_takes_the_old_one_and_leaves_only_this_browser_signed_in() {
    let server = with_user("alice", "viewer").await;
    let here = sign_in(&server, "alice", PASSWORD).await.cookie();
    let elsewhere = sign_in(&server, "alice", PASSWORD).await.cookie();
    let change = async |old: &str, new: &str| {
        let body = json!({"old": old, "new": new});
        browse(&server, Method::PUT, "/me/password", &here, &body).await
    };
    change("wrong", "another long password").await.expect_problem(403, "wrong_password");
    change(PASSWORD, "short").await.expect_problem(400, "weak_password");
    change(PASSWORD, "another long password").await.expect(204);
    me(&server, &here).await.expect(200);
    me(&server, &elsewhere).await.expect_problem(401, "invalid_token");
    sign_in(&server, "alice", PASSWORD).await.expect_problem(401, "invalid_credentials");
    sign_in(&server, "alice", "another long password").await.expect(200);
    let body = json!({"old": PASSWORD, "new": PASSWORD});
    let token = server.ask(Method::PUT, "/me/password", Some(&server.viewer), Some(&body));
    token.await.expect_problem(400, "not_a_user");
}

#[tokio::test]
async fn sign_ins_are_listed_and_ended_by_their_owner_or_an_admin() {
    let server = with_user("alice", "viewer").await;
    let bob = json!({"name": "bob", "role": "viewer", "password": PASSWORD});
    server.post("/users", &bob).await.expect(201);
    let alice = sign_in(&server, "alice", PASSWORD).await.cookie();
    let bob = sign_in(&server, "bob", PASSWORD).await.cookie();
    let list = async |cookie: &str, path: &str| {
        browse(&server, Method::GET, path, cookie, &Value::Null).await
    };
    let own = list(&alice, "/sign-ins").await.expect(200);
    assert_eq!(own["sign_ins"].as_array().unwrap().len(), 1);
    assert_eq!(own["sign_ins"][0]["user"], "alice");
    assert_eq!(own["sign_ins"][0]["current"], true);
    list(&alice, "/sign-ins?all=true").await.expect_problem(403, "role_too_small");
    let all = server.get("/sign-ins?all=true").await.expect(200);
    assert_eq!(all["sign_ins"].as_array().unwrap().len(), 2);
    let id = own["sign_ins"][0]["id"].as_str().unwrap();
    let end = async |cookie: &str| {
        browse(&server, Method::DELETE, &format!("/sign-ins/{id}"), cookie, &Value::Null).await
    };
    end(&bob).await.expect_problem(404, "sign_in_not_found");
    me(&server, &alice).await.expect(200);
    end(&alice).await.expect(204);
    me(&server, &alice).await.expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn a_sign_in_ends_after_half_a_day_without_a_request_and_after_a_week_in_any_case() {
    let server = with_user("alice", "viewer").await;
    let file = format!("sqlite://{}", server.dir.path().join("holdfast.db").display());
    let mut clock = SqliteConnection::connect(&file).await.unwrap();
    for (lapse, ended) in [
        ("last_seen_at = last_seen_at - 43000000", false),
        ("last_seen_at = last_seen_at - 43201000", true),
        ("expires_at = expires_at - 604600000", false),
        ("expires_at = expires_at - 604801000", true),
    ] {
        let cookie = sign_in(&server, "alice", PASSWORD).await.cookie();
        me(&server, &cookie).await.expect(200);
        let lapse = sqlx::AssertSqlSafe(format!("UPDATE sign_ins SET {lapse}"));
        clock.execute(lapse).await.unwrap();
        let answer = me(&server, &cookie).await;
        assert_eq!(answer.status == 401, ended, "{}", answer.text);
        clock.execute("DELETE FROM sign_ins").await.unwrap();
    }
}

#[tokio::test]
async fn nobody_takes_away_the_last_admin() {
    let server = Server::empty().await;
    let code = server.setup_code.clone().unwrap();
    let first = json!({"code": code, "name": "alice", "password": PASSWORD});
    let cookie = server.ask(Method::POST, "/setup", None, Some(&first)).await.cookie();
    for change in
        [json!({"role": "operator"}), json!({"disabled": true}), json!({"host_groups": ["dmz"]})]
    {
        let answer = browse(&server, Method::PATCH, "/users/alice", &cookie, &change).await;
        answer.expect_problem(409, "last_admin");
    }
    let answer = browse(&server, Method::DELETE, "/users/alice", &cookie, &Value::Null).await;
    answer.expect_problem(409, "last_admin");
    me(&server, &cookie).await.expect(200);
}

#[tokio::test]
async fn a_code_of_the_app_is_asked_for_and_works_once() {
    let server = with_user("alice", "viewer").await;
    let cookie = sign_in(&server, "alice", PASSWORD).await.cookie();
    let ask = async |method: Method, path: &str, body: Value| {
        browse(&server, method, path, &cookie, &body).await
    };
    let offer = ask(Method::POST, "/me/totp", Value::Null).await.expect(200);
    let secret = offer["secret"].as_str().unwrap();
    assert!(offer["uri"].as_str().unwrap().contains(secret), "{offer}");
    sign_in(&server, "alice", PASSWORD).await.expect(200);
    let confirm =
        async |code: &str| ask(Method::POST, "/me/totp/confirm", json!({"code": code})).await;
    confirm("000").await.expect_problem(401, "invalid_credentials");
    let code = code_of(secret);
    confirm(&code).await.expect(204);
    let answer = sign_in(&server, "alice", PASSWORD).await;
    answer.expect_problem(401, "totp_required");
    assert_eq!(answer.header("set-cookie"), "");
    let with_code = json!({"name": "alice", "password": PASSWORD, "totp_code": code});
    let replayed = server.ask(Method::POST, "/sign-in", None, Some(&with_code)).await;
    replayed.expect_problem(401, "invalid_credentials");
    let wrong = json!({"password": "a wrong one"});
    ask(Method::DELETE, "/me/totp", wrong).await.expect_problem(403, "wrong_password");
    ask(Method::DELETE, "/me/totp", json!({"password": PASSWORD})).await.expect(204);
    sign_in(&server, "alice", PASSWORD).await.expect(200);
}

/// The app's code right now, computed apart from the server's way.
fn code_of(secret: &str) -> String {
    let now = jiff::Timestamp::now().as_second().cast_unsigned();
    holdfast_server::auth::totp_code(secret, now / 30)
}
