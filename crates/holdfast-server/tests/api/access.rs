//! Who may do what.

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::{Value, json};

use crate::support::Server;

/// Every operation of the API document: method, path and what it needs.
fn operations(document: &Value) -> Vec<(Method, String, String)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let role = operation["x-role"].as_str().unwrap_or("nothing").to_owned();
            operations.push((method, path.replace("/api/v1", ""), role));
        }
    }
    operations
}

/// The path with something in the place of each parameter.
fn filled(path: &str) -> String {
    path.replace("{host}", "nobody")
        .replace("{name}", "nothing")
        .replace("{job}", "none")
        .replace("{alert}", "none")
        .replace("{channel}", "none")
        .replace("{silence}", "none")
        .replace("{rule}", "none")
}

#[tokio::test]
async fn every_route_declares_who_may_use_it() {
    let server = Server::start().await;
    let operations = operations(&server.get("/openapi.json").await.json());
    assert!(operations.len() >= 20, "only {} operations", operations.len());
    for (method, path, role) in operations {
        let known = ["public", "enrolment", "own", "viewer", "operator", "admin"];
        assert!(known.contains(&role.as_str()), "{method} {path} needs {role}");
        let reads = method == Method::GET;
        assert!(reads || role != "viewer", "{method} {path} lets a viewer change something");
    }
}

#[tokio::test]
async fn each_role_may_do_what_the_document_says_and_no_more() {
    let server = Server::start().await;
    let roles =
        [("viewer", &server.viewer), ("operator", &server.operator), ("admin", &server.admin)];
    for (method, path, needed) in operations(&server.get("/openapi.json").await.json()) {
        let Some(rank) = roles.iter().position(|(role, _)| *role == needed) else { continue };
        let path = filled(&path);
        let body = json!({});
        let stranger = server.ask(method.clone(), &path, None, Some(&body)).await;
        stranger.expect_problem(401, "invalid_token");
        let wrong = server.ask(method.clone(), &path, Some("hf_api_wrong"), Some(&body)).await;
        wrong.expect_problem(401, "invalid_token");
        for (index, (role, token)) in roles.iter().enumerate() {
            let answer = server.ask(method.clone(), &path, Some(token), Some(&body)).await;
            if index < rank {
                answer.expect_problem(403, "role_too_small");
            } else {
                let status = answer.status.as_u16();
                assert!(![401, 403].contains(&status), "{method} {path} as {role}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn an_agent_token_does_not_open_the_api_nor_an_api_token_the_link() {
    let server = Server::start().await;
    let host = server.post("/hosts", &json!({"name": "web-1"})).await.expect(201);
    let enrol = json!({
        "token": host["enrolment_token"], "incarnation": uuid::Uuid::now_v7(),
    });
    let agent = server.ask(Method::POST, "/agent/enrol", None, Some(&enrol)).await.expect(201);
    let agent_token = agent["agent_token"].as_str().unwrap();
    let hosts = server.ask(Method::GET, "/hosts", Some(agent_token), None).await;
    hosts.expect_problem(401, "invalid_token");
    let link = server.ask(Method::GET, "/agent/connect", Some(&server.admin), None).await;
    link.expect_problem(401, "invalid_agent_token");
    let link = server.ask(Method::GET, "/agent/connect", None, None).await;
    link.expect_problem(401, "invalid_agent_token");
}

#[tokio::test]
async fn a_401_says_how_to_prove_who_asks() {
    let server = Server::start().await;
    let answer = server.ask(Method::GET, "/me", None, None).await;
    answer.expect_problem(401, "invalid_token");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let server = Server::start().await;
    server.get("/nonsense").await.expect_problem(404, "unknown_path");
    server.delete("/hosts").await.expect_problem(405, "method_not_allowed");
    let body = Request::post("/api/v1/hosts")
        .header("authorization", format!("Bearer {}", server.admin))
        .header("content-type", "application/json")
        .body(Body::from("x".repeat(1024 * 1024 + 1)))
        .unwrap();
    server.send(body).await.expect_problem(413, "body_too_large");
}
