//! What is served outside the API, and what every answer carries.

use axum::{body::Body, http::Request};

use crate::support::{Answer, Server};

async fn get(server: &Server, path: &str) -> Answer {
    server.send(Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn health_tells_when_the_server_stops() {
    let server = Server::start().await;
    let health = get(&server, "/healthz").await;
    assert_eq!(health.expect(200)["status"], "ready");
    server.stop.cancel();
    let health = get(&server, "/healthz").await;
    assert_eq!(health.expect(503)["status"], "draining");
}

#[tokio::test]
async fn every_answer_is_hardened_and_numbered() {
    let server = Server::start().await;
    for path in ["/", "/healthz", "/api/v1/me", "/api/v1/nonsense", "/hosts/web-1"] {
        let answer = get(&server, path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("x-request-id").len(), 36, "{path}");
    }
    assert_eq!(get(&server, "/api/v1/me").await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn addresses_inside_the_dashboard_lead_to_its_page_and_missing_files_do_not() {
    let server = Server::start().await;
    let page = get(&server, "/hosts/web-1.example.com").await;
    // Without a built dashboard the page says how to build it.
    assert!([200, 503].contains(&page.status.as_u16()), "{}", page.status);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text.starts_with("<!doctype html>") || page.text.starts_with("<!DOCTYPE html>"));
    assert_eq!(get(&server, "/assets/gone-123.js").await.status.as_u16(), 404);
    assert_eq!(get(&server, "/api").await.status.as_u16(), 404);
}

#[tokio::test]
async fn a_known_page_is_not_sent_again() {
    let server = Server::start().await;
    let first = get(&server, "/").await;
    let tag = first.header("etag").to_owned();
    if tag.is_empty() {
        assert!(first.text.contains("cargo xtask web"), "{}", first.text);
        return;
    }
    let request = Request::get("/").header("if-none-match", &tag).body(Body::empty()).unwrap();
    assert_eq!(server.send(request).await.status.as_u16(), 304);
}
