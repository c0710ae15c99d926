//! Who may do what.

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::{Value, json};

use crate::support::Server;

/// Every operation of the API document: method, path and what it needs.
pub(crate) fn operations(document: &Value) -> Vec<(Method, String, String)> {
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

#[tokio::test]
async fn every_route_declares_who_may_use_it() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.json();
    let operations = operations(&document);
    assert!(operations.len() >= 20, "only {} operations", operations.len());
    for (method, path, role) in operations {
        let scope =
            document["paths"][&format!("/api/v1{path}")][method.as_str().to_lowercase()]["x-scope"]
                .as_str();
        let roles = ["viewer", "operator", "admin"].contains(&role.as_str());
        assert_eq!(roles, scope.is_some(), "{method} {path} does not tell how far it reaches");
        let known = ["public", "enrolment", "own", "viewer", "operator", "admin"];
        assert!(known.contains(&role.as_str()), "{method} {path} needs {role}");
        let reads = method == Method::GET;
        assert!(reads || role != "viewer", "{method} {path} lets a viewer change something");
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
