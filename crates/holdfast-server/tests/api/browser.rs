//! Signing in with a browser, and what other pages may not do with it.

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::json;

use crate::support::{Answer, Server};

/// A request as a browser makes it that is signed in.
async fn browse(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let cookie = server.sign_in(&json!({"token": server.admin})).await;
    browse_with(server, method, path, &[headers, &[("cookie", &cookie)]].concat(), body).await
}

/// A request as a browser makes it, with just these headers.
async fn browse_with(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{path}"))
        .header("host", "backup.example")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn signing_in_gives_a_cookie_that_reads_and_writes() {
    let server = Server::start().await;
    let own = ("origin", "https://backup.example");
    let token = json!({"token": server.admin}).to_string();
    let answer = browse_with(&server, Method::POST, "/sign-in", &[own], &token).await;
    let me = json!({"name": "admin-token", "kind": "token", "role": "admin", "host_groups": ["*"]});
    assert_eq!(answer.expect(200), me);
    let cookie = answer.header("set-cookie");
    for word in ["__Host-holdfast_sign_in=", "HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert!(!cookie.contains(&server.admin), "the cookie is not the token");
    let cookie = answer.cookie();
    let signed_in = [("cookie", cookie.as_str()), own];
    let ask = async |method, path, body| browse_with(&server, method, path, &signed_in, body).await;
    ask(Method::GET, "/me", "").await.expect(200);
    ask(Method::POST, "/hosts", r#"{"name":"web-1"}"#).await.expect(201);
    let out = ask(Method::POST, "/sign-out", "").await;
    out.expect(204);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    // What somebody copied of the cookie is worth nothing either.
    ask(Method::GET, "/me", "").await.expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn neither_a_token_nor_another_cookie_signs_in() {
    let server = Server::start().await;
    for forged in [&server.admin, "hf_sgn_wrong", "x"] {
        let cookie = format!("holdfast_sign_in={forged}");
        let headers = [("cookie", cookie.as_str())];
        let answer = browse_with(&server, Method::GET, "/me", &headers, "").await;
        answer.expect_problem(401, "invalid_token");
    }
    // Nor does the cookie's word work as a token.
    let cookie = server.sign_in(&json!({"token": server.admin})).await;
    let word = cookie.split_once('=').unwrap().1;
    let answer = server.ask(Method::GET, "/me", Some(word), None).await;
    answer.expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn a_wrong_token_does_not_sign_in() {
    let server = Server::start().await;
    let answer = server.ask(Method::POST, "/sign-in", None, Some(&json!({"token": "x"}))).await;
    answer.expect_problem(401, "invalid_credentials");
    assert_eq!(answer.header("set-cookie"), "");
}

#[tokio::test]
async fn another_sites_page_changes_nothing_with_the_cookie() {
    let server = Server::start().await;
    let add = r#"{"name":"web-1"}"#;
    for headers in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "https://backup.example:8443")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        let answer = browse(&server, Method::POST, "/hosts", headers, add).await;
        answer.expect_problem(403, "other_origin");
        let socket = [headers, &[("upgrade", "websocket"), ("connection", "upgrade")]].concat();
        let answer = browse(&server, Method::GET, "/live", &socket, "").await;
        answer.expect_problem(403, "other_origin");
    }
    assert_eq!(server.get("/hosts").await.expect(200), json!({"hosts": [], "total": 0}));
    let evil = [("origin", "https://evil.example")];
    let answer = browse(&server, Method::POST, "/sign-in", &evil, "{}").await;
    answer.expect_problem(403, "other_origin");
}

#[tokio::test]
async fn a_page_of_our_name_over_plain_http_does_nothing_with_the_cookie_of_https() {
    let server = Server::start().await;
    let (own, plain) = (("origin", "https://backup.example"), ("origin", "http://backup.example"));
    let token = json!({"token": server.admin}).to_string();
    let cookie = browse_with(&server, Method::POST, "/sign-in", &[own], &token).await.cookie();
    assert!(cookie.starts_with("__Host-"), "{cookie}");
    let add = r#"{"name":"web-1"}"#;
    let headers = [("cookie", cookie.as_str()), plain];
    let answer = browse_with(&server, Method::POST, "/hosts", &headers, add).await;
    answer.expect_problem(403, "other_origin");
    let socket = [&headers[..], &[("upgrade", "websocket"), ("connection", "upgrade")]].concat();
    let answer = browse_with(&server, Method::GET, "/live", &socket, "").await;
    answer.expect_problem(403, "other_origin");
    let headers = [("cookie", cookie.as_str()), own];
    browse_with(&server, Method::POST, "/hosts", &headers, add).await.expect(201);
}

#[tokio::test]
async fn the_agents_addresses_refuse_browsers() {
    let server = Server::start().await;
    for (method, path) in [(Method::POST, "/agent/enrol"), (Method::GET, "/agent/connect")] {
        let answer = browse(&server, method.clone(), path, &[], "{}").await;
        answer.expect_problem(403, "not_for_browsers");
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("origin", "https://backup.example")
            .body(Body::empty())
            .unwrap();
        server.send(request).await.expect_problem(403, "not_for_browsers");
    }
}
